"""An agent's draft: editing it, with a live test beside it, and throwing it away."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_POST

from accounts.policies import AGENTS_MANAGE
from agents import content, drafts, editing
from agents.drafts import Draft
from agents.models import Agent
from agents.tools.settings import tool_lines
from core.errors import ERRORS, PaasError
from knowledge.selectors import knowledge_names
from llm.selectors import providers
from portal.access import actor_of, page
from portal.agent_forms import DraftForm, explain, suggestions
from portal.agent_words import Change, changes_shown, faults_shown, people_named
from portal.agents import address


@require_http_methods(["GET", "POST"])
@page(AGENTS_MANAGE)
def edit(request: HttpRequest, slug: str) -> HttpResponse:
    """`/settings/agents/<slug>/`: the draft; for whoever accepts JSON, a POST answers `{revision}` or `{problem}`"""
    agent = editing.agent_named(actor_of(request), slug)
    if agent.archived_at is not None:
        if request.method == "POST":
            raise PaasError("agent_not_found")
        return render(request, "portal/agent_archived.html", {"page_name": "agents", "agent": agent})
    form = _form(request.POST or None, drafts.draft_of(agent))
    if request.method == "GET":
        return _shown(request, agent, form)
    if form.is_valid():
        revision, fields = form.cleaned_data["revision"], form.values()
        try:
            return _saved(
                request,
                editing.draft_update(actor=actor_of(request), slug=slug, fields=fields, revision=revision),
            )
        except PaasError as error:
            if error.code == "edited_meanwhile":
                return _overtaken(request, slug)
            explain(form, error)
    return _refused(request, agent, form)


def _form(data: Any, draft: Draft) -> DraftForm:
    accounts = providers()
    said = content.shown(draft.content, accounts)
    form = DraftForm(data, said=said, revision=draft.revision, accounts=accounts)
    form.offer_tools(tool_lines())
    form.offer_knowledge(knowledge_names())
    return form


def _saved(request: HttpRequest, agent: Agent) -> HttpResponse:
    draft = drafts.draft_of(agent)
    if _wants_json(request):
        return JsonResponse({"revision": draft.revision})
    messages.success(request, gettext("The draft was saved."))
    if "publish" in request.POST:
        return HttpResponseRedirect(address(agent.slug, "publish/"))
    return HttpResponseRedirect(address(agent.slug))


def _overtaken(request: HttpRequest, slug: str) -> HttpResponse:
    """Somebody else has saved: what was typed stays in the form, and saving once more would replace theirs."""
    agent = editing.agent_named(actor_of(request), slug)
    draft = drafts.draft_of(agent)
    data = request.POST.copy()
    data["revision"] = draft.revision
    form = _form(data, draft)
    stored = content.shown(draft.content, form.accounts)
    # What they have changed may not fit what was typed: a provider that is gone, a tool.
    theirs = changes_shown(content.differences(stored, stored | form.values())) if form.is_valid() else []
    form.add_error(None, gettext("Somebody else has saved this draft since you opened it. Nothing of yours is lost."))
    return _refused(request, agent, form, status=412, theirs=theirs)


def _refused(
    request: HttpRequest, agent: Agent, form: DraftForm, *, status: int = 400, theirs: list[Change] | None = None
) -> HttpResponse:
    if _wants_json(request):
        told = [str(one) for errors in form.errors.values() for one in errors]
        return JsonResponse({"problem": " ".join(told)}, status=status)
    return _shown(request, agent, form, status=status, theirs=theirs)


def _shown(
    request: HttpRequest, agent: Agent, form: DraftForm, *, status: int = 200, theirs: list[Change] | None = None
) -> HttpResponse:
    draft = drafts.draft_of(agent)
    context = {
        "page_name": "agents",
        "agent": agent,
        "part": "draft",
        "form": form,
        "draft": draft,
        "draft_at": datetime.fromisoformat(draft.at) if draft.at else None,
        "draft_by": people_named([draft.by])[draft.by] if draft.by else "",
        "differs": drafts.differs(agent),
        "faults": faults_shown(content.faults_of(draft.content, accounts=form.accounts)),
        "models": suggestions(form.accounts),
        "theirs": theirs,  # None: nobody has overtaken this person
        "failures": _failures(),
    }
    return render(request, "portal/agent.html", context, status=status)


def _failures() -> dict[str, str]:
    """What errors of the live test are called where that is not English: there, their own words say more."""
    told = {code: gettext(spec.message) for code, spec in ERRORS.items()}
    return {code: text for code, text in told.items() if text != ERRORS[code].message}


@require_POST
@page(AGENTS_MANAGE)
def discard(request: HttpRequest, slug: str) -> HttpResponse:
    """`/settings/agents/<slug>/discard/`: what is published stays"""
    revision = request.POST.get("revision", "")
    actor = actor_of(request)
    editing.agent_named(actor, slug)
    try:
        editing.draft_discard(actor=actor, slug=slug, revision=revision)
    except PaasError as error:
        if error.code != "edited_meanwhile":
            raise
        messages.error(
            request, gettext("Somebody else has saved this draft meanwhile, so it was kept. Look at it first.")
        )
    else:
        messages.success(request, gettext("The draft was thrown away. What is published stays."))
    return HttpResponseRedirect(address(slug))


def _wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept") == "application/json"
