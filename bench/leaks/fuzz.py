"""Runs the traffic: many operations at once, chosen at random, until the time is up or a leak is found."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import redis.asyncio as redis
from django.conf import settings

from bench.leaks import database, http, stores
from bench.leaks.ledger import Leak, Ledger, Witness
from bench.leaks.place import Operation, Place
from bench.leaks.world import World
from tenants import scope

OPERATIONS = [*database.register.operations, *http.register.operations, *stores.register.operations]
CLIENTS = 8
FAVOUR = 8
LONGEST = 60.0
KEY = re.compile(r"^(t:[0-9a-f]{32}|platform):")
"""What every key in Redis begins with."""


@dataclass(slots=True)
class Fuzz:
    """Traffic of a world against a server. Make it with `running`."""

    world: World
    chance: random.Random
    port: int
    http: aiohttp.ClientSession
    worker: bool
    clients: int = CLIENTS
    ledger: Ledger = field(default_factory=Ledger)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _once: list[Operation] = field(default_factory=list)

    async def run(
        self,
        seconds: float,
        *,
        until: Collection[str] = (),
        favour: Collection[str] = (),
        enough: Callable[[Ledger], bool] = lambda ledger: True,
    ) -> Ledger:
        """Traffic for `seconds`: each kind once, then at random; and on, for at most LONGEST, while it is not enough.

        until: kinds of traffic whose first leak ends it. favour: kinds to be chosen more often.
        """
        usable = [one for one in OPERATIONS if self.worker or not one.needs_worker]
        self._once = self.chance.sample(usable, len(usable))
        weights = [one.weight * (FAVOUR if one.name in favour else 1) for one in usable]
        self.ledger.on_leak = lambda leak: self._stop.set() if leak.operation in until else None
        with database.binds_can_be_cut():
            clients = [
                asyncio.create_task(self._client(usable, weights, random.Random(self.chance.random())))
                for _ in range(self.clients)
            ]
            stopped, began = asyncio.create_task(self._stop.wait()), time.monotonic()
            await asyncio.wait([stopped], timeout=seconds)
            while not (stopped.done() or enough(self.ledger) or time.monotonic() - began > LONGEST):
                await asyncio.wait([stopped], timeout=0.1)
            self._stop.set()
            if until:  # a broken product may keep its callers waiting
                for client in clients:
                    client.cancel()
            await asyncio.gather(*clients, return_exceptions=bool(until))
        await self._keys_in_redis()
        return self.ledger

    async def _client(self, usable: list[Operation], weights: list[float], chance: random.Random) -> None:
        while not self._stop.is_set():
            operation = self._once.pop() if self._once else chance.choices(usable, weights)[0]
            await self.once(operation, chance)
            # An error that comes at once must not keep the event loop from everybody else.
            await asyncio.sleep(0)

    async def once(self, operation: Operation, chance: random.Random) -> None:
        """One operation of one tenant; an error that it did not expect is a failure, not the end."""
        own = chance.choice(self.world.customers)
        other = database.another(self.world, own, chance)
        witness = Witness(self.ledger, operation.name, own)
        place = Place(self.world, own, other, witness, chance, self.port, self.http)
        self.ledger.operations[operation.name] += 1
        try:
            await operation.work(place)
        except Exception as error:
            self.ledger.failures[f"{operation.name}: {type(error).__name__}: {str(error)[:200]}"] += 1

    async def _keys_in_redis(self) -> None:
        """Every key that the traffic left in Redis says whose it is (P16)."""
        client: Any = redis.from_url(settings.REDIS_URL)
        async with client:
            async for key in client.scan_iter(count=1000):
                if not KEY.match(key.decode(errors="replace")):
                    self.ledger.add(Leak("keys_in_redis", "nobody", f"key {key!r} has no owner"))


@asynccontextmanager
async def running(world: World, *, seed: int = 0, worker: bool = False) -> AsyncIterator[Fuzz]:
    """A fuzz on a server of its own in this event loop; with `worker`, jobs run in a real worker too."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(http.Server())
        if worker:
            await stack.enter_async_context(working())
        limit = aiohttp.TCPConnector(limit=CLIENTS * 4)
        client = await stack.enter_async_context(
            aiohttp.ClientSession(connector=limit, cookie_jar=aiohttp.DummyCookieJar())
        )
        yield Fuzz(world, random.Random(seed), server.port, client, worker)


@asynccontextmanager
async def working() -> AsyncIterator[None]:
    """A worker as `manage.py work` runs it, in this event loop."""
    from procrastinate import PsycopgConnector
    from procrastinate.contrib.django import app
    from psycopg.conninfo import make_conninfo

    options = f"-c role={scope.PLATFORM.role} -c search_path={scope.PLATFORM.search_path}"
    connector = PsycopgConnector(conninfo=make_conninfo(settings.DATABASE_URL, options=options))
    worker = app.with_connector(connector)
    with scope.platform():
        async with worker.open_async():
            task = asyncio.create_task(
                worker.run_worker_async(concurrency=4, install_signal_handlers=False, delete_jobs="successful")
            )
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
