"""Reads of agents, bound to their tenant."""

from __future__ import annotations

from dataclasses import replace

from accounts.actors import Actor
from agents.charges import charged_info
from agents.models import Agent, AgentVersion
from agents.runtime.spec import AgentSpec
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

    Raises provider_not_configured when its provider is off.
    """
    usable = Agent.objects.select_related("current__provider").filter(kind="", archived_at=None)
    usable = usable.annotate(own_rate=limits.rate_of("agent", scope.current_tenant().id, "pk"))
    agent = (usable.filter(slug=slug) if slug else usable).filter(current__provider__isnull=False).first()
    if agent is None or agent.current is None or agent.current.provider is None:
        return None
    if not agent.current.provider.enabled:
        raise PaasError("provider_not_configured")
    rate = None if agent.own_rate is None else int(agent.own_rate)
    return replace(spec_of_version(agent, agent.current, agent.current.provider), requests_per_minute=rate)


def spec_of_version(agent: Agent, version: AgentVersion, account: ProviderAccount) -> AgentSpec:
    """One version of an agent, which asks a model of `account`, as a value, whatever has become of the agent since."""
    return AgentSpec(
        agent_id=agent.id,
        version_id=version.id,
        slug=agent.slug,
        name=agent.name,
        description=agent.description,
        model=version.model,
        instructions=version.instructions,
        parameters=version.parameters,
        provider=provider_ref(account),
        provider_name=account.name,
        info=charged_info(account, version.model),
        tools=bound_tools(version.tools),
        limits=RunLimits(**version.limits),
    )


def agent_count() -> int:
    """How many agents the bound tenant has; archived and built-in ones do not count."""
    return Agent.objects.filter(archived_at=None, kind="").count()
