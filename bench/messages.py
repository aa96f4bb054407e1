"""The bytes of Anthropic's Messages wire, built once and reused as those of chunks.py."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import orjson

from bench.answers import Answer, Ending, Refusal, call_pieces
from bench.chunks import ID_SLOT, LAST_CHUNK, Script, frame, response

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
}
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_CALL_ID = "toolu_" + ID_SLOT.decode()


def _event(kind: str, **data: Any) -> bytes:
    return frame(b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind} | data)))


def plain(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages as answers.py reads them: one that holds what a tool said is the tool's."""
    return [_plain(message) for message in messages]


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    results = [part for part in content if part.get("type") == "tool_result"] if isinstance(content, list) else []
    return {"role": "tool", "content": results[-1]["content"]} if results else message


def refused(refusal: Refusal) -> Refusal:
    """A refusal in Anthropic's shape; 503 is its 529."""
    if refusal.content_type != "application/json":
        return refusal
    said = orjson.loads(refusal.body)["error"]["message"]
    if refusal.status == 404:
        said = "model: unknown"
    elif "context" in said:
        said = "prompt is too long: 8193 tokens > 8192 maximum"
    body = orjson.dumps({"type": "error", "error": {"type": _KINDS[refusal.status], "message": said}})
    return Refusal(529 if refusal.status == 503 else refusal.status, body, retry_after=refusal.retry_after)


def _blocks(answer: Answer) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each block as it begins, and its pieces."""
    if answer.thoughts:
        pieces = [{"type": "thinking_delta", "thinking": thought} for thought in answer.thoughts]
        yield {"type": "thinking", "thinking": "", "signature": ""}, pieces
    if answer.call is not None:
        pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in call_pieces(answer.call)]
        yield {"type": "tool_use", "id": _CALL_ID, "name": answer.call.name, "input": {}}, pieces
    if answer.words:
        yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": word} for word in answer.words]


def _usage(answer: Answer) -> dict[str, int]:
    return {
        "input_tokens": answer.prompt_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": answer.output_tokens,
    }


def _closing(answer: Answer, blocks: int) -> bytes:
    if answer.ending is Ending.ERROR:
        error = {"type": "overloaded_error", "message": "Overloaded"}
        return _event("error", error=error) + LAST_CHUNK
    if answer.ending is not Ending.DONE:
        return b""
    end = {"stop_reason": _REASONS.get(answer.finish, answer.finish), "stop_sequence": None}
    usage = {"usage": {"output_tokens": answer.output_tokens}} if answer.reports_usage else {}
    stop = _event("content_block_stop", index=blocks - 1) if blocks else b""
    return stop + _event("message_delta", delta=end, **usage) + _event("message_stop") + LAST_CHUNK


@lru_cache(maxsize=64)
def script(answer: Answer, model: str) -> Script:
    """The streamed form of an answer."""
    if answer.raw:
        events = tuple(frame(b"data: %b\n\n" % line) for line in answer.raw)
        return Script(b"", events, LAST_CHUNK, (0,) * (len(events) + 1))
    message: dict[str, Any] = {"id": ID_SLOT.decode(), "type": "message", "role": "assistant", "model": model}
    message |= {"content": [], "stop_reason": None}
    if answer.reports_usage:
        message["usage"] = _usage(answer) | {"output_tokens": 1}
    opening = _event("message_start", message=message) + _event("ping")
    pieces: list[bytes] = []
    texts: list[int] = []
    index = -1
    for index, (block, deltas) in enumerate(_blocks(answer)):
        before = _event("content_block_stop", index=index - 1) if index else b""
        before += _event("content_block_start", index=index, content_block=block)
        for delta in deltas:
            pieces.append(before + _event("content_block_delta", index=index, delta=delta))
            texts.append(len(delta.get("text", "").encode()))
            before = b""
    return Script(opening, tuple(pieces), _closing(answer, index + 1), tuple(itertools.accumulate(texts, initial=0)))


@lru_cache(maxsize=64)
def document(answer: Answer, model: str) -> bytes:
    """The non-streamed form of an answer, as a whole response."""
    if answer.raw:
        return response(200, answer.raw[0])
    content: list[dict[str, Any]] = []
    if answer.thoughts:
        content.append({"type": "thinking", "thinking": "".join(answer.thoughts), "signature": "c2ln"})
    if answer.call is not None:
        asked = orjson.loads(answer.call.arguments)
        content.append({"type": "tool_use", "id": _CALL_ID, "name": answer.call.name, "input": asked})
    if answer.words:
        content.append({"type": "text", "text": "".join(answer.words)})
    body: dict[str, Any] = {"id": ID_SLOT.decode(), "type": "message", "role": "assistant", "model": model}
    body |= {"content": content, "stop_reason": _REASONS.get(answer.finish, answer.finish)}
    if answer.reports_usage:
        body["usage"] = _usage(answer)
    return response(200, orjson.dumps(body))
