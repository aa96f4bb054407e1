"""How spans leave the process: by OTLP over HTTP, with one log line when a collector is away and one when it is back.

Imported by `tracing.configure` alone, because it loads OpenTelemetry.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import structlog
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from core import metrics

log = structlog.get_logger(__name__)


class _Reason(logging.Filter):
    """Keeps what the SDK says of a batch that it could not send, and lets none of it through: it says so each time."""

    said = ""

    def filter(self, record: logging.LogRecord) -> bool:
        self.said = record.getMessage()
        return False


class Exporter(SpanExporter):
    """Sends batches, counts what became of them, and tells of an outage once."""

    def __init__(self, address: str, headers: dict[str, str], seconds: float) -> None:
        self._reason = _Reason()
        logging.getLogger(trace_exporter.__name__).addFilter(self._reason)
        self._sender = OTLPSpanExporter(address, headers=headers or None, timeout=seconds)
        self._lost = 0  # since the last one that arrived

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._sender.export(spans)
        if result is SpanExportResult.SUCCESS:
            metrics.SPANS.labels("sent").inc(len(spans))
            if self._lost:
                log.warning("traces are sent again", lost=self._lost)
            self._lost = 0
            return result
        metrics.SPANS.labels("lost").inc(len(spans))
        if not self._lost:
            log.warning("traces cannot be sent; said once until they can", reason=self._reason.said)
        self._lost += len(spans)
        return result

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._sender.force_flush(timeout_millis)

    def shutdown(self) -> None:
        logging.getLogger(trace_exporter.__name__).removeFilter(self._reason)
        self._sender.shutdown()  # type: ignore[no-untyped-call]
