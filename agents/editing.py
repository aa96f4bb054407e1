"""Changing agents without touching what their callers get: new ones, and drafts (agents/releases.py publishes them)."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from accounts import audit
from accounts.actors import Actor
from accounts.policies import AGENTS_MANAGE
from agents import access, content, registry
from agents.content import Content
from agents.drafts import check_revision, draft_of, refuse
from agents.models import SLUG, Agent
from agents.teams import problem_for
from core import clock
from core.errors import PaasError
from tenants import limits


def agent_locked(actor: Actor, slug: str, *, archived: bool = False) -> Agent:
    """One of the tenant's own agents, to be changed in this transaction. Raises permission_denied, agent_not_found."""
    actor.require(AGENTS_MANAGE)
    own = Agent.objects.select_related("current").select_for_update(of=("self",)).filter(kind="")
    found = own.filter(slug=slug, archived_at__isnull=not archived).first() if SLUG.match(slug) else None
    if found is None or not _may(actor, found):
        raise PaasError("agent_not_found")
    return found


def agent_named(actor: Actor, slug: str) -> Agent:
    """One of the tenant's own agents, archived ones too, to be looked at by who may change it.

    Raises permission_denied, agent_not_found.
    """
    actor.require(AGENTS_MANAGE)
    own = Agent.objects.select_related("current").filter(kind="", slug=slug)
    found = own.first() if SLUG.match(slug) else None
    if found is None or not _may(actor, found):
        raise PaasError("agent_not_found")
    return found


def agents_managed(actor: Actor, *, archived: bool) -> list[Agent]:
    """The tenant's own agents, also those that are not published, oldest first; archived: those that are, instead.

    Raises permission_denied.
    """
    actor.require(AGENTS_MANAGE)
    own = Agent.objects.select_related("current").filter(kind="", archived_at__isnull=not archived)
    return [one for one in own if _may(actor, one)]


def _may(actor: Actor, agent: Agent) -> bool:
    return actor.agents is None or agent.slug in actor.agents


@transaction.atomic
def agent_create(*, actor: Actor, slug: str, fields: dict[str, Any]) -> Agent:
    """A new agent that is a draft only: nobody can ask it before it is published.

    Raises permission_denied, already_exists (an archived agent keeps its name), plan_limit_reached, or
    validation_failed with what is wrong in `details.fields`.
    """
    actor.require(AGENTS_MANAGE)
    wanted, faults = content.taken(fields)
    if not isinstance(slug, str) or not SLUG.match(slug):
        faults["slug"] = ["Use 1 to 60 small letters, digits, and inner . _ or -."]
    refuse(faults)
    if actor.agents is not None and slug not in actor.agents:
        raise PaasError("permission_denied", "This API key is for other agents.")
    _check_team(actor, wanted)
    limits.one_at_a_time("agents")
    if Agent.objects.filter(slug=slug).exists() or registry.builtin(slug) is not None:
        raise PaasError("already_exists", details={"param": "slug"})
    limits.check_agents(Agent.objects.filter(archived_at=None, kind="").count())
    agent = Agent(slug=slug, name=wanted.get("name") or slug, description=wanted.get("description") or "")
    said = {"name": agent.name, "description": agent.description} | content.empty_content()
    agent.draft = _stored(said | _full(wanted, agent), None, actor)
    agent.save(force_insert=True)
    audit.record("agent.drafted", actor=actor.label, target=slug, fields=sorted(wanted))
    return agent


@transaction.atomic
def draft_update(*, actor: Actor, slug: str, fields: dict[str, Any], revision: str | None = None) -> Agent:
    """Change some fields of the draft; the first change begins it from what is published.

    revision: the draft must still be the one that was seen. Raises permission_denied, agent_not_found,
    edited_meanwhile, or validation_failed with what is wrong in `details.fields`.
    """
    agent = agent_locked(actor, slug)
    check_revision(draft_of(agent), revision)
    wanted, faults = content.taken(fields, slug)
    refuse(faults)
    _check_team(actor, wanted)
    before = draft_of(agent)
    said = before.content | _full(wanted, agent)
    if said == before.content:
        return agent
    agent.draft = _stored(said, before.base, actor)
    agent.save(update_fields=["draft"])
    audit.record("agent.drafted", actor=actor.label, target=slug, fields=sorted(wanted))
    _forget()
    return agent


@transaction.atomic
def draft_discard(*, actor: Actor, slug: str, revision: str | None = None) -> None:
    """Throw the draft away. Raises permission_denied, agent_not_found (also for an agent that is nothing else yet:
    archive it), edited_meanwhile."""
    agent = agent_locked(actor, slug)
    if agent.draft is None or agent.current is None:
        raise PaasError("not_found", "There is no draft that could be thrown away.")
    check_revision(draft_of(agent), revision)
    agent.draft = None
    agent.save(update_fields=["draft"])
    audit.record("agent.draft_discarded", actor=actor.label, target=slug)
    _forget()


def _check_team(actor: Actor, wanted: Content) -> None:
    if problem := problem_for(actor, wanted.get("team")):
        refuse({"team": [problem]})


def _full(wanted: Content, agent: Agent) -> Content:
    """An agent is not without a name."""
    return wanted | ({"name": wanted["name"] or agent.slug} if "name" in wanted else {})


def _stored(said: Content, base: int | None, actor: Actor) -> dict[str, Any]:
    return {"content": said, "base": base, "by": actor.label, "at": clock.now().isoformat()}


def _forget() -> None:
    """A draft that somebody tries is remembered as agents are; from the commit on it is another one."""
    transaction.on_commit(access.forget_all)
