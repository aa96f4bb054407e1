"""The audit log's page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from accounts import audit_selectors
from accounts.audit_selectors import Row, Search
from accounts.policies import ADMIN_AUDIT
from portal import audit_words
from portal.access import page

PAGE = 50
HIDDEN = frozenset({"impersonator", "impersonation"})


class Filters(forms.Form):
    """What the page asks for; days are UTC."""

    text = forms.CharField(label=_("Search"), max_length=200, required=False)
    actor = forms.CharField(label=_("Who"), max_length=300, required=False)
    action = forms.ChoiceField(label=_("What"), choices=audit_words.SUBJECTS, required=False)
    since = forms.DateField(label=_("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label=_("To"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
    before = forms.IntegerField(min_value=1, max_value=2**62, required=False, widget=forms.HiddenInput)

    def search(self) -> Search:
        """The fields that are valid, as a search."""
        given: dict[str, Any] = getattr(self, "cleaned_data", {})
        until = given.get("until")
        return Search(
            actor=given.get("actor") or "",
            action=given.get("action") or "",
            text=given.get("text") or "",
            since=_midnight(given.get("since")),
            until=_midnight(until + timedelta(days=1)) if until and until.year < 9999 else None,
        )


@dataclass(frozen=True, slots=True)
class Line:
    """A row as the page shows it."""

    row: Row
    sentence: str
    refused: bool
    acted: bool
    details: list[tuple[str, Any]]


@require_GET
@page(ADMIN_AUDIT)
def log(request: HttpRequest) -> HttpResponse:
    """`/settings/audit/`"""
    filters = Filters(request.GET)
    filters.is_valid()
    search = filters.search()
    rows, following = audit_selectors.page(search, before=filters.cleaned_data.get("before"), limit=PAGE)
    asked = {name: value for name in ("text", "actor", "action", "since", "until") if (value := request.GET.get(name))}
    context = {
        "page_name": "audit",
        "filters": filters,
        "lines": [_line(row) for row in rows],
        "head": audit_selectors.head(),
        "filtered": bool(asked),
        "export": urlencode(_exported(search)),
        "older": urlencode({**asked, "before": following}) if following else "",
        "newest": urlencode(asked) if filters.cleaned_data.get("before") else None,
    }
    return render(request, "portal/audit.html", context)


def _line(row: Row) -> Line:
    data = row.event.data
    return Line(
        row,
        audit_words.sentence(row),
        refused=row.event.action.endswith((".refused", ".broken")),
        acted="impersonator" in data,
        details=[(name, value) for name, value in data.items() if name not in HIDDEN],
    )


def _exported(search: Search) -> dict[str, str]:
    """The search in the words of /api/v1/audit/export."""
    found = {"actor": search.actor, "action": search.action, "text": search.text}
    times = {"since": search.since, "until": search.until}
    return {
        **{name: value for name, value in found.items() if value},
        **{name: value.isoformat() for name, value in times.items() if value},
    }


def _midnight(day: Any) -> datetime | None:
    return datetime.combine(day, time.min, UTC) if day else None
