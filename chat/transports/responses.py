"""OpenAI's responses: `/v1/responses`, made, streamed, resumed, retrieved, stopped and deleted."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncGenerator
from typing import Any

import orjson
import structlog
from django.conf import settings
from redis.exceptions import RedisError

from accounts.actors import Actor
from accounts.policies import CHAT_READ, CHAT_WRITE
from chat import host, http, idempotency, limit_headers, responses, turns
from chat.follow import follow
from chat.http import ClientGone, HttpRequest
from chat.models import Run
from chat.transports import responses_items, responses_request
from chat.transports.responses_events import NOTHING, Telling, event_bytes, response_id
from chat.transports.responses_request import Asked
from chat.turns import StartedTurn
from core.errors import PaasError
from tenants import scope
from tenants.scope import TenantRef

log = structlog.get_logger(__name__)

PATH = re.compile(r"/v1/responses/([^/]+)(/cancel|/input_items)?")
BEYOND = "starting_after is beyond the end of this response."
NOT_KEPT = "What is left of this response is not kept. Ask again."
STOP_SECONDS = 5.0  # how long a stop waits for the run's end before it answers


async def door(request: HttpRequest) -> None:
    """`/v1/responses...` on a tenant's host, and on the platform host, where the key says which tenant."""
    actor = await request.actor()
    if request.path == "/v1/responses":
        _allow(request, "POST")
        request.answer_headers |= limit_headers.of_room(await request.admit(actor, "turn"))
        actor.require(CHAT_WRITE)
        await _create(request, actor)
        return
    match = PATH.fullmatch(request.path)
    if match is None:
        raise PaasError("not_found", f"There is no {request.method} {request.path} here.")
    what = match[2]
    _allow(request, *{None: ("GET", "DELETE"), "/cancel": ("POST",), "/input_items": ("GET",)}[what])
    reads = request.method == "GET"
    streamed = reads and what is None and request.query.get("stream", [""])[0].lower() in ("true", "1")
    room = await request.admit(actor, "stream" if streamed else "read" if reads else "write")
    request.answer_headers |= limit_headers.of_room(room)
    actor.require(CHAT_READ if reads else CHAT_WRITE)
    run_id = responses_request.parse_id(match[1])
    if what == "/cancel":
        await request.respond(200, await _cancel(actor, run_id))
    elif what == "/input_items":
        found = await scope.run_in_tenant(actor.tenant, responses.response_for, actor, run_id)
        await request.respond(200, responses_items.page(responses_items.numbered(found), request.query))
    elif streamed:
        found = await scope.run_in_tenant(actor.tenant, responses.response_for, actor, run_id)
        after = responses_request.position(request.query)
        await request.stream(_events(request, actor.tenant, run_id, orjson.loads(found.request), after))
    elif reads:
        await request.respond(200, await _view(actor, run_id))
    else:
        await _delete(actor, run_id)
        await request.respond(200, {"id": response_id(run_id), "object": "response", "deleted": True})


def _allow(request: HttpRequest, *methods: str) -> None:
    if request.method not in methods:
        raise PaasError("method_not_allowed", f"Use {' or '.join(methods)} here.")


# --- making one ---------------------------------------------------------------------------------
async def _create(request: HttpRequest, actor: Actor) -> None:
    key = idempotency.key_of(request.headers)
    asked = responses_request.parse(await request.json(settings.MAX_BODY_BYTES))
    started = await _start(actor, asked, key)
    request.answer_headers |= started.headers
    request.answer_headers |= limit_headers.of_tokens(started.tightest)
    run_id, fields = started.run_id, asked.repeated
    try:
        if asked.stream:
            await request.stream(_events(request, actor.tenant, run_id, fields, -1))
        elif asked.background:
            await request.respond(200, Telling(run_id, fields, NOTHING).response())
        else:
            async with request.while_here():
                telling = await _told(actor.tenant, run_id, fields)
            if telling.failure is not None:
                raise telling.failure
            await request.respond(200, telling.response())
    except ClientGone:
        # Who streams a response that is stored knows its id, and can come back; so can who has a key for it. Nobody
        # else can, so nobody pays on.
        if not (started.replayed or (asked.stored and (asked.stream or key))):
            await turns.cancel_turn(actor, run_id)
            await _ended(actor.tenant, run_id)
        raise
    finally:
        if not (asked.stored or started.replayed):
            await _forget(actor.tenant, run_id)


