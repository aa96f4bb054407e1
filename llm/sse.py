"""Bytes of a vendor's answer -> deltas: server-sent events by hand, and whole documents.

This runs for every token of every stream, so it is written for cost: one split per network read, one
orjson call per event, and nothing that is not needed for a plain text delta before that delta is made.
"""

from __future__ import annotations

from typing import Any

import orjson

from core.errors import PaasError
from llm.deltas import (
    Delta,
    Dialect,
    Finish,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from llm.faults import bad_response, stream_broken, vendor_error

MAX_LINE_BYTES = 1024 * 1024
_FIELDS = frozenset({b"", b"event", b"id", b"retry", b"data"})  # b"" is a comment: a line that begins with a colon
_BOM = b"\xef\xbb\xbf"

# The vendors' other words for the four reasons that callers know (Zhipu: sensitive, model_context_...).
_FINISH_ALIASES = {
    "sensitive": "content_filter",
    "function_call": "tool_calls",
    "model_context_window_exceeded": "length",
    "max_tokens": "length",
}
# Zhipu and OpenRouter end a stream that broke inside the vendor with these words instead of cutting it.
_FINISH_BROKEN = frozenset({"network_error", "error"})

_loads = orjson.loads


class EventParser:
    """Feeds on network reads of one stream; never raises, so that what came before a fault is not lost.

    finished: a finish reason came. done: `[DONE]` came. error: set when the stream cannot be read on;
    the deltas of the same `feed` come before it. `secret` is kept out of errors.
    """

    __slots__ = (
        "_dialect",
        "_parts",
        "_secret",
        "_size",
        "_slots",
        "_usage",
        "done",
        "error",
        "finished",
        "started",
    )

    def __init__(self, dialect: Dialect, secret: str = "") -> None:
        self._dialect = dialect
        self._secret = secret
        self._parts: list[bytes] = []
        self._size = 0
        self._slots = _CallSlots()
        self._usage: UsageReport | None = None
        self.started = False
        self.finished = False
        self.done = False
        self.error: PaasError | None = None

    def feed(self, data: bytes) -> list[Delta]:
        """The deltas that this read completes; empty when it only brings part of a line."""
        out: list[Delta] = []
        head, newline, tail = data.rpartition(b"\n")
        if newline:
            if self._parts:
                self._parts.append(head)
                head = b"".join(self._parts)
                self._parts = []
            self._size = 0
            self._lines(head.split(b"\n"), out)
        if tail:
            # Kept in parts: joining them at every read would cost the square of the line's length.
            self._parts.append(tail)
            self._size += len(tail)
            if self._size > MAX_LINE_BYTES and self.error is None:
                self.error = bad_response("a line of its answer is longer than 1 MiB")
        return out

    def close(self) -> list[Delta]:
        """The deltas of a last line that no newline ended."""
        out: list[Delta] = []
        if self._parts and self.error is None and not self.done:
            self._lines([b"".join(self._parts)], out)
        self._parts = []
        return out

    def _lines(self, lines: list[bytes], out: list[Delta]) -> None:
        for line in lines:
            if line[:5] == b"data:":
                if len(line) > MAX_LINE_BYTES:
                    self.error = bad_response("a line of its answer is longer than 1 MiB")
                    return
                try:
                    # orjson skips the space after the colon and the CR of a CRLF.
                    self._event(_loads(line[5:]), out)
                except orjson.JSONDecodeError:
                    payload = line[5:].strip()
                    if payload == b"[DONE]":
                        self.done = True
                        return
                    if payload:
                        self.error = bad_response("an event of its answer is not JSON")
                if self.error is not None:
                    return
            elif line and line != b"\r" and not self.started:
                self._other(line, out)
                if self.error is not None or self.done:
                    return

    def _other(self, line: bytes, out: list[Delta]) -> None:
        """A line that is no event, before the first one: a comment, a field, or not this protocol at all."""
        if line.startswith(_BOM):
            self._lines([line[3:]], out)
        elif line[:1] == b"{":
            try:
                self._odd(_loads(line), out)  # an error as bare JSON, in a stream that never began
            except orjson.JSONDecodeError:
                self.error = bad_response("it does not speak the streaming protocol")
        elif line.rstrip(b"\r").partition(b":")[0] not in _FIELDS:
            self.error = bad_response("it does not speak the streaming protocol")

    def _event(self, event: Any, out: list[Delta]) -> None:
        try:
            choices = event["choices"]
            if choices:
                choice = choices[0]
                delta = choice["delta"]
                if delta:
                    text = delta.get("content")
                    if not text or len(delta) > 1:
                        _thoughts(delta, out)
                    if text:
                        out.append(TextDelta(text if text.__class__ is str else flat_text(text)))
                    calls = delta.get("tool_calls")
                    if calls:
                        self._slots.add(calls, out)
                reason = choice.get("finish_reason")
                if reason:
                    self._finish(reason, event, out)
            usage = event.get("usage") or (choices and choices[0].get("usage"))
            if usage:
                self._report(usage, out)
            self.started = True
        except (KeyError, TypeError, AttributeError, IndexError, ValueError):
            self._odd(event, out)

    def _odd(self, event: Any, out: list[Delta]) -> None:
        """An event that is no ordinary chunk: an error, usage alone, a keep-alive, or nonsense."""
        if not isinstance(event, dict):
            self.error = bad_response("an event of its answer is not an object")
            return
        if "error" in event or ("choices" not in event and "code" in event):
            self.error = vendor_error(event, self._dialect, self._secret)
            return
        choices = event.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict) and "delta" not in choices[0]:
            if isinstance(choices[0].get("message"), dict):
                # A vendor that ignores `stream` inside an event stream: the whole message at once.
                out.extend(message_deltas(choices[0]["message"], self._slots))
            if isinstance(reason := choices[0].get("finish_reason"), str):
                self._finish(reason, event, out)
        elif choices:
            self.error = bad_response("an event of its answer has another shape than chat completions")
            return
        if isinstance(usage := event.get("usage"), dict):
            self._report(usage, out)
        self.started = True

    def _finish(self, reason: Any, event: dict[str, Any], out: list[Delta]) -> None:
        if reason in _FINISH_BROKEN:
            self.error = vendor_error(event, self._dialect, self._secret) if event.get("error") else stream_broken()
            return
        self.finished = True
        out.append(Finish(finish_reason(reason)))

    def _report(self, usage: Any, out: list[Delta]) -> None:
        report = usage_report(usage)
        if report is not None and report != self._usage:
            self._usage = report
            out.append(report)


