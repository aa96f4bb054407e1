"""The bare pass-through: the least that an ASGI relay can do, with no tenant, key, log or bill.

The platform is measured against it to see what everything else costs. It looks at no byte: the request's
body goes to the vendor, what comes back goes to the client as it was read. Served by uvicorn like the
platform; VENDOR_URL says where to (a base URL that ends in /v1).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Passthrough:
    """The ASGI application. It opens its client session when the server starts."""

    def __init__(self, vendor_url: str) -> None:
        self._vendor = vendor_url.removesuffix("/v1")
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Relay a request, or follow the server's life."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and self._session is not None:
            await self._relay(self._session, scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._session.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _relay(self, session: aiohttp.ClientSession, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {"Content-Type": "application/json", "Authorization": "Bearer none"}
        url = self._vendor + scope["path"]
        async with session.request(scope["method"], url, data=body, headers=headers) as answer:
            kind = answer.headers.get("Content-Type", "application/json").encode()
            start = {"type": "http.response.start", "status": answer.status}
            await send(start | {"headers": [(b"content-type", kind)]})
            async for data in answer.content.iter_any():
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


app = Passthrough(os.environ.get("VENDOR_URL", "http://127.0.0.1:9900/v1"))
