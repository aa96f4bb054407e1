"""Streamed turns as a load, each checked token for token; and the scenarios made of it: steady, burst, soak."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import uvloop

from bench.answers import token_text
from bench.asking import Asker, Pool, open_loop
from bench.client import Target
from bench.load import percentile
from bench.scenarios.options import Options
from bench.scenarios.result import Chart, Line, Result, by_second
from bench.scenarios.stage import SLUG, Stage, stage
from bench.scenarios.weighing import Spent, Weighed, memory_by_role, spending, watched
from bench.subjects import PLATFORM_KEY

READ = "/api/v1/conversations"
LONG, SHORT = ("bench-50-10-200", 200), ("bench-50-10-20", 20)
"""Models of the stand-in vendor (first token after 50 ms, then one each 10 ms), and how many tokens they give."""
FIRST_TOKEN_MS = 50.0 + 80.0
"""The vendor's own, and what the platform may take at the median (bench/targets.py)."""
WARM_SECONDS = 3.0
STEADY_PER_S = 10.0
BURST_PER_S, BURST_TIMES = 8.0, 10.0
SOAK_PER_S = 5.0
SOAK_JUDGED_S = 600.0
GROWTH = 1.05
"""Resident memory of a web process in the last third of a soak, as a multiple of that in the second."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn that was asked for: when (seconds since the load began), its first token, what was wrong with it."""

    at: float
    first_ms: float
    problem: str | None


@dataclass(slots=True)
class Turns:
    """Asks a tenant's model for streamed answers and keeps what came of it, without the texts."""

    target: Target
    model: tuple[str, int]
    found: list[Turn] = field(default_factory=list)
    began: float = 0.0
    _pool: Pool | None = None

    async def ask(self) -> None:
        """One turn."""
        self._pool = self._pool or Pool(self.target)
        name, tokens = self.model
        at = time.perf_counter() - self.began
        outcome = await self._pool.ask(self.target.request(name, stream=True))
        problem = outcome.problem("".join(token_text(tokens)))
        self.found.append(Turn(at, 0.0 if problem else outcome.ttft_ms, problem))

    async def at_rate(self, per_second: float, seconds: float) -> None:
        """An open loop for so long."""
        await open_loop(self.ask, per_second, seconds)

    def restart(self) -> None:
        """Forget what came; the clock begins anew."""
        self.found.clear()
        self.began = time.perf_counter()

    def first_ms(self, since: float = 0.0, until: float = float("inf")) -> list[float]:
        """Times to first token of right answers that were asked for in that time."""
        return [turn.first_ms for turn in self.found if turn.problem is None and since <= turn.at < until]

    def problems(self) -> dict[str, int]:
        """What was wrong, most frequent first."""
        return dict(Counter(turn.problem[:120] for turn in self.found if turn.problem).most_common(5))

    def close(self) -> None:
        """Hang up."""
        if self._pool is not None:
            self._pool.close()


def steady(options: Options) -> Result:
    """10 turns a second of 200 tokens (20 streams at once, 2,000 tokens/s), and 10 reads a second beside them."""
    with stage() as place:
        return uvloop.run(_lasting(place, Result("steady", _told(steady)), options.seconds, STEADY_PER_S))


def soak(options: Options) -> Result:
    """5 turns a second of 200 tokens and 5 reads a second for half an hour: does memory grow, do files stay open?"""
    seconds = options.soak_seconds
    with stage() as place:
        result = uvloop.run(_lasting(place, Result("soak", _told(soak)), seconds, SOAK_PER_S))
    thirds = _thirds(result.charts[-1].lines[0].points)
    growth = thirds[2] / thirds[1] if thirds[1] else 0.0
    target = f"resident memory of the web process, last third: at most {GROWTH:g} x the second third"
    result.figures["web memory by thirds, MB"] = [round(value, 1) for value in thirds]
    if seconds < SOAK_JUDGED_S:
        result.not_judged(target, f"{seconds:.0f} s are too short")
    else:
        result.at_most("resident memory of the web process, last third by the second", growth, GROWTH, "x")
    return result


def burst(options: Options) -> Result:
    """8 turns a second of 20 tokens, for a while 80 a second, then 8 again."""
    with stage() as place:
        return uvloop.run(_burst(place, options.seconds))


def _told(scenario: object) -> str:
    return (scenario.__doc__ or "").strip()


