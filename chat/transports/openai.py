"""OpenAI's wire: `POST /v1/chat/completions`, `POST /v1/embeddings` and `GET /v1/models`.

A model's name is an agent's slug; of an embeddings model it is `<provider account>/<model>`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson
from django.conf import settings

from accounts.actors import Actor
from accounts.policies import AGENTS_EXECUTE, CHAT_READ, CHAT_WRITE
from agents import selectors as agent_selectors
from agents.embeddings import embedding_models_for
from agents.runtime.events import (
    AGENT_FINISHED,
    AGENT_STARTED,
    MESSAGE_COMPLETED,
    MODEL_CHANGED,
    REASONING_DELTA,
    RUN_CANCELLED,
    RUN_COMPLETED,
    RUN_FAILED,
    RUN_QUEUED,
    RUN_STARTED,
    TEXT_DELTA,
    TOOL_CALLED,
    TOOL_DELTA,
    Event,
)
from chat import embeddings, http, idempotency, limit_headers, turns
from chat.follow import follow
from chat.http import ClientGone, HttpRequest
from chat.log import Batch
from chat.transports import openai_embeddings, openai_request
from chat.turns import StartedTurn
from core import cancelling
from core.errors import ERRORS, PaasError
from tenants import scope

DONE = b"data: [DONE]\n\n"
# Behind these a run can still be refused with a status of its own.
SILENT = (RUN_QUEUED, RUN_STARTED, MODEL_CHANGED, AGENT_STARTED, AGENT_FINISHED)
RETRY_AFTER_SECONDS = 2.0  # what a client is told to wait after a fault of the model's that may pass


async def door(request: HttpRequest) -> None:
    """`/v1/...` on a tenant's host, and on the platform host, where the key says which tenant."""
    actor = await request.actor()
    room = await request.admit(actor, "turn" if request.method == "POST" else "read")
    request.answer_headers |= limit_headers.of_room(room)
    if request.path == "/v1/models" and request.method == "GET":
        await request.respond(200, await _models(actor))
    elif request.path.startswith("/v1/models/") and request.method == "GET":
        await request.respond(200, await _model(actor, request.path.removeprefix("/v1/models/")))
    elif request.path == "/v1/chat/completions" and request.method == "POST":
        await _completions(request, actor)
    elif request.path == "/v1/embeddings" and request.method == "POST":
        await _embeddings(request, actor)
    elif request.path in ("/v1/models", "/v1/chat/completions", "/v1/embeddings"):
        raise PaasError("method_not_allowed")
    else:
        raise PaasError("not_found", f"There is no {request.method} {request.path} here.")


async def _models(actor: Actor) -> dict[str, Any]:
    actor.require(CHAT_READ)
    found = await scope.run_in_tenant(actor.tenant, agent_selectors.agents_for, actor)
    models = [(agent.slug, agent.created_at) for agent in found]
    models += [(spec.id, spec.created_at) for spec in await embedding_models_for(actor)]
    return {"object": "list", "data": [_model_view(name, created_at, actor) for name, created_at in models]}


async def _model(actor: Actor, name: str) -> dict[str, Any]:
    """One of the list, or a published version of an agent of it, by its pinned name."""
    slug, _, pin = name.partition("@")
    for view in (await _models(actor))["data"]:
        if view["id"] == name:
            return dict(view)
        if view["id"] == slug and pin:
            made_at = await scope.run_in_tenant(actor.tenant, agent_selectors.version_made_at, slug, pin)
            if made_at is not None:
                return _model_view(name, made_at, actor)
    raise PaasError("agent_not_found", details={"param": "model"})


def _model_view(name: str, created_at: datetime, actor: Actor) -> dict[str, Any]:
    created = int(created_at.timestamp())
    return {"id": name, "object": "model", "created": created, "owned_by": actor.tenant.slug}


async def _embeddings(request: HttpRequest, actor: Actor) -> None:
    actor.require(CHAT_WRITE)
    actor.require(AGENTS_EXECUTE)
    model, asked = openai_embeddings.parse(await request.json(settings.MAX_BODY_BYTES))
    spec, found, tightest = await embeddings.embed(actor, model, asked)
    request.answer_headers |= limit_headers.of_tokens(tightest)
    await request.respond(200, openai_embeddings.view(spec.id, found, asked.estimate))


async def _completions(request: HttpRequest, actor: Actor) -> None:
    key = idempotency.key_of(request.headers)
    body = await request.json(settings.MAX_BODY_BYTES)
    turn = replace(openai_request.parse(body), idempotency_key=key)
    started = await turns.start_turn(actor, turn)
    request.answer_headers |= started.headers | limit_headers.of_tokens(started.tightest)
    try:
        if turn.stream:
            await _answer_streamed(request, started, actor, body)
        else:
            await _answer_whole(request, started, actor)
    except ClientGone:
        # Nobody can come back to this answer without a key, so nobody should pay for the rest of it.
        if not key:
            await turns.cancel_turn(actor, started.run_id)
        raise


async def _answer_streamed(request: HttpRequest, started: StartedTurn, actor: Actor, body: dict[str, Any]) -> None:
    """A vendor's refusal becomes an HTTP error, not a stream; but not for ever: proxies give up on silence (A32)."""
    batches = follow(actor.tenant, started.run_id)
    opening = asyncio.create_task(_opening(batches))
    include_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    try:
        async with request.while_here():
            await asyncio.wait((opening,), timeout=http.HEARTBEAT_SECONDS)
        if opening.done() and all(
            kind not in (TEXT_DELTA, REASONING_DELTA, TOOL_DELTA) for kind, _ in opening.result()
        ):
            _raise_failure(opening.result())
        await request.stream(_chunks(started, opening, batches, include_usage))
    finally:
        cancelling.cancel([opening])


