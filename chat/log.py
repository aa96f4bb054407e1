"""A run's log while the run lives here: numbered events, released to followers once Redis has them.

Every event gets the next number at once. Followers see it as soon as the write that carries it to Redis has
been acknowledged, so whatever a client has seen survives this process (A71). Writes are batched for all runs
of the process in one pipeline: the first token of a run and its end go at once, the rest every
FLUSH_SECONDS. With Redis away, events are released without it and PostgreSQL's checkpoints are the backstop.
The end of a run is held back until PostgreSQL has committed it: a client that reads "completed" finds the
message stored and the tokens settled.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence

import orjson
import structlog
from redis.exceptions import RedisError

from agents.runtime.events import MODEL_CHANGED, REASONING_DELTA, RUN_STARTED, TEXT_DELTA, TOOL_DELTA, Event
from chat.relay import Entry, Relay
from tenants.scope import TenantRef

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 0.02
REDIS_PAUSE_SECONDS = 2.0
FIRST_WORDS = (TEXT_DELTA, REASONING_DELTA, TOOL_DELTA)

Batch = tuple[int, list[Event]]  # (number of the first event, consecutive events)


class RunMoved(Exception):
    """Another process has taken this run over; follow it there."""


def encode_events(events: Sequence[Event]) -> bytes:
    """Events as they are stored in Redis and PostgreSQL: a JSON list of [type, data]."""
    return orjson.dumps(events)


def decode_events(stored: bytes) -> list[Event]:
    """The inverse of `encode_events`."""
    return [(kind, data) for kind, data in orjson.loads(stored)]


class RunLog:
    """The live log of one run in the process that executes it.

    shown_live False: nobody is shown anything before the end (a call whose answer is wanted whole), so Redis
    has no part in it; PostgreSQL gets the log like any other.
    """

    def __init__(
        self, tenant: TenantRef, run_id: uuid.UUID, fence: int, writer: LogWriter, *, shown_live: bool = True
    ) -> None:
        self.tenant = tenant
        self.run_id = run_id
        self.fence = fence
        self.events: list[Event] = []
        self.released = 0
        self.relayed = 0
        self.stored = 0
        self.stored_at = asyncio.get_running_loop().time()
        self.storing = asyncio.Lock()
        self.ended = False
        self.moved = False
        self.shown_live = shown_live
        self.lock = ""  # on its conversation; let go with the end (chat/lock.py)
        self._spoken = False
        self.spoken_at: float | None = None  # when the first token came, by time.perf_counter
        self.lease_until = math.inf  # in the event loop's time
        self._held_from: int | None = None
        self._writer = writer
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def writable(self) -> int:
        """How many events may leave this process: all but a held end."""
        return len(self.events) if self._held_from is None else self._held_from

    def append(self, events: Sequence[Event]) -> None:
        """Give `events` the next numbers and have them written. TypeError for what JSON cannot hold."""
        encode_events(events)  # fails here, in its own run, and not in the writer of all runs
        self.events.extend(events)
        if self.spoken_at is None and events[0][0] in FIRST_WORDS:
            self.spoken_at = time.perf_counter()
        if events[0][0] in (RUN_STARTED, MODEL_CHANGED):
            return  # nobody waits for them: they go with the first token, or with the next look at what is due
        self._writer.mark(self, urgent=not self._spoken)
        self._spoken = True

    def hold_end(self, events: Sequence[Event]) -> None:
        """Append the run's last events without letting them out yet."""
        if self._held_from is None:
            self._held_from = len(self.events)
        del self.events[self._held_from :]
        self.events.extend(events)

    def release_held(self) -> None:
        """Let out what was held, which is not the end: PostgreSQL has it, and the run waits."""
        self._held_from = None
        self.stored = len(self.events)
        self._writer.mark(self, urgent=True)

    def release_end(self) -> None:
        """Let the held end out: PostgreSQL has it."""
        self._held_from = None
        self.ended = True
        self.stored = len(self.events)
        self._writer.mark(self, urgent=True)

    def renew(self, until: float) -> None:
        """The lease holds until then; what was kept back meanwhile goes out."""
        self.lease_until = until
        if self.writable > self.released:
            self._writer.mark(self, urgent=True)

    def move(self) -> None:
        """The run is another process's now: followers go there, nothing more is written from here."""
        self.moved = True
        self._wake()

    def release(self, count: int) -> None:
        """Show followers the first `count` events."""
        self.relayed = self.released = count
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def follow(self, after: int) -> AsyncGenerator[Batch, None]:
        """Batches of events numbered above `after`, until the end. Raises RunMoved."""
        position = after
        while True:
            if self.moved:
                raise RunMoved
            if position < self.released:
                batch = self.events[position : self.released]
                first, position = position + 1, self.released
                yield first, batch
            elif self.ended and position >= len(self.events):
                return
            else:
                waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiters.append(waiter)
                await waiter


