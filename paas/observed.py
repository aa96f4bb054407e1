"""The layer around everything: a request's id, its span, and its place in the metrics.

Routes are told by what is known here of addresses, never by an address: a path that somebody made up is `other`.
"""

from __future__ import annotations

import re
import time
from contextlib import nullcontext
from functools import cache
from typing import Any

from django.conf import settings
from django.urls import Resolver404, resolve

from core import metrics, tracing
from core.ids import uuid7
from core.logs import told_of

# How an address begins -> (its class, what a span calls it; "" is what Django calls it).
ROUTES = (
    (re.compile(r"/v1/(chat/completions|models|embeddings)"), "openai", "/v1/{what}"),
    (re.compile(r"/v1/responses"), "responses", "/v1/responses/{id}"),
    (re.compile(r"/v1/"), "openai", "/v1/{what}"),
    (re.compile(r"/api/v1/runs"), "runs", "/api/v1/runs/{id}"),
    (re.compile(r"/api/v1/approvals"), "approvals", "/api/v1/approvals/{id}"),
    (re.compile(r"/api/v1/knowledge/[^/]+/events$"), "knowledge", "/api/v1/knowledge/{slug}/events"),
    (re.compile(r"/mcp$"), "mcp", "/mcp"),
    (re.compile(r"/api/"), "api", ""),
    (re.compile(r"/static/"), "static", "/static/{file}"),
    (re.compile(r"/admin/"), "console", ""),
    (re.compile(r"/(health|healthz|readyz|readyz/process|internal/certificate)$"), "health", "/healthz"),
)
# Those whose address has no id in it are told whole.
WHOLE = frozenset({"/v1/chat/completions", "/v1/models", "/v1/embeddings", "/v1/responses", "/api/v1/runs", "/mcp"})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Answers that are told by themselves: to come again, and 502 and 504, which tell of a fault of somebody else.
TOLD = frozenset({429, 502, 504})
UNTRACED = frozenset({"static", "health"})


def route_of(path: str) -> tuple[str, str]:
    """(class, what a span calls it or "")."""
    for begins, kind, told in ROUTES:
        if begins.match(path):
            return kind, path if path in WHOLE else told
    return "page", ""


def status_class(status: int) -> str:
    """How metrics tell an answer: `2xx`, one of TOLD, or `none` for who left before it."""
    return str(status) if status in TOLD else f"{status // 100}xx" if status else "none"


class Observed:
    """Wraps an ASGI application."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, connection: Any, receive: Any, send: Any) -> None:
        request_id = connection["paas.request_id"] = uuid7().hex
        with told_of(request_id=request_id):
            if connection["type"] != "http":
                await self.application(connection, receive, send)  # its frames are told one by one
                return
            kind, told = route_of(connection["path"])
            began = time.perf_counter()
            try:
                with self._continued(connection, kind), self._span(connection, kind, told, request_id) as span:
                    await self.application(connection, receive, send)
                    _tell(span, connection)
            finally:
                count(kind, connection.get("paas.status", 0), time.perf_counter() - began)

    def _continued(self, connection: Any, kind: str) -> Any:
        if not tracing.enabled() or kind in UNTRACED:
            return nullcontext()
        given = next((value for name, value in connection["headers"] if name == b"traceparent"), b"")
        return tracing.continued(given.decode("latin-1"))

    def _span(self, connection: Any, kind: str, told: str, request_id: str) -> tracing.Span:
        if not tracing.enabled() or kind in UNTRACED:
            return tracing.NOTHING
        method = connection["method"] if connection["method"] in METHODS else "_OTHER"
        values = {"http.request.method": method, "paas.route.class": kind, "paas.request.id": request_id}
        return tracing.span(f"{method} {told or kind}", values | {"http.route": told or None}, "server")


def count(kind: str, status: int, seconds: float) -> None:
    """An answer to a request of a class of routes; status 0: whoever asked left before it."""
    counted, timed = _measures(kind, status_class(status))
    counted.inc()
    timed.observe(max(0.0, seconds))


@cache
def _measures(kind: str, status: str) -> tuple[Any, Any]:
    """The counter and the histogram of a class of routes; status: as `status_class` tells it."""
    return metrics.REQUESTS.labels(kind, status), metrics.REQUEST_SECONDS.labels(kind)


def _tell(span: tracing.Span, connection: Any) -> None:
    """What is known once it was answered."""
    if span is tracing.NOTHING:
        return
    status = connection.get("paas.status")
    tenant = connection.get("paas.tenant")
    route = _django_route(connection)
    span.set(
        {
            "http.response.status_code": status,
            "paas.tenant.id": str(tenant.id) if tenant else None,
            "http.route": route or None,
        }
    )
    if status is not None and status >= 500:
        span.failed(str(status))


def _django_route(connection: Any) -> str:
    """The pattern of Django's that the address fits, "" for none and for what is not Django's."""
    if route_of(connection["path"])[1] or "paas.tenant" not in connection:
        return ""
    urls = settings.TENANT_URLCONF if connection["paas.tenant"] else settings.ROOT_URLCONF
    try:
        return f"/{resolve(connection['path'], urls).route}"
    except Resolver404:
        return ""