class _CallSlots:
    """Gives every fragment of a tool call its call's number.

    OpenAI sends the index with each fragment. Others send whole calls without one, or index 0 for all
    of them with different ids: a new id under a known index therefore opens a new call.
    """

    __slots__ = ("_current", "_ids")

    def __init__(self) -> None:
        self._current: dict[int, int] = {}
        self._ids: list[str | None] = []

    def add(self, fragments: Any, out: list[Delta]) -> None:
        for position, fragment in enumerate(fragments):
            function = fragment.get("function") or {}
            arguments = function.get("arguments")
            if arguments.__class__ is not str:
                arguments = "" if arguments is None else orjson.dumps(arguments).decode()
            index = fragment.get("index")
            call_id, name = fragment.get("id") or None, function.get("name") or None
            slot = self._slot(index if isinstance(index, int) else position, call_id, name, index is None)
            out.append(ToolCallDelta(slot, call_id, name, arguments))

    def _slot(self, index: int, call_id: str | None, name: str | None, unnumbered: bool) -> int:
        slot = self._current.get(index)
        if slot is not None:
            known = self._ids[slot]
            another = call_id is not None and known is not None and call_id != known
            if not another and not (unnumbered and call_id is None and name is not None):
                self._ids[slot] = known or call_id
                return slot
        self._ids.append(call_id)
        self._current[index] = len(self._ids) - 1
        return self._current[index]


def _thoughts(delta: dict[str, Any], out: list[Delta]) -> None:
    """`reasoning_content` (Zhipu, DeepSeek, Qwen, Moonshot, llama.cpp) or `reasoning` (OpenRouter, vLLM)."""
    thought = delta.get("reasoning_content") or delta.get("reasoning")
    if thought and thought.__class__ is str:
        out.append(ReasoningDelta(thought))


def flat_text(content: Any) -> str:
    """The text of a message's content: a string, or a list of parts of which those with text count."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    raise ValueError("content is neither text nor parts")


def finish_reason(reason: Any) -> str:
    """The vendor's finish reason in the words that callers know, or its own word."""
    return _FINISH_ALIASES.get(str(reason), str(reason))


def usage_report(usage: Any) -> UsageReport | None:
    """The vendor's usage object, or None when it has no counts.

    Cached tokens are looked for where OpenAI and Zhipu, DeepSeek, and Moonshot put them.
    """
    if not isinstance(usage, dict) or not isinstance(usage.get("prompt_tokens"), int):
        return None
    inputs = usage.get("prompt_tokens_details") or {}
    outputs = usage.get("completion_tokens_details") or {}
    cached = inputs.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or usage.get("cached_tokens") or 0
    counts = (
        usage["prompt_tokens"],
        usage.get("completion_tokens") or 0,
        cached,
        outputs.get("reasoning_tokens") or 0,
    )
    # A negative or absurd count would credit or empty somebody's quota: nothing is better than that.
    if not all(isinstance(count, int) and 0 <= count < 2**53 for count in counts):
        return None
    return UsageReport(*counts)


def message_deltas(message: dict[str, Any], slots: _CallSlots | None = None) -> list[Delta]:
    """A whole message as deltas: reasoning, text, tool calls."""
    out: list[Delta] = []
    _thoughts(message, out)
    if text := flat_text(message.get("content") or ""):
        out.append(TextDelta(text))
    if calls := message.get("tool_calls"):
        (slots or _CallSlots()).add(calls, out)
    return out


def document_deltas(body: bytes, dialect: Dialect, secret: str = "") -> list[Delta]:
    """A non-streamed answer as deltas, ending with Finish and, when the vendor counts, UsageReport.

    Raises PaasError: the vendor's error when the document is one, otherwise provider_bad_response.
    """
    try:
        document = _loads(body)
    except orjson.JSONDecodeError:
        raise bad_response("its answer is not JSON", body) from None
    if isinstance(document, dict) and not document.get("choices") and ("error" in document or "code" in document):
        raise vendor_error(document, dialect, secret)
    try:
        choice = document["choices"][0]
        out = message_deltas(choice["message"])
        reason = choice.get("finish_reason")
        usage = usage_report(document.get("usage"))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError):
        raise bad_response("its answer has another shape than chat completions") from None
    if reason in _FINISH_BROKEN:
        raise stream_broken()
    out.append(Finish(finish_reason(reason or "stop")))
    if usage is not None:
        out.append(usage)
    return out
