"""The body of a vendor call, and what an endpoint turned out not to accept in it.

Vendors that call themselves OpenAI-compatible reject two things in practice: `stream_options`, and
`max_tokens` (OpenAI's reasoning models want `max_completion_tokens`). A rejection that names one of them
is answered by asking again without it, once; when that worked it is remembered for this process.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

import orjson

from core.errors import PaasError
from llm.deltas import Dialect, ModelRequest

NO_USAGE_OPTION = "no_usage_option"
COMPLETION_TOKENS = "completion_tokens"
_MEMORY = 1024

_UNKNOWN_FIELD = re.compile(
    r"stream_options|include_usage"
    r"|(unknown|unrecogni[sz]ed|unsupported|unexpected|extra|additional).{0,40}(field|param|argument|propert|input|key)",
    re.IGNORECASE | re.DOTALL,
)
_OWN_FIELDS = frozenset({"model", "messages", "tools", "stream", "stream_options", "n"})

_learned: OrderedDict[tuple[str, str], frozenset[str]] = OrderedDict()


def known(base_url: str, model: str) -> frozenset[str]:
    """What this model at this address is known not to accept."""
    return _learned.get((base_url, model), frozenset())


def remember(base_url: str, model: str, quirks: frozenset[str]) -> None:
    """Keep what was found out; the oldest of 1,024 entries makes room, for tenants choose both names."""
    _learned[(base_url, model)] = quirks
    _learned.move_to_end((base_url, model))
    if len(_learned) > _MEMORY:
        _learned.popitem(last=False)


def forget() -> None:
    """Drop everything that was found out (tests; a vendor that was updated)."""
    _learned.clear()


def suggested(error: PaasError, body: dict[str, Any]) -> str | None:
    """The quirk that a rejection of `body` points to, if leaving it out was not tried yet."""
    text = str(error.details.get("provider_message", ""))
    if "max_tokens" in body and "max_completion_tokens" in text:
        return COMPLETION_TOKENS
    return NO_USAGE_OPTION if "stream_options" in body and _UNKNOWN_FIELD.search(text) else None


def body_of(request: ModelRequest, dialect: Dialect, quirks: frozenset[str], *, stream: bool) -> dict[str, Any]:
    """The JSON object to send. `request.parameters` cannot replace our own fields, nor ask for n answers."""
    if dialect.form is not None:
        return dialect.form.body(request, stream)
    body = {name: value for name, value in request.parameters.items() if name not in _OWN_FIELDS}
    body["model"] = request.model
    body["messages"] = request.messages
    if request.tools:
        body["tools"] = request.tools
    if request.max_tokens is not None:
        for name in ("max_tokens", "max_completion_tokens"):
            body.pop(name, None)
        body["max_completion_tokens" if COMPLETION_TOKENS in quirks else "max_tokens"] = request.max_tokens
    body["stream"] = stream
    if stream and dialect.sends_usage_option and NO_USAGE_OPTION not in quirks:
        body["stream_options"] = {"include_usage": True}
    return body


def encoded(body: dict[str, Any]) -> bytes:
    """The body as JSON bytes. Raises PaasError validation_failed for text that UTF-8 cannot hold."""
    try:
        return orjson.dumps(body)
    except (orjson.JSONEncodeError, RecursionError):
        message = "The message or a parameter cannot be sent to the model: it is not valid text or JSON."
        raise PaasError("validation_failed", message) from None
