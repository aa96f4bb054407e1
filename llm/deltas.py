"""The values that cross the wire: what is asked of a model, where it is asked, and what comes back.

Deltas are named tuples because one is made for every token. Two deltas of different types with the
same text compare equal, as tuples do: tell them apart by class, never by `==`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from core.egress import PUBLIC_ONLY, EgressPolicy


class TextDelta(NamedTuple):
    """A piece of the answer."""

    text: str


class ReasoningDelta(NamedTuple):
    """A piece of the model's reasoning (`reasoning_content`), which is not part of the answer."""

    text: str


class ToolCallDelta(NamedTuple):
    """A fragment of the tool call number `index`: id and name come once, `arguments` are concatenated."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody asks of a delta
    id: str | None
    name: str | None
    arguments: str


class Finish(NamedTuple):
    """Why the model stopped: "stop", "length", "tool_calls", "content_filter", or the vendor's own word."""

    reason: str


class UsageReport(NamedTuple):
    """Tokens as the vendor counted them, for the whole call; when several come, the last one counts.

    `cached_tokens` is the part of `input_tokens` that was read from the vendor's cache and
    `reasoning_tokens` the part of `output_tokens` spent on reasoning; 0 where the vendor does not say.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int


Delta = TextDelta | ReasoningDelta | ToolCallDelta | Finish | UsageReport


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a vendor listens and how long it may take. Times are seconds; the repr hides secrets.

    allow_private: the operator set the address, so it may be private and have any port; otherwise
    only what `egress` allows is dialled. first_byte_timeout covers everything from the request until
    the first byte of the answer's body, idle_timeout each pause after that.
    """

    base_url: str
    api_key: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    allow_private: bool = False
    connect_timeout: float = 10
    first_byte_timeout: float = 120
    idle_timeout: float = 60
    egress: EgressPolicy = field(default=PUBLIC_ONLY, repr=False)


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One call of a model. `messages` and `tools` have the shape of OpenAI's chat completions.

    `parameters` (temperature, top_p, stop, tool_choice ...) are sent as they are; they cannot
    replace the other fields.
    """

    model: str
    messages: list[dict[str, Any]]
    max_tokens: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tools: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """Another protocol than chat completions, for a vendor that speaks one (llm/anthropic.py).

    path: behind the base URL. headers: those that carry a key. body: what is sent for a request, streamed or not.
    parser: made with a dialect and the key; works as llm.sse.EventParser. document: as llm.sse.document_deltas.
    """

    path: str
    headers: Callable[[str], dict[str, str]]
    body: Callable[[ModelRequest, bool], dict[str, Any]]
    parser: Callable[[Dialect, str], Any]
    document: Callable[[bytes, Dialect, str], list[Delta]]


@dataclass(frozen=True, slots=True)
class Dialect:
    """In what a vendor differs from OpenAI.

    sends_usage_option: ask for usage with `stream_options` (vendors that always report it may reject it).
    error_codes: the vendor's own error codes -> ours. unreachable: our code when nobody listens.
    loading: our code for HTTP 503 whose text says that the model is still being loaded, or None.
    sends_encoding_format: ask for embeddings in base64 where the caller wants them so. form: None is chat completions.
    """

    sends_usage_option: bool = True
    error_codes: Mapping[str, str] = field(default_factory=dict)
    unreachable: str = "provider_unavailable"
    loading: str | None = None
    sends_encoding_format: bool = True
    form: Form | None = None


OPENAI = Dialect()
