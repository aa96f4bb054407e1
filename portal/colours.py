"""A workspace's colour on our pages: lightened or darkened as far as text in it needs to be read (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

Rgb = tuple[float, float, float]

LEAST_CONTRAST = 4.5
STEPS = 50
WHITE, BLACK = (255.0, 255.0, 255.0), (0.0, 0.0, 0.0)
# The surfaces on which text in the accent stands, the least favourable one of each theme.
LIGHT_SURFACE, DARK_SURFACE = (242.0, 242.0, 238.0), (40.0, 40.0, 38.0)

SHEET = """\
:root {{ {light} }}
@media (prefers-color-scheme: dark) {{ :root:not([data-theme="light"]) {{ {dark} }} }}
:root[data-theme="dark"] {{ {dark} }}
"""


def sheet(color: str) -> str:
    """A style sheet that puts `color` (`#rrggbb`) in the place of the platform's own; "" for ""."""
    if not color:
        return ""
    rgb = _parsed(color)
    return SHEET.format(light=_accent(rgb, LIGHT_SURFACE, BLACK), dark=_accent(rgb, DARK_SURFACE, WHITE))


def contrast(one: Rgb, other: Rgb) -> float:
    """The contrast of two colours, 1 to 21."""
    lights = sorted((_luminance(one), _luminance(other)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def _accent(rgb: Rgb, surface: Rgb, towards: Rgb) -> str:
    accent = next(
        mixed
        for step in range(STEPS + 1)
        if contrast(mixed := _mixed(rgb, towards, step / STEPS), surface) >= LEAST_CONTRAST
    )
    on_accent = max((WHITE, BLACK), key=lambda one: contrast(one, accent))
    values = {
        "accent": accent,
        "accent-strong": _mixed(accent, towards, 0.2),
        "accent-soft": _mixed(surface, accent, 0.12),
        "on-accent": on_accent,
    }
    return " ".join(f"--{name}: {_written(value)};" for name, value in values.items())


def _parsed(color: str) -> Rgb:
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return float(red), float(green), float(blue)


def _written(rgb: Rgb) -> str:
    return "#" + bytes(round(part) for part in rgb).hex()


def _mixed(one: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = (float(round(a + (b - a) * share)) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _luminance(rgb: Rgb) -> float:
    linear = [part / 255 for part in rgb]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in linear]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
