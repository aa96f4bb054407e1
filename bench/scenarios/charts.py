"""Charts as SVG, drawn by hand: no library, nothing is loaded. Colours are of bench/scenarios/page.py's style sheet."""

from __future__ import annotations

import math
from html import escape

from bench.scenarios.result import Chart, Line

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 34
BAR, BAR_GAP, BAR_LEFT = 20, 10, 210
TICKS = 4


def svg(chart: Chart) -> str:
    """The chart with its title as an accessible name. One without values says so."""
    lines = [line for line in chart.lines if line.points]
    if not lines:
        return f"<p class=none>{escape(chart.title)}: nothing was measured.</p>"
    height, drawn = _bars(chart, lines) if chart.bars else (HEIGHT, _lines(chart, lines))
    title = escape(f"{chart.title}, {chart.unit}")
    return (
        f'<figure><figcaption>{title}</figcaption><svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">'
        f"{drawn}</svg></figure>"
    )


def nice_above(value: float) -> float:
    """The least of 1, 2, 2.5, 5 times a power of ten that is not below `value`; 1.0 for nothing."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * 0.9999)


def number(value: float) -> str:
    """As short as it may be for an axis."""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def _lines(chart: Chart, lines: list[Line]) -> str:
    most_x = max(x for line in lines for x, _ in line.points) or 1.0
    most_y = nice_above(max(y for line in lines for _, y in line.points))
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> str:
        return f"{LEFT + x / most_x * wide:.1f},{TOP + (1 - y / most_y) * high:.1f}"

    parts = []
    for tick in range(TICKS + 1):
        y = TOP + high - tick / TICKS * high
        parts.append(f'<line class=grid x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor=end>{number(most_y * tick / TICKS)}</text>')
        x = LEFT + tick / TICKS * wide
        anchor = "end" if tick == TICKS else "middle"
        said = number(round(most_x * tick / TICKS, 1))
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 16}" text-anchor={anchor}>{said}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 2}" text-anchor=end>{escape(chart.along)}</text>')
    for at, line in enumerate(lines):
        points = " ".join(place(x, y) for x, y in line.points)
        parts.append(f'<polyline class="line c{at % 4}" points="{points}"/>')
        if len(lines) > 1:
            x = LEFT + 8 + at * 120
            parts.append(f'<rect class="c{at % 4}" x="{x}" y="{HEIGHT - 11}" width=10 height=10 />')
            parts.append(f'<text x="{x + 15}" y="{HEIGHT - 2}">{escape(line.name)}</text>')
    return "".join(parts)


def _bars(chart: Chart, lines: list[Line]) -> tuple[int, str]:
    most = nice_above(max(line.points[0][1] for line in lines))
    wide, parts = WIDTH - BAR_LEFT - 90, []
    for at, line in enumerate(lines):
        value, y = line.points[0][1], at * (BAR + BAR_GAP)
        length = max(1.0, value / most * wide)
        parts.append(f'<text x="{BAR_LEFT - 8}" y="{y + 15}" text-anchor=end>{escape(line.name)}</text>')
        parts.append(f'<rect class=c0 x="{BAR_LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" rx=2 />')
        said = f"{number(value) if value >= 100 else f'{value:.1f}'} {escape(chart.unit)}"
        parts.append(f'<text x="{BAR_LEFT + length + 6:.1f}" y="{y + 15}">{said}</text>')
    return len(lines) * (BAR + BAR_GAP), "".join(parts)
