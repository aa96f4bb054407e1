"""`/settings/conversations/`: one's own to find, keep and delete; for who looks after a workspace, all of them without
what was said."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from accounts.member_selectors import member_names
from accounts.policies import CHAT_READ, CHAT_WRITE, USAGE_READ
from accounts.sign_in import local_path
from agents.selectors import agents
from chat import conversation_export, services
from chat.conversation_search import Search, Totals, all_conversations, own_conversations, totals_of
from chat.models import Conversation
from core.errors import PaasError
from portal.access import actor_of, page
from portal.billing import shown as amount_shown
from usage.names import names_of

PLACE = "/settings/conversations/"
PAGE = 30
NOTHING = Totals(0, 0, {})
FORMATS = {"json": "application/json", "md": "text/markdown; charset=utf-8"}


class Filters(forms.Form):
    """What the page asks for; days are UTC. whose: `all` are the workspace's, which have no texts to search."""

    text = forms.CharField(
        label=_("Search"),
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": _("In titles and messages")}),
    )
    agent = forms.ChoiceField(label=_("Agent"), required=False)
    who = forms.ChoiceField(label=_("Who"), required=False)
    since = forms.DateField(label=_("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label=_("To"), required=False, widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, data: Any, *, everybody: bool) -> None:
        super().__init__(data)
        any_one = [("", _("All"))]
        choices: dict[str, Any] = self.fields
        choices["agent"].choices = any_one + [(one.slug, one.name) for one in agents()]
        if everybody:
            del self.fields["text"]
            people = sorted((name, id_) for id_, name in member_names().items())
            choices["who"].choices = any_one + [(f"user:{id_}", name) for name, id_ in people]
        else:
            del self.fields["who"]

    def search(self, *, deleted: bool) -> Search:
        """The fields that are valid, as a search."""
        given: dict[str, Any] = self.cleaned_data
        return Search(
            text=given.get("text") or "",
            agent=given.get("agent") or "",
            since=given.get("since"),
            until=given.get("until"),
            deleted=deleted,
            who=given.get("who") or "",
        )


@dataclass(frozen=True, slots=True)
class Line:
    """A conversation as a list shows it. who: "" in one's own."""

    conversation: Conversation
    who: str
    totals: Totals

    @property
    def tokens(self) -> str:
        return f"{self.totals.tokens:,}"

    @property
    def cost(self) -> str:
        return " + ".join(amount_shown(amount, one) for one, amount in sorted(self.totals.amounts.items())) or "—"


@require_GET
@page(CHAT_READ)
def index(request: HttpRequest) -> HttpResponse:
    """One's own; `?state=deleted` those that were deleted, `?whose=all` everybody's, without what was said."""
    actor = actor_of(request)
    everybody = request.GET.get("whose") == "all"
    if everybody:
        actor.require(USAGE_READ)
    deleted = not everybody and request.GET.get("state") == "deleted"
    filters = Filters(request.GET, everybody=everybody)
    filters.is_valid()
    search, cursor = filters.search(deleted=deleted), request.GET.get("cursor", "")
    following: Any
    if everybody:
        found, following = all_conversations(actor, search, _id(cursor), PAGE)
    else:
        found, following = own_conversations(actor, search, cursor, PAGE)
    asked = {name: value for name in filters.fields if (value := request.GET.get(name))}
    kept = {name: value for name in ("whose", "state") if (value := request.GET.get(name))}
    context = {
        "page_name": "conversations",
        "filters": filters,
        "lines": _lines(found, named=everybody),
        "everybody": everybody,
        "deleted": deleted,
        "sees_all": USAGE_READ in actor.actions,
        "writes": CHAT_WRITE in actor.actions,
        "filtered": bool(asked),
        "kept": kept,
        "cleared": urlencode(kept),
        "following": urlencode(kept | asked | {"cursor": following}) if following else "",
        "newest": urlencode(kept | asked) if cursor else None,
        "undo": request.GET.get("undo") if _id(request.GET.get("undo", "")) else None,
        "here": _here(kept | asked | ({"cursor": cursor} if cursor else {})),
    }
    return render(request, "portal/conversations.html", context)


def _lines(found: list[Conversation], *, named: bool) -> list[Line]:
    totals = totals_of(found)
    names = names_of({_who(one) for one in found}) if named else {}
    return [
        Line(one, (names.get(_who(one)) or gettext("Former member")) if named else "", totals.get(one.id, NOTHING))
        for one in found
    ]


def _who(one: Conversation) -> str:
    return f"key:{one.key_id}" if one.key_id else f"user:{one.user_id}"


def _here(asked: dict[str, Any]) -> str:
    return f"{PLACE}?{urlencode(asked)}" if asked else PLACE


@require_GET
@page(CHAT_READ)
def export(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """`/settings/conversations/<id>/export/?format=json` or `md`"""
    actor, form = actor_of(request), request.GET.get("format", "json")
    if form not in FORMATS:
        raise PaasError("validation_failed", details={"param": "format"})
    if form == "json":
        content = conversation_export.conversation_json(actor, conversation_id)
    else:
        content = conversation_export.conversation_markdown(actor, conversation_id, asked=gettext("You"))
    disposition = f'attachment; filename="conversation-{conversation_id}.{form}"'
    return HttpResponse(content, headers={"Content-Type": FORMATS[form], "Content-Disposition": disposition})


@require_POST
@page(CHAT_READ)
def delete(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """`/settings/conversations/<id>/delete/`; the page it leads to offers to undo it"""
    services.conversation_delete(actor=actor_of(request), conversation_id=conversation_id)
    place = local_path(request.POST.get("next"), PLACE)
    return HttpResponseRedirect(f"{place}{'&' if '?' in place else '?'}{urlencode({'undo': conversation_id})}")


@require_POST
@page(CHAT_READ)
def restore(request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """`/settings/conversations/<id>/restore/`"""
    found = services.conversation_restore(actor=actor_of(request), conversation_id=conversation_id)
    messages.success(request, gettext("%(title)s is back.") % {"title": found.title})
    return HttpResponseRedirect(local_path(request.POST.get("next"), PLACE))


def _id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
