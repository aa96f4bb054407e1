"""Asks what is due, as who set it: the worker's part of schedules.

A look at a tenant is one transaction: what has ended is written down, each due schedule gets its ScheduledRun and its
next time, and what is to be started is taken. A ScheduledRun is what starts a run; it is also the run's id, so
however often a start is tried, after whatever was killed, there is one run. What was missed while no worker ran
was due once.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import Q

from accounts import audit
from accounts.actors import Actor
from accounts.policies import AGENTS_EXECUTE, CHAT_WRITE
from accounts.selectors import actor_of_user
from chat import turns
from chat.models import Conversation, Run, Schedule, ScheduledRun
from chat.schedules import next_alarm, timing_of
from chat.turns import TurnRequest
from core import clock
from core.errors import PaasError, from_exception
from tenants import scope
from tenants.alarms import alarm_set, tenants_due
from tenants.scope import TenantRef

log = structlog.get_logger(__name__)

JOB = "job:chat.run_schedules"
MOST_AT_ONCE = 50  # of a tenant, in one look
TAKEN_FOR = timedelta(seconds=60)  # after that, whoever took it to start it is taken to be dead
KEPT_RUNS = 200  # of a schedule
Outcome = ScheduledRun.Outcome
OUTCOMES = {"completed": Outcome.COMPLETED, "failed": Outcome.FAILED, "cancelled": Outcome.CANCELLED}


async def sweep() -> int:
    """Start what is due in all active tenants; returns how many runs. Safe in several workers at once."""
    started = 0
    for tenant in await scope.run_in_platform(tenants_due, clock.now()):
        try:
            for due_id in await scope.run_in_tenant(tenant, take_due):
                started += await _start(tenant, due_id)
        except PaasError as error:
            log.warning("schedules wait for the next sweep", tenant=tenant.slug, error=error.code)
        except Exception:
            log.exception("schedules of a tenant could not be run", tenant=tenant.slug)
    return started


def take_due() -> list[uuid.UUID]:
    """Write down what has ended and what is due; returns what is now the caller's to start."""
    now = clock.now()
    with transaction.atomic():
        _collect(now)
        due = Schedule.objects.select_for_update(skip_locked=True).filter(enabled=True, next_run_at__lte=now)
        for schedule in due.order_by("next_run_at")[:MOST_AT_ONCE]:
            assert schedule.next_run_at is not None
            ScheduledRun.objects.create(schedule=schedule, due_at=schedule.next_run_at)
            schedule.next_run_at = timing_of(schedule).after(now, schedule.next_run_at)
            schedule.save(update_fields=["next_run_at"])
            kept = schedule.runs.order_by("-id").values("id")[:KEPT_RUNS]
            schedule.runs.exclude(id__in=kept).delete()
        free = Q(taken_at=None) | Q(taken_at__lt=now - TAKEN_FOR)
        waiting = ScheduledRun.objects.select_for_update(skip_locked=True).filter(
            free, outcome=Outcome.DUE, ended_at=None
        )
        taken = list(waiting.order_by("id")[:MOST_AT_ONCE].values_list("id", flat=True))
        ScheduledRun.objects.filter(id__in=taken).update(taken_at=now)
        alarm_set(next_alarm)
    return taken


def _collect(now: datetime) -> None:
    """Take over how started runs have ended."""
    begun = ScheduledRun.objects.filter(outcome=Outcome.STARTED, ended_at=None)
    started = begun.select_for_update(skip_locked=True, of=("self",))
    runs = Run.objects.in_bulk(list(started.values_list("id", flat=True)))
    for one in started.select_related("schedule"):
        run = runs.get(one.id)
        if run is not None and run.status not in OUTCOMES:  # it runs, or waits to
            continue
        one.outcome = OUTCOMES[run.status] if run else Outcome.FAILED
        one.code, one.message = (run.error_code, run.error_message) if run else ("not_found", "")
        one.ended_at = (run.finished_at if run else None) or now
        one.save(update_fields=["outcome", "code", "message", "ended_at"])
        _count(one)


def _count(one: ScheduledRun) -> None:
    """Count failures in a row; too many stop the schedule."""
    schedule = Schedule.objects.select_for_update().get(id=one.schedule_id)
    if one.outcome == Outcome.COMPLETED:
        schedule.failures = 0
    elif one.outcome == Outcome.FAILED:
        schedule.failures += 1
    schedule.save(update_fields=["failures"])
    if schedule.enabled and schedule.failures >= schedule.max_failures:
        _stop(schedule, Schedule.Stopped.FAILURES)


