"""Native doors over HTTP: start, follow and stop runs; events as SSE, resumable by Last-Event-ID."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncGenerator
from dataclasses import replace

from django.conf import settings

from chat import http, idempotency, limit_headers, protocol, selectors, traces, turns
from chat.follow import follow
from chat.http import HttpRequest
from core.errors import PaasError
from tenants import scope
from tenants.scope import TenantRef

RUN_PATH = re.compile(r"/api/v1/runs/([0-9a-fA-F-]{36})(/events|/cancel|/trace|/sources)?")
RATES = {"/events": "stream", "/cancel": "write"}


async def door(request: HttpRequest) -> None:
    """`/api/v1/runs...`: see README.md, API."""
    if request.tenant is None:
        raise PaasError("not_found")
    if request.path == "/api/v1/runs":
        _allow(request, "POST")
        await _start(request)
        return
    match = RUN_PATH.fullmatch(request.path)
    if match is None:
        raise PaasError("not_found")
    run_id, what = protocol.parse_uuid(match[1]), match[2]
    _allow(request, "POST" if what == "/cancel" else "GET")
    actor = await request.actor()
    await request.admit(actor, RATES.get(what, "read"))
    if what == "/cancel":
        await turns.cancel_turn(actor, run_id)
        await request.respond(202, {"run": {"id": str(run_id)}})
        return
    if what == "/trace":
        trace = await scope.run_in_tenant(request.tenant, traces.trace_of, actor, run_id)
        kept = request.query.get("download", [""])[0] == "1"
        named = {"Content-Disposition": f'attachment; filename="run-{run_id}.json"'} if kept else {}
        await request.respond(200, trace, named)
        return
    if what == "/sources":
        await request.respond(200, await scope.run_in_tenant(request.tenant, traces.sources_of, actor, run_id))
        return
    run = await scope.run_in_tenant(request.tenant, selectors.run_for, actor, run_id)
    if what is None:
        await request.respond(200, selectors.run_view(run))
        return
    await request.stream(events(request.tenant, run_id, resume_position(request)))


def _allow(request: HttpRequest, method: str) -> None:
    if request.method != method:
        raise PaasError("method_not_allowed", f"Use {method} here.")


def resume_position(request: HttpRequest) -> int:
    """The last event that the client has. Raises validation_failed for what is no number (A29)."""
    text = request.headers.get("last-event-id") or request.query.get("after_seq", ["0"])[0]
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise PaasError("validation_failed", "after_seq is the number of an event.", details={"param": "after_seq"})
    return int(text)


async def events(tenant: TenantRef, run_id: uuid.UUID, after: int) -> AsyncGenerator[bytes, None]:
    """The run's events as SSE."""
    async for batch in follow(tenant, run_id, after):
        yield protocol.sse_batch(run_id, batch)


async def _start(request: HttpRequest) -> None:
    actor = await request.actor()
    request.answer_headers |= limit_headers.of_room(await request.admit(actor, "turn"))
    key = idempotency.key_of(request.headers)
    body = await request.json(settings.MAX_BODY_BYTES)
    turn = replace(protocol.turn_request("sse", body), idempotency_key=key)
    started = await turns.start_turn(actor, turn)
    request.answer_headers |= started.headers | limit_headers.of_tokens(started.tightest)
    if "text/event-stream" in request.headers.get("accept", ""):
        await request.stream(events(actor.tenant, started.run_id, 0))
        return
    await request.respond(202, protocol.started_view(started))


async def serve(request: HttpRequest) -> None:
    """The door with its error shape."""
    await http.serve(request, door, http.native_shape)
