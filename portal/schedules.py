"""A person's schedules: the list, making, changing, pausing, running now, deleting."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.policies import AGENTS_EXECUTE
from agents.selectors import agents_for
from chat import schedules
from chat.models import Schedule, ScheduledRun
from core.errors import ERRORS, PaasError
from core.sentences import sentence
from portal.access import actor_of, page
from portal.schedule_forms import OUTCOMES, STOPPED, ScheduleForm, in_words, local_time

PLACE = "/settings/schedules/"
UPCOMING = 3
SHOWN_RUNS = 20


@dataclass(frozen=True, slots=True)
class Time:
    """A moment, and as the schedule's time zone has it."""

    at: datetime
    words: str


@dataclass(frozen=True, slots=True)
class Line:
    """A schedule as the list shows it."""

    schedule: Schedule
    words: str
    stopped: Any
    upcoming: list[Time]
    last: Ran | None


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of one due time. why: what went wrong, in words."""

    run: ScheduledRun
    due: str
    outcome: Any
    why: str


@require_GET
@page(AGENTS_EXECUTE)
def index(request: HttpRequest) -> HttpResponse:
    """`/settings/schedules/`"""
    found = list(schedules.schedules_for(actor_of(request)))
    last = schedules.last_runs(found)
    lines = [_line(one, last.get(one.id)) for one in found]
    return render(request, "portal/schedules.html", {"page_name": "schedules", "lines": lines})


def _line(schedule: Schedule, last: ScheduledRun | None) -> Line:
    timing = schedules.timing_of(schedule)
    times = timing.upcoming(schedule.next_run_at, UPCOMING) if schedule.next_run_at else []
    return Line(
        schedule=schedule,
        words=in_words(timing),
        stopped=STOPPED.get(schedule.stopped, ""),
        upcoming=[Time(at, local_time(at, schedule.timezone)) for at in times],
        last=_ran(schedule, last) if last else None,
    )


def _ran(schedule: Schedule, run: ScheduledRun) -> Ran:
    why = ""
    if run.code in ERRORS:
        why = sentence(PaasError(run.code, run.message or None))
    elif run.code:
        why = str(STOPPED.get(run.code, run.message or run.code))
    return Ran(run, local_time(run.due_at, schedule.timezone), OUTCOMES[run.outcome], why)


@require_http_methods(["GET", "POST"])
@page(AGENTS_EXECUTE)
def new(request: HttpRequest) -> HttpResponse:
    """`/settings/schedules/new/`"""
    actor = actor_of(request)
    form = ScheduleForm(request.POST or None, schedule=None, agents=agents_for(actor))
    if request.method == "POST" and form.is_valid():
        try:
            made = schedules.schedule_create(actor=actor, fields=form.values())
        except PaasError as error:
            _explain(form, error)
        else:
            messages.success(request, gettext("%(name)s was scheduled.") % {"name": made.name})
            return HttpResponseRedirect(PLACE)
    return render(request, "portal/schedule_form.html", {"page_name": "schedules", "form": form})


def _explain(form: ScheduleForm, error: PaasError) -> None:
    if error.code == "plan_limit_reached":
        form.add_error(None, sentence(error))
    else:
        form.explain(error)


@require_http_methods(["GET", "POST"])
@page(AGENTS_EXECUTE)
def change(request: HttpRequest, schedule_id: uuid.UUID) -> HttpResponse:
    """`/settings/schedules/<id>/`: the form and what became of its times"""
    actor = actor_of(request)
    schedule = schedules.schedule_for(actor, schedule_id)
    form = ScheduleForm(request.POST or None, schedule=schedule, agents=agents_for(actor))
    if request.method == "POST" and form.is_valid():
        try:
            schedules.schedule_update(actor=actor, schedule_id=schedule_id, fields=form.values())
        except PaasError as error:
            form.explain(error)
        else:
            messages.success(request, gettext("%(name)s was changed.") % {"name": schedule.name})
            return HttpResponseRedirect(PLACE)
    ran = [_ran(schedule, one) for one in schedules.runs_of(schedule)[:SHOWN_RUNS]]
    context = {"page_name": "schedules", "form": form, "schedule": schedule, "line": _line(schedule, None), "ran": ran}
    return render(request, "portal/schedule_form.html", context)


@require_POST
@page(AGENTS_EXECUTE)
def pause(request: HttpRequest, schedule_id: uuid.UUID) -> HttpResponse:
    """`/settings/schedules/<id>/pause/`: with `on=1` it goes on again"""
    enabled = request.POST.get("on") == "1"
    found = schedules.schedule_update(actor=actor_of(request), schedule_id=schedule_id, fields={}, enabled=enabled)
    said = gettext("%(name)s goes on.") if enabled else gettext("%(name)s is paused.")
    messages.success(request, said % {"name": found.name})
    return HttpResponseRedirect(PLACE)


@require_POST
@page(AGENTS_EXECUTE)
def run_now(request: HttpRequest, schedule_id: uuid.UUID) -> HttpResponse:
    """`/settings/schedules/<id>/run-now/`"""
    try:
        schedules.schedule_run_now(actor=actor_of(request), schedule_id=schedule_id)
    except PaasError as error:
        if error.code != "run_in_progress":
            raise
        messages.error(request, gettext("The last run of this schedule has not ended yet."))
    else:
        messages.success(request, gettext("It is asked within a few seconds."))
    return HttpResponseRedirect(PLACE)


@require_POST
@page(AGENTS_EXECUTE)
def delete(request: HttpRequest, schedule_id: uuid.UUID) -> HttpResponse:
    """`/settings/schedules/<id>/delete/`: only with `sure`"""
    actor = actor_of(request)
    found = schedules.schedule_for(actor, schedule_id)
    if request.POST.get("sure") != "on":
        messages.error(request, gettext("Nothing was deleted: confirm it first."))
        return HttpResponseRedirect(f"{PLACE}{schedule_id}/")
    schedules.schedule_delete(actor=actor, schedule_id=schedule_id)
    messages.success(request, gettext("%(name)s was deleted. Its conversations stay.") % {"name": found.name})
    return HttpResponseRedirect(PLACE)
