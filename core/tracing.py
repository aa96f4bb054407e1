"""Spans of OpenTelemetry: what happened in one message, across processes, sent to a collector by OTLP.

Nothing of OpenTelemetry is asked for here before `configure`; without it `span` gives one object that does nothing.
Spans say names and numbers. Messages and arguments only where `configure` was told so, and then without secrets (P62).
An error is told by its code or its class: its text may hold anything.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from core.errors import PaasError
from core.redaction import redact

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Values = Mapping[str, Any]  # attributes; those that are None are left out

QUEUE_SPANS = 4096  # that wait for the collector; more are dropped
EXPORT_SECONDS = 5.0
MOST_CONTENT = 32_000  # characters of one attribute with content
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


@dataclass(frozen=True)
class Collector:
    """Where spans go. endpoint: of OTLP over HTTP, without /v1/traces. ratio: of the traces that are kept, 0 to 1.

    content: messages, arguments and results are told too. resource: attributes of this process.
    """

    endpoint: str
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    ratio: float = 1.0
    content: bool = False
    resource: dict[str, str] = field(default_factory=dict)


class Span:
    """A span that is being written, and a context manager: inside, it is the parent of what begins there.

    Off, or where nothing is to be told: all of it does nothing.
    """

    __slots__ = ()

    def set(self, values: Values) -> None:
        """Add attributes."""

    def failed(self, why: str) -> None:
        """It has ended badly: an error's code."""

    def end(self) -> None:
        """It has ended. For one that is no context manager's."""

    def __enter__(self) -> Span:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        return None


class _Recorded(Span):
    __slots__ = ("_token", "span")

    def __init__(self, span: Any) -> None:
        self.span = span
        self._token: Token[Any] | None = None

    def set(self, values: Values) -> None:
        self.span.set_attributes({name: value for name, value in values.items() if value is not None})

    def failed(self, why: str) -> None:
        from opentelemetry.trace import StatusCode

        self.span.set_attribute("error.type", why)
        self.span.set_status(StatusCode.ERROR)

    def end(self) -> None:
        self.span.end()

    def __enter__(self) -> Span:
        self._token = _current.set(self.span)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if self._token is not None:
            _current.reset(self._token)
        if error is not None and not getattr(error, "is_pause", False):
            self.failed(name_of(error))
        self.span.end()


NOTHING = Span()
_current: ContextVar[Any] = ContextVar("span", default=None)
_provider: Any = None
_exporter: Any = None
_tracer: Any = None
_content = False


def name_of(error: BaseException) -> str:
    """What of an error may be told: its code, else its class."""
    if isinstance(error, PaasError):
        return error.code
    return "cancelled" if isinstance(error, asyncio.CancelledError) else type(error).__name__


# --- writing --------------------------------------------------------------------------------------------------------
def enabled() -> bool:
    """Whether spans are written."""
    return _tracer is not None


def span(name: str, values: Values | None = None, kind: Kind = "internal") -> Span:
    """A new span below the present one, or the first one of a trace."""
    return NOTHING if _tracer is None else _begin(name, values or {}, kind)


def child(name: str, values: Values | None = None, kind: Kind = "internal") -> Span:
    """A new span below the present one; nothing where there is none, or it has ended."""
    if _tracer is None or (above := _current.get()) is None or not above.is_recording():
        return NOTHING
    return _begin(name, values or {}, kind)


def _begin(name: str, values: Values, kind: Kind) -> Span:
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind, set_span_in_context

    above = _current.get()
    context = Context() if above is None else set_span_in_context(above, Context())
    given = {key: value for key, value in values.items() if value is not None}
    return _Recorded(_tracer.start_span(name, context, SpanKind[kind.upper()], given))


def content(value: Any) -> str | None:
    """What people and models said, as an attribute: without secrets, and None unless it was asked for."""
    if not _content:
        return None
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return redact(text)[:MOST_CONTENT]


def captures_content() -> bool:
    """Whether `content` tells anything."""
    return _content


# --- from process to process ----------------------------------------------------------------------------------------
def ids() -> tuple[str, str] | None:
    """The present trace's id and span's id, in hex."""
    if _tracer is None or (above := _current.get()) is None:
        return None
    found = above.get_span_context()
    return f"{found.trace_id:032x}", f"{found.span_id:016x}"


def traceparent() -> str:
    """The present span as W3C's `traceparent`, for who goes on elsewhere; "" without one."""
    if (found := ids()) is None:
        return ""
    return f"00-{found[0]}-{found[1]}-{int(_current.get().get_span_context().trace_flags):02x}"


def carried() -> dict[str, str]:
    """`traceparent` for JSON that another process picks up; nothing without a span."""
    text = traceparent()
    return {"traceparent": text} if text else {}


@contextmanager
def continued(given: Any) -> Iterator[None]:
    """What begins inside goes on with the trace of a `traceparent`; what is none, and "", changes nothing."""
    match = TRACEPARENT.fullmatch(given) if _tracer is not None and isinstance(given, str) else None
    if match is None or not int(match[1], 16) or not int(match[2], 16):
        yield
        return
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

    flags = TraceFlags(int(match[3], 16) & TraceFlags.SAMPLED)
    token = _current.set(NonRecordingSpan(SpanContext(int(match[1], 16), int(match[2], 16), True, flags)))
    try:
        yield
    finally:
        _current.reset(token)


def detach() -> None:
    """The present task works for nobody in particular: it outlives the request in which it was begun."""
    _current.set(None)


# --- life -----------------------------------------------------------------------------------------------------------
def configure(to: Collector) -> None:
    """Write spans from now on. They wait in a queue of QUEUE_SPANS for a thread that sends them: a collector that is
    away costs no request anything."""
    global _provider, _exporter, _tracer, _content
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    from core.span_export import Exporter

    close()
    # By the trace's id, also where a client says that it samples: else it would decide how much is kept.
    kept = TraceIdRatioBased(to.ratio)
    sampler = ParentBased(kept, remote_parent_sampled=kept, remote_parent_not_sampled=kept)
    provider = TracerProvider(sampler, Resource.create(to.resource), shutdown_on_exit=False)
    address = f"{to.endpoint.rstrip('/')}/v1/traces"
    _exporter = Exporter(address, to.headers, EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(_exporter, QUEUE_SPANS, 1000, 512))
    _provider, _tracer, _content = provider, provider.get_tracer("agent-paas"), to.content


def close(seconds: float = 2.0) -> None:
    """Send what waits, for so long at most, and write no more."""
    global _provider, _tracer, _content
    provider, _provider, _tracer, _content = _provider, None, None, False
    if provider is None:
        return
    # Of its own accord it would wait for half a minute for a collector that is away.
    ending = threading.Thread(target=provider.shutdown, daemon=True)
    ending.start()
    ending.join(seconds)
    if ending.is_alive():
        _exporter.shutdown()  # it tries no more
