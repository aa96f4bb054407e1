"""Knowledge bases: the list, making one, its settings, deleting it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.actors import Actor
from accounts.key_selectors import keys_for
from accounts.member_selectors import member_names
from accounts.policies import ADMIN_KEYS, AGENTS_MANAGE, KNOWLEDGE_WRITE
from agents.mentions import agents_with_knowledge
from core.errors import PaasError
from core.sentences import sentence
from knowledge import access, bases, embedding
from knowledge.models import KnowledgeBase
from knowledge.selectors import Content, contents
from llm.selectors import provider_named, providers
from portal.access import actor_of, page
from portal.agent_forms import explain
from portal.knowledge_forms import BaseForm, NewBaseForm

PLACE = "/settings/knowledge/"


@dataclass(frozen=True, slots=True)
class Line:
    """A base as the list shows it."""

    base: KnowledgeBase
    content: Content


@require_GET
@page(KNOWLEDGE_WRITE)
def index(request: HttpRequest) -> HttpResponse:
    """`/settings/knowledge/`"""
    found = list(access.bases_for(actor_of(request)).select_related("provider"))
    inside = contents(one.id for one in found)
    lines = [Line(one, inside[one.id]) for one in found]
    return render(request, "portal/knowledge.html", {"page_name": "knowledge", "lines": lines})


@require_http_methods(["GET", "POST"])
@page(KNOWLEDGE_WRITE)
def new(request: HttpRequest) -> HttpResponse:
    """`/settings/knowledge/new/`; the model is asked for one vector before a base is bound to it for good"""
    actor = actor_of(request)
    form = NewBaseForm(request.POST or None, people=people_offered(actor), accounts=providers())
    if request.method == "POST" and form.is_valid():
        fixed = form.fixed()
        try:
            _try_model(actor, fixed)
            made = bases.base_create(actor=actor, slug=form.cleaned_data["slug"], fields=form.values() | fixed)
        except PaasError as error:
            _explain(form, error)
        else:
            messages.success(request, gettext("%(name)s was made. Put documents in.") % {"name": made.name})
            return HttpResponseRedirect(address(made.slug))
    context = {"page_name": "knowledge", "form": form}
    return render(request, "portal/knowledge_new.html", context, status=400 if form.errors else 200)


def _try_model(actor: Actor, fixed: dict[str, Any]) -> None:
    account = provider_named(fixed["provider"]) if fixed["provider"] else None
    if account is not None:
        asked = KnowledgeBase(provider=account, model=fixed["model"], dimension=fixed["dimension"])
        embedding.vector(actor, asked, "Is this model there?")


def _explain(form: BaseForm, error: PaasError) -> None:
    if error.code == "permission_denied":
        raise error
    if error.code == "already_exists":
        form.add_error("slug", gettext("There is a knowledge base with this short name already."))
    elif error.code == "provider_bad_response":
        form.add_error("dimension", error.message)
    elif error.code == "validation_failed":
        explain(form, error)
    else:
        form.add_error(None, sentence(error))


@require_http_methods(["GET", "POST"])
@page(KNOWLEDGE_WRITE)
def settings(request: HttpRequest, slug: str) -> HttpResponse:
    """`/settings/knowledge/<slug>/settings/`"""
    actor = actor_of(request)
    base = access.base_for(actor, slug, write=True)
    form = BaseForm(request.POST or None, people=people_offered(actor), accounts=providers(), base=base)
    if request.method == "POST" and form.is_valid():
        try:
            bases.base_update(actor=actor, slug=slug, fields=form.values())
        except PaasError as error:
            _explain(form, error)
        else:
            messages.success(request, gettext("%(name)s was saved.") % {"name": form.cleaned_data["name"]})
            return HttpResponseRedirect(address(slug, "settings/"))
    context = context_of(actor, base, "settings") | {"form": form, "mentions": agents_with_knowledge(slug)}
    return render(request, "portal/knowledge_settings.html", context, status=400 if form.errors else 200)


@require_POST
@page(KNOWLEDGE_WRITE)
def delete(request: HttpRequest, slug: str) -> HttpResponse:
    """`/settings/knowledge/<slug>/delete/`: only with `sure`"""
    actor = actor_of(request)
    base = access.base_for(actor, slug, write=True)
    if request.POST.get("sure") != "on":
        messages.error(request, gettext("Nothing was deleted: confirm it first."))
        return HttpResponseRedirect(address(slug, "settings/"))
    bases.base_delete(actor=actor, slug=slug)
    messages.success(request, gettext("%(name)s was deleted. Agents go on without it.") % {"name": base.name})
    return HttpResponseRedirect(PLACE)


def people_offered(actor: Actor) -> list[tuple[str, str]]:
    """Ids of the workspace's members and keys, with what people call them."""
    found = sorted(((str(one), name) for one, name in member_names().items()), key=lambda one: one[1].lower())
    if ADMIN_KEYS in actor.actions:
        said = gettext("API key %(name)s")
        found += [(str(row.key.pk), said % {"name": row.key.name}) for row in keys_for(actor)]
    return found


def context_of(actor: Actor, base: KnowledgeBase, part: str) -> dict[str, Any]:
    """What every page of a base shows: its head, and which of its parts this is."""
    return {"page_name": "knowledge", "base": base, "part": part, "may_make_agents": AGENTS_MANAGE in actor.actions}


def address(slug: str, part: str = "") -> str:
    """The address of a base's page."""
    return f"{PLACE}{quote(slug)}/{part}"
