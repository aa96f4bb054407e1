"""The form of a schedule, and a schedule in words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.utils import dateformat
from django.utils.dates import WEEKDAYS
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from chat.models import Schedule, ScheduledRun
from chat.timing import Timing, timezones
from core.errors import PaasError

UNITS = {"minutes": 60, "hours": 3600, "days": 86_400}
INTERVALS: tuple[tuple[str, str | Promise, str | Promise], ...] = (
    ("days", _("Every day"), _("Every %(count)s days")),
    ("hours", _("Every hour"), _("Every %(count)s hours")),
    ("minutes", _("Every minute"), _("Every %(count)s minutes")),
)
# What chat.schedules and chat.timing say of a field, to be translated.
FAULTS: tuple[str | Promise, ...] = (
    _("There is no such agent in this workspace."),
    _("Give it a name."),
    _("Say what is to be asked."),
    _("This is no cron expression of five fields, such as 0 9 * * 1-5."),
    _("This day never comes."),
    _("At most every 5 minutes."),
    _("From 300 seconds to 366 days."),
    _("There is no such time zone. Write it like Europe/Berlin."),
    _("Give an interval or a cron expression, one of them."),
    _("Text with NUL characters cannot be stored."),
)
OUTCOMES: dict[str, str | Promise] = {
    ScheduledRun.Outcome.DUE: _("Waits for a worker"),
    ScheduledRun.Outcome.STARTED: _("Is being answered"),
    ScheduledRun.Outcome.COMPLETED: _("Answered"),
    ScheduledRun.Outcome.FAILED: _("Failed"),
    ScheduledRun.Outcome.CANCELLED: _("Stopped"),
    ScheduledRun.Outcome.REFUSED: _("Refused"),
}
STOPPED: dict[str, str | Promise] = {
    Schedule.Stopped.OWNER_GONE: _("Its owner has left the workspace."),
    Schedule.Stopped.OWNER_MAY_NOT: _("The role of its owner does not allow to ask agents."),
    Schedule.Stopped.FAILURES: _("It failed too often in a row. Look at its last runs, then let it go on."),
}
# field of the form that shows a fault -> field that has it
PLACES = {"every_seconds": "every", "mode": "mode"}


class ScheduleForm(forms.Form):
    """What is asked, of whom, and when. `schedule`: the one that is changed."""

    name = forms.CharField(label=_("Name"), max_length=120, help_text=_("For you, such as: morning news."))
    agent = forms.ChoiceField(label=_("Agent"))
    prompt = forms.CharField(
        label=_("What is asked"),
        max_length=settings.MAX_MESSAGE_CHARS,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 5}),
    )
    kind = forms.ChoiceField(
        label=_("When"),
        choices=(("interval", _("At an interval")), ("cron", _("By a cron expression"))),
        widget=forms.RadioSelect,
        initial="interval",
    )
    every = forms.IntegerField(label=_("Every"), min_value=1, max_value=1_000_000, required=False, initial=1)
    unit = forms.ChoiceField(
        label=_("Unit"),
        choices=(("minutes", _("minutes")), ("hours", _("hours")), ("days", _("days"))),
        initial="days",
    )
    cron = forms.CharField(
        label=_("Cron expression"),
        max_length=100,
        required=False,
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocomplete": "off", "placeholder": "0 9 * * 1-5"}),
        help_text=_("Minute, hour, day, month, day of the week. 0 9 * * 1-5 is Monday to Friday at 9:00."),
    )
    timezone = forms.ChoiceField(label=_("Time zone"))
    mode = forms.ChoiceField(
        label=_("Conversation"),
        choices=((Schedule.Mode.NEW, _("A new one each time")), (Schedule.Mode.ONE, _("All in one"))),
        widget=forms.RadioSelect,
        initial=Schedule.Mode.NEW,
    )
    max_failures = forms.IntegerField(
        label=_("Pause after so many failures in a row"), min_value=1, max_value=100, initial=5
    )

    def __init__(self, data: Any, *, schedule: Schedule | None, agents: Iterable[Any]) -> None:
        super().__init__(data, initial=_initial(schedule) if schedule else {"timezone": "UTC"})
        known = {one.slug: one.name for one in agents}
        if schedule is not None:
            known.setdefault(schedule.agent.slug, schedule.agent.name)
        for field, choices in (("agent", list(known.items())), ("timezone", [(z, z) for z in sorted(timezones())])):
            found = self.fields[field]
            assert isinstance(found, forms.ChoiceField)
            found.choices = choices

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        needed, other = ("cron", "every") if found.get("kind") == "cron" else ("every", "cron")
        self.errors.pop(other, None)  # the page does not show it, and nothing looks at it
        if not found.get(needed) and needed not in self.errors:
            self.add_error(needed, gettext("This field is required."))
        return found

    def values(self) -> dict[str, Any]:
        """What the valid form says, in the words of `chat.schedules`."""
        data = self.cleaned_data
        by_cron = data["kind"] == "cron"
        names = ("name", "agent", "prompt", "timezone", "mode", "max_failures")
        return {name: data[name] for name in names} | {
            "cron": " ".join(data["cron"].split()) if by_cron else "",
            "every_seconds": None if by_cron else data["every"] * UNITS[data["unit"]],
        }

    def explain(self, error: PaasError) -> None:
        """A refusal, in the fields it belongs to."""
        faults = error.details.get("fields")
        if not isinstance(faults, dict):
            raise error
        for name, sentence in faults.items():
            field = PLACES.get(name, name)
            self.add_error(field if field in self.fields else None, gettext(sentence))


def _initial(schedule: Schedule) -> dict[str, Any]:
    every, unit = schedule.every_seconds or UNITS["days"], "minutes"
    for name, seconds in UNITS.items():
        if every % seconds == 0:
            unit = name
    return {
        "name": schedule.name,
        "agent": schedule.agent.slug,
        "prompt": schedule.prompt,
        "kind": "cron" if schedule.cron else "interval",
        "every": max(1, every // UNITS[unit]),
        "unit": unit,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "mode": schedule.mode,
        "max_failures": schedule.max_failures,
    }


def in_words(timing: Timing) -> str:
    """When it is due, as people say it; a cron expression that has no simple words, as it is."""
    if timing.every_seconds is not None:
        return _interval(timing.every_seconds)
    match = re.fullmatch(r"(\d{1,2}) (\d{1,2}) \* \* (\*|[0-7]|1-5)", timing.cron)
    if match is None:
        return gettext("By the cron expression %(cron)s") % {"cron": timing.cron}
    at = f"{int(match[2]):02}:{int(match[1]):02}"
    if match[3] == "*":
        return gettext("Every day at %(time)s") % {"time": at}
    if match[3] == "1-5":
        return gettext("Monday to Friday at %(time)s") % {"time": at}
    return gettext("%(day)s at %(time)s") % {"day": WEEKDAYS[(int(match[3]) - 1) % 7], "time": at}


def _interval(seconds: int) -> str:
    for name, one, several in INTERVALS:
        if seconds % UNITS[name] == 0 or name == "minutes":
            count = round(seconds / UNITS[name])
            return str(one if count == 1 else several) % {"count": count}
    raise AssertionError("minutes always do")


def local_time(moment: datetime, timezone: str) -> str:
    """A moment in the schedule's own time zone, with its day of the week."""
    return dateformat.format(moment.astimezone(ZoneInfo(timezone)), "D Y-m-d H:i")
