"""What the stand-in vendor answers: the model's name says it.

The names (a number in angle brackets is part of the name):

    bench-<first_ms>-<gap_ms>-<tokens>  tokens "t0 ", "t1 " ...; unpaced when both times are 0
    tagged-<first_ms>-<gap_ms>-<tokens>[-cut|-error|-stall]
                                        the same pace, but each token carries the last user message's first word
                                        ("c1.0 ", "c1.1 " ...), so that no two answers have a token in common
    echo                                the last user message, word by word
    count-input                         one word; usage says one prompt token for each byte of message text
    reasoning-<n>                       n reasoning tokens, then n answer tokens
    tools-<name>                        a call of the tool <name>, then, once a tool message came, an answer
    length-<n>                          n tokens and finish_reason "length"
    fault-401  fault-400  fault-500     an error in the vendors' own shape (400: context too long)
    fault-429 | fault-429-<s>           too many requests, with Retry-After (2 s)
    fault-503-twice[-<key>]             two 503, then an answer, then the same again; <key> keeps tests apart
    fault-cut-<n>                       closes the socket after n tokens
    fault-stall-<n>                     stops after n tokens and keeps the socket
    fault-error-<n>                     an error event after n tokens
    fault-hang                          accepts the request and never answers
    fault-garbage                       events that are not JSON
    fault-html                          200 with an HTML page
    fault-nousage-<n>                   n tokens and never a word about usage
    fault-slowhead[-<ms>]               the response head byte by byte over so many ms (5000)
    fault-hugeline[-<bytes>]            one event of so many bytes (8 MiB)
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

PROMPT_TOKENS = 10
"""Prompt tokens that every model but count-input reports, so that tests can compute a bill."""
HUGE_LINE_BYTES = 8 * 1024 * 1024
SLOW_HEAD_MS = 5_000
RETRY_AFTER_S = 2


class Ending(enum.Enum):
    """How a stream ends."""

    DONE = "done"
    CUT = "cut"
    STALL = "stall"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error instead of an answer: HTTP status, body and content type, and Retry-After in seconds."""

    status: int
    body: bytes
    content_type: str = "application/json"
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model asks for; `arguments` is JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that the wire needs to know about one answer.

    `thoughts` (reasoning) come first, then `words` or `call`. Times are milliseconds; both zero means
    back to back. `raw` replaces all events by the given `data:` payloads.
    """

    words: tuple[str, ...] = ()
    thoughts: tuple[str, ...] = ()
    call: ToolCall | None = None
    raw: tuple[bytes, ...] = ()
    finish: str = "stop"
    first_ms: int = 0
    gap_ms: int = 0
    head_ms: int = 0
    prompt_tokens: int = PROMPT_TOKENS
    ending: Ending = Ending.DONE
    reports_usage: bool = True
    hangs: bool = False
    refusal: Refusal | None = None

    @property
    def text_bytes(self) -> int:
        """Bytes of the words of a complete answer."""
        return sum(len(word.encode()) for word in self.words)

    @property
    def output_tokens(self) -> int:
        """Tokens that a complete answer bills: words, thoughts and pieces of a tool call, one each."""
        return len(self.words) + len(self.thoughts) + (len(call_pieces(self.call)) if self.call else 0)


def token_text(count: int) -> tuple[str, ...]:
    """The words of a bench answer. Each is different, so that a lost, doubled or swapped one is seen."""
    return tuple(f"t{index} " for index in range(count))


def tagged_text(tag: str, count: int) -> tuple[str, ...]:
    """The words of a tagged answer: no other tag's answer has any of them."""
    return tuple(f"{tag}.{index} " for index in range(count))


def call_pieces(call: ToolCall) -> tuple[str, ...]:
    """The arguments of a tool call cut into pieces of 8 characters, as vendors stream them."""
    text = call.arguments
    return tuple(text[start : start + 8] for start in range(0, len(text), 8)) or ("",)


def error_body(message: str, kind: str, code: str | None) -> bytes:
    """An error in the shape that OpenAI-compatible vendors share."""
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


UNAUTHORIZED = Refusal(401, error_body("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"))
OVERLOADED = Refusal(503, error_body("The engine is currently overloaded.", "server_error", "overloaded"))
_CONTEXT_TOO_LONG = Refusal(
    400,
    error_body(
        "This model's maximum context length is 8192 tokens.",
        "invalid_request_error",
        "context_length_exceeded",
    ),
)
_SERVER_ERROR = Refusal(500, error_body("The server had an error.", "server_error", None))
_RATE_LIMIT = error_body("Rate limit reached for requests.", "requests", "rate_limit_exceeded")
_HTML_PAGE = b"<!doctype html><html><body><h1>Welcome to the captive portal</h1></body></html>"


def unknown_model(model: str) -> Refusal:
    """The refusal for a name that is not in the table above."""
    return Refusal(404, error_body(f"The model {model!r} does not exist.", "invalid_request_error", "model_not_found"))


def _bench(first: str, gap: str, count: str) -> Answer:
    return Answer(words=token_text(int(count)), first_ms=int(first), gap_ms=int(gap))


def _reasoning(count: str) -> Answer:
    thoughts = tuple(f"r{index} " for index in range(int(count)))
    return Answer(words=token_text(int(count)), thoughts=thoughts)


