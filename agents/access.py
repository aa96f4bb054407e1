"""The only way for a face to obtain an agent: by slug, for an actor who may use it.

A spec is remembered in the process for two seconds, like hosts and keys: an edited agent answers with its
new version within that time, and a turn costs no query for what it has just looked up.
"""

from __future__ import annotations

import uuid

from accounts.actors import Actor
from accounts.policies import AGENTS_EXECUTE
from agents import selectors
from agents.models import SLUG
from agents.runtime.spec import AgentSpec
from core.errors import PaasError
from core.remembered import Remembered
from tenants import scope

TTL_SECONDS = 2.0

_known: Remembered[tuple[uuid.UUID, str], AgentSpec | None] = Remembered(TTL_SECONDS)


async def agent_for(actor: Actor, slug: str) -> AgentSpec:
    """The agent `slug` ("" is the tenant's first). Raises permission_denied or agent_not_found."""
    actor.require(AGENTS_EXECUTE)
    if slug and not SLUG.match(slug):  # no agent has such a name; it takes no place in the memory
        raise PaasError("agent_not_found", details={"param": "model"})
    tenant = actor.tenant
    spec = await _known.get((tenant.id, slug), lambda: scope.run_in_tenant(tenant, selectors.agent_spec, slug))
    if spec is None:
        raise PaasError("agent_not_found", details={"param": "model"})
    return spec


def forget_all() -> None:
    """Empty the memory (after an own change, and between tests)."""
    _known.clear()
