"""Reads of agents, bound to their tenant."""

from __future__ import annotations

from accounts.actors import Actor
from agents.charges import charged_info
from agents.models import Agent
from agents.runtime.spec import AgentSpec
from core.errors import PaasError
from llm.selectors import provider_ref


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
    agent = (usable.filter(slug=slug) if slug else usable).filter(current__provider__isnull=False).first()
    if agent is None or agent.current is None or agent.current.provider is None:
        return None
    version, account = agent.current, agent.current.provider
    if not account.enabled:
        raise PaasError("provider_not_configured")
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
    )


def agent_count() -> int:
    """How many agents the bound tenant has; archived and built-in ones do not count."""
    return Agent.objects.filter(archived_at=None, kind="").count()
