"""API keys: the list, making, changing, a new token, revoking."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import key_selectors, keys
from accounts.key_limits import MAX_DEPTH, Rights
from accounts.key_rights import below
from accounts.key_selectors import KeyRow
from accounts.models import ApiKey
from accounts.policies import ADMIN_KEYS, AGENTS_EXECUTE, CHAT_WRITE, actions_of_scopes
from agents.selectors import agents
from portal.access import actor_of, page
from portal.key_forms import REFUSED, WORDS, KeyForm, last_day
from portal.snippets import PLACEHOLDER, snippets, who_am_i
from usage.selectors import tokens_of_keys

PLACE = "/settings/keys/"


@dataclass(frozen=True, slots=True)
class Line:
    """A key as the list shows it. used: tokens of this month, None without a budget. last_day: also of those above."""

    row: KeyRow
    scopes: list[Any]
    everything: bool
    last_day: Any
    used: int | None

    @property
    def percent(self) -> int:
        return min(100, round(100 * (self.used or 0) / (self.row.key.tokens_per_month or 1)))

    @property
    def may_have_children(self) -> bool:
        return self.row.state == "active" and self.row.depth + 1 < MAX_DEPTH


@require_GET
@page(ADMIN_KEYS)
def index(request: HttpRequest) -> HttpResponse:
    """`/settings/keys/`, with examples that ask the agent `?agent=<slug>`"""
    rows = key_selectors.keys_for(actor_of(request))
    used = tokens_of_keys([row.key for row in rows])
    asked = agents()
    chosen = next((one for one in asked if one.slug == request.GET.get("agent")), asked[0] if asked else None)
    context = {
        "page_name": "keys",
        "lines": [_line(row, used) for row in rows],
        "agents": asked,
        "chosen": chosen,
        "snippets": snippets(actor_of(request).tenant.slug, chosen.slug) if chosen else [],
        "placeholder": PLACEHOLDER,
    }
    return render(request, "portal/keys.html", context)


def _line(row: KeyRow, used: dict[uuid.UUID, int]) -> Line:
    actions = actions_of_scopes(row.key.scopes)
    return Line(
        row=row,
        scopes=[(action, words) for action, words in WORDS.items() if action in actions],
        everything=len(actions) == len(WORDS),
        last_day=last_day(row.rights.expires_at if row.rights else row.key.expires_at),
        used=used.get(row.key.pk),
    )


@require_http_methods(["GET", "POST"])
@page(ADMIN_KEYS)
def new(request: HttpRequest) -> HttpResponse:
    """`/settings/keys/new/`, with `?parent=<id>` below another key"""
    actor = actor_of(request)
    parent = key_selectors.row_for(actor, _id(request.GET["parent"])) if "parent" in request.GET else None
    above = parent.rights if parent else None
    form = KeyForm(request.POST or None, key=None, above=above, agents=agents())
    if request.method == "POST" and form.is_valid():
        above_key = parent.key if parent else None
        try:
            key, token = keys.key_create(**form.limits(), parent=above_key, created_by=actor.user_id, actor=actor.label)
        except (ValidationError, keys.TooWide) as error:
            _explain(form, error)
        else:
            return _shown_once(request, key, token)
    return _form_page(request, form, parent=parent.key if parent else None, above=above)


@require_http_methods(["GET", "POST"])
@page(ADMIN_KEYS)
def change(request: HttpRequest, key_id: uuid.UUID) -> HttpResponse:
    """`/settings/keys/<id>/`"""
    actor = actor_of(request)
    key = key_selectors.changeable_for(actor, key_id)
    parent = key_selectors.row_for(actor, key.parent_id) if key.parent_id else None
    above = parent.rights if parent else None
    form = KeyForm(request.POST or None, key=key, above=above, agents=agents())
    if request.method == "POST" and form.is_valid():
        try:
            keys.key_update(key=key, actor=actor.label, **form.limits())
        except (ValidationError, keys.TooWide) as error:
            _explain(form, error)
        else:
            messages.success(request, gettext("The key was changed. It holds within two seconds."))
            return HttpResponseRedirect(PLACE)
    return _form_page(request, form, parent=parent.key if parent else None, above=above)


@require_POST
@page(ADMIN_KEYS)
def rotate(request: HttpRequest, key_id: uuid.UUID) -> HttpResponse:
    """`/settings/keys/<id>/rotate/`: a new token"""
    actor = actor_of(request)
    key = key_selectors.changeable_for(actor, key_id)
    token = keys.key_rotate(key=key, actor=actor.label)
    return _shown_once(request, key_selectors.changeable_for(actor, key_id), token)


@require_POST
@page(ADMIN_KEYS)
def revoke(request: HttpRequest, key_id: uuid.UUID) -> HttpResponse:
    """`/settings/keys/<id>/revoke/`: only with `sure`"""
    actor = actor_of(request)
    key = key_selectors.changeable_for(actor, key_id)
    if request.POST.get("sure") != "on":
        messages.error(request, gettext("Nothing was revoked: confirm it first."))
        return HttpResponseRedirect(f"{PLACE}{key_id}/")
    keys.key_revoke(key=key, actor=actor.label)
    messages.success(request, gettext("%(name)s was revoked.") % {"name": key.name})
    return HttpResponseRedirect(PLACE)


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        return uuid.UUID(int=0)  # nobody's: not found, like any other


def _explain(form: KeyForm, error: Exception) -> None:
    """The refusal, in the field it belongs to and in the person's language."""
    if isinstance(error, keys.TooWide):
        for refused in error.fields:
            field = {"expires_at": "expires_on"}.get(refused, refused)
            if field in REFUSED:
                form.add_error(field, str(REFUSED[field]))
            else:
                form.add_error(None, gettext("No key can be made below this one."))
        return
    assert isinstance(error, ValidationError)
    if hasattr(error, "error_dict") and "name" in error.error_dict:
        form.add_error("name", gettext("There is a key with this name already."))
    else:
        form.add_error(None, error.messages[0])


def _form_page(request: HttpRequest, form: KeyForm, *, parent: ApiKey | None, above: Rights | None) -> HttpResponse:
    context = {
        "page_name": "keys",
        "form": form,
        "key": form.key,
        "parent": parent,
        "above": above,
        "below": below(form.key) if form.key else [],
    }
    return render(request, "portal/key_form.html", context)


def _shown_once(request: HttpRequest, key: ApiKey, token: str) -> HttpResponse:
    slug = actor_of(request).tenant.slug
    usable = [one.slug for one in agents() if not key.allowed_agents or one.slug in key.allowed_agents]
    talks = bool(usable) and {CHAT_WRITE, AGENTS_EXECUTE} <= actions_of_scopes(key.scopes)
    examples = snippets(slug, usable[0], token) if talks else [who_am_i(slug, token)]
    context = {"page_name": "keys", "key": key, "token": token, "snippets": examples}
    answer = render(request, "portal/key_made.html", context)
    answer["Cache-Control"] = "no-store"
    return answer
