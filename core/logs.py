"""Log lines: for people, or as JSON with the ids that join them to requests, runs and traces."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from structlog.contextvars import bind_contextvars, get_contextvars, reset_contextvars
from structlog.typing import Processor

from core import tracing
from core.redaction import redact

MOST_CHARS = 8_000  # of one value


def configure_structlog(form: str) -> None:
    """Hand structlog's lines to logging's handlers, so that nothing is written past the redaction. form: line, json."""
    last: Processor = to_record if form == "json" else structlog.processors.KeyValueRenderer(key_order=["event"])
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.processors.format_exc_info, last],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def to_record(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """structlog's last processor: the event as the message, what belongs to it as fields of the record."""
    return {"msg": str(event.pop("event", "")), "extra": {"fields": dict(event)}}


@contextmanager
def told_of(**ids: str) -> Iterator[None]:
    """Lines of the block have these fields. structlog's own `bound_contextvars` first reads all there are, which is a
    good part of what a refused request costs."""
    tokens = bind_contextvars(**ids)
    try:
        yield
    finally:
        reset_contextvars(**tokens)


class JsonLines(logging.Formatter):
    """time, level, logger, event, what was said with it, request_id, tenant, run_id, trace_id and span_id.

    What looks like a secret is left out, in values of every depth.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **get_contextvars(),
            **getattr(record, "fields", {}),
        }
        if (ids := tracing.ids()) is not None:
            line["trace_id"], line["span_id"] = ids
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line["exception"] = record.exc_text
        return orjson.dumps(_safe(line), default=str).decode()


def _safe(value: Any) -> Any:
    if isinstance(value, dict):
        return {redact(str(name)): _safe(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_safe(one) for one in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact(str(value))[:MOST_CHARS]
