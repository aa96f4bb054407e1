"""Whether the fuzz would notice: each seeded leak must be reported, by the traffic that is bound to meet it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from django.conf import settings
from django.db import connections
from redis import Redis

from bench.leaks.fuzz import KEY, running
from bench.leaks.ledger import Ledger
from bench.leaks.seeds import SEEDS, Seed
from bench.leaks.world import World


def forget() -> None:
    """Drop what a broken product may have left: pooled connections, remembered values, keys without owner."""
    from accounts import keys
    from agents import access
    from tenants import resolve

    connections.close_all()
    connections["default"].close_pool()  # type: ignore[attr-defined]  # PostgreSQL's wrapper has it
    for memory in (keys, access, resolve):
        memory.forget_all()
    with Redis.from_url(settings.REDIS_URL) as client:
        for key in client.scan_iter():
            if not KEY.match(key.decode(errors="replace")):
                client.delete(key)


async def attempt(seed: Seed, world: World, random_seed: int, seconds: float) -> Ledger:
    """Traffic on the product with one defence down, until a leak is seen or the time is up.

    The kinds of traffic that should see it come more often, so that this is quick; all the others go on.
    """
    with seed.break_():
        async with running(world, seed=random_seed) as fuzz:
            return await fuzz.run(seconds, until=seed.met_by, favour=seed.met_by | seed.needs)


def seeded(world: World, random_seed: int, seconds: float) -> Iterator[tuple[str, float, str]]:
    """(seed's name, seconds it took, the leak as reported or "") for each seed."""
    for seed in SEEDS:
        forget()
        started = time.monotonic()
        ledger = asyncio.run(attempt(seed, world, random_seed, seconds))
        met = [leak for leak in ledger.leaks if leak.operation in seed.met_by]
        yield seed.name, time.monotonic() - started, str(met[0]) if met else ""
    forget()