async def _opening(batches: AsyncGenerator[Batch, None]) -> list[Event]:
    """Events up to the first that means something."""
    opening: list[Event] = []
    async for _, events in batches:
        opening += events
        if any(kind not in SILENT for kind, _ in opening):
            break
    return opening


async def _answer_whole(request: HttpRequest, started: StartedTurn, actor: Actor) -> None:
    content, reasoning, calls, reason, usage = "", [], [], "stop", {}
    async with request.while_here():
        events = await _all_events(actor, started.run_id)
    for kind, data in events:
        if kind == MESSAGE_COMPLETED:
            content, reason = data["content"], data["finish_reason"]
        elif kind == REASONING_DELTA:
            reasoning.append(data["text"])
        elif kind == TOOL_CALLED:
            function = {"name": data["name"], "arguments": data["arguments"]}
            calls.append({"id": data["call_id"], "type": "function", "function": function})
        elif kind in (RUN_COMPLETED, RUN_CANCELLED):
            usage = data["usage"]
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if reasoning:
        message["reasoning_content"] = "".join(reasoning)
    if calls:
        message |= {"content": content or None, "tool_calls": calls}
    await request.respond(
        200,
        {
            "id": _completion_id(started.run_id),
            "object": "chat.completion",
            "created": int(idempotency.made_at(started.run_id)),
            "model": started.name,
            "choices": [{"index": 0, "message": message, "finish_reason": _reason(reason), "logprobs": None}],
            "usage": usage_view(usage),
        },
    )


async def _all_events(actor: Actor, run_id: uuid.UUID) -> list[Event]:
    found: list[Event] = []
    async for _, events in follow(actor.tenant, run_id):
        found += events
    _raise_failure(found)
    return found


def _raise_failure(events: list[Event]) -> None:
    for kind, data in events:
        if kind == RUN_FAILED:
            wait = RETRY_AFTER_SECONDS if data["retryable"] else None
            raise PaasError(data["code"], data["message"], retry_after=wait)


async def _chunks(
    started: StartedTurn,
    opening: asyncio.Task[list[Event]],
    batches: AsyncGenerator[Batch, None],
    include_usage: bool,
) -> AsyncGenerator[bytes, None]:
    head = _chunk_head(started)
    tail_usage = b',"usage":null}\n\n' if include_usage else b"}\n\n"
    yield b"".join((head, b'[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]', tail_usage))
    try:
        yield _encode(await opening, head, tail_usage, include_usage)
        async for _, events in batches:
            yield _encode(events, head, tail_usage, include_usage)
    finally:
        await batches.aclose()


def _chunk_head(started: StartedTurn) -> bytes:
    fixed = {
        "id": _completion_id(started.run_id),
        "object": "chat.completion.chunk",
        "created": int(idempotency.made_at(started.run_id)),
        "model": started.name,
    }
    return b"data: " + orjson.dumps(fixed)[:-1] + b',"choices":'


def _encode(events: list[Event], head: bytes, tail: bytes, include_usage: bool) -> bytes:
    """Events as chunks; one chunk a delta, as vendors send them."""
    parts: list[bytes] = []
    for kind, data in events:
        if kind == TEXT_DELTA:
            text = orjson.dumps(data["text"])
            parts += (head, b'[{"index":0,"delta":{"content":', text, b'},"finish_reason":null}]', tail)
        elif kind == REASONING_DELTA:
            text = orjson.dumps(data["text"])
            parts += (
                head,
                b'[{"index":0,"delta":{"reasoning_content":',
                text,
                b'},"finish_reason":null}]',
                tail,
            )
        elif kind == TOOL_DELTA:
            delta = b'[{"index":0,"delta":{"tool_calls":[' + orjson.dumps(_call_piece(data))
            parts += (head, delta, b']},"finish_reason":null}]', tail)
        elif kind == MESSAGE_COMPLETED and data["finish_reason"] != "error":
            reason = orjson.dumps(_reason(data["finish_reason"]))
            parts += (head, b'[{"index":0,"delta":{},"finish_reason":', reason, b"}]", tail)
        elif kind in (RUN_COMPLETED, RUN_CANCELLED):
            if include_usage:
                parts += (head, b'[],"usage":', orjson.dumps(usage_view(data["usage"])), b"}\n\n")
            parts.append(DONE)
        elif kind == RUN_FAILED:
            error = PaasError(data["code"], data["message"]) if data["code"] in ERRORS else PaasError("internal_error")
            parts += (b"data: ", orjson.dumps(error.as_openai()), b"\n\n", DONE)
    return b"".join(parts)


def _call_piece(data: dict[str, Any]) -> dict[str, Any]:
    """A piece of a tool call as OpenAI's delta: the first one of a call names it."""
    function: dict[str, Any] = {"arguments": data["arguments"]}
    if "name" not in data:
        return {"index": data["index"], "function": function}
    function = {"name": data["name"]} | function
    return {"index": data["index"], "id": data["call_id"], "type": "function", "function": function}


def _completion_id(run_id: uuid.UUID) -> str:
    return f"chatcmpl-{run_id.hex}"


def _reason(reason: str) -> str:
    """OpenAI knows no "cancelled": a stopped answer has stopped."""
    return "stop" if reason in ("cancelled", "error", "") else reason


def usage_view(usage: dict[str, Any]) -> dict[str, Any]:
    """Usage in OpenAI's names."""
    tokens_in, tokens_out = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
    return {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
        "prompt_tokens_details": {"cached_tokens": usage.get("cached_tokens", 0)},
        "completion_tokens_details": {"reasoning_tokens": usage.get("reasoning_tokens", 0)},
    }


async def serve(request: HttpRequest) -> None:
    """The door with its error shape."""
    await http.serve(request, door, http.openai_shape)
