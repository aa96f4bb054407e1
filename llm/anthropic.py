"""Anthropic's Messages wire: our request into theirs, and their events and documents into our deltas.

What differs from chat completions: instructions stand beside the messages; what a tool said is part of a user's
message; a limit of output tokens is demanded; tokens read from the cache are counted beside the input, not in it; an
answer is a row of numbered blocks. Thoughts carry signatures, which are not kept: where a model goes on after a tool,
it is asked without thinking, because it would be refused without them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from llm.deltas import Delta, Dialect, Finish, Form, ModelRequest, ReasoningDelta, TextDelta, ToolCallDelta, UsageReport
from llm.faults import bad_response, vendor_error
from llm.sse import EventParser, flat_text

VERSION = "2023-06-01"
DEFAULT_OUTPUT_TOKENS = 4096
LEAST_THINKING = 1024  # tokens; the API refuses less
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}


def key_headers(key: str) -> dict[str, str]:
    """The headers that carry the key."""
    return {"x-api-key": key, "anthropic-version": VERSION}


# --- what is asked -------------------------------------------------------------------------------------


def body_of(request: ModelRequest, stream: bool) -> dict[str, Any]:
    """The JSON object to send. Parameters that the Messages API does not know are left out."""
    most = request.max_tokens or DEFAULT_OUTPUT_TOKENS
    body: dict[str, Any] = {
        "model": request.model,
        "max_tokens": most,
        "messages": _messages(request.messages),
        "stream": stream,
    }
    if system := "\n\n".join(_instructions(request.messages)):
        body["system"] = system
    given = request.parameters
    thinking = _thinking(given.get("thinking"), most, request.messages)
    if thinking is not None:
        body["thinking"] = thinking
    elif given.get("temperature") is not None:  # newer models take one of the two, thinking ones neither
        body["temperature"] = min(given["temperature"], 1)
    elif given.get("top_p") is not None:
        body["top_p"] = given["top_p"]
    if stop := given.get("stop"):
        body["stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)
    if request.tools:
        body["tools"] = [_tool(one["function"]) for one in request.tools]
        if choice := _choice(given, thinks=thinking is not None):
            body["tool_choice"] = choice
    return body


def _instructions(messages: Iterable[dict[str, Any]]) -> list[str]:
    return [
        text
        for one in messages
        if one["role"] in ("system", "developer") and (text := flat_text(one.get("content") or ""))
    ]


def _messages(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages in which the two sides take turns: what one side says in a row is one message."""
    found: list[dict[str, Any]] = []
    for message in messages:
        if message["role"] in ("system", "developer"):
            continue
        role = "assistant" if message["role"] == "assistant" else "user"
        blocks = _blocks(message)
        if found and found[-1]["role"] == role:
            found[-1]["content"] += blocks
        elif blocks:
            found.append({"role": role, "content": blocks})
    return found


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    """A message's content as blocks; empty text is none, for the API refuses it."""
    content = message.get("content") or ""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    blocks = [block for part in parts if (block := _block(part)) is not None]
    if message["role"] == "tool":
        return [{"type": "tool_result", "tool_use_id": message.get("tool_call_id", ""), "content": blocks}]
    for call in message.get("tool_calls") or []:
        function = call["function"]
        blocks.append({
            "type": "tool_use", "id": call["id"], "name": function["name"], "input": _object(function["arguments"]),
        })  # fmt: skip
    return blocks


def _block(part: dict[str, Any]) -> dict[str, Any] | None:
    if part.get("type") == "image_url":
        url = part["image_url"]["url"]
        if not url.startswith("data:"):
            return {"type": "image", "source": {"type": "url", "url": url}}
        head, _, data = url.partition(",")
        kind = head.removeprefix("data:").partition(";")[0]
        return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}
    text = part.get("text") or part.get("refusal") or ""
    return {"type": "text", "text": text} if text.strip() else None


def _object(arguments: str) -> dict[str, Any]:
    """A call's arguments, which the model wrote as text and may have written wrongly."""
    try:
        found = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        return {"unreadable": arguments}
    return found if isinstance(found, dict) else {"value": found}


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    return {"name": function["name"], "description": function.get("description") or "", "input_schema": schema}


def _choice(given: Any, *, thinks: bool) -> dict[str, Any] | None:
    """`tool_choice`; a model that thinks cannot be made to call a tool."""
    wanted = given.get("tool_choice")
    choice: dict[str, Any] | None = None
    if isinstance(wanted, dict):
        choice = {"type": "tool", "name": wanted["function"]["name"]}
    elif wanted in _CHOICES:
        choice = {"type": _CHOICES[wanted]}
    if choice and thinks and choice["type"] in ("tool", "any"):
        choice = {"type": "auto"}
    if given.get("parallel_tool_calls") is False and (choice is None or choice["type"] != "none"):
        choice = (choice or {"type": "auto"}) | {"disable_parallel_tool_use": True}
    return choice


