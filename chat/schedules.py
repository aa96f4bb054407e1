"""Questions that are asked by the clock: what a person may set, see and change. chat.scheduler asks them."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Min, OuterRef, QuerySet, Subquery

from accounts import audit
from accounts.actors import Actor
from accounts.policies import AGENTS_EXECUTE, CHAT_READ, CHAT_WRITE
from agents.selectors import agents_for
from chat.models import Schedule, ScheduledRun
from chat.timing import Timing
from core import clock
from core.errors import PaasError
from tenants import limits
from tenants.alarms import alarm_set

# The fields that a person sets; `agent` is a slug.
FIELDS = ("name", "agent", "prompt", "cron", "every_seconds", "timezone", "mode", "max_failures")
LOOK_AGAIN = timedelta(seconds=5)  # while something that was due has not ended


def schedules_for(actor: Actor) -> QuerySet[Schedule]:
    """The person's own schedules, newest first, with `last_run_id`. Raises permission_denied, for a key too."""
    user_id = _person(actor)
    actor.require(CHAT_READ)
    last = ScheduledRun.objects.filter(schedule=OuterRef("pk")).order_by("-id")
    found = Schedule.objects.select_related("agent").filter(user_id=user_id)
    return found.annotate(last_run_id=Subquery(last.values("id")[:1])).order_by("-id")


def schedule_for(actor: Actor, schedule_id: uuid.UUID) -> Schedule:
    """One of the person's schedules. Raises not_found."""
    found = schedules_for(actor).filter(id=schedule_id).first()
    if found is None:
        raise PaasError("not_found")
    return found


def runs_of(schedule: Schedule, before: uuid.UUID | None = None) -> QuerySet[ScheduledRun]:
    """Its runs, newest first; only those older than `before`."""
    found = ScheduledRun.objects.filter(schedule=schedule).order_by("-id")
    return found.filter(id__lt=before) if before else found


def last_runs(schedules: list[Schedule]) -> dict[uuid.UUID, ScheduledRun]:
    """The newest run of each schedule of `schedules_for`, by the schedule's id."""
    ids = [one.last_run_id for one in schedules]  # type: ignore[attr-defined]
    return {run.schedule_id: run for run in ScheduledRun.objects.filter(id__in=ids)}


def require_write(actor: Actor) -> None:
    """Raise permission_denied unless the actor is a person who may ask agents."""
    _person(actor)
    for action in (CHAT_READ, CHAT_WRITE, AGENTS_EXECUTE):
        actor.require(action)


def _person(actor: Actor) -> uuid.UUID:
    if actor.user_id is None:
        raise PaasError("permission_denied", "Schedules belong to people. An API key starts runs itself.")
    return actor.user_id


def schedule_create(*, actor: Actor, fields: dict[str, Any]) -> Schedule:
    """A new schedule in the actor's name.

    Raises permission_denied, plan_limit_reached, or validation_failed with a sentence for each field in
    `details.fields`.
    """
    require_write(actor)
    assert actor.user_id is not None
    with transaction.atomic():
        limits.one_at_a_time("schedules")
        limits.check_schedules(Schedule.objects.count())
        schedule = Schedule(user_id=actor.user_id, cron="")
        _fill(schedule, actor, fields)
        schedule.next_run_at = _next(schedule)
        schedule.save()
        _changed(actor, schedule, "schedule.created")
    return schedule


