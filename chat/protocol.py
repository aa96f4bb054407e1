"""The native wires (websocket and SSE): how turns are asked for, and how events look."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import orjson

from agents.runtime.events import VERSION, Event
from chat.idempotency import made_at
from chat.log import Batch
from chat.turns import StartedTurn, TurnRequest
from core.errors import PaasError


def envelope(run_id: str, seq: int, event: Event) -> dict[str, Any]:
    """`{"v", "run_id", "seq", "type", "data"}`."""
    return {"v": VERSION, "run_id": run_id, "seq": seq, "type": event[0], "data": event[1]}


def sse_batch(run_id: uuid.UUID, batch: Batch) -> bytes:
    """A batch as server-sent events: `id` is the number, `event` the type, `data` the envelope."""
    first, events = batch
    name = str(run_id)
    parts: list[bytes] = []
    for offset, event in enumerate(events):
        parts += (
            b"id: ",
            str(first + offset).encode(),
            b"\nevent: ",
            event[0].encode(),
            b"\ndata: ",
            orjson.dumps(envelope(name, first + offset, event)),
            b"\n\n",
        )
    return b"".join(parts)


def parse_uuid(text: str) -> uuid.UUID:
    """An id from a client; one that is none is simply not found."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise PaasError("not_found") from None


def turn_request(door_name: str, body: dict[str, Any]) -> TurnRequest:
    """A turn as native clients ask for it: {agent?, conversation_id?, message, retry?, background?}.

    Raises validation_failed.
    """
    message, agent, retry = body.get("message", ""), body.get("agent") or "", body.get("retry", False)
    background = body.get("background", False)
    if not isinstance(background, bool):
        raise PaasError("validation_failed", "background is true or false.", details={"param": "background"})
    if not isinstance(message, str) or not isinstance(agent, str) or not isinstance(retry, bool):
        raise PaasError("validation_failed", "message and agent are texts, retry is true or false.")
    conversation_id = None
    if body.get("conversation_id") is not None:
        conversation_id = parse_uuid(str(body["conversation_id"]))
    if retry and conversation_id is None:
        raise PaasError("validation_failed", "retry needs a conversation_id.", details={"param": "conversation_id"})
    return TurnRequest(
        door=door_name,
        agent=agent,
        message="" if retry else message,
        conversation_id=conversation_id,
        retry=retry,
        background=background,
    )


def started_view(started: StartedTurn) -> dict[str, Any]:
    """What a native client learns of the turn it started. A known conversation is named by id only."""
    conversation: dict[str, Any] = {"id": str(started.conversation_id)}
    if started.title is not None:
        now = datetime.fromtimestamp(made_at(started.run_id), UTC).isoformat()
        conversation |= {
            "title": started.title,
            "agent": {"slug": started.spec.slug, "name": started.spec.name},
            "created_at": now,
            "updated_at": now,
            "active_run_id": str(started.run_id),
        }
    return {
        "run": {"id": str(started.run_id), "status": started.status, "last_seq": 0},
        "conversation": conversation,
        "message_id": str(started.message_id),
    }
