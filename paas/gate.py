"""The gate (tenants/gate.py) in front of an ASGI application, and in front of everything for who would be refused."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import AsyncExitStack
from typing import Any

from tenants.asgi import App, Receive, Scope, Send, refuse
from tenants.gate import PROGRAM, Busy, Gate, Whose

MOST_SEEN = 1_000
BEGIN = ("/v1/chat/completions", "/v1/responses")
"""Where programs begin turns by a POST: they wait for their places further inside (chat/turns.py)."""

ASKED = "paas.asked"  # in a connection's scope: the gate was asked about this request

Words = tuple[bytes, str, str]  # the Host header, the method, the path


class Gated:
    """Wraps an ASGI application inside the tenant's binding: each of its requests has a place while it works.

    It gets one when its body is here: who sends it slowly, or never, would hold a place, or the tenant's turn.
    """

    def __init__(self, app: App, gate: Gate) -> None:
        self.app = app
        self.gate = gate
        self._seen: OrderedDict[Words, tuple[Whose, float]] = OrderedDict()  # what came lately, and its patience

    async def __call__(self, connection: Scope, receive: Receive, send: Send) -> None:
        self._remember(connection, 1.0)
        waits = True
        try:
            async with AsyncExitStack() as place:

                async def received() -> Any:
                    nonlocal waits
                    message = await receive()
                    if waits and message["type"] == "http.request" and not message.get("more_body"):
                        waits = False
                        await place.enter_async_context(self.gate.place(whose(connection)))
                    return message

                await self.app(connection, received, send)
        except Busy as error:
            await refuse(connection, receive, send, error)

    def notice(self, connection: Scope) -> None:
        """Somebody of a tenant's is there, at whichever door. On the platform's host a key may say whose it is."""
        if connection["paas.tenant"] is not None:
            self.gate.notice(whose(connection))
            if connection["path"] in BEGIN and connection["method"] == "POST":
                self._remember(connection, PROGRAM)

    def turns_away(self, connection: Scope) -> bool:
        """Whether this request would be refused here; before its host is looked up, for in a crowd to refuse is most of
        what there is to do. Known are the requests that came here lately, by the words in which they ask. Each is asked
        about once: whom the server's protocol lets through is not asked again."""
        if connection["type"] != "http" or connection.get(ASKED) or not self.gate.crowded:
            return False
        connection[ASKED] = True
        known = self._seen.get(_words(connection))
        if known is None or not self.gate.turns_away(*known):
            return False
        self.gate.notice(known[0])
        return True

    def _remember(self, connection: Scope, times: float) -> None:
        """Who asks in these words is of this tenant, and waits for a place with so much patience."""
        self._seen[_words(connection)] = whose(connection), times
        if len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)


def whose(connection: Scope) -> Whose:
    """Whose host a request came to."""
    tenant = connection["paas.tenant"]
    return tenant.id if tenant else None


def _words(connection: Scope) -> Words:
    host = next((value for name, value in connection["headers"] if name == b"host"), b"")
    return host, connection.get("method", ""), connection["path"]
