"""What a program is told that asks in a crowd, put together once: `launch/refusal.py` only writes it.

It is the same answer as the one of further inside (`tenants.asgi.refuse`), with all headers, and is counted as that one
is. It has no span and no id: nothing was done for it.
"""

from __future__ import annotations

from functools import cache

import orjson

from paas.gate import Gated
from paas.headers import always, is_secure, transport_security, with_missing
from paas.observed import count, route_of
from tenants.asgi import Scope
from tenants.gate import Busy


class TurnedAway:
    """Says who is told so."""

    def __init__(self, gated: Gated) -> None:
        self._gated = gated

    @property
    def crowded(self) -> bool:
        """Whether anybody may have to be."""
        return self._gated.gate.crowded

    def refusal(self, connection: Scope) -> bytes | None:
        """The whole answer, from its status line; None for who is to be served. People get a page, further inside."""
        path = connection["path"]
        if not path.startswith(("/v1/", "/api/")) or not self._gated.turns_away(connection):
            return None
        count(route_of(path)[0], Busy().status, 0.0)
        return answer(path.startswith("/v1/"), is_secure(connection))


@cache
def answer(openai: bool, secure: bool) -> bytes:
    """As OpenAI's clients or as our own API's understand it; over TLS, or not."""
    error = Busy()
    body = orjson.dumps(error.as_openai() if openai else error.as_native())
    given = {"content-type": "application/json", "content-length": str(len(body))} | error.headers()
    wanted = always() + (transport_security() if secure else [])
    headers = with_missing([(name.lower().encode(), value.encode()) for name, value in given.items()], wanted)
    head = b"".join(b"%b: %b\r\n" % one for one in headers)
    return b"HTTP/1.1 %d Too Many Requests\r\n%b\r\n%b" % (error.status, head, body)
