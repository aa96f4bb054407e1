"""Many tenants beside few: the same requests to two platforms in turn, one with ten tenants and one with a thousand."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import uvloop

from bench.asking import PlainConnection
from bench.client import Connection, Target
from bench.leaks.world import AGENT
from bench.load import percentile
from bench.processes import descendants
from bench.scenarios.options import Options
from bench.scenarios.result import Chart, Line, Result
from bench.scenarios.turns import READ
from bench.scenarios.weighing import memory_by_role, memory_mb
from bench.schemas import FEW, REQUEST_SHARE, Platform

WARM_VISITS = 10
ASKS = 4
"""Of each kind in a visit: tenant, key and agent are remembered for two seconds, so the first of them looks them up."""


@dataclass(slots=True)
class Crowd:
    """One of the two platforms: its tenants' targets, and ms of what was asked of them."""

    child: Platform
    web: int
    targets: list[Target]
    creation: list[float]
    reads: list[float] = field(default_factory=list)
    turns: list[float] = field(default_factory=list)
    wrong: int = 0

    @classmethod
    def of(cls, tenants: int) -> Crowd:
        """A platform with so many tenants, served."""
        child = Platform(tenants)
        said: dict[str, Any] = child.say("serve")
        hosts = [host for host, _ in said["who"]]
        targets = [
            Target(f"http://{host}:{said['port']}/v1", token) for host, token in zip(hosts, said["tokens"], strict=True)
        ]
        return cls(child, said["web"], targets, said["seconds"])

    async def visit(self) -> None:
        """Reads and streamed turns of a tenant by chance."""
        target = random.choice(self.targets)
        kinds = (
            (PlainConnection, target.reading(READ), self.reads),
            (Connection, target.request(AGENT, stream=True), self.turns),
        )
        for kind, request, taken in kinds * ASKS:
            connection = await kind.open(target)
            outcome = await connection.ask(request)
            connection.close()
            if outcome.error or outcome.status != 200 or not outcome.done:
                self.wrong += 1
            else:
                taken.append((outcome.ended_at - outcome.sent_at) * 1000)

    def postgres_mb(self) -> float:
        """Proportional memory of its PostgreSQL."""
        found = memory_by_role(descendants(self.child.pid))
        return found.get("PostgreSQL", (0, 0.0, 0.0))[2]


def tenants(options: Options) -> Result:
    """Reads and turns of tenants by chance, of ten and of a thousand, on two platforms that take turns."""
    result = Result("tenants", (tenants.__doc__ or "").strip(), options.seconds)
    few = Crowd.of(FEW)
    try:
        many = Crowd.of(options.tenants)
        try:
            uvloop.run(_in_turn(few, many, options.seconds))
            _sum_up(result, few, many)
        finally:
            many.child.close()
    finally:
        few.child.close()
    return result


async def _in_turn(few: Crowd, many: Crowd, seconds: float) -> None:
    for _ in range(WARM_VISITS):
        await few.visit()
        await many.visit()
    for crowd in (few, many):
        crowd.reads.clear()
        crowd.turns.clear()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        await few.visit()
        await many.visit()
        await asyncio.sleep(0)


def _sum_up(result: Result, few: Crowd, many: Crowd) -> None:
    count = len(many.targets)
    result.figures = {
        "tenants": [FEW, count],
        "turns": len(many.turns),
        "creating one, median s": [round(statistics.median(one.creation), 3) for one in (few, many)],
        f"read p50 / p95 with {FEW}, ms": _parts(few.reads),
        f"read p50 / p95 with {count:,}, ms": _parts(many.reads),
        f"turn p50 / p95 with {FEW}, ms": _parts(few.turns),
        f"turn p50 / p95 with {count:,}, ms": _parts(many.turns),
        "resident memory of the web process, MB": [round(memory_mb(one.web)[0], 1) for one in (few, many)],
        "proportional memory of PostgreSQL, MB": [round(one.postgres_mb(), 1) for one in (few, many)],
    }
    for what, one, other in (("read", few.reads, many.reads), ("turn", few.turns, many.turns)):
        share = percentile(other, 0.5) / (percentile(one, 0.5) or 1.0)
        result.at_most(f"median {what} with {count:,} tenants by that with {FEW}", share, REQUEST_SHARE, "x")
    result.at_most("wrong answers", few.wrong + many.wrong, 0, "")
    result.charts = [
        Chart(
            "Median time", "ms", bars=True,
            lines=tuple(
                Line(f"{what}, {len(crowd.targets):,} tenants", ((0.0, percentile(values, 0.5)),))
                for what in ("read", "turn")
                for crowd in (few, many)
                for values in (crowd.reads if what == "read" else crowd.turns,)
            ),
        )
    ]  # fmt: skip


def _parts(values: list[float]) -> list[float]:
    return [round(percentile(values, fraction), 1) for fraction in (0.5, 0.95)]
