"""Plain requests as a load: a pool of kept connections on bare sockets, an open loop and a closed one.

A general client would cost more than the requests that it measures: aiohttp takes 0.7 ms for one, this 0.1 ms.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bench.client import Connection, Outcome, Target
from bench.load import percentile

AGAIN_SECONDS = 0.1


class PlainConnection(Connection):
    """A connection whose answers are only counted: what is in them is not looked at."""

    def on_body(self, body: bytes) -> None:
        """A piece of the body, of whatever kind."""
        self._outcome.first_at = self._outcome.first_at or time.perf_counter()

    def on_message_complete(self) -> None:
        """The response is complete."""
        self._outcome.done = True
        self._finish()


class Pool:
    """Connections to one target, as many as are needed at once; who comes back is used again."""

    def __init__(self, target: Target, kind: type[Connection] = Connection) -> None:
        self._target, self._kind = target, kind
        self._idle: list[Connection] = []

    async def ask(self, request: bytes) -> Outcome:
        """One request on whatever connection is free. Never raises for what the server does."""
        connection = self._idle.pop() if self._idle else None
        if connection is None or not connection.usable:
            try:
                connection = await self._kind.open(self._target)
            except OSError as error:
                now = time.perf_counter()
                return Outcome(sent_at=now, ended_at=now, error=f"not connected: {error}")
        outcome = await connection.ask(request)
        if connection.usable:
            self._idle.append(connection)
        return outcome

    def close(self) -> None:
        """Hang up what is idle."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()


async def open_loop(ask: Callable[[], Awaitable[object]], per_second: float, seconds: float) -> None:
    """Ask rate x seconds times, one each 1/rate s, whether or not what was asked before is answered; wait for all."""
    began, tasks = time.perf_counter(), set[asyncio.Future[object]]()
    for number in range(max(1, round(per_second * seconds))):
        await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
        task = asyncio.ensure_future(ask())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)


@dataclass(slots=True)
class Answers:
    """(status, seconds, whether Retry-After was there) of plain requests; status 0: no answer, `errors` say why."""

    found: list[tuple[int, float, bool]] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def times(self, *statuses: int) -> list[float]:
        """How long the answers with these statuses took, in milliseconds."""
        return [seconds * 1000 for status, seconds, _ in self.found if status in statuses]

    def p(self, fraction: float, *statuses: int) -> float:
        """That percentile of them (200 without statuses), in milliseconds."""
        return round(percentile(self.times(*(statuses or (200,))), fraction), 1)

    def statuses(self) -> dict[int, int]:
        """How many of each."""
        return dict(Counter(status for status, _, _ in self.found))


class Asker:
    """Sends one request of a tenant to one web process, again and again; an answer counts from its asking."""

    def __init__(self, target: Target, request: bytes, kind: type[Connection] = PlainConnection) -> None:
        self.answers = Answers()
        self._pool, self._request = Pool(target, kind), request

    @classmethod
    def reading(cls, port: int, host: str, key: str, path: str) -> Asker:
        """One that reads `path` of the tenant with this host name."""
        target = Target(f"http://{host}:{port}", key)
        return cls(target, target.reading(path))

    async def __aenter__(self) -> Asker:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._pool.close()

    async def ask(self) -> int:
        """One request; its status."""
        began = time.perf_counter()
        outcome = await self._pool.ask(self._request)
        status = outcome.status if outcome.done or outcome.status >= 400 else 0
        if outcome.error:
            self.answers.errors[outcome.error[:160]] += 1
        self.answers.found.append((status, time.perf_counter() - began, outcome.retry_after))
        return status

    async def at_rate(self, per_second: float, seconds: float) -> Answers:
        """An open loop for so long; its answers."""
        self.answers = Answers()
        await open_loop(self.ask, per_second, seconds)
        return self.answers

    async def closed_loop(self, workers: int, seconds: float) -> Answers:
        """So many that ask one after the other, and after a pause where they are told to come again; their answers."""
        self.answers, until = Answers(), time.perf_counter() + seconds

        async def work() -> None:
            while time.perf_counter() < until:
                if await self.ask() in (429, 503):
                    await asyncio.sleep(AGAIN_SECONDS)

        await asyncio.gather(*(work() for _ in range(workers)))
        return self.answers
