"""The built-in agents (agents/registry.py) as agents of the bound tenant: as values, in lists, and as rows."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from accounts.actors import Actor
from agents import registry, selectors
from agents.charges import charged_info
from agents.models import Agent, AgentVersion
from agents.registry import BuiltinAgent
from agents.runtime.spec import AgentSpec
from agents.tools.knowledge import with_knowledge
from agents.tools.registry import bound_tools
from core.errors import PaasError
from core.ids import uuid7
from llm.catalog import UNKNOWN, ModelInfo
from llm.features import TOOLS
from llm.models import ProviderAccount
from llm.registry import ProviderRef
from llm.selectors import provider_named, provider_ref

NAMESPACE = uuid.UUID("0f6c4e56-93a3-5c3b-8d5e-6a0c3f1f2b7d")
# Nothing is asked of a vendor: it costs nothing, and there is no window but that of the conversation. What it may say
# is held while it runs, so it is no more than the longest message of Phase 1 takes, in Chinese.
PYTHON = ModelInfo(context_tokens=200_000, max_output_tokens=12_000, input_price=Decimal(0), output_price=Decimal(0))
PYTHON_PROVIDER = ProviderRef(id=uuid.UUID(int=0), kind=registry.KIND)
OWN = {"kind": "model", "class_name": "Agent", "module": "agents.models"}
NO_MODEL = (
    "The agent {slug} answers with the workspace's default model, and there is none. Ask an administrator to connect "
    "a model provider and to make an agent on one of its models."
)


def builtin_spec(slug: str) -> AgentSpec | None:
    """The built-in agent `slug` of the bound tenant; None where there is none, or one of the tenant's own in its place.

    Makes its row when it is first used. Raises provider_not_configured when it needs a model and there is none.
    """
    built = registry.builtin(slug)
    if built is None:
        return None
    if built.answer is None:
        found = default_model()
        if found is None:
            raise PaasError("provider_not_configured", NO_MODEL.format(slug=slug))
        account, model = found
        provider, provider_name, info = provider_ref(account, model), account.name, charged_info(account, model)
    else:
        provider, provider_name, model, info = PYTHON_PROVIDER, registry.KIND, slug, PYTHON
    row = builtin_row(built)
    if row is None or row.current is None:
        return None
    return AgentSpec(
        agent_id=row.id,
        version_id=row.current.id,
        slug=slug,
        name=built.name,
        description=built.description,
        model=model,
        instructions=built.instructions,
        parameters={},
        provider=provider,
        provider_name=provider_name,
        info=info,
        answer=built.answer,
        tools=bound_tools(_tools_of(built)) if TOOLS in info.features else (),
    )


def _tools_of(built: BuiltinAgent) -> list[dict[str, Any]]:
    return with_knowledge([{"name": name} for name in built.tools], [], rewrite=True)


def builtin_id(slug: str) -> uuid.UUID:
    """The id of a built-in agent: the same in every tenant, and known before its row is there."""
    return uuid.uuid5(NAMESPACE, slug)


def builtin_row(built: BuiltinAgent) -> Agent | None:
    """The row that conversations and runs point to, as this release has the agent; None for an agent of the tenant's.

    Two that make it at once make it once.
    """
    agent = Agent.objects.select_related("current").filter(slug=built.slug).first()
    if agent is None or (agent.kind == registry.KIND and not _is_current(agent, built)):
        agent = _make(built)
    return agent if agent.kind == registry.KIND else None


def default_model() -> tuple[ProviderAccount, str] | None:
    """The bound tenant's default model: its oldest own agent's whose provider is on, else the first model that one of
    its providers describes."""
    own = Agent.objects.select_related("current__provider").filter(kind="", archived_at=None)
    first = own.filter(current__provider__enabled=True).first()
    if first is not None and first.current is not None and first.current.provider is not None:
        return first.current.provider, first.current.model
    for account in ProviderAccount.objects.filter(enabled=True).order_by("created_at"):
        for name in account.models or {}:
            return account, name
    return None


def agent_views(actor: Actor) -> list[dict[str, Any]]:
    """Every agent that the actor may use, as the API lists it: the tenant's own, oldest first, then the built-in ones.

    tools: the names of those that it has. type, class_name and module are what clients of Phase 1 read.
    """
    views = [
        _view(agent, agent.id, agent.current.model if agent.current else "") | OWN | {"tools": _tools(agent)}
        for agent in selectors.agents_for(actor)
    ]
    own = set(Agent.objects.filter(kind="").values_list("slug", flat=True))
    found = default_model()
    for built in registry.builtins():
        model = built.slug if built.answer else found[1] if found else ""
        if built.slug not in own and actor.may_use(built.slug, model):
            shown = {"kind": registry.KIND, "class_name": built.class_name, "module": built.module}
            views.append(_view(built, builtin_id(built.slug), model) | shown | {"tools": list(built.tools)})
    return views


def _tools(agent: Agent) -> list[str]:
    return [one["name"] for one in agent.current.tools] if agent.current else []


def registered(view: dict[str, Any]) -> BuiltinAgent | None:
    """The built-in agent that one of `agent_views` shows; None for the tenant's own."""
    return registry.builtin(view["slug"]) if view["kind"] == registry.KIND else None


def _view(agent: Agent | BuiltinAgent, agent_id: uuid.UUID, model: str) -> dict[str, Any]:
    return {
        "id": str(agent_id),
        "slug": agent.slug,
        "name": agent.name,
        "description": agent.description,
        "model": model,
        "type": agent.slug,
    }


def _is_current(agent: Agent, built: BuiltinAgent) -> bool:
    return agent.current is not None and (agent.name, agent.description, agent.current.instructions) == (
        built.name, built.description, built.instructions,
    )  # fmt: skip


@transaction.atomic
def _make(built: BuiltinAgent) -> Agent:
    shown = {"name": built.name, "description": built.description}
    Agent.objects.bulk_create(
        [Agent(id=builtin_id(built.slug), slug=built.slug, kind=registry.KIND, **shown)], ignore_conflicts=True
    )
    agent = Agent.objects.select_for_update(of=("self",)).select_related("current").get(slug=built.slug)
    if agent.kind != registry.KIND or _is_current(agent, built):
        return agent
    number = agent.current.number + 1 if agent.current else 1
    if agent.current is None or agent.current.instructions != built.instructions:
        agent.current = AgentVersion.objects.create(
            id=uuid7(), agent=agent, number=number, model="", instructions=built.instructions, created_by="platform"
        )
    agent.name, agent.description = built.name, built.description
    agent.save(update_fields=["name", "description", "current"])
    return agent


def charged_builtin(provider_name: str, model: str, at: datetime) -> ModelInfo:
    """What a run of a built-in agent is charged that asked `model` of the provider with this name."""
    if provider_name == registry.KIND:
        return PYTHON
    account = provider_named(provider_name)
    return UNKNOWN if account is None else charged_info(account, model, at)
