"""What others notice of a crowd: half-open requests, open streams, three times too many requests, one loud tenant.

The crowd and the platform share the machine's cores here, so what is measured is rather too bad than too good.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp

from bench.asking import Asker
from bench.chaos.holding import holding
from bench.chaos.place import Servers, straight
from bench.storm import storm

if TYPE_CHECKING:
    from bench.chaos.targets import Measured

READ = "/api/v1/conversations"
HALF_OPEN, SLOW_READERS, HOLD_SECONDS = 500, 200, 300.0
OPEN_STREAMS, POOL = 200, 10
OVERLOAD_SECONDS = 5.0
OTHER = ("other.localhost", "ak_other_own_value_for_loopback")


@asynccontextmanager
async def crowd(works: list[Callable[[], Coroutine[Any, Any, None]]]) -> AsyncIterator[None]:
    """These go on while the block runs."""
    tasks = [asyncio.create_task(work()) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def t13(servers: Servers, seed: int) -> Measured:
    """500 half-open requests and 200 readers that take a byte now and then, again and again for five minutes."""
    from bench.chaos.__main__ import KEY, loaded
    from bench.chaos.targets import Measured

    async with (
        loaded(servers, webs=1, workers=1, environment=straight()) as place,
        Asker.reading(place.webs[0].port, place.host, KEY, READ) as asker,
    ):
        await asker.at_rate(15, 10)  # a process's first requests are slow, and would make any crowd look harmless
        quiet = await asker.at_rate(15, 20)
        async with holding(place.webs[0].port, place.host, KEY, HALF_OPEN, SLOW_READERS) as found:
            await asyncio.sleep(5)
            held = await asker.at_rate(15, HOLD_SECONDS)
    longest = max(found.closed, default=0.0)
    figures = {
        "plain p99 quiet / held, ms": [quiet.p(0.99), held.p(0.99)],
        "plain p50 quiet / held, ms": [quiet.p(0.5), held.p(0.5)],
        "statuses held": held.statuses(),
        "half-open closed": len(found.closed),
        "half-open closed after, max s": round(longest, 1),
        "answers read slowly": found.read,
        "seconds": HOLD_SECONDS,
    }
    enough = len(found.closed) >= HALF_OPEN and found.read >= SLOW_READERS
    good = held.p(0.99) <= 2 * quiet.p(0.99) and enough and longest <= 15 and set(held.statuses()) == {200}
    return Measured("T13", "plain p99 <= 2 x quiet; half-open closed in <= 15 s", figures, good)


async def t14(servers: Servers, seed: int) -> Measured:
    """200 open streams in a process with a pool of 10."""
    from bench.chaos.__main__ import KEY, loaded
    from bench.chaos.targets import Measured

    environment = straight() | {"DATABASE_POOL_SIZE": str(POOL)}
    opened = Counter[int]()
    async with loaded(servers, webs=1, workers=1, environment=environment) as place:
        port = place.webs[0].port
        headers = {"Host": place.host, "Authorization": f"Bearer {KEY}", "Accept": "text/event-stream"}
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(None)
        async with aiohttp.ClientSession(headers=headers, connector=connector, timeout=timeout) as client:

            async def stream() -> None:
                body = {"agent": "silent", "message": "wait"}
                async with client.post(f"http://127.0.0.1:{port}/api/v1/runs", json=body) as answer:
                    opened[answer.status] += 1
                    async for _ in answer.content:
                        continue

            async with crowd([stream] * OPEN_STREAMS), Asker.reading(port, place.host, KEY, READ) as asker:
                while opened.total() < OPEN_STREAMS:
                    await asyncio.sleep(0.1)
                answers = await asker.at_rate(20, 20)
    figures = {
        "streams open": opened[200],
        "plain p50 / p99, ms": [answers.p(0.5), answers.p(0.99)],
        "statuses": answers.statuses(),
    }
    good = opened[200] == OPEN_STREAMS and answers.p(0.99) <= 150 and set(answers.statuses()) == {200}
    return Measured("T14", "plain p99 <= 150 ms, no waits for the pool", figures, good)


async def t15(servers: Servers, seed: int) -> Measured:
    """Three times what the process can do."""
    from bench.chaos.__main__ import KEY, loaded
    from bench.chaos.targets import Measured

    async with (
        loaded(servers, webs=1, workers=1, environment=straight()) as place,
        Asker.reading(place.webs[0].port, place.host, KEY, READ) as asker,
    ):
        found = await storm(asker, OVERLOAD_SECONDS)
    good = (
        found.part >= 0.9
        and found.slower <= 2
        and found.over.p(0.99, 429, 503) <= 50
        and not found.without_retry_after
        and not found.wrong
    )
    figures = found.figures() | {"goodput at 3 x": f"{found.part:.0%}"}
    return Measured("T15", "goodput >= 90 %; admitted p99 <= 2 x; refused in <= 50 ms with Retry-After", figures, good)


async def t16(servers: Servers, seed: int) -> Measured:
    """One tenant asks fifty times as much as the others do, under the rates of a new installation.

    At first it has what it may ask in a minute, and the gate alone stands before the others; once that is used up, it
    gets its rate and is refused the rest. The promise is about what lasts.
    """
    from bench.chaos.__main__ import KEY, loaded
    from bench.chaos.targets import Measured

    normal = 4.0
    async with loaded(servers, webs=1, workers=1, environment=straight() | {"RATE_LIMITS": ""}) as place:
        port = place.webs[0].port
        async with Asker.reading(port, place.host, KEY, READ) as loud, Asker.reading(port, *OTHER, READ) as other:
            await other.at_rate(normal, 4)
            quiet = await other.at_rate(normal, 20)
            shouting = asyncio.create_task(loud.at_rate(50 * normal, 82))
            await asyncio.sleep(2)
            first = await other.at_rate(normal, 15)
            await asyncio.sleep(43)
            loud.answers.found.clear()
            beside = await other.at_rate(normal, 20)
            noise = await shouting
    figures = {
        "others' p95 quiet / at first / lasting, ms": [quiet.p(0.95), first.p(0.95), beside.p(0.95)],
        "others' p50 quiet / at first / lasting, ms": [quiet.p(0.5), first.p(0.5), beside.p(0.5)],
        "others' statuses": beside.statuses(),
        "the loud tenant's statuses, lasting": noise.statuses(),
        "refused p50 / p99, ms": [noise.p(0.5, 429, 503), noise.p(0.99, 429, 503)],
    }
    good = beside.p(0.95) <= 1.3 * quiet.p(0.95) and set(beside.statuses()) == {200}
    return Measured("T16", "others' p95 <= 1.3 x", figures, good)


TARGETS = {"T13": t13, "T14": t14, "T15": t15, "T16": t16}
