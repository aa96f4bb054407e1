"""The outermost layer: which host, which tenant; binds it for everything inside, and refuses what is none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import nullcontext
from typing import Any
from urllib.parse import quote

import orjson

from core.errors import PaasError, from_exception
from core.logs import told_of
from tenants import client, resolve, scope
from tenants.scope import TenantRef

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_READ_AWAY = 16 * 1024 * 1024  # bytes
WEBSOCKET_CLOSE = {403: 4403, 404: 4404, 503: 1013}


class TenantBinding:
    """Wraps an ASGI application.

    Sets `scope["paas.tenant"]` to a TenantRef, or to None on the platform host, and `scope["paas.host"]`.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, connection: Scope, receive: Receive, send: Send) -> None:
        if connection["type"] not in ("http", "websocket"):
            await self.app(connection, receive, send)
            return
        try:
            tenant = await self._tenant(connection)
        except Exception as error:
            await refuse(connection, receive, send, from_exception(error))
            return
        connection["paas.tenant"] = tenant
        bound = scope.bind(tenant) if tenant else scope.platform()
        whose = told_of(tenant=str(tenant.id)) if tenant else nullcontext()
        with client.serving(client.client_of(connection)), bound, whose:
            await self.app(connection, receive, send)

    async def _tenant(self, connection: Scope) -> TenantRef | None:
        hosts = [value for name, value in connection["headers"] if name == b"host"]
        if len(hosts) != 1:
            raise PaasError("tenant_not_found")
        host = resolve.host_name(hosts[0].decode("latin-1"))
        connection["paas.host"] = host
        return None if resolve.is_platform_host(host) else await resolve.tenant_of_host(host)


async def refuse(connection: Scope, receive: Receive, send: Send, error: PaasError) -> None:
    """Answer with `error`: JSON for programs, a plain page for people, a close code for sockets."""
    if connection["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": WEBSOCKET_CLOSE.get(error.status, 1011), "reason": error.code})
        return
    path, asked = connection["path"], dict(connection["headers"])
    if isinstance(error, resolve.TenantMoved) and wants_page(connection):
        await _lead_to(error.url, connection, send)
        return
    if path.startswith("/v1/"):
        body, kind = orjson.dumps(error.as_openai()), b"application/json"
    elif path.startswith("/api/") or b"text/html" not in asked.get(b"accept", b""):
        body, kind = orjson.dumps(error.as_native()), b"application/json"
    else:
        body, kind = page(error, asked.get(b"accept-language", b"")), b"text/html; charset=utf-8"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in error.headers().items()]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def read_away(receive: Receive, size: int) -> None:
    """Throw away what still comes of a body of which `size` bytes have come, up to MOST_READ_AWAY in all: whoever is
    refused in the middle of sending sees a broken connection, and a proxy's 502, instead of the answer."""
    more = True
    while more and size < MOST_READ_AWAY:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)


def wants_page(connection: Scope) -> bool:
    """Whether a person looks for a page, not a program for an answer."""
    programs = ("/v1/", "/api/", "/mcp")
    return connection.get("method") in ("GET", "HEAD") and not connection["path"].startswith(programs)


async def _lead_to(origin: str, connection: Scope, send: Send) -> None:
    """301 to the same page at `origin`. Not kept for long: a tenant may take a name back."""
    query = connection.get("query_string", b"")
    target = origin.encode() + quote(connection["path"]).encode() + (b"?" + query if query else b"")
    headers = [(b"location", target), (b"content-length", b"0"), (b"cache-control", b"max-age=60")]
    await send({"type": "http.response.start", "status": 301, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


# The few that a person meets at a tenant's door, before any tenant is known whose pages could say it.
CHINESE = {
    "tenant_not_found": "此地址没有工作区。",
    "tenant_suspended": "此工作区已被停用，请联系平台运营方。",
    "tenant_deleted": "此工作区已被删除。其所有者仍可通过邮件中的链接恢复。",
    "tenant_creating": "正在创建此工作区，请几秒后重试。",
    "rate_limited": "请求过多，请稍后再试。",
    "too_many_connections": "服务器繁忙，请稍后再试。",
    "database_unavailable": "数据库暂时没有响应，请几秒后重试。",
}
PAGE = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{message}</title><link rel="stylesheet" href="/static/portal/portal.css"></head>
<body><main class="card"><p class="status">{status}</p><h1>{message}</h1>
<p class="hint"><code>{code}</code></p></main></body></html>
"""


def page(error: PaasError, accept_language: bytes) -> bytes:
    """The error for a person, in Chinese when the browser asks for it first."""
    chinese = CHINESE.get(error.code) if accept_language.strip().lower().startswith(b"zh") else None
    return PAGE.format(
        language="zh-Hans" if chinese else "en", message=chinese or error.message, status=error.status, code=error.code
    ).encode()