def _thinking(value: Any, most: int, messages: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Thinking where it was asked for and there is room for it; at most half of the output, unless the caller says."""
    kind = value.get("type") if isinstance(value, dict) else value
    if kind not in (True, "enabled", "adaptive") or (messages and messages[-1].get("role") == "tool"):
        return None
    if kind == "adaptive":
        return {"type": "adaptive"}
    budget = value.get("budget_tokens") if isinstance(value, dict) else None
    if most <= LEAST_THINKING:
        return None
    budget = budget if isinstance(budget, int) else most // 2
    return {"type": "enabled", "budget_tokens": min(max(budget, LEAST_THINKING), most - 1)}


# --- what is answered ----------------------------------------------------------------------------------


class MessageParser(EventParser):
    """EventParser for Anthropic's events; `message_stop` is their `[DONE]`."""

    __slots__ = ("_calls", "_counts")

    def __init__(self, dialect: Dialect, secret: str = "") -> None:
        super().__init__(dialect, secret)
        self._counts: dict[str, Any] = {}
        self._calls: dict[int, int] = {}  # number of the block -> number of the call

    def _event(self, event: Any, out: list[Delta]) -> None:
        try:
            kind = event["type"]
            if kind == "content_block_delta":
                self._piece(event["index"], event["delta"], out)
            elif kind == "content_block_start":
                self._block(event["index"], event["content_block"], out)
            elif kind == "message_start":
                self._counts |= event["message"].get("usage") or {}
            elif kind == "message_delta":
                self._last(event, out)
            elif kind == "message_stop":
                self.done = True
            elif kind == "error":
                self.error = vendor_error(event, self._dialect, self._secret)
            self.started = True  # any other kind is a ping, or newer than this code
        except (KeyError, TypeError, AttributeError):
            if isinstance(event, dict) and "error" in event:
                self.error = vendor_error(event, self._dialect, self._secret)
            else:
                self.error = bad_response("an event of its answer has another shape than Anthropic's messages")

    def _odd(self, event: Any, out: list[Delta]) -> None:
        self._event(event, out)

    def _piece(self, index: int, delta: dict[str, Any], out: list[Delta]) -> None:
        kind = delta["type"]
        if kind == "text_delta":
            out.append(TextDelta(delta["text"]))
        elif kind == "thinking_delta":
            out.append(ReasoningDelta(delta["thinking"]))
        elif kind == "input_json_delta" and delta["partial_json"]:
            out.append(ToolCallDelta(self._calls[index], None, None, delta["partial_json"]))

    def _block(self, index: int, block: dict[str, Any], out: list[Delta]) -> None:
        if block["type"] == "tool_use":
            number = self._calls.setdefault(index, len(self._calls))
            # `input` is empty here and comes in pieces; a vendor that sends it whole sends no pieces.
            whole = orjson.dumps(block["input"]).decode() if block.get("input") else ""
            out.append(ToolCallDelta(number, block["id"], block["name"], whole))
        elif text := block.get("text"):
            out.append(TextDelta(text))

    def _last(self, event: dict[str, Any], out: list[Delta]) -> None:
        if reason := event["delta"].get("stop_reason"):
            self.finished = True
            out.append(Finish(_FINISH.get(reason, str(reason))))
        # Only here: what `message_start` says of the output would be a report of one token, and be believed.
        said = event.get("usage")
        if said and (report := usage_report(self._counts | {k: v for k, v in said.items() if v is not None})):
            out.append(report)


def usage_report(usage: Any) -> UsageReport | None:
    """The vendor's counts, or None when it has none. Input is all input: read from the cache, written to it, or new."""
    if not isinstance(usage, dict) or not isinstance(usage.get("input_tokens"), int):
        return None
    cached = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0
    output = usage.get("output_tokens") or 0
    counts = (usage["input_tokens"], cached, written, output)
    if not all(isinstance(count, int) and 0 <= count < 2**53 for count in counts):
        return None
    return UsageReport(usage["input_tokens"] + cached + written, output, cached, 0)


def document_deltas(body: bytes, dialect: Dialect, secret: str = "") -> list[Delta]:
    """A whole message as deltas. Raises PaasError as llm.sse.document_deltas does."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise bad_response("its answer is not JSON", body) from None
    if isinstance(document, dict) and "error" in document:
        raise vendor_error(document, dialect, secret)
    out: list[Delta] = []
    try:
        calls = 0
        for block in document["content"]:
            if block["type"] == "text":
                out.append(TextDelta(block["text"]))
            elif block["type"] == "thinking":
                out.append(ReasoningDelta(block["thinking"]))
            elif block["type"] == "tool_use":
                out.append(ToolCallDelta(calls, block["id"], block["name"], orjson.dumps(block["input"]).decode()))
                calls += 1
        reason = document.get("stop_reason") or "end_turn"
    except (KeyError, TypeError, AttributeError):
        raise bad_response("its answer has another shape than Anthropic's messages") from None
    out.append(Finish(_FINISH.get(reason, str(reason))))
    if (usage := usage_report(document.get("usage"))) is not None:
        out.append(usage)
    return out


MESSAGES = Dialect(form=Form("/messages", key_headers, body_of, MessageParser, document_deltas))
