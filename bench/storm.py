"""Three times as much as the platform can do, in turns with what it can do: how much of it is done then (T15)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from bench.asking import Answers, Asker

TIMES = 3.0
WORKERS = 16
ROUNDS = 5
"""A shared machine is now faster and now slower by a third: both are measured in each of them."""
BEGINS_SECONDS = 2.0
"""The overload that lasts is measured, not the moment in which it begins."""


@dataclass(slots=True)
class Storm:
    """What came of it: answers to as many as there is capacity for, and to TIMES as many; answers a second."""

    full: Answers
    over: Answers
    capacity: float
    goodput: float

    @property
    def part(self) -> float:
        """Goodput as a part of the capacity."""
        return self.goodput / self.capacity if self.capacity else 0.0

    @property
    def slower(self) -> float:
        """The p99 of what was let in, by that at capacity."""
        return self.over.p(0.99) / (self.full.p(0.99) or 1.0)

    @property
    def without_retry_after(self) -> int:
        """Refusals that do not say when to come again."""
        return sum(not said for status, _, said in self.over.found if status in (429, 503))

    @property
    def wrong(self) -> int:
        """Answers that are neither right nor a refusal."""
        return sum(count for status, count in self.over.statuses().items() if status not in (200, 429, 503))

    def figures(self) -> dict[str, Any]:
        """What is told of it; times in ms."""
        return {
            "capacity / goodput, per s": [round(self.capacity, 1), round(self.goodput, 1)],
            "admitted p99 at capacity / at 3 x, ms": [self.full.p(0.99), self.over.p(0.99)],
            "refused p50 / p99, ms": [self.over.p(0.5, 429, 503), self.over.p(0.99, 429, 503)],
            "refused": sum(status in (429, 503) for status, _, _ in self.over.found),
            "refused without Retry-After": self.without_retry_after,
            "statuses": self.over.statuses(),
            "errors": dict(self.over.errors.most_common(3)),
        }


async def storm(asker: Asker, seconds: float, rounds: int = ROUNDS) -> Storm:
    """`seconds` for each part of each round, after a short warm-up."""
    await asker.closed_loop(4, 2)
    found = Storm(Answers(), Answers(), 0.0, 0.0)
    took = [0.0, 0.0]
    for _ in range(rounds):
        began = time.monotonic()
        full = await asker.closed_loop(WORKERS, seconds)
        took[0] += time.monotonic() - began
        found.full.found += full.found
        found.capacity = len(found.full.times(200)) / took[0]
        asking = asyncio.create_task(asker.at_rate(TIMES * found.capacity, seconds + BEGINS_SECONDS))
        await asyncio.sleep(BEGINS_SECONDS)
        asker.answers.found.clear()
        began = time.monotonic()
        over = await asking
        took[1] += time.monotonic() - began
        found.over.found += over.found
        found.over.errors.update(over.errors)
    found.goodput = len(found.over.times(200)) / took[1]
    return found
