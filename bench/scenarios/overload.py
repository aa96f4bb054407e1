"""Too much: three times what the platform can do, and a neighbour who asks fifty times as much as others do."""

from __future__ import annotations

import asyncio

import uvloop

from bench.asking import Answers, Asker
from bench.client import Connection
from bench.load import percentile
from bench.scenarios.options import Options
from bench.scenarios.result import Chart, Line, Result, by_second
from bench.scenarios.stage import SLUG, Stage, declared, stage
from bench.scenarios.turns import READ, SHORT, Turns
from bench.storm import ROUNDS, TIMES, storm
from bench.subjects import PLATFORM_KEY

QUIET, QUIET_KEY = "quiet", "ak_quiet_own_value_for_loopback"
NORMAL_PER_S, LOUD_TIMES = 4.0, 50.0
USED_UP_SECONDS = 10.0
"""By then such a tenant has used up what may come at once (accounts/rates.py); the promise is about what lasts."""
WHOLE = ("bench-0-0-200", 200)


def overload(options: Options) -> Result:
    """Reads and whole answers, each in turns as many as the platform can do and three times as many."""
    with stage(apart=True) as place:
        return uvloop.run(_overload(place, options.seconds))


def noisy(options: Options) -> Result:
    """One tenant asks fifty times as often as another, under the rates of a new installation: reads and turns."""
    with stage(RATE_LIMITS="") as place:
        return uvloop.run(_noisy(place, options.seconds))


async def _overload(place: Stage, seconds: float) -> Result:
    result = Result("overload", (overload.__doc__ or "").strip(), seconds)
    target = place.target
    async with (
        Asker.reading(place.platform.port, f"{SLUG}.localhost", PLATFORM_KEY, READ) as reads,
        Asker(target, target.request(WHOLE[0], stream=False), Connection) as turns,
    ):
        for what, asker in (("reads", reads), ("turns", turns)):
            await _three_times(result, what, asker, seconds / 4)
    return result


async def _three_times(result: Result, what: str, asker: Asker, seconds: float) -> None:
    found = await storm(asker, seconds / ROUNDS)
    result.figures |= {f"{what}: {name}": value for name, value in found.figures().items()}
    result.at_least(f"{what}: goodput at {TIMES:g} x", found.part * 100, 90, "%")
    result.at_most(f"{what}: admitted p99 by that at capacity", found.slower, 2, "x")
    result.at_most(f"{what}: refused without Retry-After", found.without_retry_after, 0, "")
    result.at_most(f"{what}: answers other than 200, 429, 503", found.wrong, 0, "")


async def _noisy(place: Stage, seconds: float) -> Result:
    result = Result("noisy", (noisy.__doc__ or "").strip(), seconds)
    declaration = declared()
    declaration["tenants"] = [declaration["tenants"][0] | {"slug": QUIET, "name": "Quiet", "members": []}]
    declaration["tenants"][0]["api_keys"] = [{"name": "quiet", "scopes": ["*"], "token": QUIET_KEY}]
    place.apply(declaration)
    port, part = place.platform.port, seconds / 2
    turns, loud_turns = Turns(place.of(QUIET, QUIET_KEY), SHORT), Turns(place.target, SHORT)
    async with (
        Asker.reading(port, f"{QUIET}.localhost", QUIET_KEY, READ) as reads,
        Asker.reading(port, f"{SLUG}.localhost", PLATFORM_KEY, READ) as loud,
    ):

        async def others(lasts: float) -> tuple[Answers, list[float]]:
            since = len(turns.found)
            answers, _ = await asyncio.gather(reads.at_rate(NORMAL_PER_S, lasts), turns.at_rate(NORMAL_PER_S, lasts))
            return answers, [turn.first_ms for turn in turns.found[since:] if turn.problem is None]

        await others(3)
        turns.restart()
        quiet = await others(part)
        times = LOUD_TIMES * NORMAL_PER_S
        lasts = USED_UP_SECONDS + part
        shouting = asyncio.gather(loud.at_rate(times, lasts), loud_turns.at_rate(times / 4, lasts))
        at_first = await others(USED_UP_SECONDS)
        loud.answers.found.clear()
        beside = await others(part - 1)
        noise, _ = await shouting
    result.figures = {
        "others' reads p50 / p95 quiet, ms": [quiet[0].p(0.5), quiet[0].p(0.95)],
        "others' reads p50 / p95 beside the loud one, ms": [beside[0].p(0.5), beside[0].p(0.95)],
        "others' reads p50 / p95 in its first ten seconds, ms": [at_first[0].p(0.5), at_first[0].p(0.95)],
        "others' TTFT p50 / p95 quiet, ms": _parts(quiet[1]),
        "others' TTFT p50 / p95 beside the loud one, ms": _parts(beside[1]),
        "others' statuses": beside[0].statuses(),
        "others' wrong turns": turns.problems(),
        "the loud one's reads by status": noise.statuses(),
        "the loud one's turns, answered / refused": [len(loud_turns.first_ms()), sum(loud_turns.problems().values())],
    }
    result.at_most("others' reads p95 by that without", beside[0].p(0.95) / (quiet[0].p(0.95) or 1.0), 1.3, "x")
    result.at_most("others' TTFT p95 by that without", _parts(beside[1])[1] / (_parts(quiet[1])[1] or 1.0), 1.3, "x")
    failed = len(beside[0].found) - len(beside[0].times(200)) + sum(turns.problems().values())
    result.at_most("others' answers that were none", failed, 0, "")
    first = [(turn.at, turn.first_ms) for turn in turns.found if turn.problem is None]
    buckets = by_second(first, seconds + USED_UP_SECONDS)
    points = tuple((float(at), percentile(ms, 0.95)) for at, ms in buckets if ms)
    result.charts = [Chart("Others' time to first token, p95", "ms", (Line("p95", points),))]
    turns.close()
    loud_turns.close()
    return result


def _parts(values: list[float]) -> list[float]:
    return [round(percentile(values, fraction), 1) for fraction in (0.5, 0.95)]
