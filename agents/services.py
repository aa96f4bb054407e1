"""Writes of agents, bound to their tenant."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max

from accounts import audit
from agents import access, content, fallbacks
from agents.models import Agent, AgentVersion, slug_validator
from agents.output import checked_schema
from agents.parameters import parameter_problems
from agents.teams import checked_team, pinned
from agents.tools.choice import checked_knowledge, checked_limits, checked_tools
from llm.models import ProviderAccount
from tenants import limits


def agent_set(
    *, slug: str, provider: ProviderAccount | None, model: str, actor: str, fields: dict[str, Any] | None = None
) -> str:
    """Create the agent `slug`, or give it a new version where something differs.

    fields: name, description, instructions, parameters, tools, limits, memory, output_schema, team, knowledge,
    rewrite_queries; what is left out stays as it is. provider None: of a team without a supervisor. Returns "created",
    "updated" or "unchanged". Raises ValidationError, or plan_limit_reached for one more than the plan has.
    """
    wanted = fields or {}
    _check_parameters(wanted.get("parameters") or {})
    if fallbacks.NAME in (wanted.get("parameters") or {}):
        kept = fallbacks.fallbacks_checked(wanted["parameters"][fallbacks.NAME])
        wanted = wanted | {"parameters": wanted["parameters"] | {fallbacks.NAME: kept}}
    slug_validator(slug)
    if provider is not None and not provider.allows(model):
        raise ValidationError({"model": f"The provider {provider.name!r} does not allow the model {model!r}."})
    with transaction.atomic():
        agent = Agent.objects.select_related("current").select_for_update(of=("self",)).filter(slug=slug).first()
        created = agent is None
        if agent is None or agent.archived_at is not None or agent.kind:
            limits.one_at_a_time("agents")
            limits.check_agents(Agent.objects.filter(archived_at=None, kind="").count())
        agent = agent or Agent(slug=slug)
        current = agent.current
        shown = (wanted.get("name", agent.name) or slug, wanted.get("description", agent.description) or "")
        renamed = (agent.name, agent.description) != shown or agent.archived_at is not None or agent.kind != ""
        agent.name, agent.description = shown
        agent.archived_at = None
        agent.kind = ""  # an agent of the tenant's own takes a built-in one's place
        said = _said(current, wanted, provider, model, slug)
        same = current is not None and all(getattr(current, key) == value for key, value in said.items())
        if same and not renamed:
            return "unchanged"
        agent.full_clean(exclude=["current"])
        agent.save()
        if not same:
            last = agent.versions.aggregate(last=Max("number"))["last"] or 0
            version = AgentVersion(agent=agent, number=last + 1, created_by=actor, **said)
            version.full_clean(exclude=version.unasked)
            version.save(force_insert=True)
            agent.current = version
            agent.save(update_fields=["current"])
        audit.record("agent.created" if created else "agent.updated", actor=actor, target=slug)
    access.forget_all()
    return "created" if created else "updated"


def _said(
    current: AgentVersion | None, wanted: dict[str, Any], provider: ProviderAccount | None, model: str, slug: str
) -> dict[str, Any]:
    """What the next version says, as AgentVersion takes it. Raises ValidationError."""
    said = content.content_of(current) if current else content.empty_content()
    said |= {"provider": str(provider.id) if provider else None, "model": model}
    said |= {name: wanted[name] or type(said[name])() for name in ("instructions", "parameters") if name in wanted}
    if "tools" in wanted:
        said["tools"] = checked_tools(wanted["tools"])
    if "limits" in wanted:
        said["limits"] = checked_limits(wanted["limits"])
    if "output_schema" in wanted:
        said["output_schema"] = checked_schema(wanted["output_schema"])
    said |= {name: wanted[name] for name in ("memory", "rewrite_queries") if name in wanted}
    if "knowledge" in wanted:
        said["knowledge"] = checked_knowledge(wanted["knowledge"])
    if "team" in wanted:
        said["team"] = pinned(checked_team(wanted["team"], slug))
    faults = content.team_faults(said, slug)
    if provider is not None:  # one that is switched off may be declared
        faults |= {name: told for name, told in content.model_faults(said, provider).items() if name != "provider"}
    if faults:
        raise ValidationError(faults)
    return content.attributes_of(said)


def _check_parameters(parameters: Any) -> None:
    if problems := parameter_problems(parameters):
        raise ValidationError(problems)
