"""Ends runs whose process died: what they had said is kept, what they had used is settled, nobody waits for ever.

A lease that ran out is taken over with a higher fence, so the former host, should it only have been slow, can
write nothing more. One that had not begun is left to the workers: nothing was said or used yet. The log of the others
is put together from PostgreSQL's stretches and what Redis has beyond them; since clients are shown only what Redis
has, every byte that anybody saw is in it (A71).
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import structlog
from redis.exceptions import RedisError

from agents.builtin_specs import charged_builtin
from agents.charges import charged_info
from agents.runtime.events import (
    REASONING_DELTA,
    RUN_CANCELLED,
    RUN_COMPLETED,
    RUN_FAILED,
    RUN_STARTED,
    TEXT_DELTA,
    TEXT_DISCARDED,
    TOOL_DELTA,
    TOOL_FINISHED,
    TOOL_STARTED,
    Event,
    run_started,
)
from agents.runtime.spec import Transcript
from chat import embeddings, finish, lost_calls, measures, selectors, tasks, teams
from chat.finish import Continued, Outcome
from chat.host import LEASE_SECONDS, Host
from chat.lock import lock_key
from chat.log import RunLog, decode_events
from chat.measures import Ended
from chat.models import Message, Run
from core.errors import PaasError
from llm.catalog import ModelInfo
from llm.models import ProviderAccount
from llm.tokens import estimate_tokens
from tenants import scope
from tenants.db import aio
from tenants.scope import TenantRef
from tenants.selectors import tenant_by_id
from usage.models import Reservation

log = structlog.get_logger(__name__)

# A run that no process holds.
CLAIM_ONE_SQL = (
    "UPDATE public.usage_reservation SET host = %s, fence = fence + 1, lease_until = now() + %s * interval '1 second' "
    "WHERE run_id = %s AND state = 'held' AND host IN ('worker', 'approval', 'resume') RETURNING fence, input_estimate"
)
TAKE_SQL = "SELECT * FROM public.usage_take_expired(%s, %s * interval '1 second', %s)"
MOST_AT_ONCE = 50
# How long a Redis that does not answer is waited for: part of the lease under which the runs were taken over.
REDIS_SECONDS = 8.0


async def sweep(host: Host) -> int:
    """End runs whose lease has run out; returns how many. Safe to call from several processes at once."""
    ended = 0
    rows = await aio.database().fetch_platform(TAKE_SQL, [host.id, LEASE_SECONDS, MOST_AT_ONCE])
    if rows:
        await _redis_back(host)
    for run_id, tenant_id, fence, input_estimate, cancel_requested in rows:
        try:
            tenant = await scope.run_in_platform(tenant_by_id, tenant_id)
            if tenant is None:
                log.error("a reservation has no tenant", run=str(run_id))
                continue
            if not cancel_requested and await tasks.hand_over(tenant, run_id, fence):
                await host.offer()
                continue
            ended += await end(host, tenant, run_id, fence, input_estimate, stopped=cancel_requested)
        except PaasError as error:
            log.warning("a run will be ended at the next sweep", run=str(run_id), error=error.code)
        except Exception:
            log.exception("a run could not be ended", run=str(run_id))
    return ended


async def _redis_back(host: Host) -> None:
    """Wait for a Redis that is away, for a while: what it has beyond PostgreSQL's stretches, somebody has seen."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + REDIS_SECONDS
    while loop.time() < deadline:
        try:
            await host.relay.ping()
            return
        except RedisError:
            await asyncio.sleep(0.25)


async def end_unclaimed(host: Host, tenant: TenantRef, run_id: uuid.UUID) -> None:
    """Stop a run that waits for a worker or a person. One that a worker has taken meanwhile is stopped there."""
    row = await aio.database().fetch_one(tenant, CLAIM_ONE_SQL, [host.id, LEASE_SECONDS, run_id])
    if row is not None:
        await end(host, tenant, run_id, row[0], row[1], stopped=True)


async def end(
    host: Host,
    tenant: TenantRef,
    run_id: uuid.UUID,
    fence: int,
    input_estimate: int,
    *,
    stopped: bool = False,
    error: PaasError | None = None,
) -> bool:
    """End a run that this process has taken over: as stopped, or as failed (with `error`, or as interrupted)."""
    try:
        run, info, continued, earlier = await scope.run_in_tenant(tenant, _run_and_model, run_id)
    except Run.DoesNotExist:
        await embeddings.end_lost(tenant, run_id, fence)  # those have no run
        return True
    live = await log_of(host, tenant, run, fence)
    known = len(live.events)
    # An end that was held back and never committed is not part of the run.
    live.events = [event for event in live.events if event[0] not in (RUN_COMPLETED, RUN_FAILED, RUN_CANCELLED)]
    if all(event[0] != RUN_STARTED for event in live.events):
        live.events.append(
            run_started(run.agent.slug, run.agent.name, run.version.model, run.conversation_id, run.message_id)
        )  # it died before its first word, or all of them are lost
    if any(event[0] == TOOL_STARTED for event in live.events):
        made = await scope.run_in_tenant(tenant, lost_calls.journalled, run_id)
        live.events += lost_calls.closing(live.events, made)
    if run.status == Run.Status.WAITING:
        error = error or PaasError("approval_expired")
    live.stored = min(live.stored, len(live.events))
    live.events += teams.ends_of_lost(live.events)
    live.relayed = live.released = min(known, len(live.events))
    outcome = _outcome(run, continued, live.events, stopped, error or PaasError("run_interrupted"))
    if run.version.team:
        used = finish.usage_of(Transcript(), 0, info, teams.calls_of_lost(earlier, live.events))
    else:
        used = finish.usage_of(_since(live.events, earlier), input_estimate, info, earlier)
    outcome = replace(outcome, usage=used | outcome.usage)
    done = await finish.finish(live, outcome)
    if done:
        await host.writer.flush()
        kind = run.version.provider.kind if run.version.provider else ""
        measures.count(Ended(tenant.id, run.door, kind, run.version.model, outcome))
        log.info("ended a run that nobody held any more", run=str(run_id), tenant=tenant.slug, events=known)
    return done