async def _start(actor: Actor, asked: Asked, key: str) -> StartedTurn:
    try:
        return await turns.start_turn(actor, asked.turn(await _context(actor, asked), key))
    except PaasError as error:
        raise responses_request.renamed(error) from None


async def _context(actor: Actor, asked: Asked) -> list[responses_items.Item]:
    """All items that are to be answered, those of earlier responses included."""
    wanted = responses_items.referred(asked.items) | ({asked.previous} if asked.previous else set())
    found: responses_items.Found = {}
    if wanted:
        found = await scope.run_in_tenant(actor.tenant, responses.responses_with_logs, actor, wanted)
    return responses_items.resolved(asked.items, asked.previous, found)


# --- telling it ---------------------------------------------------------------------------------
async def _events(
    request: HttpRequest, tenant: TenantRef, run_id: uuid.UUID, fields: dict[str, Any], after: int
) -> AsyncGenerator[bytes, None]:
    """The wire events behind `after`. Raises stream_gone for a position that the stream does not have."""
    telling = Telling(run_id, fields, after)
    if told := telling.opening():
        yield told
    async for _, events in follow(tenant, run_id):
        if told := telling.take(events):
            yield told
    gone = None
    if after >= telling.count:
        gone = PaasError("stream_gone", BEYOND, details={"param": "starting_after"})
    elif not telling.ended:
        gone = PaasError("stream_gone", NOT_KEPT)
    if gone is not None and not request.started:
        raise gone
    if gone is not None:
        said = {"code": gone.code, "message": gone.message, "param": gone.details.get("param")}
        yield event_bytes("error", max(after + 1, telling.count), said)


async def _told(tenant: TenantRef, run_id: uuid.UUID, fields: dict[str, Any]) -> Telling:
    """The whole of a response, once its run has ended."""
    telling = Telling(run_id, fields, NOTHING)
    async for _, events in follow(tenant, run_id):
        telling.take(events)
    if not telling.ended:
        raise PaasError("stream_gone", NOT_KEPT)
    return telling


async def _view(actor: Actor, run_id: uuid.UUID) -> dict[str, Any]:
    """A stored response as it stands."""
    found, events = await scope.run_in_tenant(actor.tenant, responses.response_with_log, actor, run_id)
    telling = responses_items.telling_of(found, events)
    if found.run.finished_at is None:
        telling.status = "queued" if found.run.status == Run.Status.QUEUED else "in_progress"
    return telling.response()


# --- ending it ----------------------------------------------------------------------------------
async def _cancel(actor: Actor, run_id: uuid.UUID) -> dict[str, Any]:
    found = await scope.run_in_tenant(actor.tenant, responses.response_for, actor, run_id)
    if found.run.finished_at is None:
        await turns.cancel_turn(actor, run_id)
        await _ended(actor.tenant, run_id)
    return await _view(actor, run_id)


async def _ended(tenant: TenantRef, run_id: uuid.UUID) -> None:
    """Wait a while for the run's end."""
    try:
        async with asyncio.timeout(STOP_SECONDS):
            async for _ in follow(tenant, run_id):
                continue
    except TimeoutError:
        log.info("a run that was stopped has not ended yet", run=str(run_id))


async def _delete(actor: Actor, run_id: uuid.UUID) -> None:
    def delete() -> bool:
        return responses.response_delete(actor=actor, run_id=run_id)

    if await scope.run_in_tenant(actor.tenant, delete):
        await turns.cancel_turn(actor, run_id)
        await _ended(actor.tenant, run_id)
    await _forget(actor.tenant, run_id)


async def _forget(tenant: TenantRef, run_id: uuid.UUID) -> None:
    """Take the run's stream out of Redis; where that fails, it goes by itself within the hour."""
    try:
        await host.current().relay.drop(tenant, run_id)
    except RedisError:
        log.info("redis is away; a stream will expire there", run=str(run_id))


async def serve(request: HttpRequest) -> None:
    """The door with its error shape."""
    await http.serve(request, door, http.openai_shape)
