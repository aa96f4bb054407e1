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

from accounts import rates
from accounts.actors import Actor
from accounts.policies import CHAT_READ, CHAT_WRITE
from agents.runtime.events import Event
from chat import host, http, responses, turns
from chat.follow import follow
from chat.http import ClientGone, HttpRequest
from chat.models import Response
from chat.transports import responses_request
from chat.transports.responses_events import NOTHING, Telling, event_bytes, response_id
from chat.transports.responses_request import Item
from core.errors import PaasError
from tenants import scope
from tenants.scope import TenantRef

log = structlog.get_logger(__name__)

PATH = re.compile(r"/v1/responses/([^/]+)(/cancel|/input_items)?")
STOP_SECONDS = 5.0  # how long a stop waits for the run's end before it answers
PAGE, MOST_ITEMS = 20, 100


async def door(request: HttpRequest) -> None:
    """`/v1/responses...` on a tenant's host, and on the platform host, where the key says which tenant."""
    actor = await request.actor()
    match = PATH.fullmatch(request.path)
    what = "create" if request.path == "/v1/responses" else match and (match[2] or "one")
    if what is None or match is None and what != "create":
        raise PaasError("not_found", f"There is no {request.method} {request.path} here.")
    if what == "create":
        _allow(request, "POST")
        await rates.admit(actor, "turn")
        await _create(request, actor)
        return
    assert match is not None
    streamed = _yes(request, "stream")
    if what == "one":
        _allow(request, "GET", "DELETE")
        await rates.admit(actor, "write" if request.method == "DELETE" else "stream" if streamed else "read")
    else:
        _allow(request, "POST" if what == "/cancel" else "GET")
        await rates.admit(actor, "write" if what == "/cancel" else "read")
    actor.require(CHAT_WRITE if request.method in ("POST", "DELETE") else CHAT_READ)
    run_id = responses_request.parse_id(match[1])
    if what == "/cancel":
        await request.respond(200, await _cancel(actor, run_id))
    elif what == "/input_items":
        found = await scope.run_in_tenant(actor.tenant, responses.response_for, actor, run_id)
        await request.respond(200, _page(_numbered(found), request))
    elif request.method == "DELETE":
        await _delete(actor, run_id)
        await request.respond(200, {"id": response_id(run_id), "object": "response", "deleted": True})
    elif streamed:
        found = await scope.run_in_tenant(actor.tenant, responses.response_for, actor, run_id)
        after = responses_request.position(request.query)
        await request.stream(_events(request, actor.tenant, run_id, orjson.loads(found.request), after))
    else:
        await request.respond(200, await _view(actor, run_id))


def _allow(request: HttpRequest, *methods: str) -> None:
    if request.method not in methods:
        raise PaasError("method_not_allowed", f"Use {' or '.join(methods)} here.")


def _yes(request: HttpRequest, name: str) -> bool:
    return request.query.get(name, [""])[0].lower() in ("true", "1")


# --- making one ---------------------------------------------------------------------------------
async def _create(request: HttpRequest, actor: Actor) -> None:
    actor.require(CHAT_WRITE)
    asked = responses_request.parse(await request.json(settings.MAX_BODY_BYTES))
    context = await _context(actor, asked.previous) if asked.previous else []
    turn = asked.turn(context)
    started = await turns.start_turn(actor, turn)
    run_id, fields = started.run_id, asked.repeated
    if asked.background and not asked.stream:
        telling = Telling(run_id, fields, NOTHING)
        await request.respond(200, telling.response())
        return
    try:
        if asked.stream:
            await request.stream(_events(request, actor.tenant, run_id, fields, -1))
        else:
            async with request.while_here():
                telling = await _told(actor.tenant, run_id, fields)
            if telling.failure is not None:
                raise telling.failure
            await request.respond(200, telling.response())
    except ClientGone:
        # Who streams a response that is stored knows its id, and can come back. Nobody else can, so nobody pays on.
        if not (asked.stored and asked.stream):
            await turns.cancel_turn(actor, run_id)
            await _ended(actor.tenant, run_id)
        raise
    finally:
        if not asked.stored:
            await _forget(actor.tenant, run_id)


async def _context(actor: Actor, previous: uuid.UUID) -> list[Item]:
    """What a response that goes on from `previous` is answered from: its context, and its answer."""
    try:
        found, events = await scope.run_in_tenant(actor.tenant, responses.response_with_log, actor, previous)
    except PaasError as error:
        raise PaasError(error.code, details={"param": "previous_response_id"}) from None
    if found.run.finished_at is None:
        raise PaasError(
            "run_in_progress",
            "The response to go on from is still being made. Wait for its end, or cancel it.",
            details={"param": "previous_response_id"},
        )
    output = _telling(found, events).output
    return _numbered(found) + [item for item in output if item["type"] != "reasoning"]


