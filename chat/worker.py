"""A worker takes the runs that are left to workers: background runs, and those whose process let go of them.

A reservation whose `host` is `worker` (or `resume`: chat/parking.py) is the job: it was written in the transaction that
began the turn, and taking it is one UPDATE, SKIP LOCKED, that raises the fence, so that each run is begun once
(docs/adr/0012). Workers look when they are told to, and every LOOK_SECONDS anyway.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import structlog

from accounts.actors import Actor
from accounts.keys import standing_actor
from accounts.selectors import actor_of_user
from agents.runtime.spec import AgentSpec
from chat import parking, recovery, selectors, tasks
from chat.finish import Continued
from chat.host import LEASE_SECONDS, Host, LiveRun
from chat.models import Run, RunTask
from core import tracing
from core.errors import PaasError
from tenants import resolve, scope
from tenants.db import aio
from tenants.scope import TenantRef
from tenants.selectors import tenant_by_id

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
MOST_AT_ONCE = 20
MOST_RUNS = 500  # of one worker, those that wait for their turn among them

# Tenant by tenant, so that one with many does not keep the others waiting.
CLAIM_SQL = """
WITH line AS (
    SELECT run_id, row_number() OVER (PARTITION BY tenant_id ORDER BY created_at) AS turn, created_at
    FROM public.usage_reservation WHERE state = 'held' AND host IN ('worker', 'resume')
)
UPDATE public.usage_reservation r
SET host = %s, fence = r.fence + 1, lease_until = now() + %s * interval '1 second'
WHERE r.run_id IN (
    SELECT e.run_id FROM public.usage_reservation e JOIN line USING (run_id)
    WHERE e.state = 'held' AND e.host IN ('worker', 'resume')
    ORDER BY line.turn, line.created_at LIMIT %s FOR UPDATE OF e SKIP LOCKED)
RETURNING r.run_id, r.tenant_id, r.fence, r.input_estimate, r.cancel_requested
"""


async def work(host: Host) -> None:
    """Take runs and have them executed here, until cancelled, or until the process stops."""
    while not host.stopping:
        host.offered.clear()
        try:
            if await take(host) == MOST_AT_ONCE:
                continue
        except PaasError as error:
            log.warning("no runs could be taken", error=error.code)
        except Exception:
            log.exception("no runs could be taken")
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await host.offered.wait()
        except TimeoutError:
            continue


async def take(host: Host) -> int:
    """Take what waits for a worker, as much as there is room for; returns how many."""
    room = min(MOST_AT_ONCE, MOST_RUNS - len(host.runs))
    if room < 1 or host.stopping:
        return 0
    asked_at = asyncio.get_running_loop().time()
    rows = await aio.database().fetch_platform(CLAIM_SQL, [host.id, LEASE_SECONDS, room])
    for row in rows:
        try:
            await _begin(host, asked_at, *row)
        except PaasError as error:
            log.warning("a run will be taken again", run=str(row[0]), error=error.code)  # when its lease has run out
        except Exception:
            log.exception("a run could not be begun", run=str(row[0]))
    return len(rows)


async def _begin(
    host: Host, asked_at: float, run_id: uuid.UUID, tenant_id: uuid.UUID, fence: int, estimate: int, stopped: bool
) -> None:
    tenant = await scope.run_in_platform(tenant_by_id, tenant_id)
    if tenant is None:
        log.error("a reservation has no tenant", run=str(run_id))
        return
    if stopped:
        await recovery.end(host, tenant, run_id, fence, estimate, stopped=True)
        return
    run, task, actor, spec, continued = await scope.run_in_tenant(tenant, _known, tenant, run_id)
    refused = _refusal(tenant, actor, task, spec)
    if refused is not None or actor is None or task is None or isinstance(spec, PaasError):
        await recovery.end(host, tenant, run_id, fence, estimate, error=refused)
        return
    live = await recovery.log_of(host, tenant, run, fence)
    live.lease_until = asked_at + LEASE_SECONDS
    found = LiveRun(live, actor, spec, tasks.turn_of(task), run.conversation_id, task["input_tokens"], continued)
    found.queued, found.stored, found.background = run.status == Run.Status.QUEUED, True, run.background
    found.door = run.door
    if "journal" in task:
        await scope.run_in_tenant(tenant, parking.resume, found, task["journal"])
    with tracing.continued(task.get("traceparent")):
        host.execute(found)


def _known(
    tenant: TenantRef, run_id: uuid.UUID
) -> tuple[Run, dict[str, Any] | None, Actor | None, AgentSpec | PaasError, Continued | None]:
    run = Run.objects.get(id=run_id)
    task = RunTask.objects.filter(run_id=run_id).values_list("task", flat=True).first()
    actor: Actor | None = None
    if tenant.status == "active":  # else _refusal says why not, and no key is judged
        if run.user_id is not None:
            actor = actor_of_user(run.user_id)
        elif run.key_id is not None:
            actor = standing_actor(run.key_id)
    spec: AgentSpec | PaasError
    try:
        spec = selectors.spec_of_run(run_id)
    except PaasError as error:
        spec = error
    return run, task, actor, spec, recovery.continued_by(run)


def _refusal(
    tenant: TenantRef, actor: Actor | None, task: dict[str, Any] | None, spec: AgentSpec | PaasError
) -> PaasError | None:
    """Why a run that was asked for earlier is not begun any more."""
    try:
        resolve.admitted(tenant)
    except PaasError as error:
        return error
    if actor is None:
        return PaasError("permission_denied")  # a member no more, or a key that is gone
    if isinstance(spec, PaasError):
        return spec
    return PaasError("run_interrupted") if task is None else None
