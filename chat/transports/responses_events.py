"""A run's log as a response and its events: what a client sees follows from the log alone.

Each run event stands for a fixed list of wire events, given those before it. So a wire event's `sequence_number` is
the same whenever and wherever it is worked out, and a stream is resumed after any of them from memory, Redis or
PostgreSQL alike: the log is read from its beginning, and what the client has is not said again.
"""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass, field
from typing import Any

import orjson

from agents.runtime.events import (
    MESSAGE_COMPLETED,
    REASONING_DELTA,
    RUN_CANCELLED,
    RUN_FAILED,
    RUN_STARTED,
    TERMINAL,
    TEXT_DELTA,
    TOOL_CALLED,
    TOOL_DELTA,
    Event,
)
from core.errors import ERRORS, PaasError

NOTHING = math.inf  # as the position behind which to tell: tell nothing, only keep count
WHOLE = frozenset({"stop", "tool_calls"})  # finish reasons of an answer that is all there
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
SPEECH = {TEXT_DELTA: "message", REASONING_DELTA: "reasoning"}
# How the ids of items begin, by their type.
PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "function_call_output": "fco"}


def response_id(run_id: uuid.UUID) -> str:
    """The response's id on the wire."""
    return f"resp_{run_id.hex}"


def created_at(run_id: uuid.UUID) -> int:
    """When the run was made, in Unix seconds: a UUIDv7 says it."""
    return (run_id.int >> 80) // 1000


def usage_view(usage: dict[str, Any]) -> dict[str, Any]:
    """Usage in the names of responses."""
    tokens_in, tokens_out = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
    return {
        "input_tokens": tokens_in,
        "input_tokens_details": {"cached_tokens": usage.get("cached_tokens", 0), "cache_write_tokens": 0},
        "output_tokens": tokens_out,
        "output_tokens_details": {"reasoning_tokens": usage.get("reasoning_tokens", 0)},
        "total_tokens": tokens_in + tokens_out,
    }


@dataclass(slots=True)
class _Open:
    """An item that is being said. index: its place in the output. head: how a delta of it begins on the wire."""

    index: int
    item: dict[str, Any]
    place: dict[str, Any]
    head: bytes
    texts: list[str] = field(default_factory=list)


