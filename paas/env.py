"""The environment, read once and loudly: a missing or malformed variable is an error that names it.

NAME_FILE may hold the path of a file with the value (secrets). What neither gives is looked up in
VAR_DIR/run/services.env, which `make run` writes while it runs, so that `manage.py` in another shell
reaches the same services.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

ROOT = Path(__file__).resolve().parent.parent
VAR_DIR = Path(os.environ.get("VAR_DIR") or ROOT / "var").resolve()
_missing: Any = object()


def _services() -> dict[str, str]:
    path = VAR_DIR / "run" / "services.env"
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


_running = _services()


def text(name: str, default: Any = _missing) -> str:
    """The value of `name`. Raises ImproperlyConfigured when it is needed and not set."""
    if name in os.environ:
        return os.environ[name]
    path = os.environ.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE: cannot read {path}: {error.strerror}") from None
    if name in _running:
        return _running[name]
    if default is _missing:
        raise ImproperlyConfigured(
            f"{name} is not set. Start the platform with `make run`, or set {name} or {name}_FILE "
            "(README.md, Configuration, says what it is)."
        )
    return str(default)


def number(name: str, default: int) -> int:
    """An integer variable."""
    value = text(name, default)
    try:
        return int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from None


def flag(name: str, default: bool) -> bool:
    """A variable that is one of 1/true/yes/on or 0/false/no/off."""
    value = text(name, str(default)).lower()
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off", ""):
        return False
    raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}.")


def choice(name: str, *values: str) -> str:
    """A variable that is one of `values`; the first is the default."""
    value = text(name, values[0])
    if value not in values:
        raise ImproperlyConfigured(f"{name} must be {' or '.join(values)}, not {value!r}.")
    return value


def address_with(name: str, place: str) -> str:
    """An http address with `place` in it, or empty. Raises ImproperlyConfigured for anything else."""
    value = text(name, "")
    if value and not (value.startswith(("http://", "https://")) and place in value):
        raise ImproperlyConfigured(f"{name} must be an address that begins with http and has {place} in it.")
    return value


def words(name: str, default: str = "") -> list[str]:
    """A comma-separated list."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def rates(name: str, default: dict[str, int]) -> dict[str, int]:
    """`class=number, ...`: `default` with what is given. Raises ImproperlyConfigured for anything else."""
    found = dict(default)
    for word in words(name):
        kind, _, number_ = word.partition("=")
        if kind.strip() not in default or not number_.strip().isdecimal():
            raise ImproperlyConfigured(f"{name} is a list such as read=3000, of: {', '.join(default)}. Not {word!r}.")
        found[kind.strip()] = int(number_)
    return found