def _stop(schedule: Schedule, why: Schedule.Stopped) -> None:
    schedule.enabled, schedule.stopped, schedule.next_run_at = False, why, None
    schedule.save(update_fields=["enabled", "stopped", "next_run_at"])
    audit.record("schedule.stopped", actor=JOB, target=f"schedule:{schedule.id}", name=schedule.name, reason=str(why))


async def _start(tenant: TenantRef, due_id: uuid.UUID) -> bool:
    """Start one run that this process has taken. False: it was not to be started, or was refused."""
    with scope.bind(tenant):
        try:
            asked = await scope.run_in_tenant(tenant, _request, due_id)
            if asked is None:
                return False
            actor, request = asked
            begun = await turns.start_turn(actor, request)
        except Exception as error:
            found = from_exception(error)
            if found.code == "internal_error":
                log.exception("a scheduled run could not be started", run=str(due_id))
            await scope.run_in_tenant(tenant, _refused, due_id, found)
            return False
        await scope.run_in_tenant(tenant, _started, due_id, begun.conversation_id)
        return True


def _request(due_id: uuid.UUID) -> tuple[Actor, TurnRequest] | None:
    """What is to be asked, as its owner with the rights of this moment. None: it is settled already."""
    one = ScheduledRun.objects.select_related("schedule__agent").filter(id=due_id, outcome=Outcome.DUE).first()
    if one is None:
        return None
    run = Run.objects.filter(id=due_id).first()
    if run is not None:  # it was started, by somebody who did not live to say so
        _started(due_id, run.conversation_id)
        return None
    schedule = one.schedule
    actor = actor_of_user(schedule.user_id)
    if actor is not None:
        actor.require_factor()
    if actor is None or not {CHAT_WRITE, AGENTS_EXECUTE} <= actor.actions:
        why = Schedule.Stopped.OWNER_GONE if actor is None else Schedule.Stopped.OWNER_MAY_NOT
        _withdraw(one, why)
        return None
    own = Conversation.objects.filter(user_id=schedule.user_id, deleted_at=None)
    going_on = schedule.mode == Schedule.Mode.ONE and own.filter(id=schedule.conversation_id or due_id).exists()
    return actor, TurnRequest(
        door="schedule",
        agent=schedule.agent.slug,
        message=schedule.prompt,
        conversation_id=schedule.conversation_id if going_on else None,
        run_id=due_id,
    )


def _withdraw(one: ScheduledRun, why: Schedule.Stopped) -> None:
    """Its owner may not ask any more: it stops, and says why."""
    with transaction.atomic():
        one.outcome, one.code, one.ended_at = Outcome.REFUSED, str(why), clock.now()
        one.save(update_fields=["outcome", "code", "ended_at"])
        _stop(Schedule.objects.select_for_update().get(id=one.schedule_id), why)


def _started(due_id: uuid.UUID, conversation_id: uuid.UUID | None) -> None:
    with transaction.atomic():
        ScheduledRun.objects.filter(id=due_id).update(
            outcome=Outcome.STARTED, started_at=clock.now(), conversation_id=conversation_id
        )
        Schedule.objects.filter(runs=due_id, mode=Schedule.Mode.ONE).update(conversation_id=conversation_id)


def _refused(due_id: uuid.UUID, error: PaasError) -> None:
    """Write down why it was not started. What is ours alone (no database, no room, a restart) is tried again soon;
    quotas and a conversation that is being answered are no failures: the next time comes."""
    with transaction.atomic():
        one = ScheduledRun.objects.select_for_update().get(id=due_id)
        run = Run.objects.filter(id=due_id).first()
        if run is not None:
            _started(due_id, run.conversation_id)
            return
        if error.status == 503:
            one.taken_at = None
            one.save(update_fields=["taken_at"])
            return
        one.outcome = Outcome.REFUSED if error.status in (403, 409, 429) else Outcome.FAILED
        one.code, one.message, one.ended_at = error.code, error.message, clock.now()
        one.save(update_fields=["outcome", "code", "message", "ended_at"])
        _count(one)
