"""How runs and errors look on the Phase 1 wire."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Iterable
from typing import Any

import orjson

from agents.runtime.events import (
    REASONING_DELTA,
    RUN_CANCELLED,
    RUN_COMPLETED,
    RUN_FAILED,
    SOURCE_CITED,
    TEXT_DELTA,
    TOOL_FINISHED,
    TOOL_STARTED,
)
from chat.log import Batch
from core.errors import PaasError

HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
NAMED = {"MISSING_TOKEN": "auth_002", "INVALID_TOKEN": "auth_003"}


async def failure(code: str, message: str) -> AsyncGenerator[bytes, None]:
    """The stream of an agent that fails before it says anything."""
    yield _error(code, message)


async def encoded(
    batches: AsyncGenerator[Batch, None], session_id: uuid.UUID | None, begun: float, wanted: Iterable[str]
) -> AsyncGenerator[bytes, None]:
    """A run's events as Phase 1 names them. begun: time.monotonic() of the request; wanted: further events asked for.

    A thought's step is the number of the stretch of thinking that it belongs to, from 1.
    """
    tools = "tool" in wanted
    step, thinking = 0, False
    async for _, events in batches:
        parts: list[bytes] = []
        for kind, data in events:
            if kind == REASONING_DELTA:
                step += not thinking
                parts.append(_event("thought", {"content": data["text"], "step": step}))
            elif kind == TEXT_DELTA:
                parts.append(_event("message", {"content": data["text"], "type": "text"}))
            elif kind in (TOOL_STARTED, TOOL_FINISHED) and tools:
                parts.append(_event("tool", data))
            elif kind == SOURCE_CITED:
                parts += _source(data, wanted)
            elif kind == RUN_FAILED:
                parts.append(_error(data["code"], data["message"]))
            elif kind in (RUN_COMPLETED, RUN_CANCELLED):
                done = {"session_id": str(session_id), "tokens_used": tokens_of(data)}
                parts.append(_event("done", done | {"execution_time_ms": milliseconds(begun)}))
            thinking = kind == REASONING_DELTA
        yield b"".join(parts)


def _source(data: dict[str, Any], wanted: Iterable[str]) -> list[bytes]:
    """A passage, for clients that ask for `source`, and how well it fits, for those that ask for `retrieval_score`."""
    found = [_event("source", data)] if "source" in wanted else []
    if "retrieval_score" in wanted:
        names = ("n", "chunk_id", "document_id", "score")
        found.append(_event("retrieval_score", {name: data[name] for name in names}))
    return found


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(data))


def _error(code: str, message: str) -> bytes:
    return _event("error", {"message": message, "code": "AGENT_EXECUTION_ERROR", "details": {"code": code}})


def tokens_of(data: dict[str, Any]) -> int:
    """The tokens of a run that has ended, in and out, by its terminal event."""
    return int(data["usage"]["input_tokens"]) + int(data["usage"]["output_tokens"])


def milliseconds(begun: float) -> int:
    """Since `begun`, by time.monotonic()."""
    return round((time.monotonic() - begun) * 1000)


def shape(error: PaasError, path: str) -> dict[str, Any]:
    """`{error, message, details?, path}`; our own code is in the details."""
    named = {"not_authenticated": "MISSING_TOKEN", "token_invalid": "INVALID_TOKEN"}.get(error.code, "HTTP_ERROR")
    if error.status == 422:
        named = "VALIDATION_ERROR"
    elif error.code == "internal_error":
        named = "INTERNAL_SERVER_ERROR"
    body: dict[str, Any] = {"error": named, "message": error.message, "path": path}
    body |= {"code": NAMED[named]} if named in NAMED else {}
    return body | {"details": {"code": error.code, **error.details}}