async def log_of(host: Host, tenant: TenantRef, run: Run, fence: int) -> RunLog:
    """The log of a run that this process has taken over, as far as anybody has seen it."""
    stored, events = await _events(host, tenant, run.id)
    live = RunLog(tenant, run.id, fence, host.writer)
    live.events = events
    live.stored = stored
    live.relayed = live.released = len(events)
    if run.conversation_id is not None:
        live.lock = lock_key(tenant, run.user_id or run.key_id, run.conversation_id)
    return live


def _run_and_model(run_id: uuid.UUID) -> tuple[Run, ModelInfo, Continued | None, list[dict[str, Any]]]:
    run = Run.objects.select_related("version__provider", "agent").get(id=run_id)
    account = run.version.provider
    held = Reservation.objects.get(run_id=run_id)
    if account is None:  # a built-in agent: what it asked was settled when the run began
        info = charged_builtin(held.provider, held.model, run.created_at)
    else:
        if (held.provider, held.model) == (account.name, run.version.model) or not held.model:
            asked = account, run.version.model
        else:  # another one stood in, or its account has a new name
            asked = ProviderAccount.objects.filter(name=held.provider).first() or account, held.model
        info = charged_info(*asked, run.created_at)  # as its host would have charged it
    return run, info, continued_by(run), held.calls


def continued_by(run: Run) -> Continued | None:
    """The answer that the run goes on with, if it is one that does. Bound to the tenant."""
    answer = Message.objects.filter(id=run.message_id).first() if run.message_id else None
    return Continued(answer.id, answer.content) if answer else None


async def _events(host: Host, tenant: TenantRef, run_id: uuid.UUID) -> tuple[int, list[Event]]:
    """How many events PostgreSQL has, and all that are known without a gap."""
    events: list[Event] = []
    for first, stretch in await scope.run_in_tenant(tenant, selectors.stored_events, run_id, 0):
        events += stretch[max(0, len(events) + 1 - first) :]
    stored = len(events)
    try:
        while found := await host.relay.read(tenant, run_id, len(events)):
            before = len(events)
            for first, encoded in found:
                if first > len(events) + 1:
                    # Redis was away for a while: what it has behind the hole is no part of the log any more.
                    await host.relay.drop(tenant, run_id)
                    return stored, events
                events += decode_events(encoded)[len(events) + 1 - first :]
            if len(events) == before:
                break
    except RedisError:
        log.warning("redis is away; a run is ended from what PostgreSQL has", run=str(run_id))
    return stored, events


def _transcript(events: list[Event]) -> Transcript:
    transcript = Transcript()
    for kind, data in events:
        if kind == TEXT_DELTA:
            transcript.text.append(data["text"])
        elif kind == TEXT_DISCARDED:
            transcript.text.clear()
        elif kind == REASONING_DELTA:
            transcript.reasoning.append(data["text"])
    transcript.deltas = sum(kind in (TEXT_DELTA, REASONING_DELTA, TOOL_DELTA) for kind, _ in events)
    return transcript


def _since(events: list[Event], earlier: list[dict[str, Any]]) -> Transcript:
    """What the last call of the model said, which nobody has written down yet; calls of tools are counted too."""
    last = events[earlier[-1]["upto"] :] if earlier else events
    found = _transcript(last)
    found.deltas += sum(estimate_tokens(str(data["arguments"])) + 1 for kind, data in last if kind == TOOL_STARTED)
    return found


def _outcome(run: Run, continued: Continued | None, events: list[Event], stopped: bool, error: PaasError) -> Outcome:
    transcript = _transcript(events)
    who: dict[str, Any] = {"user_id": run.user_id, "key_id": run.key_id, "agent_id": run.agent_id}
    return Outcome(
        status="cancelled" if stopped else "failed",
        finish_reason="cancelled" if stopped else "error",
        error=None if stopped else error,
        content=transcript.content,
        reasoning="".join(transcript.reasoning),
        conversation_id=run.conversation_id,
        message_id=finish.message_id_for(run.conversation_id, continued),
        usage=who,
        before=continued.content if continued else "",
        tainted=any(kind == TOOL_FINISHED and data.get("tainted") for kind, data in events),
    )
