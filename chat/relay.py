"""The Redis side of run logs: a stream per run that carries events, and hints that wake readers.

`t:<tenant>:run:<id>` holds entries whose id is the number of their last event; a hint is an empty message on
a channel of the same name. Hints may be lost: readers look again every few seconds anyway (P31, P46).
"""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import redis.asyncio as redis
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from core.redis_client import NAMELESS, client, mortal
from tenants.cache import tenant_key
from tenants.scope import TenantRef

log = structlog.get_logger(__name__)

KEEP_SECONDS = 3600
READ_COUNT = 200

# All runs' entries in one command: redis-py's cost is per command, and a process has hundreds of runs (a third
# of a relayed token's cost was its pipeline of XADD, EXPIRE and PUBLISH). "equal or smaller": another process
# went on with this run; PostgreSQL's fence decides. Any other refusal (a full Redis) is the caller's error.
# At the end of a run its conversation is free (chat/lock.py), and who waits in the tenant's queue may look again.
APPEND_LUA = """
for i, key in ipairs(KEYS) do
    local first, last, events, keep, ended, lock, run = unpack(ARGV, 7 * i - 6, 7 * i)
    local done = redis.pcall('XADD', key, last .. '-0', 'f', first, 'e', events)
    if type(done) == 'table' and done.err and not string.find(done.err, 'equal or smaller', 1, true) then
        return done
    end
    if keep ~= '0' then redis.call('EXPIRE', key, keep) end
    redis.call('PUBLISH', key, '')
    if ended == '1' then
        if lock ~= '' then
            local holder = redis.call('GET', lock)
            if holder and string.sub(holder, 1, #run) == run then redis.call('DEL', lock) end
        end
        redis.call('PUBLISH', string.match(key, '^(.-):run:') .. ':queue', '')
    end
end
return #KEYS
"""

# tenant, run, first, last, encoded events, the end?, the lock on its conversation
Entry = tuple[TenantRef, uuid.UUID, int, int, bytes, bool, str]


def run_key(tenant: TenantRef, run_id: uuid.UUID) -> str:
    """The stream's key and the hint channel's name."""
    return tenant_key(tenant, "run", run_id.hex)


def queue_channel(tenant: TenantRef) -> str:
    """Where it is said that a run of the tenant has ended."""
    return tenant_key(tenant, "queue")


def host_channel(host: str) -> str:
    """Where a process hears what is asked of it."""
    return f"platform:host:{host}"


class Relay:
    """One process's connections to Redis for run logs."""

    def __init__(self, url: str, host: str, on_command: Callable[[str], None], *, also: Sequence[str] = ()) -> None:
        """also: other names under which this process hears commands."""
        once = Retry(NoBackoff(), 1)  # a pooled connection may be stale after Redis restarted
        self.client = client(url, patience=1.0, retry=once)
        self._append = self.client.register_script(APPEND_LUA)
        # Blocking reads need a connection without a read timeout: redis-py's default of 5 s ends idle ones.
        self._listener = redis.from_url(url, socket_timeout=None, socket_connect_timeout=1.0, driver_info=NAMELESS)
        pool: Any = self._listener.connection_pool
        pool.connection_class = mortal(pool.connection_class)
        self._pubsub = self._listener.pubsub(ignore_subscribe_messages=True)
        self._names = [host_channel(name) for name in (host, *also)]
        self._on_command = on_command
        self._subscribing = asyncio.Lock()  # two at once would each open a connection, and one be lost
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)

    async def close(self) -> None:
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]
        await self._listener.aclose()
        await self.client.aclose()

    async def ping(self) -> None:
        """Raise RedisError when Redis does not answer."""
        await self.client.ping()

    async def write(self, entries: Sequence[Entry]) -> None:
        """Append entries to their streams and hint at them; one round trip. Raises RedisError."""
        if not entries:
            return
        keys = [run_key(tenant, run_id) for tenant, run_id, *_ in entries]
        args: list[bytes | int | str] = []
        for _, run_id, first, last, events, end, lock in entries:
            # At the end again: a stream that Redis lost meanwhile was made anew.
            args += (first, last, events, KEEP_SECONDS if first == 1 or end else 0, int(end), lock, str(run_id))
        await self._append(keys=keys, args=args)

    async def read(self, tenant: TenantRef, run_id: uuid.UUID, after: int) -> list[tuple[int, bytes]]:
        """(first number, encoded events) of entries that end above `after`, oldest first. Raises RedisError."""
        found: Any = await self.client.xrange(run_key(tenant, run_id), min=f"({after}-0", count=READ_COUNT)
        return [(int(fields[b"f"]), fields[b"e"]) for _, fields in found]

    async def drop(self, tenant: TenantRef, run_id: uuid.UUID) -> None:
        """Forget a run's stream."""
        await self.client.delete(run_key(tenant, run_id))

    async def command(self, host: str, text: str) -> None:
        """Tell another process something (`cancel:<run>`); it may not hear it. Raises RedisError."""
        await self.client.publish(host_channel(host), text)

    def hints(self, tenant: TenantRef, run_id: uuid.UUID) -> AbstractAsyncContextManager[asyncio.Event]:
        """An event that is set whenever the run may have news."""
        return self.heard(run_key(tenant, run_id))

    @asynccontextmanager
    async def heard(self, channel: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever something is said on a channel, and when something may have been missed."""
        event = asyncio.Event()
        waiting = self._waiting[channel]
        waiting.add(event)
        try:
            if len(waiting) == 1:
                await self._subscribe(channel)
            yield event
        finally:
            waiting.discard(event)
            if not waiting:
                self._waiting.pop(channel, None)
                await self._unsubscribe(channel)

    async def _subscribe(self, channel: str) -> None:
        try:
            async with self._subscribing:
                await self._pubsub.subscribe(channel)
        except RedisError:
            log.info("no hints while redis is away", channel=channel)

    async def _unsubscribe(self, channel: str) -> None:
        try:
            await self._pubsub.unsubscribe(channel)
        except RedisError:
            log.info("redis is away", channel=channel)

    async def listen(self) -> None:
        """Hear hints and commands for ever; the host's task. Reconnects by itself."""
        while True:
            try:
                async with self._subscribing:
                    await self._pubsub.subscribe(*self._names)
                self._wake_all()
                async for message in self._pubsub.listen():
                    self._heard(message)
            except (RedisError, OSError) as error:
                log.info("redis is away", error=type(error).__name__)
                await asyncio.sleep(0.5)

    def _heard(self, message: dict[str, Any]) -> None:
        channel = message["channel"].decode()
        if channel in self._names:
            self._on_command(message["data"].decode())
        for event in self._waiting.get(channel, ()):
            event.set()

    def _wake_all(self) -> None:
        for events in self._waiting.values():
            for event in events:
                event.set()