class LogWriter:
    """Carries the logs of all runs of this process to Redis, in batches."""

    def __init__(self, relay: Relay, on_away: Callable[[], None] = lambda: None) -> None:
        """on_away: called when Redis is found to be away."""
        self._relay = relay
        self.on_away = on_away
        self._dirty: dict[RunLog, None] = {}
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._probing: asyncio.Task[None] | None = None  # while Redis is away
        self._flushing = asyncio.Lock()

    def mark(self, run: RunLog, *, urgent: bool) -> None:
        """Note that `run` has events to write; now when `urgent`, else with the next batch."""
        self._dirty[run] = None
        if urgent:
            self._due.set()
        elif self._timer is None and not self._due.is_set():
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._not_before), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._due.set()

    async def run(self) -> None:
        """Write batches for ever; the host's task."""
        try:
            while True:
                await self._due.wait()
                await self.flush()
        finally:
            if self._probing is not None:
                self._probing.cancel()

    async def flush(self) -> None:
        """Write everything that is waiting.

        A run whose lease may have run out stays waiting until the next heartbeat says whose it is: after a long
        stop of this process somebody else may have ended it already (P46).
        """
        async with self._flushing:
            self._due.clear()
            loop = asyncio.get_running_loop()
            now = loop.time()
            batch = [run for run in self._dirty if not run.moved and run.lease_until > now]
            self._dirty = {run: None for run in self._dirty if not run.moved and run.lease_until <= now}
            counts = [run.writable for run in batch]
            if self._probing is None:
                try:
                    await self._relay.write(
                        [
                            _entry(run, count)
                            for run, count in zip(batch, counts, strict=True)
                            if count > run.relayed and run.shown_live
                        ]
                    )
                except RedisError as error:
                    log.warning("redis is away; streams go on without it", error=type(error).__name__)
                    self.on_away()
                    self._probing = asyncio.create_task(self._until_redis_is_back())
            # Once more: this process may have been stopped on the way to Redis, and what it wrote refused there.
            now = loop.time()
            for run, count in zip(batch, counts, strict=True):
                if run.lease_until > now:
                    run.release(count)
                else:
                    self._dirty[run] = None
            self._not_before = loop.time() + FLUSH_SECONDS

    async def _until_redis_is_back(self) -> None:
        """Asked beside the streams, which must not wait for a Redis that hangs more than once (A45)."""
        while True:
            await asyncio.sleep(REDIS_PAUSE_SECONDS)
            try:
                await self._relay.ping()
            except RedisError:
                continue
            self._probing = None
            log.info("redis is back")
            return


def _entry(run: RunLog, count: int) -> Entry:
    """What `run` has gained up to its event `count`, for its stream."""
    events = encode_events(run.events[run.relayed : count])
    return run.tenant, run.run_id, run.relayed + 1, count, events, run.ended and count == len(run.events), run.lock