def schedule_update(
    *, actor: Actor, schedule_id: uuid.UUID, fields: dict[str, Any], enabled: bool | None = None
) -> Schedule:
    """Change some fields; pause it (enabled False) or let it go on (True). Raises as `schedule_create`, and not_found.

    What was missed while it was paused is not made up for.
    """
    require_write(actor)
    schedule_for(actor, schedule_id)
    with transaction.atomic():
        schedule = Schedule.objects.select_for_update(of=("self",)).select_related("agent").get(id=schedule_id)
        was = schedule.enabled
        _fill(schedule, actor, fields)
        if enabled is not None:
            schedule.enabled = enabled
        if schedule.enabled and not was:
            schedule.failures, schedule.stopped = 0, ""
        if not schedule.enabled:
            schedule.next_run_at = None
        elif fields.keys() & {"cron", "every_seconds", "timezone"} or not was:
            schedule.next_run_at = _next(schedule)
        schedule.save()
        if schedule.enabled != was:
            _changed(actor, schedule, "schedule.resumed" if schedule.enabled else "schedule.paused")
        if fields:
            _changed(actor, schedule, "schedule.updated")
    return schedule


def schedule_delete(*, actor: Actor, schedule_id: uuid.UUID) -> None:
    """Delete a schedule and its history; its conversations stay. Raises permission_denied, not_found."""
    require_write(actor)
    schedule = schedule_for(actor, schedule_id)
    with transaction.atomic():
        schedule.delete()
        schedule.id = schedule_id
        _changed(actor, schedule, "schedule.deleted")


def schedule_run_now(*, actor: Actor, schedule_id: uuid.UUID) -> ScheduledRun:
    """Have a worker ask it now, beside its times. Raises permission_denied, not_found, run_in_progress."""
    require_write(actor)
    schedule_for(actor, schedule_id)
    with transaction.atomic():
        schedule = Schedule.objects.select_for_update(of=("self",)).get(id=schedule_id)
        if schedule.runs.filter(ended_at=None).exists():
            raise PaasError("run_in_progress", "The last run of this schedule has not ended yet.")
        run = ScheduledRun.objects.create(schedule=schedule, due_at=clock.now(), by_hand=True)
        _changed(actor, schedule, "schedule.run")
    return run


def _changed(actor: Actor, schedule: Schedule, what: str) -> None:
    # In this order, as the worker does: whoever holds both locks took the log's first.
    audit.record(what, actor=actor.label, target=f"schedule:{schedule.id}", name=schedule.name)
    alarm_set(next_alarm)


def next_alarm() -> datetime | None:
    """When a worker has to look at the bound tenant's schedules next."""
    if ScheduledRun.objects.filter(ended_at=None, outcome=ScheduledRun.Outcome.DUE, taken_at=None).exists():
        return clock.now()
    if ScheduledRun.objects.filter(ended_at=None).exists():
        return clock.now() + LOOK_AGAIN
    found: datetime | None = Schedule.objects.filter(enabled=True).aggregate(at=Min("next_run_at"))["at"]
    return found


def timing_of(schedule: Schedule) -> Timing:
    """When it is due."""
    return Timing(schedule.cron, schedule.every_seconds, schedule.timezone)


def _next(schedule: Schedule) -> datetime:
    now = clock.now()
    return timing_of(schedule).after(now, now)


def _fill(schedule: Schedule, actor: Actor, fields: dict[str, Any]) -> None:
    """Take `fields` over, all of them valid together with what the schedule has."""
    faults: dict[str, str] = {}
    if "agent" in fields:
        agent = next((one for one in agents_for(actor) if one.slug == fields["agent"]), None)
        if agent is None:
            faults["agent"] = "There is no such agent in this workspace."
        else:
            schedule.agent = agent
    for name in FIELDS:
        if name in fields and name != "agent":
            setattr(schedule, name, fields[name])
    if not schedule.name.strip():
        faults["name"] = "Give it a name."
    if not schedule.prompt.strip():
        faults["prompt"] = "Say what is to be asked."
    elif len(schedule.prompt) > settings.MAX_MESSAGE_CHARS:
        faults["prompt"] = f"At most {settings.MAX_MESSAGE_CHARS:,} characters."
    if any("\x00" in text for text in (schedule.name, schedule.prompt)):
        faults["prompt"] = "Text with NUL characters cannot be stored."
    faults |= timing_of(schedule).problems(clock.now())
    if faults:
        raise PaasError("validation_failed", " ".join(faults.values()), details={"fields": faults})
