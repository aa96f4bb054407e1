"""Each call of a tool, written down before it is made and after it (P48); the tenant's limits on calls hold here."""

from __future__ import annotations

import uuid

import orjson
from psycopg.types.json import Jsonb

from agents.tools.spec import ToolContext, ToolSpec
from core.ids import uuid7
from tenants.db import aio

BEGIN_SQL = "SELECT tool_begin(%s)"
END_SQL = "SELECT tool_end(%s, %s, %s)"
REFUSALS = {
    "tool_off": "This tool is switched off in this workspace.",
    "tool_limit": "This workspace may not call this tool any more today or this month.",
}


class Journal:
    """The journal of a tenant's calls, in its schema."""

    async def begin(self, context: ToolContext, spec: ToolSpec) -> tuple[uuid.UUID, str]:
        """(the call's id, why it may not be made or ""). Raises database_unavailable."""
        call_id = uuid7()
        call = {
            "id": call_id,
            "run": context.run_id,
            "agent": context.agent_slug,
            "user": context.actor.user_id,
            "key": context.actor.key_id,
            "name": spec.name,
            "effect": spec.effect,
        }
        row = await aio.database().fetch_one(context.tenant, BEGIN_SQL, [Jsonb(call, dumps=orjson.dumps)])
        return call_id, "" if row is None else REFUSALS.get(row[0], "")

    async def end(self, context: ToolContext, call_id: uuid.UUID, *, ok: bool, milliseconds: int) -> None:
        """What came of a call. Raises database_unavailable."""
        await aio.database().fetch_one(context.tenant, END_SQL, [call_id, ok, milliseconds])
