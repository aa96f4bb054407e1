"""What people thought of an agent's answers, by version."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from accounts.policies import AGENTS_MANAGE
from agents import editing
from chat import feedback
from chat.models import Feedback
from portal.access import actor_of, page
from portal.agent_words import people_named

SHOWN = 30


class Filters(forms.Form):
    """What the page asks for."""

    version = forms.TypedChoiceField(label=_("Version"), coerce=int, required=False, empty_value=None)
    rating = forms.ChoiceField(
        label=_("Thumb"), choices=(("", _("All of them")), ("up", _("Up")), ("down", _("Down"))), required=False
    )
    before = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def __init__(self, data: Any, *, versions: list[int]) -> None:
        super().__init__(data)
        field = self.fields["version"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", _("All of them")), *((one, version_words(one)) for one in versions)]


@dataclass(frozen=True, slots=True)
class Line:
    """What one person said. answer: the address of the answer, "" where the reader may not see it."""

    said: Feedback
    by: str
    version: str
    answer: str


def version_words(number: int) -> str:
    """A version for people; 0 is a draft that was tried."""
    return str(number) if number else gettext("Draft, tried")


@require_GET
@page(AGENTS_MANAGE)
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """`/settings/agents/<slug>/feedback/`; `?version=` and `?rating=` some of it"""
    actor = actor_of(request)
    agent = editing.agent_named(actor, slug)
    counts = feedback.feedback_counts(actor, slug)
    filters = Filters(request.GET, versions=[one["version"] for one in counts])
    filters.is_valid()
    asked = filters.cleaned_data
    before: uuid.UUID | None = asked.get("before")
    found, following = feedback.feedback_page(
        actor, slug, version=asked.get("version"), rating=asked.get("rating") or "", before=before, limit=SHOWN
    )
    labels = {one.pk: f"{'key' if one.by_key else 'user'}:{one.author_id}" for one in found}
    people = people_named(labels.values())
    kept = {name: value for name in ("version", "rating") if (value := request.GET.get(name))}
    context = {
        "page_name": "agents",
        "agent": agent,
        "part": "feedback",
        "counts": [one | {"words": version_words(one["version"])} for one in counts],
        "filters": filters,
        "filtered": bool(kept),
        "lines": [
            Line(
                one,
                people[labels[one.pk]],
                version_words(one.number),  # type: ignore[attr-defined]  # annotated
                f"/chat/{one.message.conversation_id}/" if feedback.may_read(actor, one) else "",
            )
            for one in found
        ],
        "older": urlencode({**kept, "before": following}) if following else "",
    }
    return render(request, "portal/agent_feedback.html", context)
