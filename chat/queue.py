"""Runs that wait because their tenant or their caller has as many at once as the plan allows.

Who is next is PostgreSQL's to say (`run_queue`, `admit_runs`): over all processes, caller by caller, so that somebody
with many runs does not keep the others waiting. A run waits in the process that took it, which renews its lease like
that of any other; its followers see `run.queued` with its place. Nothing is asked while nobody waits: each process that
has waiting runs looks when a run of the tenant ended (a hint), and every LOOK_SECONDS anyway.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from agents.runtime.events import run_queued
from chat.relay import Relay, queue_channel
from core import cancelling, tracing
from core.errors import PaasError
from tenants.db import aio
from tenants.scope import TenantRef

if TYPE_CHECKING:
    from chat.host import LiveRun

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
TELL_SECONDS = 2.0  # a place in the queue that changes is told that often
WAIT_SECONDS = 60.0
BACKGROUND_WAIT_SECONDS = 3600.0
# How many of a tenant, and of one caller, may wait. More are refused at once.
MOST_WAITING = {"most": 100, "own": 10}
MOST_BACKGROUND = {"most": 1000, "own": 100}

TEND_SQL = "SELECT mine, others, places FROM tend_queue(%s::uuid[])"


class RunQueue:
    """The waiting runs of this process."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._waiting: dict[uuid.UUID, dict[uuid.UUID, LiveRun]] = {}
        self._tending: dict[uuid.UUID, asyncio.Task[None]] = {}
        self._hints: dict[uuid.UUID, asyncio.Event] = {}

    def __len__(self) -> int:
        return sum(len(runs) for runs in self._waiting.values())

    def kick(self, tenant_id: uuid.UUID) -> None:
        """A run of the tenant has ended here."""
        if (hint := self._hints.get(tenant_id)) is not None:
            hint.set()

    async def close(self) -> None:
        """Stop looking."""
        await cancelling.ended(list(self._tending.values()))

    async def wait(self, run: LiveRun) -> PaasError | None:
        """Until `run` may begin, or is stopped (see its stop_code). Returns the error of one that waited too long."""
        tenant = run.log.tenant
        waiting = self._waiting.setdefault(tenant.id, {})
        waiting[run.log.run_id] = run
        if tenant.id not in self._tending:
            self._tending[tenant.id] = asyncio.create_task(self._tend(tenant))
        self.kick(tenant.id)
        try:
            patient = run.background or run.resumed
            async with asyncio.timeout(BACKGROUND_WAIT_SECONDS if patient else WAIT_SECONDS):
                await run.changed.wait()
        except TimeoutError:
            return PaasError("too_many_runs", retry_after=5)
        finally:
            del waiting[run.log.run_id]
        return None

    async def _tend(self, tenant: TenantRef) -> None:
        tracing.detach()
        told: dict[uuid.UUID, tuple[int, float]] = {}
        try:
            async with self._relay.heard(queue_channel(tenant)) as hint:
                self._hints[tenant.id] = hint
                while waiting := self._waiting[tenant.id]:
                    hint.clear()
                    try:
                        await self._let_in(tenant, waiting, told)
                    except PaasError as error:
                        log.warning("who waits could not be looked after", error=error.code, runs=len(waiting))
                    except Exception:
                        log.exception("who waits could not be looked after")
                    try:
                        async with asyncio.timeout(LOOK_SECONDS):
                            await hint.wait()
                    except TimeoutError:
                        continue
        finally:
            self._hints.pop(tenant.id, None)
            del self._tending[tenant.id]
            if not self._waiting.get(tenant.id):
                self._waiting.pop(tenant.id, None)

    async def _let_in(
        self, tenant: TenantRef, waiting: dict[uuid.UUID, LiveRun], told: dict[uuid.UUID, tuple[int, float]]
    ) -> None:
        row = await aio.database().fetch_one(tenant, TEND_SQL, [list(waiting)])
        if row is None:
            return
        mine, others, places = row
        for run_id in mine or ():
            if (run := waiting.get(run_id)) is not None:
                run.admit()
        for host in set((others or {}).values()):
            try:
                await self._relay.command(host, f"look:{tenant.id}")
            except RedisError:
                break  # they look by themselves
        now = asyncio.get_running_loop().time()
        for text, place in (places or {}).items():
            run_id = uuid.UUID(text)
            run, (known, at) = waiting.get(run_id), told.get(run_id, (0, 0.0))
            if run is not None and place != known and (not known or now - at >= TELL_SECONDS):
                told[run_id] = place, now
                if run.resumed:
                    continue  # its followers know that it waited
                run.log.append([run_queued(place)])