class Telling:
    """Tells a run as a response, event by event. `request`: the fields of the request that are repeated.

    after: the last sequence number that the client has; only what comes behind it is encoded.
    """

    def __init__(self, run_id: uuid.UUID, request: dict[str, Any], after: float = -1) -> None:
        self._run_id = run_id
        self._request = request
        self._after = after
        self._parts: list[bytes] = []
        self._speech: _Open | None = None  # text or thoughts; one at a time
        self._calls: dict[int, _Open] = {}  # of the caller's tools; several may be open
        self._reason = ""
        self._usage: dict[str, Any] | None = None
        self.failure: PaasError | None = None
        self.count = 0  # of wire events so far
        self.status = "queued" if request["background"] else "in_progress"
        self.output: list[dict[str, Any]] = []
        self.ended = False

    # --- what comes ---------------------------------------------------------------------------
    def opening(self) -> bytes:
        """What is told before the run has said anything."""
        self._tell_response("response.created")
        self._tell_response("response.queued" if self.status == "queued" else "response.in_progress")
        return self._told()

    def take(self, events: list[Event]) -> bytes:
        """The next events of the run's log, as events of the wire."""
        for kind, data in events:
            if item := SPEECH.get(kind):
                self._say(item, data["text"])
            elif kind == TOOL_DELTA:
                self._piece(data)
            elif kind == TOOL_CALLED:
                self._close_call(data["index"], "completed")
            elif kind == RUN_STARTED and self.status == "queued":
                self.status = "in_progress"
                self._tell_response("response.in_progress")
            elif kind == MESSAGE_COMPLETED:
                self._close_all(data["finish_reason"])
            elif kind in TERMINAL:
                self._end(kind, data)
        return self._told()

    def response(self) -> dict[str, Any]:
        """The response as it stands. While it is being made its output is empty."""
        asked = self._request
        reason = INCOMPLETE.get(self._reason) if self.status == "incomplete" else None
        failure = self.failure
        return {
            "id": response_id(self._run_id),
            "object": "response",
            "created_at": created_at(self._run_id),
            "status": self.status,
            "background": asked["background"],
            "error": {"code": failure.code, "message": failure.message} if failure else None,
            "incomplete_details": {"reason": reason} if reason else None,
            "instructions": asked["instructions"],
            "max_output_tokens": asked["max_output_tokens"],
            "model": asked["model"],
            "output": self.output if self.ended else [],
            "parallel_tool_calls": asked["parallel_tool_calls"],
            "previous_response_id": asked["previous_response_id"],
            "reasoning": {"effort": asked["effort"], "summary": None},
            "store": asked["store"],
            "temperature": asked["temperature"],
            "text": asked["text"],
            "tool_choice": asked["tool_choice"],
            "tools": asked["tools"],
            "top_p": asked["top_p"],
            "truncation": "disabled",
            "usage": self._usage,
            "metadata": asked["metadata"],
        }

    # --- items --------------------------------------------------------------------------------
    def _open(self, name: bytes, item: dict[str, Any], **place: int) -> _Open:
        """Begin an item; deltas of it are called `name`."""
        index = len(self.output)
        item = {"id": f"{PREFIXES[item['type']]}_{self._run_id.hex}{index:02x}", **item}
        self.output.append(item)
        self._tell("response.output_item.added", output_index=index, item=item)
        found = {"item_id": item["id"], "output_index": index} | place
        head = b'event: response.%b.delta\ndata: {"type":"response.%b.delta",%b,' % (
            name,
            name,
            orjson.dumps(found)[1:-1],
        )
        return _Open(index, item, found, head + b'"sequence_number":')

    def _say(self, kind: str, text: str) -> None:
        if self._speech is None or self._speech.item["type"] != kind:
            self._close_speech("completed")
            self._speech = self._open_speech(kind)
        self._delta(self._speech, text)

    def _open_speech(self, kind: str) -> _Open:
        if kind == "message":
            item = {"type": kind, "status": "in_progress", "role": "assistant", "content": []}
            found = self._open(b"output_text", item, content_index=0)
            found.head = found.head.replace(b'"sequence_number":', b'"logprobs":[],"sequence_number":')
        else:
            item = {"type": kind, "status": "in_progress", "summary": [], "content": []}
            found = self._open(b"reasoning_text", item, content_index=0)
        self._tell("response.content_part.added", **found.place, part=_part(kind, ""))
        return found

    def _piece(self, data: dict[str, Any]) -> None:
        """A piece of a call; the first one names it."""
        if "name" in data:
            self._close_speech("completed")
            named = {"call_id": data["call_id"], "name": data["name"], "arguments": ""}
            item = {"type": "function_call", "status": "in_progress"} | named
            self._calls[data["index"]] = self._open(b"function_call_arguments", item)
        if data["arguments"]:
            self._delta(self._calls[data["index"]], data["arguments"])

    def _delta(self, opened: _Open, text: str) -> None:
        opened.texts.append(text)
        if self.count > self._after:  # put together by hand: there is one for every token
            self._parts += (opened.head, b"%d" % self.count, b',"delta":', orjson.dumps(text), b"}\n\n")
        self.count += 1

    def _close_all(self, reason: str) -> None:
        self._reason = reason
        self._close_speech("completed" if reason in WHOLE else "incomplete")
        for index in list(self._calls):
            self._close_call(index, "incomplete")

    def _close_speech(self, status: str) -> None:
        opened, self._speech = self._speech, None
        if opened is None:
            return
        kind, text = opened.item["type"], "".join(opened.texts)
        if kind == "message":
            self._tell("response.output_text.done", **opened.place, text=text, logprobs=[])
        else:
            self._tell("response.reasoning_text.done", **opened.place, text=text)
        self._tell("response.content_part.done", **opened.place, part=_part(kind, text))
        self._close(opened, opened.item | {"status": status, "content": [_part(kind, text)]})

    def _close_call(self, index: int, status: str) -> None:
        opened = self._calls.pop(index)
        said = {"name": opened.item["name"], "arguments": "".join(opened.texts)}
        self._tell("response.function_call_arguments.done", **opened.place, **said)
        self._close(opened, opened.item | said | {"status": status})

    def _close(self, opened: _Open, item: dict[str, Any]) -> None:
        self._tell("response.output_item.done", output_index=opened.index, item=item)
        self.output[opened.index] = item

    # --- the end ------------------------------------------------------------------------------
    def _end(self, kind: str, data: dict[str, Any]) -> None:
        self.ended = True
        self._usage = usage_view(data["usage"])
        if kind == RUN_FAILED:
            self.status, name = "failed", "response.failed"
            code = data["code"] if data["code"] in ERRORS else "internal_error"
            self.failure = PaasError(code, data["message"], retry_after=2 if data["retryable"] else None)
        elif kind == RUN_CANCELLED:
            # The protocol has no event of its own for it: the response's status says what happened.
            self.status, name = "cancelled", "response.incomplete"
        elif data["finish_reason"] in INCOMPLETE:
            self._reason, self.status, name = data["finish_reason"], "incomplete", "response.incomplete"
        else:
            self.status, name = "completed", "response.completed"
        self._tell_response(name)

    # --- the wire -----------------------------------------------------------------------------
    def _tell_response(self, name: str) -> None:
        if self.count > self._after:
            self._tell(name, response=self.response())
        else:
            self.count += 1

    def _tell(self, name: str, /, **fields: Any) -> None:
        if self.count > self._after:
            self._parts.append(event_bytes(name, self.count, fields))
        self.count += 1

    def _told(self) -> bytes:
        told = b"".join(self._parts)
        self._parts.clear()
        return told


def _part(kind: str, text: str) -> dict[str, Any]:
    """The one part of an item that speaks."""
    if kind == "message":
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "reasoning_text", "text": text}


def event_bytes(name: str, number: int, fields: dict[str, Any]) -> bytes:
    """One event as it is sent."""
    data = orjson.dumps({"type": name, **fields, "sequence_number": number})
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