async def _lasting(place: Stage, result: Result, seconds: float, per_second: float) -> Result:
    turns = Turns(place.target, LONG)
    async with Asker.reading(place.platform.port, f"{SLUG}.localhost", PLATFORM_KEY, READ) as reads:
        await asyncio.gather(turns.at_rate(per_second, WARM_SECONDS), reads.at_rate(per_second, WARM_SECONDS))
        before = memory_by_role(place.pids())
        async with watched(place.web) as seen, spending(place.pids) as spent:
            turns.restart()
            answers, _ = await asyncio.gather(reads.at_rate(per_second, seconds), turns.at_rate(per_second, seconds))
        after = memory_by_role(place.pids())
    turns.close()
    _sum_up(result, turns, seconds, spent)
    wrong = len(answers.found) - len(answers.times(200))
    result.figures |= {"reads": len(answers.found), "reads p50 / p99, ms": [answers.p(0.5), answers.p(0.99)]}
    result.figures["memory before / after by role, MB"] = {
        role: [round(before.get(role, (0, 0.0, 0.0))[2], 1), round(after[role][2], 1)] for role in after
    }
    result.at_most("wrong answers to reads", wrong, 0, "")
    result.at_most("TTFT p50", percentile(turns.first_ms(), 0.5), FIRST_TOKEN_MS, "ms")
    result.charts = [first_token_chart(turns, seconds), *_weighed_charts(seen)]
    return result


async def _burst(place: Stage, seconds: float) -> Result:
    result, turns = Result("burst", _told(burst)), Turns(place.target, SHORT)
    await turns.at_rate(BURST_PER_S, WARM_SECONDS)
    starts, lasts = seconds / 4, min(10.0, seconds / 4)
    async with watched(place.web) as seen, spending(place.pids) as spent:
        turns.restart()

        async def wave() -> None:
            await asyncio.sleep(starts)
            await turns.at_rate(BURST_PER_S * (BURST_TIMES - 1), lasts)

        await asyncio.gather(turns.at_rate(BURST_PER_S, seconds), wave())
    turns.close()
    quiet, during = turns.first_ms(until=starts), turns.first_ms(starts, starts + lasts)
    afterwards = turns.first_ms(since=starts + lasts + 5)
    _sum_up(result, turns, seconds, spent)
    result.figures |= {
        "TTFT p50 before / in / after the burst, ms": [_ms(one, 0.5) for one in (quiet, during, afterwards)],
        "TTFT p95 before / in / after the burst, ms": [_ms(one, 0.95) for one in (quiet, during, afterwards)],
    }
    what = "TTFT p95 from 5 s after the burst on, by that before it"
    if quiet and afterwards:
        result.at_most(what, percentile(afterwards, 0.95) / percentile(quiet, 0.95), 1.5, "x")
    else:
        result.not_judged(what, f"{seconds:.0f} s are too short")
    result.charts = [first_token_chart(turns, seconds), *_weighed_charts(seen)]
    return result


def _sum_up(result: Result, turns: Turns, seconds: float, spent: Spent) -> None:
    right = turns.first_ms()
    tokens = len(right) * turns.model[1]
    result.seconds = seconds
    result.figures |= {
        "turns": len(turns.found),
        "wrong": turns.problems(),
        "tokens/s": round(tokens / seconds),
        "TTFT p50 / p95 / p99, ms": [_ms(right, fraction) for fraction in (0.5, 0.95, 0.99)],
        "CPU ms a turn, with its share of reads: web / all": [
            round(value / max(1, len(turns.found)) * 1000, 2) for value in (spent.of("web"), spent.all)
        ],
        "CPU s by role": spent.seconds,
    }
    result.at_most("wrong answers", len(turns.found) - len(right), 0, "")


def first_token_chart(turns: Turns, seconds: float) -> Chart:
    """Time to first token by the second in which it was asked for."""
    buckets = by_second([(turn.at, turn.first_ms) for turn in turns.found if turn.problem is None], seconds)
    lines = (("p50", 0.5), ("p95", 0.95))
    return Chart(
        "Time to first token",
        "ms",
        tuple(Line(name, tuple((at, percentile(ms, part)) for at, ms in buckets if ms)) for name, part in lines),
    )


def _weighed_charts(seen: Weighed) -> list[Chart]:
    return [
        Chart("Processor of the web process", "cores", (Line("cores", tuple(seen.cpu_cores)),)),
        Chart("Open files of the web process", "files", (Line("files", tuple(seen.files)),)),
        Chart("Resident memory of the web process", "MB", (Line("MB", tuple(seen.memory_mb)),)),
    ]


def _thirds(points: Sequence[tuple[float, float]]) -> list[float]:
    """The medians of the three thirds of what was seen."""
    values = [value for _, value in points]
    size = max(1, len(values) // 3)
    parts = [values[:size], values[size : 2 * size], values[2 * size :]]
    return [statistics.median(part) if part else 0.0 for part in parts]


def _ms(values: list[float], fraction: float) -> float:
    return round(percentile(values, fraction), 1)
