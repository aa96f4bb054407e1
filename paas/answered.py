"""Keeps Django from taking a client that has its whole answer for one that left (see Answered)."""

from __future__ import annotations

import asyncio
from typing import Any

from tenants.asgi import App, Receive, Scope, Send


class Answered:
    """Wraps an ASGI application: once all of its answer is sent, it is not told any more that the client is gone.

    uvicorn says so after every answer. Django then raises an exception whose traceback holds the frame that holds the
    exception, and with it all that the request has made, hundreds of objects, until the garbage collector looks; and
    while it looks, every stream of the process stands still.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, connection: Scope, receive: Receive, send: Send) -> None:
        answered = False

        async def sent(message: Any) -> None:
            nonlocal answered
            if message["type"] == "http.response.body" and not message.get("more_body"):
                answered = True
            await send(message)

        async def received() -> Any:
            message = await receive()
            if answered:
                await asyncio.get_running_loop().create_future()  # until Django, which has ended, cancels it
            return message

        await self.app(connection, received, sent)
