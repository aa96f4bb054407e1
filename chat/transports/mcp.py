"""MCP over Streamable HTTP: `/mcp`, where each agent that the caller may use is a tool, and knowledge can be searched.

One message a POST, answered in JSON, or, for a call whose client takes it, as a stream of progress and the result.
Nothing is sent unasked, so GET has nothing to give; nothing is kept, so DELETE has nothing to end. Both are 405.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable
from typing import Any

import orjson
from django.conf import settings

from accounts import rates
from accounts.actors import Actor
from accounts.policies import AGENTS_EXECUTE, CHAT_READ, CHAT_WRITE, KNOWLEDGE_READ
from agents import selectors as agent_selectors
from agents.runtime.events import MESSAGE_COMPLETED, RUN_CANCELLED, RUN_FAILED, TEXT_DELTA
from chat import http, idempotency, limit_headers, mcp, mcp_knowledge, protocol, selectors, turns
from chat.follow import follow
from chat.http import ClientGone, HttpRequest
from chat.mcp import Call, RpcError
from chat.turns import StartedTurn, TurnRequest
from core.errors import PaasError
from tenants import scope

PROGRESS_SECONDS = 0.1  # between two notifications; what comes in between is told with the next one
# What is wrong with the call itself, and so no answer of the agent's: the door says it, with its status.
OF_THE_DOOR = ("permission_denied", "mfa_enrolment_required", "database_unavailable", "server_stopping")


async def serve(request: HttpRequest) -> None:
    """The door with its error shape."""
    asked: list[Call] = []

    def shape(error: PaasError, request_id: str) -> dict[str, Any]:
        return mcp.refusal(error, asked[0].id if asked else None, request_id)

    async def door(request: HttpRequest) -> None:
        try:
            await _post(request, asked)
        except RpcError as error:
            await request.respond(error.status, mcp.failure(error, asked[0].id if asked else None))

    await http.serve(request, door, shape)


async def _post(request: HttpRequest, asked: list[Call]) -> None:
    if "origin" in request.headers:  # a page elsewhere must not reach this through somebody's browser
        http.check_origin(request.headers)
    actor = await request.actor()
    if request.method != "POST":
        request.answer_headers["Allow"] = "POST"
        raise PaasError("method_not_allowed", "Use POST here.")
    try:
        call = mcp.call_of(await request.json(settings.MAX_BODY_BYTES), request.headers)
    except (PaasError, RpcError):
        await rates.admit(actor, "read")
        raise
    asked.append(call)
    room = await rates.admit(actor, _rate_class(call))
    request.answer_headers |= limit_headers.of_room(room)
    session = "" if call.modern or call.method == "initialize" else request.headers.get(mcp.SESSION, "")
    if session:
        mcp.check_session(actor, session)
    if call.id is None:
        await _noted(actor, call, session)
        await request.respond_bytes(202, b"")
    elif call.method != "tools/call":
        await request.respond(200, mcp.answer(call, await _result(request, actor, call)))
    elif _searches(call):
        await _search(request, actor, call)
    else:
        await _call(request, actor, call, session)


def _searches(call: Call) -> bool:
    return call.params.get("name") == mcp_knowledge.SEARCH


def _rate_class(call: Call) -> str:
    """A search counts as it does at the API."""
    if call.method != "tools/call":
        return "read"
    return "write" if _searches(call) else "turn"


async def _result(request: HttpRequest, actor: Actor, call: Call) -> dict[str, Any]:
    """What is answered at once."""
    name = actor.tenant.name or actor.tenant.slug
    if call.method == "initialize" and not call.modern:
        request.answer_headers["Mcp-Session-Id"] = mcp.new_session(actor)
        return mcp.initialized(call, name, _offer(actor))
    if call.method == "ping" and not call.modern:
        return {}
    if call.method == "server/discover" and call.modern:
        return mcp.discovered(name, _offer(actor))
    if (read := READS.get(call.method)) is not None:
        return await scope.run_in_tenant(actor.tenant, read, actor, call)
    raise mcp.unknown_method(call)


def _offer(actor: Actor) -> dict[str, Any]:
    """What there is for this caller."""
    talks, reads = CHAT_READ in actor.actions, KNOWLEDGE_READ in actor.actions
    capabilities: dict[str, Any] = ({"tools": {}} if talks or reads else {}) | ({"resources": {}} if reads else {})
    told = (mcp.INSTRUCTIONS if talks else "") + (mcp_knowledge.INSTRUCTIONS if reads else "")
    return {"capabilities": capabilities, "instructions": told.strip()}


def _tools(actor: Actor, call: Call) -> dict[str, Any]:
    """What `tools/list` is answered. Bound to the tenant."""
    found: list[dict[str, Any]] = []
    reads = KNOWLEDGE_READ in actor.actions
    if not reads or CHAT_READ in actor.actions:
        actor.require(CHAT_READ)
        agents = agent_selectors.agents_for(actor)
        found = mcp.agent_tools([(agent.slug, agent.name, agent.description) for agent in agents])
    if reads and (bases := mcp_knowledge.bases_of(actor)):
        found.append(mcp_knowledge.search_tool(bases))
    return mcp.listed({"tools": found}, call)


# What is read and answered at once, bound to the tenant.
READS: dict[str, Callable[[Actor, Call], dict[str, Any]]] = {
    "tools/list": _tools,
    "resources/list": mcp_knowledge.resources,
    "resources/templates/list": mcp_knowledge.templates,
    "resources/read": mcp_knowledge.read,
}


async def _noted(actor: Actor, call: Call, session: str) -> None:
    """A notification. `notifications/cancelled` stops the call of this session that it names."""
    named = call.params.get("requestId")
    if call.method != "notifications/cancelled" or not session or named is None:
        return
    key = mcp.key_of_call(session, named)
    run_id = await scope.run_in_tenant(actor.tenant, selectors.run_of_key, actor, key)
    if run_id is not None:
        await turns.cancel_turn(actor, run_id)


async def _search(request: HttpRequest, actor: Actor, call: Call) -> None:
    """A search of the workspace's knowledge. What a model can make something of is the tool's result."""
    actor.require(KNOWLEDGE_READ)
    headers: dict[str, str] = {}
    try:
        async with request.while_here():
            result = await mcp_knowledge.found(actor, call)
    except PaasError as error:
        if error.code in OF_THE_DOOR:
            raise
        result = mcp.unsaid(error.code, error.message, error.details)
        headers = limit_headers.of_error(error) | error.headers()
    await request.respond(200, mcp.answer(call, result), headers)


async def _call(request: HttpRequest, actor: Actor, call: Call, session: str) -> None:
    actor.require(CHAT_WRITE)
    actor.require(AGENTS_EXECUTE)
    agent, message, conversation = mcp.asked_of(call)
    own_key = idempotency.key_of(request.headers)
    turn = TurnRequest(
        door="mcp",
        agent=agent or "-",
        message=message,
        conversation_id=protocol.parse_uuid(conversation) if conversation else None,
        idempotency_key=own_key or (mcp.key_of_call(session, call.id) if session else ""),
    )
    try:
        started = await turns.start_turn(actor, turn)
    except PaasError as error:
        if error.code in ("agent_not_found", "model_not_found"):
            raise mcp.unknown_tool(call) from None
        if error.code in OF_THE_DOOR:
            raise
        refused = mcp.unsaid(error.code, error.message, error.details)
        await request.respond(200, mcp.answer(call, refused), limit_headers.of_error(error) | error.headers())
        return
    request.answer_headers |= started.headers | limit_headers.of_tokens(started.tightest)
    parts = _messages(actor, call, started)
    try:
        if "text/event-stream" in request.headers.get("accept", ""):
            await request.stream(_encoded(parts))
            return
        async with request.while_here():
            *_, last = [part async for part in parts]
        await request.respond(200, last)
    except ClientGone:
        # Who left cannot come back to this answer without a key, so nobody should pay for the rest of it.
        if not own_key:
            await turns.cancel_turn(actor, started.run_id)
        raise


async def _encoded(parts: AsyncGenerator[dict[str, Any], None]) -> AsyncGenerator[bytes, None]:
    try:
        async for part in parts:
            yield b"event: message\ndata: " + orjson.dumps(part) + b"\n\n"
    finally:
        await parts.aclose()


async def _messages(actor: Actor, call: Call, started: StartedTurn) -> AsyncGenerator[dict[str, Any], None]:
    """The progress of a turn, if the client asks for it, and its result."""
    loop, token = asyncio.get_running_loop(), call.progress_token
    told_at, done, fresh = 0.0, 0, list[str]()
    batches, ids = follow(actor.tenant, started.run_id), _ids(started)
    content, reason, result = "", "stop", None
    try:
        async for _, events in batches:
            for kind, data in events:
                if kind == TEXT_DELTA:
                    fresh.append(data["text"])
                elif kind == MESSAGE_COMPLETED:
                    content, reason = data["content"], data["finish_reason"]
                elif kind == RUN_FAILED:
                    result = mcp.unsaid(data["code"], data["message"], ids=ids)
                elif kind == RUN_CANCELLED:
                    result = mcp.unsaid("run_cancelled", "The answer was stopped.", ids=ids)
            if token is not None and fresh and loop.time() >= told_at + PROGRESS_SECONDS:
                told_at, text = loop.time(), "".join(fresh)
                done += len(text)
                fresh.clear()
                yield mcp.progress(token, done, text)
    finally:
        await batches.aclose()
    yield mcp.answer(call, result or mcp.said(content, finish_reason=reason, **ids))


def _ids(started: StartedTurn) -> dict[str, uuid.UUID | None]:
    return {"conversation_id": started.conversation_id, "run_id": started.run_id}