def _rate_limited(seconds: str | None) -> Answer:
    wait = int(seconds) if seconds else RETRY_AFTER_S
    return Answer(refusal=Refusal(429, _RATE_LIMIT, retry_after=wait))


def _ended(ending: Ending) -> Callable[[str], Answer]:
    return lambda count: Answer(words=token_text(int(count)), ending=ending)


def _hugeline(size: str | None) -> Answer:
    return Answer(words=("x" * (int(size) if size else HUGE_LINE_BYTES),))


def _refused(refusal: Refusal) -> Callable[[], Answer]:
    return lambda: Answer(refusal=refusal)


_NAMES: tuple[tuple[re.Pattern[str], Callable[..., Answer]], ...] = tuple(
    (re.compile(pattern), build)
    for pattern, build in (
        (r"bench-(\d{1,5})-(\d{1,5})-(\d{1,6})", _bench),
        (r"reasoning-(\d{1,5})", _reasoning),
        (r"length-(\d{1,5})", lambda count: Answer(words=token_text(int(count)), finish="length")),
        (r"fault-401", _refused(UNAUTHORIZED)),
        (r"fault-400", _refused(_CONTEXT_TOO_LONG)),
        (r"fault-500", _refused(_SERVER_ERROR)),
        (r"fault-429(?:-(\d{1,5}))?", _rate_limited),
        (r"fault-503-twice(?:-[\w-]+)?", lambda: Answer(words=token_text(5))),
        (r"fault-cut-(\d{1,5})", _ended(Ending.CUT)),
        (r"fault-stall-(\d{1,5})", _ended(Ending.STALL)),
        (r"fault-error-(\d{1,5})", _ended(Ending.ERROR)),
        (r"fault-hang", lambda: Answer(hangs=True)),
        (r"fault-garbage", lambda: Answer(raw=(b'{"choices": [{"delta"', b"not json at all", b"\xff\xfe{}"))),
        (r"fault-html", _refused(Refusal(200, _HTML_PAGE, "text/html; charset=utf-8"))),
        (r"fault-nousage-(\d{1,5})", lambda count: Answer(words=token_text(int(count)), reports_usage=False)),
        (
            r"fault-slowhead(?:-(\d{1,5}))?",
            lambda ms: Answer(words=token_text(5), head_ms=int(ms) if ms else SLOW_HEAD_MS),
        ),
        (r"fault-hugeline(?:-(\d{1,8}))?", _hugeline),
    )
)


_TAGGED = re.compile(r"tagged-(\d{1,5})-(\d{1,5})-(\d{1,6})(?:-(cut|error|stall))?")


@lru_cache(maxsize=256)
def _named(model: str) -> Answer | None:
    for pattern, build in _NAMES:
        if match := pattern.fullmatch(model):
            return build(*match.groups())
    return None


def _texts(messages: list[dict[str, Any]], role: str | None = None) -> list[str]:
    """The text of the messages (of one role); parts that are not text count as nothing."""
    texts = []
    for message in messages:
        content = message.get("content") or ""
        if isinstance(content, list):
            content = "".join(part.get("text", "") for part in content if isinstance(part, dict))
        if role is None or message.get("role") == role:
            texts.append(str(content))
    return texts


def _words(text: str) -> tuple[str, ...]:
    """The text cut before each word, so that joining the pieces gives back every character of it."""
    return tuple(re.findall(r"\s*\S+\s*$|\s*\S+|\s+", text))


def _tool_answer(name: str, messages: list[dict[str, Any]]) -> Answer:
    """The arguments are the last user message when that is a JSON object, and an empty object otherwise."""
    if messages and messages[-1].get("role") == "tool":
        return Answer(words=_words(f"The tool {name} said: {_texts(messages)[-1]}"))
    asked = last_asked(messages).strip()
    try:
        arguments = asked if isinstance(json.loads(asked), dict) else "{}"
    except ValueError:
        arguments = "{}"
    return Answer(call=ToolCall(name, arguments), finish="tool_calls")


def last_asked(messages: list[dict[str, Any]]) -> str:
    """The text of the last user message; "" when there is none."""
    return (_texts(messages, "user") or [""])[-1]


def _tagged(found: re.Match[str], messages: list[dict[str, Any]]) -> Answer:
    tag = (last_asked(messages).split() or ["none"])[0]
    ending = Ending(found[4]) if found[4] else Ending.DONE
    return Answer(tagged_text(tag, int(found[3])), first_ms=int(found[1]), gap_ms=int(found[2]), ending=ending)


def answer_for(model: str, messages: list[dict[str, Any]], limit: int | None) -> Answer | None:
    """The answer of `model` to `messages`, cut at `limit` words; None when no such model exists."""
    answer = _named(model)
    if model == "echo":
        answer = Answer(words=_words(last_asked(messages)))
    elif tagged := _TAGGED.fullmatch(model):
        answer = _tagged(tagged, messages)
    elif model == "count-input":
        answer = Answer(words=("counted",), prompt_tokens=sum(len(text.encode()) for text in _texts(messages)))
    elif model.startswith("tools-"):
        answer = _tool_answer(model.removeprefix("tools-"), messages)
    if answer is not None and limit is not None and len(answer.words) > limit:
        return replace(answer, words=answer.words[:limit], finish="length")
    return answer
