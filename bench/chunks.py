"""The bytes of the chat completions wire, as OpenAI and Zhipu send them, built once and reused.

Every event carries ID_SLOT where the answer's id belongs; the server puts an id of the same length
there, so that bytes which were framed for chunked transfer before stay right.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from bench.answers import Answer, Ending, call_pieces, error_body

ID_SLOT = b"chatcmpl-000000000000000000000000"
CREATED = 1_760_000_000
"""A fixed time: what was built once must be able to serve every request."""
_CALL_ID = "call_" + ID_SLOT.decode()
LAST_CHUNK = b"0\r\n\r\n"

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: text/event-stream; charset=utf-8\r\n"
    b"Cache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)

_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed"}
_REASONS |= {413: "Content Too Large", 429: "Too Many Requests", 500: "Internal Server Error"}
_REASONS |= {503: "Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between vendors and requests.

    `usage`: "never", "own_chunk" (OpenAI with include_usage: a chunk of its own after the last) or
    "last_chunk" (Zhipu: always inside the chunk that carries finish_reason).
    """

    model: str
    usage: str


@dataclass(frozen=True, slots=True)
class Script:
    """A streamed answer as bytes: `opening`, then `events` (one a token), then `closing`.

    `text_bytes[n]` is how many bytes of answered text the first n events carry.
    """

    opening: bytes
    events: tuple[bytes, ...]
    closing: bytes
    text_bytes: tuple[int, ...]


def frame(data: bytes) -> bytes:
    """One chunk of chunked transfer encoding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(payload: bytes) -> bytes:
    """One server-sent event, framed."""
    return frame(b"data: %b\n\n" % payload)


def response(status: int, body: bytes, content_type: str = "application/json", extra: bytes = b"") -> bytes:
    """A whole response with Content-Length; `extra` is further header lines, each ending in CRLF."""
    head = f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}\r\nContent-Type: {content_type}\r\n"
    return b"%bContent-Length: %d\r\n%b\r\n%b" % (head.encode(), len(body), extra, body)


def usage_of(answer: Answer) -> dict[str, Any]:
    """The usage object of a complete answer."""
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.prompt_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": len(answer.thoughts)},
    }


def _chunk(dialect: Dialect, choices: list[dict[str, Any]], **more: Any) -> bytes:
    body: dict[str, Any] = {"id": ID_SLOT.decode(), "object": "chat.completion.chunk", "created": CREATED}
    body |= {"model": dialect.model, "choices": choices}
    if dialect.usage == "own_chunk":
        body["usage"] = None
    return event(orjson.dumps(body | more))


def _delta(dialect: Dialect, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    return _chunk(dialect, [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}], **more)


def _call_deltas(answer: Answer) -> list[dict[str, Any]]:
    """The first piece of a tool call carries its id and name, the others only arguments."""
    if answer.call is None:
        return []
    deltas: list[dict[str, Any]] = []
    for number, piece in enumerate(call_pieces(answer.call)):
        entry: dict[str, Any] = {"index": 0, "function": {"arguments": piece}}
        if number == 0:
            entry = {"index": 0, "id": _CALL_ID, "type": "function"}
            entry["function"] = {"name": answer.call.name, "arguments": piece}
        deltas.append({"tool_calls": [entry]})
    return deltas


def _closing(answer: Answer, dialect: Dialect) -> bytes:
    if answer.raw:
        return event(b"[DONE]") + LAST_CHUNK
    if answer.ending is Ending.ERROR:
        return event(error_body("The server had an error.", "server_error", None)) + LAST_CHUNK
    if answer.ending is not Ending.DONE:
        return b""
    reported = answer.reports_usage
    last = {"usage": usage_of(answer)} if reported and dialect.usage == "last_chunk" else {}
    end = _delta(dialect, {}, answer.finish, **last)
    if reported and dialect.usage == "own_chunk":
        end += _chunk(dialect, [], usage=usage_of(answer))
    return end + event(b"[DONE]") + LAST_CHUNK


@lru_cache(maxsize=64)
def script(answer: Answer, dialect: Dialect) -> Script:
    """The streamed form of an answer."""
    if answer.raw:
        events = tuple(event(line) for line in answer.raw)
        return Script(b"", events, _closing(answer, dialect), (0,) * (len(events) + 1))
    deltas: list[dict[str, Any]] = [{"reasoning_content": thought} for thought in answer.thoughts]
    deltas += _call_deltas(answer)
    deltas += [{"content": word} for word in answer.words]
    opening = _delta(dialect, {"role": "assistant", "content": ""})
    sizes = itertools.accumulate((len(delta.get("content", "").encode()) for delta in deltas), initial=0)
    return Script(opening, tuple(_delta(dialect, delta) for delta in deltas), _closing(answer, dialect), tuple(sizes))


@lru_cache(maxsize=64)
def document(answer: Answer, model: str) -> bytes:
    """The non-streamed form of an answer, as a whole response."""
    if answer.raw:
        return response(200, answer.raw[0])
    message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.words) or None}
    if answer.thoughts:
        message["reasoning_content"] = "".join(answer.thoughts)
    if answer.call is not None:
        function = {"name": answer.call.name, "arguments": answer.call.arguments}
        message["tool_calls"] = [{"id": _CALL_ID, "type": "function", "function": function}]
    body: dict[str, Any] = {
        "id": ID_SLOT.decode(),
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
    }
    body["choices"] = [{"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}]
    if answer.reports_usage:
        body["usage"] = usage_of(answer)
    return response(200, orjson.dumps(body))
