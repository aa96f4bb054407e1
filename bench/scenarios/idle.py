"""What is there when nobody asks for anything: the memory of everything, and a thousand open sockets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

import uvloop

from bench.asking import Asker
from bench.client import Target
from bench.scenarios.options import Options
from bench.scenarios.result import Chart, Line, Result
from bench.scenarios.stage import SLUG, Stage, declared, stage
from bench.scenarios.turns import READ
from bench.scenarios.weighing import memory_by_role, memory_mb, spending
from bench.subjects import PLATFORM_KEY
from bench.websocket import IdleSocket

IDLE_MB = 600.0
"""Everything that `make run` starts, without the local model."""
SOCKETS_MB = 60.0
"""What a thousand idle sockets may add to a web process."""
A_PERSON = 20
"""Sockets of one person or key in one process (chat.transports.websocket.MAX_SOCKETS)."""
WARM_SOCKETS = 20
AT_ONCE = 16


def idle(options: Options) -> Result:
    """Everything that `make run` starts but the local model, once it is ready and has answered a request."""
    with stage() as place:
        return uvloop.run(_idle(place, min(options.seconds, 10.0)))


def sockets(options: Options) -> Result:
    """A thousand websockets on one web process that only listen: by API keys, then, on a new one, of people."""
    result = Result("sockets", (sockets.__doc__ or "").strip(), options.seconds)
    bars = []
    for kind, credentials in (("by key", _keys), ("of people", _people)):
        with stage() as place:
            whose = [who for who in credentials(place, options.sockets) for _ in range(A_PERSON)]
            bars.append(Line(kind, ((0.0, uvloop.run(_held(place, result, kind, whose, options))),)))
    result.charts = [Chart(f"Memory that {options.sockets:,} idle sockets add", "MB", tuple(bars), bars=True)]
    return result


def _credentials_for(count: int) -> int:
    return -(-(count + WARM_SOCKETS) // A_PERSON)


def _keys(place: Stage, count: int) -> list[dict[str, str]]:
    """The headers of programs."""
    declaration = declared()
    keys = [f"ak_sockets_{number:04}_loopback_only" for number in range(_credentials_for(count))]
    declaration["tenants"][0]["api_keys"] += [
        {"name": f"sockets {number}", "scopes": ["chat:read"], "token": key} for number, key in enumerate(keys)
    ]
    place.apply(declaration)
    return [{"Authorization": f"Bearer {key}"} for key in keys]


def _people(place: Stage, count: int) -> list[dict[str, str]]:
    """The headers of browsers in which somebody is signed in."""
    number = _credentials_for(count)
    sessions = place.code(
        f"import json; from bench.scenarios.people import signed_in; print(json.dumps(signed_in({SLUG!r}, {number})))"
    )
    origin = f"http://{SLUG}.localhost:{place.platform.port}"
    return [{"Cookie": f"sessionid={session}", "Origin": origin} for session in sessions]


async def _idle(place: Stage, seconds: float) -> Result:
    result = Result("idle", (idle.__doc__ or "").strip(), seconds)
    async with Asker.reading(place.platform.port, f"{SLUG}.localhost", PLATFORM_KEY, READ) as reads:
        await reads.at_rate(1, 1)
    async with spending(place.pids) as spent:
        await asyncio.sleep(seconds)
    found = memory_by_role(place.pids())
    whole = sum(proportional for _, _, proportional in found.values())
    result.figures = {
        f"{role}: processes, resident / proportional MB": [count, round(resident, 1), round(proportional, 1)]
        for role, (count, resident, proportional) in sorted(found.items())
    }
    result.figures["CPU ms a second, all"] = round(spent.all / seconds * 1000, 1)
    result.at_most("proportional memory of everything, without the local model", whole, IDLE_MB, "MB")
    lines = tuple(Line(role, ((0.0, proportional),)) for role, (_, _, proportional) in sorted(found.items()))
    result.charts = [Chart("Proportional memory when idle", "MB", lines, bars=True)]
    return result


async def _held(place: Stage, result: Result, kind: str, whose: Sequence[Mapping[str, str]], options: Options) -> float:
    """Open so many and hold them; the MB that they add to the web process."""
    target, count = Target(f"http://{SLUG}.localhost:{place.platform.port}"), options.sockets
    found = await _opened(target, whose[:WARM_SOCKETS])  # what the first ones load is not theirs
    before = memory_mb(place.web)[0]
    found += await _opened(target, whose[WARM_SOCKETS : WARM_SOCKETS + count])
    await asyncio.sleep(3)
    async with spending(place.pids) as spent:
        await asyncio.sleep(options.seconds / 4)
    added = memory_mb(place.web)[0] - before
    lost = Counter(one.closed for one in found if one.closed is not None)
    for one in found:
        one.close()
    await asyncio.sleep(1)
    result.figures |= {
        f"{kind}: KB a socket": round(added * 1000 / count, 1),
        f"{kind}: CPU ms a socket and minute, web / all": [
            round(value / (options.seconds / 4) / count * 60_000, 1) for value in (spent.of("web"), spent.all)
        ],
        f"{kind}: heartbeats and the like that came": sum(one.frames for one in found),
        f"{kind}: close codes": dict(lost),
    }
    result.at_most(f"{kind}: a thousand idle sockets", added * 1000 / count, SOCKETS_MB, "MB")
    result.at_most(f"{kind}: sockets that were closed meanwhile", lost.total(), 0, "")
    return added


async def _opened(target: Target, whose: Sequence[Mapping[str, str]]) -> list[IdleSocket]:
    """A socket for each, some at a time."""
    found: list[IdleSocket] = []
    for at in range(0, len(whose), AT_ONCE):
        found += await asyncio.gather(*(IdleSocket.open(target, "/ws/chat/", who) for who in whose[at : at + AT_ONCE]))
    return found
