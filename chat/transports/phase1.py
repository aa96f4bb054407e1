"""The Phase 1 wire: `/api/v1/chat/`, `/api/v1/agents/...` and `/api/v1/sessions`. See docs/phase1.md."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

from django.conf import settings

from accounts.actors import Actor
from accounts.policies import AGENTS_EXECUTE, CHAT_WRITE
from agents.runtime.events import (
    MESSAGE_COMPLETED,
    RUN_CANCELLED,
    RUN_COMPLETED,
    RUN_FAILED,
)
from chat import http, idempotency, phase1, phase1_wire, turns
from chat.follow import follow
from chat.http import ClientGone, HttpRequest
from chat.turns import StartedTurn
from core.errors import PaasError
from tenants.scope import TenantRef

AGENT = re.compile(r"/api/v1/agents/([^/]+)(/execute)?")
SESSION = re.compile(r"/api/v1/sessions/([^/]+)")
# Path -> its methods, each with its class of rate limits.
METHODS = {
    "/api/v1/chat/completions": {"POST": "turn"},
    "/api/v1/chat/history": {"GET": "read"},
    "/api/v1/agents": {"GET": "read"},
    "/api/v1/sessions": {"GET": "read", "POST": "write"},
}
INVALID = ("validation_failed", "malformed_json")


def serves(path: str, tenant: TenantRef | None, method: str) -> bool:
    """Whether a request is this door's. A tenant's list of agents is its own API's, which has Phase 1's fields too, and
    so is archiving one."""
    if path in METHODS:
        return tenant is None or path != "/api/v1/agents"
    agent = AGENT.fullmatch(path)
    if agent and not agent[2] and method == "DELETE" and tenant is not None:
        return False
    return bool(agent or SESSION.fullmatch(path))


async def door(request: HttpRequest) -> None:
    """One request, at whichever address."""
    actor = await request.actor()
    if agent := AGENT.fullmatch(request.path):
        methods = {"POST": "turn"} if agent[2] else {"GET": "read"}
    else:
        methods = METHODS.get(request.path, {"GET": "read", "DELETE": "write"})
    if request.method not in methods:
        raise PaasError("method_not_allowed", f"Use {' or '.join(methods)} here.")
    await request.admit(actor, methods[request.method])
    if request.path == "/api/v1/chat/completions":
        await _completions(request, actor)
    elif agent and agent[2]:
        await _execute(request, actor, agent[1])
    else:
        await request.respond(200, await _answer(request, actor, agent[1] if agent else ""))


async def _answer(request: HttpRequest, actor: Actor, agent_type: str) -> dict[str, Any]:
    """What is answered whole and asks no agent."""
    query = {name: values[0] for name, values in request.query.items()}
    if agent_type:
        return await phase1.agent_view(actor, agent_type)
    if request.path == "/api/v1/agents":
        found = await phase1.agent_views(actor)
        return {"agents": found, "count": len(found)}
    if request.path == "/api/v1/chat/history":
        if not query.get("session_id"):
            raise phase1.Invalid((("query", "session_id"), "Field required", "missing"))
        return await phase1.history(actor, query["session_id"])
    if request.path == "/api/v1/sessions" and request.method == "GET":
        sessions = await phase1.session_list(actor, query.get("agent_type", ""), phase1.limit_of(request.query))
        return {"sessions": sessions, "count": len(sessions)}
    if request.path == "/api/v1/sessions":
        actor.require(CHAT_WRITE)
        agent_type, config, meta = phase1.new_session_of(await request.json(settings.MAX_BODY_BYTES))
        return await phase1.session_begin(actor, agent_type, config, meta)
    session_id = request.path.rpartition("/")[2]
    if request.method == "GET":
        return await phase1.session_named(actor, session_id)
    await phase1.session_delete(actor, session_id)
    return {"message": "Session deleted.", "session_id": session_id}


async def _completions(request: HttpRequest, actor: Actor) -> None:
    begun = time.monotonic()
    actor.require(CHAT_WRITE)
    actor.require(AGENTS_EXECUTE)
    asked = phase1.asked_of(await request.json(settings.MAX_BODY_BYTES))
    conversation = await phase1.conversation_named(actor, asked.session_id) if asked.session_id is not None else None
    turn = phase1.turn_of(asked, conversation, stream=True)
    request.sse_headers = phase1_wire.HEADERS
    try:
        started = await _started(request, actor, turn)
    except phase1.AgentUnready as error:
        await request.stream(phase1_wire.failure(error.code, error.message))
        return
    try:
        await request.stream(
            phase1_wire.encoded(
                follow(actor.tenant, started.run_id), started.conversation_id, begun, turn.options.get("events", ())
            )
        )
    except ClientGone:
        await _left(request, actor, started)
        raise


async def _execute(request: HttpRequest, actor: Actor, agent_type: str) -> None:
    begun = time.monotonic()
    actor.require(CHAT_WRITE)
    actor.require(AGENTS_EXECUTE)
    body = await request.json(settings.MAX_BODY_BYTES, optional=True)
    asked = phase1.executed_of(agent_type, request.query, body)
    content, tokens, error = "", 0, None
    try:
        started = await _started(request, actor, phase1.turn_of(asked, None, stream=False))
    except phase1.AgentUnready as unready:
        error = unready.message
    else:
        try:
            async with request.while_here():
                async for _, events in follow(actor.tenant, started.run_id):
                    for kind, data in events:
                        content = data["content"] if kind == MESSAGE_COMPLETED else content
                        tokens = phase1_wire.tokens_of(data) if kind == RUN_COMPLETED else tokens
                        error = data["message"] if kind == RUN_FAILED else error
                        error = "The run was stopped." if kind == RUN_CANCELLED else error
        except ClientGone:
            await _left(request, actor, started)
            raise
    result = None if error else {"content": content, "type": "text", "tokens_used": tokens}
    outcome = {"success": error is None, "result": result, "error": error}
    await request.respond(200, outcome | {"execution_time_ms": phase1_wire.milliseconds(begun)})


async def _left(request: HttpRequest, actor: Actor, started: StartedTurn) -> None:
    """Leaving is how these clients stop an answer; one that has a key for it may come back."""
    if not idempotency.key_of(request.headers):
        await turns.cancel_turn(actor, started.run_id)


async def _started(request: HttpRequest, actor: Actor, turn: turns.TurnRequest) -> StartedTurn:
    turn = replace(turn, idempotency_key=idempotency.key_of(request.headers))
    try:
        started = await turns.start_turn(actor, turn)
        request.answer_headers |= started.headers
        return started
    except PaasError as error:
        if error.code == "agent_not_found":
            raise await phase1.unknown_agent(actor, turn.agent) from None
        if error.code == "provider_not_configured":
            raise phase1.AgentUnready(error.code, error.message) from None
        raise


async def serve(request: HttpRequest) -> None:
    """The door with its error shape and statuses."""

    async def restated(asked: HttpRequest) -> None:
        try:
            await door(asked)
        except PaasError as error:
            if error.code in INVALID:
                error.status = 422
            elif error.code == "agent_not_found" and asked.path in METHODS:
                error.status = 400  # it was named in the body, not in the path
            raise

    await http.serve(request, restated, lambda error, _: phase1_wire.shape(error, request.path))
