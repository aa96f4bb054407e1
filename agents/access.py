"""The only way for a face to obtain an agent: by slug, for an actor who may use it.

A spec is remembered in the process for two seconds, like hosts and keys: an edited agent answers with its
new version within that time, and a turn costs no query for what it has just looked up.
"""

from __future__ import annotations

import re
import uuid

from accounts.actors import Actor
from accounts.policies import AGENTS_EXECUTE, AGENTS_MANAGE
from agents import builtin_specs, embeddings, selectors, specs
from agents.models import SLUG
from agents.runtime.spec import AgentSpec
from core.errors import PaasError
from core.remembered import Remembered
from tenants import scope

TTL_SECONDS = 2.0
# What may follow an agent's slug: `@3` is its third version for ever, `@draft` what is not published yet.
PIN = re.compile(r"[1-9][0-9]{0,8}|draft")

_known: Remembered[tuple[uuid.UUID, str], AgentSpec | None] = Remembered(TTL_SECONDS)


async def agent_for(actor: Actor, name: str) -> AgentSpec:
    """The agent with this slug ("" is the first that the actor may use), or one version of it: `slug@3`, and for who
    may change agents `slug@draft`.

    Raises permission_denied, agent_not_found, or model_not_found for an agent whose model, or a team one of whose
    models, the actor's key may not use.
    For a draft that is not whole validation_failed.
    """
    actor.require(AGENTS_EXECUTE)
    slug, pinned, pin = name.partition("@")
    if not slug and (actor.agents is not None or actor.models is not None):
        usable = await scope.run_in_tenant(actor.tenant, selectors.agents_for, actor)
        if not usable:
            raise PaasError("agent_not_found", details={"param": "model"})
        slug = usable[0].slug
    # What no agent is called takes no place in the memory; nobody learns of agents that are not for them.
    if (
        (name and not SLUG.match(slug))
        or (pinned and not PIN.fullmatch(pin))
        or (pin == "draft" and AGENTS_MANAGE not in actor.actions)
        or (actor.agents is not None and slug and slug not in actor.agents)
    ):
        raise PaasError("agent_not_found", details={"param": "model"})
    asked, tenant = slug + pinned + pin, actor.tenant
    spec = await _known.get((tenant.id, asked), lambda: scope.run_in_tenant(tenant, _spec, slug, pin))
    if spec is None and pin:
        message = f"There is no agent {slug} with a version {pin} in this workspace, or it is archived."
        raise PaasError("agent_not_found", message, details={"param": "model"})
    if spec is None:
        raise PaasError("agent_not_found", details={"param": "model"})
    if not all(actor.may_use(spec.slug, one.model) for one in spec.askable):
        raise PaasError("model_not_found", details={"param": "model"})
    return spec


def _spec(slug: str, pin: str) -> AgentSpec | None:
    if pin:
        return specs.pinned_spec(slug, pin)
    return specs.agent_spec(slug) or builtin_specs.builtin_spec(slug)


def forget_all() -> None:
    """Empty the memory (after an own change, and between tests)."""
    _known.clear()
    embeddings.forget_all()
