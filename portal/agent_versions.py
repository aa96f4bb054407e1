"""An agent's published versions: which there are, how they differ, publishing and going back."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.policies import AGENTS_MANAGE
from agents import content, drafts, editing, releases
from agents.drafts import DRAFT
from agents.models import Agent, AgentVersion
from agents.releases import Seen
from core.errors import PaasError
from core.sentences import sentence
from portal.access import actor_of, page
from portal.agent_forms import PublishForm
from portal.agent_words import changes_shown, faults_shown, people_named
from portal.agents import address

SHOWN = 30


@dataclass(frozen=True, slots=True)
class Line:
    """A version as the list shows it."""

    version: AgentVersion
    by: str
    current: bool


@require_GET
@page(AGENTS_MANAGE)
def index(request: HttpRequest, slug: str) -> HttpResponse:
    """`/settings/agents/<slug>/versions/`; `?from=&to=` two of them side by side, `?before=` older ones"""
    agent = editing.agent_named(actor_of(request), slug)
    before = _number(request.GET.get("before", ""))
    found = releases.versions_before(agent, before, SHOWN + 1)
    people = people_named(one.created_by for one in found)
    lines = [Line(one, people[one.created_by], one.pk == agent.current_id) for one in found[:SHOWN]]
    context = {
        "page_name": "agents",
        "agent": agent,
        "part": "versions",
        "lines": lines,
        "older": lines[-1].version.number if len(found) > SHOWN else None,
        "differs": drafts.differs(agent),
        "sides": [str(one.number) for one in found] + ([DRAFT] if agent.draft is not None else []),
    }
    if "from" in request.GET or "to" in request.GET:
        context |= _compared(agent, request.GET.get("from", ""), request.GET.get("to", ""))
    return render(request, "portal/agent_versions.html", context)


def _compared(agent: Agent, before: str, after: str) -> dict[str, object]:
    try:
        found = releases.agent_diff(agent, before, after)
    except PaasError as error:
        return {"problem": sentence(error)}
    return {"changes": changes_shown(found["changes"]), "before": str(found["from"]), "after": str(found["to"])}


@require_http_methods(["GET", "POST"])
@page(AGENTS_MANAGE)
def publish(request: HttpRequest, slug: str) -> HttpResponse:
    """`/settings/agents/<slug>/publish/`: what would change, and doing it"""
    actor = actor_of(request)
    agent = _in_use(editing.agent_named(actor, slug))
    form = PublishForm(request.POST or None)
    problem, status = "", 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            data = form.cleaned_data
            try:
                agent, fresh = releases.agent_publish(
                    actor=actor, slug=slug, note=data["note"], seen=Seen(data["revision"], data["base"])
                )
            except PaasError as error:
                problem, status = _why_not(error), error.status
            else:
                _say_published(request, agent, fresh)
                return HttpResponseRedirect(address(slug, "versions/"))
        agent = editing.agent_named(actor, slug)
    draft = drafts.draft_of(agent)
    number = agent.current.number if agent.current else None
    seen = {"revision": draft.revision, "base": number, "note": request.POST.get("note", "")}
    context = {
        "page_name": "agents",
        "agent": agent,
        "part": "draft",
        "form": PublishForm(initial=seen) if not form.errors.get("note") else form,
        "begun": draft.begun,
        "overtaken": draft.begun and draft.base != number,
        "base": draft.base,
        "changes": changes_shown(releases.agent_diff(agent, "", "")["changes"]),
        "faults": faults_shown(content.faults_of(draft.content)),
        "problem": problem,
        "next": (number or 0) + 1,
    }
    return render(request, "portal/agent_publish.html", context, status=status)


def _in_use(agent: Agent) -> Agent:
    if agent.archived_at is not None:
        raise PaasError("agent_not_found")
    return agent


def _why_not(error: PaasError) -> str:
    if error.code == "edited_meanwhile":
        return gettext("The draft, or what is published, has changed since you looked. This is how it stands now.")
    if error.code == "validation_failed":
        return gettext("It cannot be published yet.")
    return sentence(error)


def _say_published(request: HttpRequest, agent: Agent, fresh: bool) -> None:
    number = agent.current.number if agent.current else 0
    if fresh:
        said = gettext("Version %(number)s is published: from now on it answers.") % {"number": number}
    else:
        said = gettext("The name and the description were changed. That needs no new version.")
    messages.success(request, said)


@require_POST
@page(AGENTS_MANAGE)
def go_back(request: HttpRequest, slug: str) -> HttpResponse:
    """`/settings/agents/<slug>/rollback/` with `version`: publish once more what it said"""
    actor = actor_of(request)
    editing.agent_named(actor, slug)
    number = _number(request.POST.get("version", "")) or 0
    try:
        agent, fresh = releases.agent_roll_back(
            actor=actor, slug=slug, number=number, note=request.POST.get("note", "")[: releases.MOST_NOTE_CHARS]
        )
    except PaasError as error:
        if error.code != "validation_failed":
            raise
        faults = faults_shown(error.details.get("fields", {}))
        why = " ".join(f"{name}: {told}" for name, told in faults)
        said = gettext("Version %(number)s cannot be used any more. %(why)s") % {"number": number, "why": why}
        messages.error(request, said)
    else:
        assert agent.current is not None
        told = {"number": number, "new": agent.current.number}
        if fresh:
            messages.success(
                request, gettext("What version %(number)s said is published again, as version %(new)s.") % told
            )
        else:
            messages.info(request, gettext("Version %(new)s says the same as version %(number)s already.") % told)
    return HttpResponseRedirect(address(slug, "versions/"))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
