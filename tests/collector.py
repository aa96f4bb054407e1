"""A stand-in for a collector of OpenTelemetry: takes OTLP over HTTP on a real socket and decodes it."""

from __future__ import annotations

import gzip
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from core import tracing


@dataclass
class Seen:
    """One span. parent: "" is the first one of a trace."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    values: dict[str, Any]
    failed: bool
    resource: dict[str, Any] = field(default_factory=dict)


class Collector:
    """`with Collector() as collector:`; after `collector.flush()` it has what was written until then."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200  # what it answers
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if outer.status == 200:
                    outer.take(self.path, dict(self.headers), body)
                self.send_response(outer.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        assert path == "/v1/traces"
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.headers.append({name.lower(): value for name, value in headers.items()})
        self.bodies.append(body)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = values_of(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans += [
                    Seen(
                        one.name, one.kind, one.trace_id.hex(), one.span_id.hex(), one.parent_span_id.hex(),
                        values_of(one.attributes), one.status.code == 2, resource,
                    )
                    for one in scope.spans
                ]  # fmt: skip

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        tracing.close()
        self._server.shutdown()
        self._server.server_close()

    def flush(self) -> None:
        """Have everything sent that has ended."""
        tracing._provider.force_flush()

    def one(self, name: str) -> Seen:
        """The only span of that name."""
        found = [span for span in self.spans if span.name == name]
        assert len(found) == 1, (name, [span.name for span in self.spans])
        return found[0]

    def below(self, span: Seen) -> list[str]:
        """The names of its children, in the order in which they ended."""
        return [one.name for one in self.spans if one.parent == span.id]


def values_of(attributes: Any) -> dict[str, Any]:
    """Attributes as a dictionary."""
    found = {}
    for one in attributes:
        kind = one.value.WhichOneof("value")
        value = getattr(one.value, kind)
        found[one.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return found
