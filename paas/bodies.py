"""How much of a request's body Django is given: it would keep any amount on the disk before a view is asked (A42)."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from core.errors import PaasError
from tenants.asgi import App, Receive, Scope, Send, read_away, refuse

FILES = "/files"  # how the addresses end that take whole files
FORM_BYTES = 1024 * 1024  # of an upload, beside the files in it


def most_of(path: str) -> int:
    """The largest body at this address, in bytes."""
    return 3 * settings.MAX_FILE_BYTES + FORM_BYTES if path.endswith(FILES) else settings.MAX_BODY_BYTES + FORM_BYTES


class BoundedBodies:
    """Wraps an ASGI application: it gets no more of a body that is too large; who sent it gets 413 at its end."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, connection: Scope, receive: Receive, send: Send) -> None:
        most, size, more, started = most_of(connection["path"]), 0, True, False
        error = PaasError("request_too_large", f"The request is over {most // 1024:,} KiB.")
        declared = dict(connection["headers"]).get(b"content-length", b"")
        if declared.isdigit() and int(declared[:20]) > most:
            await read_away(receive, 0)
            await refuse(connection, receive, send, error)
            return

        async def counted() -> Any:
            nonlocal size, more
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
            # As if the client had left: that is how Django lets go of what it has taken so far.
            return {"type": "http.disconnect"} if size > most else message

        async def watched(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        await self.app(connection, counted, watched)
        if size > most and not started:
            if more:
                await read_away(receive, size)
            await refuse(connection, receive, send, error)
