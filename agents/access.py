"""The only way for a face to obtain an agent: by slug, for an actor who may use it.

A spec is remembered in the process for two seconds, like hosts and keys: an edited agent answers with its
new version within that time, and a turn costs no query for what it has just looked up.
"""

from __future__ import annotations

import uuid

from accounts.actors import Actor
from accounts.policies import AGENTS_EXECUTE
from agents import builtin_specs, embeddings, selectors
from agents.models import SLUG
from agents.runtime.spec import AgentSpec
from core.errors import PaasError
from core.remembered import Remembered
from tenants import scope

TTL_SECONDS = 2.0

_known: Remembered[tuple[uuid.UUID, str], AgentSpec | None] = Remembered(TTL_SECONDS)


async def agent_for(actor: Actor, slug: str) -> AgentSpec:
    """The agent `slug` ("" is the first that the actor may use).

    Raises permission_denied, agent_not_found, or model_not_found for an agent whose model the actor's key may not use.
    """
    actor.require(AGENTS_EXECUTE)
    if not slug and (actor.agents is not None or actor.models is not None):
        usable = await scope.run_in_tenant(actor.tenant, selectors.agents_for, actor)
        if not usable:
            raise PaasError("agent_not_found", details={"param": "model"})
        slug = usable[0].slug
    if slug and not SLUG.match(slug):  # no agent has such a name; it takes no place in the memory
        raise PaasError("agent_not_found", details={"param": "model"})
    tenant = actor.tenant
    spec = await _known.get((tenant.id, slug), lambda: scope.run_in_tenant(tenant, _spec, slug))
    if spec is None or (actor.agents is not None and slug and slug not in actor.agents):
        raise PaasError("agent_not_found", details={"param": "model"})
    if not actor.may_use(spec.slug, spec.model):
        raise PaasError("model_not_found", details={"param": "model"})
    return spec


def _spec(slug: str) -> AgentSpec | None:
    return selectors.agent_spec(slug) or builtin_specs.builtin_spec(slug)


def forget_all() -> None:
    """Empty the memory (after an own change, and between tests)."""
    _known.clear()
    embeddings.forget_all()
