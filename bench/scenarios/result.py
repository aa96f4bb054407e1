"""What a scenario gives back: figures, verdicts and lines for a chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.targets import Verdict


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart: (x, y) by increasing x; a gap (nothing measured) has no point."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over one axis. `unit` is y's, `along` names x; `bars`: the lines' single values side by side."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    along: str = "seconds"
    bars: bool = False


@dataclass(slots=True)
class Result:
    """One scenario. `told` says what was done, `figures` what was measured (the unit is in the name).

    `failed`: why it could not be measured, or None.
    """

    name: str
    told: str
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    failed: str | None = None

    @property
    def passed(self) -> bool:
        """Whether it was measured and missed no target; one that could not be judged in this time misses none."""
        return self.failed is None and all(one.result != "FAIL" for one in self.verdicts)

    def at_most(self, what: str, value: float, most: float, unit: str) -> None:
        """A target: `value` is at most `most`."""
        said = f"{_number(value)} {unit}".strip()
        target = f"{what}: at most {_number(most)} {unit}".strip()
        self.verdicts.append(Verdict(target, said, "PASS" if value <= most else "FAIL"))

    def at_least(self, what: str, value: float, least: float, unit: str) -> None:
        """A target: `value` is at least `least`."""
        said = f"{_number(value)} {unit}".strip()
        target = f"{what}: at least {_number(least)} {unit}".strip()
        self.verdicts.append(Verdict(target, said, "PASS" if value >= least else "FAIL"))

    def not_judged(self, target: str, why: str) -> None:
        """A target that this run says nothing about."""
        self.verdicts.append(Verdict(target, why, "NOT MEASURED"))

    def view(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"passed": self.passed}


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.3g}"


def by_second(times: Sequence[tuple[float, float]], whole: float) -> list[tuple[int, list[float]]]:
    """(second, values) of (when, value), each second from 0 to `whole`, an empty list where nothing came."""
    found: list[tuple[int, list[float]]] = [(second, []) for second in range(int(whole) + 1)]
    for when, value in times:
        if 0 <= int(when) < len(found):
            found[int(when)][1].append(value)
    return found
