"""Bar charts of days as values for a template: the server draws them, no script does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

# The drawing's own units; about the size in which it is shown, so that its text is as large as the page's small print.
WIDTH, HEIGHT, GAP = 320, 96, 0.25


@dataclass(frozen=True, slots=True)
class Bar:
    """A day: where it is drawn, and what it says."""

    day: date
    x: str
    y: str
    width: str
    height: str
    said: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One bar a day. name: of its elements; label: what it shows; total, most: in words."""

    name: str
    label: str
    total: str
    most: str
    bars: list[Bar]

    @property
    def first(self) -> date:
        return self.bars[0].day

    @property
    def last(self) -> date:
        return self.bars[-1].day


def chart(
    name: str,
    label: str,
    values: Sequence[tuple[date, Decimal | int]],
    said: Callable[[Decimal | int], str],
) -> Chart:
    """A chart of these days, at least one. said: an amount in words."""
    most = max(value for _day, value in values)
    step = WIDTH / len(values)
    bars = []
    for number, (day, value) in enumerate(values):
        # What is little is still seen.
        height = max(1.5, float(value) / float(most) * HEIGHT) if value > 0 else 0.0
        x, y = number * step + step * GAP / 2, HEIGHT - height
        bars.append(Bar(day, f"{x:.2f}", f"{y:.2f}", f"{step * (1 - GAP):.2f}", f"{height:.2f}", said(value)))
    return Chart(name, label, said(sum((value for _day, value in values), Decimal(0))), said(most), bars)
