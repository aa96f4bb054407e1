"""Reads of agents, bound to their tenant."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime

from accounts.actors import Actor
from agents import drafts
from agents.charges import charged_info
from agents.fallbacks import fallbacks_of
from agents.models import Agent, AgentVersion
from agents.runtime.spec import AgentSpec
from agents.tools.knowledge import with_knowledge
from agents.tools.registry import bound_tools
from agents.tools.spec import RunLimits
from core.errors import PaasError
from llm.models import ProviderAccount
from llm.selectors import provider_ref
from tenants import limits, scope


def agents() -> list[Agent]:
    """The tenant's own agents that can be used, oldest first."""
    own = Agent.objects.select_related("current").filter(kind="")
    return list(own.filter(archived_at=None, current__isnull=False))


def agents_for(actor: Actor) -> list[Agent]:
    """Those of `agents` that the actor may use."""
    return [one for one in agents() if one.current is not None and actor.may_use(one.slug, one.current.model)]


def agent_spec(slug: str) -> AgentSpec | None:
    """One of the tenant's own agents as a value; the oldest one for "".

    Raises provider_not_configured when its provider is off, model_not_found when that does not allow its model,
    provider_not_in_plan.
    """
    usable = Agent.objects.select_related("current__provider").filter(kind="", archived_at=None)
    usable = usable.annotate(own_rate=limits.rate_of("agent", scope.current_tenant().id, "pk"))
    agent = (usable.filter(slug=slug) if slug else usable).filter(current__provider__isnull=False).first()
    if agent is None or agent.current is None or agent.current.provider is None:
        return None
    _check_askable(agent.current, agent.current.provider)
    rate = None if agent.own_rate is None else int(agent.own_rate)
    return replace(spec_of_version(agent, agent.current, agent.current.provider), requests_per_minute=rate)


def pinned_spec(slug: str, pin: str) -> AgentSpec | None:
    """One version of one of the tenant's own agents as a value, whatever is published now; None for a number that the
    agent has not, and for an agent that is not there or archived. pin: a number, or `draft`.

    Raises provider_not_configured when the version's provider is off, validation_failed for a draft that is not whole.
    """
    usable = Agent.objects.select_related("current").filter(kind="", archived_at=None, slug=slug)
    agent = usable.annotate(own_rate=limits.rate_of("agent", scope.current_tenant().id, "pk")).first()
    if agent is None:
        return None
    if pin == drafts.DRAFT:
        version = drafts.draft_tried(agent)
    else:
        found = AgentVersion.objects.select_related("provider").filter(agent=agent, number=int(pin)).first()
        if found is None:
            return None
        version = found
    if version.provider is None:
        raise PaasError("provider_not_configured")
    _check_askable(version, version.provider)
    rate = None if agent.own_rate is None else int(agent.own_rate)
    return replace(spec_of_version(agent, version, version.provider), requests_per_minute=rate)


def _check_askable(version: AgentVersion, account: ProviderAccount) -> None:
    """Raise provider_not_configured when the account is off, model_not_found when it does not allow the model. Of the
    platform's accounts provider_ref says it."""
    if account.of_platform:
        return
    if not account.enabled:
        raise PaasError("provider_not_configured")
    if not account.allows(version.model):
        raise PaasError("model_not_found", "This workspace does not allow the agent's model any more.")


def version_made_at(slug: str, pin: str) -> datetime | None:
    """When the version `pin` of an agent that is in use was published; None where there is none."""
    if not re.fullmatch(r"[1-9][0-9]{0,8}", pin):
        return None
    own = AgentVersion.objects.filter(agent__slug=slug, agent__kind="", agent__archived_at=None, number=int(pin))
    return own.values_list("created_at", flat=True).first()


def spec_of_version(agent: Agent, version: AgentVersion, account: ProviderAccount) -> AgentSpec:
    """One version of an agent, which asks a model of `account`, as a value, whatever has become of the agent since."""
    info = charged_info(account, version.model)
    return AgentSpec(
        agent_id=agent.id,
        version_id=version.id,
        slug=agent.slug,
        name=agent.name,
        description=agent.description,
        model=version.model,
        instructions=version.instructions,
        parameters=version.parameters,
        provider=provider_ref(account, version.model),
        provider_name=account.name,
        info=info,
        fallbacks=fallbacks_of(version.parameters, info),
        tools=bound_tools(with_knowledge(version.tools, version.knowledge)),
        limits=RunLimits(**version.limits),
        memory=version.memory,
        output_schema=version.output_schema,
    )


def agent_count() -> int:
    """How many agents the bound tenant has; archived and built-in ones do not count."""
    return Agent.objects.filter(archived_at=None, kind="").count()
