"""Following a run from anywhere: from memory where it executes, else from Redis, else from PostgreSQL."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator

from redis.exceptions import RedisError

from agents.runtime.events import TERMINAL
from chat import host, selectors
from chat.log import Batch, RunMoved, decode_events
from chat.models import UNFINISHED
from core.errors import PaasError
from tenants import scope
from tenants.scope import TenantRef

LOOK_AGAIN_SECONDS = 2.0


async def follow(tenant: TenantRef, run_id: uuid.UUID, after: int = 0) -> AsyncGenerator[Batch, None]:
    """Batches of a run's events numbered above `after`, in order and without gaps, until its end.

    The caller has checked that the run is the actor's. Raises stream_gone when `after` is beyond the end
    of a run that has ended.
    """
    position = after
    live = host.current().runs.get(run_id)
    if live is not None and live.log.tenant.id == tenant.id:
        if after > len(live.log.events):
            raise PaasError("stream_gone")
        try:
            async for first, events in live.log.follow(after):
                position = first + len(events) - 1
                yield first, events
            return
        except RunMoved:
            pass
    async for first, events in _follow_elsewhere(tenant, run_id, position):
        yield first, events


async def _follow_elsewhere(tenant: TenantRef, run_id: uuid.UUID, position: int) -> AsyncGenerator[Batch, None]:
    relay = host.current().relay
    async with relay.hints(tenant, run_id) as hint:
        while True:
            hint.clear()
            batches, last = await _next_batches(tenant, run_id, position)
            for start, events in batches:
                fresh = events[max(0, position + 1 - start) :]
                if not fresh:
                    continue
                first = max(start, position + 1)
                position = first + len(fresh) - 1
                yield first, fresh
                if fresh[-1][0] in TERMINAL:
                    return
            if last is not None and not batches:
                if position > last:
                    raise PaasError("stream_gone")
                return
            if not batches:
                try:
                    async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                        await hint.wait()
                except TimeoutError:
                    continue


async def _next_batches(tenant: TenantRef, run_id: uuid.UUID, position: int) -> tuple[list[Batch], int | None]:
    """What is known beyond `position` without a gap, and the last number of a run that has ended."""
    try:
        found = await host.current().relay.read(tenant, run_id, position)
    except RedisError:
        found = []
    batches: list[Batch] = []
    for first, encoded in found:
        if first > position + 1:
            break  # Redis was away for a while; PostgreSQL has what is missing
        batches.append((first, decode_events(encoded)))
        position = first + len(batches[-1][1]) - 1
    if batches:
        return batches, None
    status, last = await scope.run_in_tenant(tenant, selectors.run_state, run_id)
    stored = await scope.run_in_tenant(tenant, selectors.stored_events, run_id, position)
    return stored, None if status in UNFINISHED else last
