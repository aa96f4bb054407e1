"""Conversations in which nothing is said yet: a Phase 1 session, or one that files are put into first."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
from psycopg.types.json import Jsonb

from accounts.actors import Actor
from accounts.policies import CHAT_READ, CHAT_WRITE
from agents import builtin_specs
from agents.models import Agent
from chat.turns import session_limit
from core.errors import PaasError
from core.ids import uuid7
from tenants import scope
from tenants.db import aio

BEGIN_SQL = "SELECT begin_conversation(%s)"


async def conversation_begin(actor: Actor, agent: str, *, title: str = "", **fields: dict[str, Any]) -> uuid.UUID:
    """Begin a conversation with an agent ("" is the first that the actor may use); its id.

    fields: config and meta. title: without one the agent's name. Raises permission_denied, agent_not_found,
    session_limit_reached.
    """
    actor.require(CHAT_WRITE)
    actor.require(CHAT_READ)  # the answer shows it; nothing is made for who may not see it
    found = await scope.run_in_tenant(actor.tenant, _agent, actor, agent)
    if found is None:
        raise PaasError("agent_not_found", details={"param": "agent"})
    new = {
        "id": uuid7(), "agent": found.id, "user": actor.user_id, "key": actor.key_id, "title": title or found.name,
        "config": fields.get("config", {}), "meta": fields.get("meta", {}),
    }  # fmt: skip
    row = await aio.database().fetch_one(actor.tenant, BEGIN_SQL, [Jsonb(new, dumps=orjson.dumps)])
    if row is None or row[0] != "ok":
        raise session_limit()
    return uuid.UUID(str(new["id"]))


def _agent(actor: Actor, slug: str) -> Agent | None:
    for view in builtin_specs.agent_views(actor):
        if view["slug"] == slug or not slug:
            built = builtin_specs.registered(view)
            return builtin_specs.builtin_row(built) if built else Agent.objects.get(slug=view["slug"])
    return None
