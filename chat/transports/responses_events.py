"""A run's log as a response and its events: what a client sees follows from the log alone.

Each run event stands for a fixed list of wire events, given those before it. So a wire event's `sequence_number` is
the same whenever and wherever it is worked out, and a stream is resumed after any of them from memory, Redis or
PostgreSQL alike: the log is read from its beginning, and what the client has is not said again.
"""

from __future__ import annotations

import math
import uuid
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
    Event,
)
from core.errors import ERRORS, PaasError

NOTHING = math.inf  # as the position behind which to tell: tell nothing, only keep count
WHOLE = frozenset({"stop", "tool_calls"})  # finish reasons of an answer that is all there
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
DELTAS = {TEXT_DELTA: "message", REASONING_DELTA: "reasoning"}
PREFIXES = {"message": "msg", "reasoning": "rs"}


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


class Telling:
    """Tells a run as a response, event by event. `request`: the fields of the request that are repeated.

    after: the last sequence number that the client has; only what comes behind it is encoded.
    """

    def __init__(self, run_id: uuid.UUID, request: dict[str, Any], after: float = -1) -> None:
        self._run_id = run_id
        self._request = request
        self._after = after
        self._parts: list[bytes] = []
        self._kind = ""  # of the item that is open
        self._texts: list[str] = []  # of the item that is open
        self._delta_head = b""
        self._reason = ""
        self.failure: PaasError | None = None
        self._usage: dict[str, Any] | None = None
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
            if item := DELTAS.get(kind):
                self._delta(item, data["text"])
            elif kind == RUN_STARTED:
                if self.status == "queued":
                    self.status = "in_progress"
                    self._tell_response("response.in_progress")
            elif kind == MESSAGE_COMPLETED:
                self._reason = data["finish_reason"]
                self._close("completed" if self._reason in WHOLE else "incomplete")
            elif kind in TERMINAL:
                self._end(kind, data)
        return self._told()

    def response(self) -> dict[str, Any]:
        """The response as it stands. While it is being made its output is empty."""
        asked = self._request
        reason = INCOMPLETE.get(self._reason) if self.status == "incomplete" else None
        return {
            "id": response_id(self._run_id),
            "object": "response",
            "created_at": created_at(self._run_id),
            "status": self.status,
            "background": asked["background"],
            "error": {"code": self.failure.code, "message": self.failure.message} if self.failure else None,
            "incomplete_details": {"reason": reason} if reason else None,
            "instructions": asked["instructions"],
            "max_output_tokens": asked["max_output_tokens"],
            "model": asked["model"],
            "output": self.output if self.ended else [],
            "parallel_tool_calls": asked["parallel_tool_calls"],
            "previous_response_id": asked["previous_response_id"],
            "reasoning": {"effort": None, "summary": None},
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
    def _item_id(self, kind: str) -> str:
        return f"{PREFIXES[kind]}_{self._run_id.hex}{len(self.output):02x}"

    def _item(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        """The open item, with this content."""
        item: dict[str, Any] = {"id": self._item_id(self._kind), "type": self._kind, "status": status}
        if self._kind == "message":
            return item | {"role": "assistant", "content": content}
        return item | {"summary": [], "content": content}

    def _part(self, text: str) -> dict[str, Any]:
        if self._kind == "message":
            return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        return {"type": "reasoning_text", "text": text}

    def _open(self, kind: str) -> None:
        self._close("completed")
        self._kind = kind
        index, item_id = len(self.output), self._item_id(kind)
        self._tell("response.output_item.added", output_index=index, item=self._item("in_progress", []))
        place = {"item_id": item_id, "output_index": index, "content_index": 0}
        self._tell("response.content_part.added", **place, part=self._part(""))
        name = b"output_text" if kind == "message" else b"reasoning_text"
        rest = orjson.dumps(place)[1:-1]
        start = b'event: response.%b.delta\ndata: {"type":"response.%b.delta",%b,' % (name, name, rest)
        start += b'"logprobs":[],' if kind == "message" else b""
        self._delta_head = start + b'"sequence_number":'

    def _delta(self, kind: str, text: str) -> None:
        if self._kind != kind:
            self._open(kind)
        self._texts.append(text)
        if self.count > self._after:  # put together by hand: there is one for every token
            self._parts += (self._delta_head, b"%d" % self.count, b',"delta":', orjson.dumps(text), b"}\n\n")
        self.count += 1

    def _close(self, status: str) -> None:
        if not self._kind:
            return
        text, index = "".join(self._texts), len(self.output)
        place = {"item_id": self._item_id(self._kind), "output_index": index, "content_index": 0}
        part = self._part(text)
        if self._kind == "message":
            self._tell("response.output_text.done", **place, text=text, logprobs=[])
        else:
            self._tell("response.reasoning_text.done", **place, text=text)
        self._tell("response.content_part.done", **place, part=part)
        item = self._item(status, [part])
        self._tell("response.output_item.done", output_index=index, item=item)
        self.output.append(item)
        self._kind, self._texts = "", []

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

    def _tell(self, name: str, **fields: Any) -> None:
        if self.count > self._after:
            self._parts.append(event_bytes(name, self.count, fields))
        self.count += 1

    def _told(self) -> bytes:
        told = b"".join(self._parts)
        self._parts.clear()
        return told


def event_bytes(name: str, number: int, fields: dict[str, Any]) -> bytes:
    """One event as it is sent."""
    data = orjson.dumps({"type": name, **fields, "sequence_number": number})
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
