"""Agents: the list, making one, archiving and bringing back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.policies import AGENTS_MANAGE
from agents import drafts, editing, releases
from agents.models import Agent
from chat.feedback import feedback_sums
from core.errors import PaasError
from llm.selectors import providers
from portal.access import actor_of, page
from portal.agent_forms import NewAgentForm, suggestions
from portal.agent_templates import BY_KEY, TEMPLATES

PLACE = "/settings/agents/"


@dataclass(frozen=True, slots=True)
class Line:
    """An agent as the list shows it. model, provider: of what is published, and before that of the draft."""

    agent: Agent
    model: str
    provider: str
    differs: bool
    up: int
    down: int

    @property
    def liked(self) -> int | None:
        """Percent of the thumbs that point up; None without any."""
        return round(100 * self.up / (self.up + self.down)) if self.up + self.down else None


@require_GET
@page(AGENTS_MANAGE)
def index(request: HttpRequest) -> HttpResponse:
    """`/settings/agents/`, with `?state=archived` those that are not in use any more"""
    actor, archived = actor_of(request), request.GET.get("state") == "archived"
    names = {str(one.pk): one.name for one in providers()}
    sums = feedback_sums(actor)
    lines = [_line(one, names, sums.get(one.pk, (0, 0))) for one in editing.agents_managed(actor, archived=archived)]
    context = {"page_name": "agents", "lines": lines, "archived": archived, "templates": TEMPLATES[:-1]}
    return render(request, "portal/agents.html", context)


def _line(agent: Agent, names: dict[str, str], thumbs: tuple[int, int]) -> Line:
    said = drafts.draft_of(agent).content
    model, provider = said["model"], said["provider"]
    if agent.current is not None:
        model, provider = agent.current.model, str(agent.current.provider_id)
    return Line(agent, model, names.get(provider or "", ""), drafts.differs(agent), *thumbs)


@require_http_methods(["GET", "POST"])
@page(AGENTS_MANAGE)
def new(request: HttpRequest) -> HttpResponse:
    """`/settings/new-agent/`, with `?template=<key>` that one is chosen already; `&knowledge=<slug>`: it answers from
    that base"""
    accounts = providers()
    chosen = BY_KEY.get(request.GET.get("template", ""), TEMPLATES[0])
    initial = {"template": chosen.key, "name": chosen.name if chosen.key != "empty" else ""}
    initial["knowledge"] = request.GET.get("knowledge", "")[:60]
    form = NewAgentForm(request.POST or None, accounts=accounts, initial=initial)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        fields: dict[str, Any] = {"name": data["name"], "provider": data["provider"] or None, "model": data["model"]}
        fields |= BY_KEY[data["template"]].fields()
        fields |= {"knowledge": [data["knowledge"]]} if data["knowledge"] else {}
        try:
            made = editing.agent_create(actor=actor_of(request), slug=data["slug"], fields=fields)
        except PaasError as error:
            if error.code == "permission_denied":
                raise
            form.explain(error)
        else:
            messages.success(
                request, gettext("%(name)s was made. Nobody can ask it before you publish it.") % {"name": made.name}
            )
            return HttpResponseRedirect(address(made.slug))
    context = {
        "page_name": "agents",
        "form": form,
        "choices": list(zip(form["template"], TEMPLATES, strict=True)),
        "models": suggestions(accounts),
        "knowledge": form["knowledge"].value(),
    }
    return render(request, "portal/agent_new.html", context, status=400 if form.errors else 200)


@require_POST
@page(AGENTS_MANAGE)
def archive(request: HttpRequest, slug: str) -> HttpResponse:
    """`/settings/agents/<slug>/archive/`"""
    actor = actor_of(request)
    agent = editing.agent_named(actor, slug)
    releases.agent_archive(actor=actor, slug=slug)
    messages.success(request, gettext("%(name)s was archived. You find it among the archived agents.") % _named(agent))
    return HttpResponseRedirect(PLACE)


@require_POST
@page(AGENTS_MANAGE)
def restore(request: HttpRequest, slug: str) -> HttpResponse:
    """`/settings/agents/<slug>/restore/`"""
    agent = releases.agent_restore(actor=actor_of(request), slug=slug)
    messages.success(request, gettext("%(name)s is in use again.") % _named(agent))
    return HttpResponseRedirect(address(slug))


def _named(agent: Agent) -> dict[str, str]:
    return {"name": agent.name}


def address(slug: str, part: str = "") -> str:
    """The address of an agent's page."""
    return f"{PLACE}{quote(slug)}/{part}"
