"""Writes of agents, bound to their tenant."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max

from accounts import audit
from agents import access, fallbacks
from agents.charges import charged_info
from agents.models import Agent, AgentVersion, slug_validator
from agents.output import checked_schema
from agents.parameters import parameter_problems
from agents.tools.choice import checked_knowledge, checked_limits, checked_tools
from llm.features import TOOLS
from llm.models import ProviderAccount
from tenants import limits


def agent_set(
    *, slug: str, provider: ProviderAccount, model: str, actor: str, fields: dict[str, Any] | None = None
) -> str:
    """Create the agent `slug`, or give it a new version where something differs.

    fields: name, description, instructions, parameters, tools, limits, memory, output_schema, knowledge; what is left
    out stays as it is. Returns "created", "updated" or "unchanged". Raises ValidationError, or plan_limit_reached for
    one more than the plan has.
    """
    wanted = fields or {}
    _check_parameters(wanted.get("parameters") or {})
    if fallbacks.NAME in (wanted.get("parameters") or {}):
        kept = fallbacks.fallbacks_checked(wanted["parameters"][fallbacks.NAME])
        wanted = wanted | {"parameters": wanted["parameters"] | {fallbacks.NAME: kept}}
    tools, run_limits = checked_tools(wanted.get("tools")), checked_limits(wanted.get("limits"))
    schema, bases = checked_schema(wanted.get("output_schema")), checked_knowledge(wanted.get("knowledge"))
    slug_validator(slug)
    if not provider.allows(model):
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
        content = {
            "provider_id": provider.id,
            "model": model,
            "instructions": wanted.get("instructions", current.instructions if current else "") or "",
            "parameters": wanted.get("parameters", current.parameters if current else {}) or {},
            "tools": tools if "tools" in wanted else current.tools if current else [],
            "limits": run_limits if "limits" in wanted else current.limits if current else {},
            "output_schema": schema if "output_schema" in wanted else current.output_schema if current else {},
            "knowledge": bases if "knowledge" in wanted else current.knowledge if current else [],
            "memory": wanted.get("memory", current.memory if current else False),
        }
        asking = [name for name in ("tools", "memory", "knowledge") if content[name]]
        if asking and TOOLS not in charged_info(provider, model).features:
            raise ValidationError({asking[0]: f"The model {model} is not known to use tools."})
        same = current is not None and all(getattr(current, key) == value for key, value in content.items())
        if same and not renamed:
            return "unchanged"
        agent.full_clean(exclude=["current"])
        agent.save()
        if not same:
            last = agent.versions.aggregate(last=Max("number"))["last"] or 0
            version = AgentVersion(agent=agent, number=last + 1, created_by=actor, **content)
            version.full_clean()
            version.save(force_insert=True)
            agent.current = version
            agent.save(update_fields=["current"])
        audit.record("agent.created" if created else "agent.updated", actor=actor, target=slug)
    access.forget_all()
    return "created" if created else "updated"


def _check_parameters(parameters: Any) -> None:
    if problems := parameter_problems(parameters):
        raise ValidationError(problems)
