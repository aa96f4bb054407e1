"""A run that waits for a person lets go of its process, and goes on in a worker (docs/adr/0014).

What it goes on from, what it has used and what is to be decided are written in one transaction; its reservation is
shrunk to what it has used, and its `host` is `approval`: no process holds it until chat.approvals leaves it to the
workers, or its lease runs out.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import orjson
import structlog
from psycopg.types.json import Jsonb

from agents.runtime.events import APPROVAL_REQUESTED, SOURCE_CITED, Event
from agents.runtime.trace import Trace
from agents.tools.gate import Decision, Request
from chat import approval_mail, tasks
from chat.finish import RETRY_SECONDS
from chat.log import LogWriter, encode_events
from chat.models import Approval, Run
from chat.steps import calls_of
from core import clock
from core.errors import PaasError
from tenants import scope
from tenants.db import aio
from usage.models import Reservation

if TYPE_CHECKING:
    from chat.host import LiveRun

log = structlog.get_logger(__name__)

APPROVAL_SECONDS = 24 * 3600  # how long a call may wait for a person
PARK_SQL = "SELECT park_run(%s, %s)"
# Of a run that was stopped in the very moment in which it let go: the sweep ends it as stopped.
STOP_SQL = (
    "UPDATE public.usage_reservation SET cancel_requested = true, lease_until = now() "
    "WHERE run_id = %s AND state = 'held' AND host = 'approval' RETURNING run_id"
)


async def park(run: LiveRun, writer: LogWriter) -> Literal["parked", "stopped", "moved"]:
    """Let go of a run that waits for decisions on `run.gate.asked`. Its followers go on elsewhere.

    While the database is away this waits and tries again, like the end of a run. `stopped`: somebody wants it ended
    instead; `moved`: it is another process's already. In both cases nothing has changed.
    """
    assert run.trace is not None
    assert run.gate is not None
    expires_at = (clock.now() + timedelta(seconds=APPROVAL_SECONDS)).isoformat()
    asked = sorted(run.gate.asked, key=lambda one: (one.step.path, one.step.index))
    for one in asked:
        about = {"call_id": one.call_id, "arguments_hash": one.arguments_hash, "reason": one.reason}
        run.trace.at(one.step.path).approval(str(one.approval_id), one.spec.name, about)
    run.log.hold_end([_requested(one, expires_at) for one in asked])
    async with run.log.storing:
        answer = await _written(run, _document(run, asked, expires_at))
    if answer == "ok":
        run.log.release_held()
        await writer.flush()
        run.log.move()
        if run.stop_code == "cancelled":
            await aio.database().fetch_one(run.log.tenant, STOP_SQL, [run.log.run_id])
        else:
            await _tell(run)
        return "parked"
    run.log.hold_end([])
    if answer == "stopped":
        run.stop("cancelled")
        return "stopped"
    run.log.move()
    return "moved"


async def _tell(run: LiveRun) -> None:
    """Mail to who may decide. It waits whether or not they can be told."""
    try:
        await scope.run_in_tenant(run.log.tenant, approval_mail.tell, run.log.run_id)
    except Exception:
        log.exception("nobody could be told that a run waits", run=str(run.log.run_id))


async def _written(run: LiveRun, document: dict[str, Any]) -> str | None:
    params = [Jsonb(document, dumps=orjson.dumps), encode_events(run.log.events[run.log.stored :])]
    while True:
        if run.stop_code == "cancelled":
            return "stopped"
        try:
            row = await aio.database().fetch_one(run.log.tenant, PARK_SQL, params)
        except PaasError:
            log.warning("waiting for the database to let go of a run", run=str(run.log.run_id))
            await asyncio.sleep(RETRY_SECONDS)
            continue
        return row[0] if row is not None else None


def _document(run: LiveRun, asked: list[Request], expires_at: str) -> dict[str, Any]:
    assert run.trace is not None
    calls = calls_of(run)  # first: it says what each step of the trace has used
    return {
        "run": run.log.run_id,
        "fence": run.log.fence,
        "expires_at": expires_at,
        "calls": calls,
        "first_seq": run.log.stored + 1,
        "last_seq": len(run.log.events),
        "task": tasks.whole(run.turn, 0) | {"journal": run.trace.journal()},
        "trace": orjson.dumps(run.trace.document()).decode(),
        "tainted": run.tainted,
        "approvals": [
            {
                "id": one.approval_id,
                "call": one.call_id,
                "path": one.step.path,
                "name": one.spec.name,
                "effect": one.spec.effect,
                "arguments": orjson.dumps(one.step.input).decode(),
                "hash": one.arguments_hash,
                "reason": one.reason,
            }
            for one in asked
        ],
    }


def resume(run: LiveRun, journal: dict[str, Any]) -> None:
    """Make a run that a worker has taken go on after what `journal` says, with what was decided. Bound to its tenant.

    Whoever has begun to answer stays the run's model: no other one stands in for it any more.
    """
    held = Reservation.objects.get(run_id=run.log.run_id)
    # It takes its place among the running ones again, or waits for one.
    Run.objects.filter(id=run.log.run_id, status=Run.Status.WAITING).update(status=Run.Status.QUEUED)
    run.queued, run.resumed, run.earlier = True, True, held.calls
    run.trace = Trace.from_journal(journal)
    run.transcript.follow(run.trace.at(""), last_only=bool(run.turn.output_schema))
    run.numbers = {data["chunk_id"]: data["n"] for kind, data in run.log.events if kind == SOURCE_CITED}
    for one in Approval.objects.filter(run_id=run.log.run_id).exclude(status=Approval.Status.PENDING):
        by = str(one.decided_by or "")
        run.decisions[str(one.id)] = Decision(one.status, one.arguments_hash, by, one.note)  # type: ignore[arg-type]
    for step in run.trace.steps:
        decided = run.decisions.get(step.key) if step.kind == "approval" and not step.done else None
        if decided is not None:
            told = {"decision": decided.decision, "by": decided.by or None, "note": decided.note}
            run.trace.end(step, told, ok=decided.decision == "approved")
    run.turn = replace(run.turn, fallbacks=())
    for choice in run.spec.fallbacks:
        if (choice.provider_name, choice.model) == (held.provider, held.model):
            run.spec = run.spec.answered_by(choice)


def _requested(one: Request, expires_at: str) -> Event:
    return APPROVAL_REQUESTED, {
        "approval_id": str(one.approval_id),
        "call_id": one.call_id,
        "name": one.spec.name,
        "effect": one.spec.effect,
        "arguments": one.step.input,
        "arguments_hash": one.arguments_hash,
        "reason": one.reason,
        "expires_at": expires_at,
    } | ({"path": one.step.path} if one.step.path else {})
