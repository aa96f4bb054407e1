"""`/api/v1/approvals...`: what waits for a person, and the decision on it."""

from __future__ import annotations

import re
import uuid
from typing import Any

from accounts.actors import Actor
from chat import approvals, http, protocol
from chat.approvals import approval_view
from chat.http import HttpRequest
from chat.models import Approval
from core.errors import PaasError
from tenants import scope

APPROVAL_PATH = re.compile(r"/api/v1/approvals/([0-9a-fA-F-]{36})")
MOST_BODY = 16 * 1024
MOST, DEFAULT = 100, 30


async def door(request: HttpRequest) -> None:
    """`GET /api/v1/approvals`, `GET, POST /api/v1/approvals/{id}`."""
    if request.tenant is None:
        raise PaasError("not_found")
    listed = request.path == "/api/v1/approvals"
    match = APPROVAL_PATH.fullmatch(request.path)
    if not listed and match is None:
        raise PaasError("not_found")
    if request.method not in (("GET",) if listed else ("GET", "POST")):
        raise PaasError("method_not_allowed", "Use GET here." if listed else "Use GET or POST here.")
    actor = await request.actor()
    await request.admit(actor, "read" if request.method == "GET" else "write")
    if match is None:
        await request.respond(200, await scope.run_in_tenant(actor.tenant, _page, actor, _query(request)))
        return
    approval_id = protocol.parse_uuid(match[1])
    if request.method == "GET":
        await request.respond(200, await scope.run_in_tenant(actor.tenant, _one, actor, approval_id))
        return
    await request.respond(200, await approvals.answer(actor, approval_id, await request.json(MOST_BODY)))


def _query(request: HttpRequest) -> dict[str, Any]:
    given = {name: values[0] for name, values in request.query.items() if values[0]}
    found: dict[str, Any] = {"limit": DEFAULT}
    if "status" in given:
        if given["status"] not in Approval.Status.values:
            raise _wrong("status", f"status is one of {', '.join(Approval.Status.values)}.")
        found["status"] = given["status"]
    if "limit" in given:
        if not (given["limit"].isascii() and given["limit"].isdigit() and 1 <= int(given["limit"][:9]) <= MOST):
            raise _wrong("limit", f"limit is a whole number from 1 to {MOST}.")
        found["limit"] = int(given["limit"])
    for name in ("cursor", "run_id"):
        if name in given:
            try:
                found[name] = uuid.UUID(given[name])
            except ValueError:
                raise _wrong(name, f"This {name} is not valid.") from None
    return found


def _wrong(name: str, sentence: str) -> PaasError:
    return PaasError("validation_failed", sentence, details={"param": name})


def _page(actor: Actor, query: dict[str, Any]) -> dict[str, Any]:
    page, following = approvals.approval_page(actor, **query)
    return {"approvals": [approval_view(actor, one) for one in page], "next_cursor": following}


def _one(actor: Actor, approval_id: uuid.UUID) -> dict[str, Any]:
    return approval_view(actor, approvals.approval_for(actor, approval_id))


async def serve(request: HttpRequest) -> None:
    """The door with its error shape."""
    await http.serve(request, door, http.native_shape)