def _numbered(found: Response) -> list[Item]:
    """A response's input items with their ids: those of this request get theirs from the run's and their place."""
    items: list[Item] = orjson.loads(found.items)
    return [
        item if "id" in item else {"id": f"msg_{found.run_id.hex}i{number}", **item}
        for number, item in enumerate(items)
    ]


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
    if after >= telling.count:
        gone = PaasError("stream_gone", "starting_after is beyond the end of this response.")
        if not request.started:
            raise gone
        yield event_bytes("error", after + 1, {"code": gone.code, "message": gone.message, "param": "starting_after"})


async def _told(tenant: TenantRef, run_id: uuid.UUID, fields: dict[str, Any]) -> Telling:
    """The whole of a response, once its run has ended."""
    telling = Telling(run_id, fields, NOTHING)
    async for _, events in follow(tenant, run_id):
        telling.take(events)
    return telling


async def _view(actor: Actor, run_id: uuid.UUID) -> dict[str, Any]:
    """A stored response as it stands."""
    found, events = await scope.run_in_tenant(actor.tenant, responses.response_with_log, actor, run_id)
    telling = _telling(found, events)
    if found.run.finished_at is None and found.run.status != "queued":
        telling.status = "in_progress"
    return telling.response()


def _telling(found: Response, events: list[Event]) -> Telling:
    """A response as its log tells it; nothing of it is encoded."""
    telling = Telling(found.run_id, orjson.loads(found.request), NOTHING)
    telling.take(events)
    return telling


# --- ending it ----------------------------------------------------------------------------------
async def _cancel(actor: Actor, run_id: uuid.UUID) -> dict[str, Any]:
    found = await scope.run_in_tenant(actor.tenant, responses.response_for, actor, run_id)
    if found.run.finished_at is None:
        await turns.cancel_turn(actor, run_id)
        await _ended(actor.tenant, run_id)
    return await _view(actor, run_id)


async def _ended(tenant: TenantRef, run_id: uuid.UUID) -> None:
    """Wait a while for the run's end."""

    async def wait() -> None:
        async for _ in follow(tenant, run_id):
            continue

    try:
        await asyncio.wait_for(wait(), STOP_SECONDS)
    except TimeoutError:
        log.info("a run that was stopped has not ended yet", run=str(run_id))


async def _delete(actor: Actor, run_id: uuid.UUID) -> None:
    if await scope.run_in_tenant(actor.tenant, _delete_now, actor, run_id):
        await turns.cancel_turn(actor, run_id)
        await _ended(actor.tenant, run_id)
    await _forget(actor.tenant, run_id)


def _delete_now(actor: Actor, run_id: uuid.UUID) -> bool:
    return responses.response_delete(actor=actor, run_id=run_id)


async def _forget(tenant: TenantRef, run_id: uuid.UUID) -> None:
    """Take the run's stream out of Redis; where that fails, it goes by itself within the hour."""
    try:
        await host.current().relay.drop(tenant, run_id)
    except RedisError:
        log.info("redis is away; a stream will expire there", run=str(run_id))


# --- input items --------------------------------------------------------------------------------
def _page(items: list[Item], request: HttpRequest) -> dict[str, Any]:
    """`?limit=&order=&after=` of items that stand oldest first. Raises validation_failed."""
    limit, order = request.query.get("limit", [str(PAGE)])[0], request.query.get("order", ["desc"])[0]
    if not (limit.isascii() and limit.isdigit() and len(limit) < 4 and 1 <= int(limit) <= MOST_ITEMS):
        raise _invalid("limit", f"limit is a number from 1 to {MOST_ITEMS}.")
    if order not in ("asc", "desc"):
        raise _invalid("order", "order is asc or desc.")
    found = items if order == "asc" else items[::-1]
    if after := request.query.get("after", [""])[0]:
        places = [number for number, item in enumerate(found) if item["id"] == after]
        if not places:
            raise _invalid("after", "after is the id of an item of this response.")
        found = found[places[0] + 1 :]
    page = found[: int(limit)]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(found) > len(page),
    }


def _invalid(param: str, message: str) -> PaasError:
    return PaasError("validation_failed", message, details={"param": param})


async def serve(request: HttpRequest) -> None:
    """The door with its error shape."""
    await http.serve(request, door, http.openai_shape)
