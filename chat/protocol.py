"""The native wires (websocket and SSE): how turns are asked for, and how events look."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson

from agents.runtime.events import VERSION, Event
from chat.files import MOST_NAMED
from chat.idempotency import made_at
from chat.log import Batch
from chat.turns import ROOT, StartedTurn, TurnRequest
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
    """A turn as native clients ask for it. Raises validation_failed.

    {agent?, conversation_id?, message, parent_message_id?, background?, files?}, where a parent_message_id of null is
    another beginning; or, instead of a message, one of retry: true, regenerate: <answer's id> and continue: <answer's
    id>.
    """
    message, agent, retry = body.get("message", ""), body.get("agent") or "", body.get("retry", False)
    background = body.get("background", False)
    if not isinstance(background, bool):
        raise PaasError("validation_failed", "background is true or false.", details={"param": "background"})
    if not isinstance(message, str) or not isinstance(agent, str) or not isinstance(retry, bool):
        raise PaasError("validation_failed", "message and agent are texts, retry is true or false.")
    places = {name: body[name] for name in ("regenerate", "continue") if body.get(name) is not None}
    if retry:
        places["retry"] = retry
    if "parent_message_id" in body:
        places["parent_message_id"] = body["parent_message_id"]
    if len(places) > 1:
        raise PaasError("validation_failed", f"Use one of {', '.join(places)}.", details={"param": next(iter(places))})
    conversation_id = _id_in(body, "conversation_id")
    for name in places:
        if conversation_id is None:
            sentence = f"{name} needs a conversation_id."
            raise PaasError("validation_failed", sentence, details={"param": "conversation_id"})
    parent = _id_in(body, "parent_message_id")
    request = TurnRequest(
        door=door_name,
        agent=agent,
        message=message,
        conversation_id=conversation_id,
        retry=retry,
        background=background,
        regenerate=_id_in(body, "regenerate"),
        continues=_id_in(body, "continue"),
        parent_id=(parent or ROOT) if "parent_message_id" in places else None,
        files=_files(body.get("files"), conversation_id),
    )
    if request.files and request.answers_again:
        raise PaasError("validation_failed", "Files come with a message.", details={"param": "files"})
    return replace(request, message="") if request.answers_again else request


def _files(value: Any, conversation_id: uuid.UUID | None) -> tuple[uuid.UUID, ...]:
    if not value:
        return ()
    if not isinstance(value, list) or len(value) > MOST_NAMED or not all(isinstance(one, str) for one in value):
        sentence = f"files is a list of at most {MOST_NAMED} ids."
        raise PaasError("validation_failed", sentence, details={"param": "files"})
    if conversation_id is None:
        raise PaasError("validation_failed", "files needs a conversation_id.", details={"param": "conversation_id"})
    return tuple(dict.fromkeys(parse_uuid(one) for one in value))


def _id_in(body: dict[str, Any], name: str) -> uuid.UUID | None:
    return None if body.get(name) is None else parse_uuid(str(body[name]))


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
