"""What one of everything costs: the constants that bench/capacity.py reckons with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from bench.asking import Asker
from bench.client import Connection
from bench.scenarios.options import Options
from bench.scenarios.result import Chart, Line, Result
from bench.scenarios.stage import SLUG, Stage, declared, stage
from bench.scenarios.turns import LONG, READ, SHORT, Turns
from bench.scenarios.weighing import memory_mb, spending
from bench.subjects import PLATFORM_KEY

STREAMS = 200
SLOW = "bench-50-1000-600"
"""One token a second, for ten minutes: a stream that costs next to nothing but its memory."""
PER_S = 10.0
PARTS = ("web", "PostgreSQL", "Redis")
STORED = """
import json
from django.conf import settings
from django.db import connection
from redis import Redis
from tenants import scope
with scope.owner(), connection.cursor() as cursor:
    cursor.execute("SELECT pg_database_size(current_database()), pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
    size, wal = cursor.fetchone()
    cursor.execute("SELECT relname, sum(n_tup_ins)::bigint FROM pg_stat_user_tables GROUP BY relname")
    rows = dict(cursor.fetchall())
    cursor.execute("SELECT usename, count(*) FROM pg_stat_activity WHERE usename LIKE 'paas%' GROUP BY usename")
    connections = dict(cursor.fetchall())
redis = Redis.from_url(settings.REDIS_URL).info("memory")["used_memory"]
print(json.dumps({"size": size, "wal": wal, "rows": rows, "connections": connections, "redis": redis}))
"""


def costs(options: Options) -> Result:
    """Processor of each kind of request, memory of an open stream, what a turn leaves in PostgreSQL and Redis."""
    with stage() as place:
        declaration = declared()
        agent = {"slug": SLOW, "name": "Slow", "provider": "vendor", "model": SLOW, "instructions": ""}
        declaration["tenants"][0]["agents"].append(agent)
        place.apply(declaration)
        result = Result("costs", (costs.__doc__ or "").strip(), options.seconds)
        uvloop.run(_kinds(place, result, options.seconds / 5))
        _kept(place, result, options.seconds / 5)
        uvloop.run(_streams(place, result))
    return result


async def _kinds(place: Stage, result: Result, seconds: float) -> None:
    """Milliseconds of processor for each kind, by PARTS."""
    taken: dict[str, list[float]] = {}
    async with Asker.reading(place.platform.port, f"{SLUG}.localhost", PLATFORM_KEY, READ) as reads:
        await reads.at_rate(PER_S, 3)

        async def read() -> int:
            return len((await reads.at_rate(4 * PER_S, seconds)).times(200))

        taken["read"] = await _taken(place, read)
    for model in (SHORT, LONG):
        turns = Turns(place.target, model)
        await turns.at_rate(PER_S, 2)
        taken[f"turn of {model[1]}"] = await _taken(place, _asking(turns, seconds))
        turns.close()
    turn, token = of_a_token(taken[f"turn of {SHORT[1]}"], taken[f"turn of {LONG[1]}"])
    said = taken | {"turn without its tokens": turn, "token that comes alone": token}
    result.figures |= {f"CPU ms of a {kind}: {' / '.join(PARTS)}": _rounded(ms) for kind, ms in said.items()}
    lines = tuple(Line(kind, ((0.0, sum(ms)),)) for kind, ms in taken.items())
    result.charts.append(Chart("Processor of one: web, PostgreSQL and Redis", "ms", lines, bars=True))


def of_a_token(short: list[float], long: list[float]) -> tuple[list[float], list[float]]:
    """(a turn without its tokens, a token) from what turns of SHORT and LONG take, each by PARTS."""
    token = [(more - less) / (LONG[1] - SHORT[1]) for less, more in zip(short, long, strict=True)]
    return [less - SHORT[1] * one for less, one in zip(short, token, strict=True)], token


def _asking(turns: Turns, seconds: float) -> Callable[[], Awaitable[int]]:
    async def ask() -> int:
        turns.restart()
        await turns.at_rate(PER_S, seconds)
        return len(turns.first_ms())

    return ask


async def _taken(place: Stage, work: Callable[[], Awaitable[int]]) -> list[float]:
    async with spending(place.pids) as spent:
        count = await work()
    return [spent.of(part) / max(1, count) * 1000 for part in PARTS]


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 4 if abs(value) < 0.1 else 2) for value in values]


def _kept(place: Stage, result: Result, seconds: float) -> None:
    """What is there after so many turns that was not before."""
    target = place.target

    async def ask() -> int:
        async with Asker(target, target.run("bench-0-0-200")) as turns:
            return len((await turns.closed_loop(8, seconds)).times(200))

    before = place.code(STORED)
    count = uvloop.run(ask())
    time.sleep(2)  # what was counted by other sessions shows after a second
    after = place.code(STORED)
    result.figures |= kept_figures(before, after, count)


def kept_figures(before: dict[str, Any], after: dict[str, Any], count: int) -> dict[str, Any]:
    """A turn's share of what has grown; rows by table, those that every turn makes."""
    rows = {name: (made - before["rows"].get(name, 0)) / max(1, count) for name, made in after["rows"].items()}
    return {
        "turns of 200 tokens, each of a new conversation": count,
        "rows of a turn by table": {name: round(share, 2) for name, share in sorted(rows.items()) if share >= 0.5},
        "KB of PostgreSQL for a turn": round((after["size"] - before["size"]) / max(1, count) / 1000, 2),
        "KB of WAL for a turn": round((after["wal"] - before["wal"]) / max(1, count) / 1000, 2),
        "KB of Redis for a turn, for an hour": round((after["redis"] - before["redis"]) / max(1, count) / 1000, 2),
        "connections of one web process and one worker, by login": after["connections"],
    }


async def _streams(place: Stage, result: Result) -> None:
    """Open many that say next to nothing; what each adds to the web process."""
    target = place.target
    request = target.request(SLOW, stream=True)
    before = memory_mb(place.web)[0]
    connections = [await Connection.open(target) for _ in range(STREAMS)]
    asked = [asyncio.create_task(connection.ask(request)) for connection in connections]
    async with asyncio.timeout(60):
        while not all(connection.outcome.deltas for connection in connections):
            await asyncio.sleep(0.2)
    added = memory_mb(place.web)[0] - before
    async with spending(place.pids) as spent:
        await asyncio.sleep(5)
    for connection in connections:
        connection.close()
    await asyncio.gather(*asked, return_exceptions=True)
    result.figures |= {
        "open streams": STREAMS,
        "KB of the web process for an open stream": round(added * 1000 / STREAMS, 1),
        f"CPU ms a second of an open stream of 1 token/s: {' / '.join(PARTS)}": [
            round(spent.of(part) / 5 / STREAMS * 1000, 2) for part in PARTS
        ],
    }
