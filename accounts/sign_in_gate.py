"""A flood of sign-ins is refused before it costs anything (T23).

A network that has used up its tries would be refused by `throttle` at the price of a whole request: a hundred a second
held up everybody else. So each process remembers until when, and answers here, in front of Django.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from django.http import parse_cookie

from accounts import throttle
from core.errors import PaasError
from tenants.asgi import refuse

PAGES = frozenset({"/login/", "/accounts/login/", "/admin/login/"})
PROGRAMS = frozenset({"/api/auth/login", "/api/auth/login/tenant"})


def refusal(connection: Mapping[str, Any]) -> PaasError | None:
    """Why this request goes no further; None when it does. Bound to a host, under the client's address."""
    if connection.get("method") != "POST" or connection["path"] not in PAGES | PROGRAMS:
        return None
    cookies = b"; ".join(value for name, value in connection["headers"] if name == b"cookie").decode("latin-1")
    return throttle.held(parse_cookie(cookies).get(throttle.DEVICE_COOKIE, ""))


async def answer(connection: Any, receive: Any, send: Any, error: PaasError) -> None:
    """The refusal, in the shape of the address that was asked."""
    if connection["path"] in PAGES:
        await refuse(connection, receive, send, error)
        return
    body = orjson.dumps(
        {"error": "RATE_LIMITED", "message": error.message, "path": connection["path"], "code": "auth_007"}
    )
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in error.headers().items()]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
