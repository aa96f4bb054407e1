"""The gate (tenants/gate.py) in front of an ASGI application, and in front of everything for who would be refused."""

from __future__ import annotations

import uuid
from collections import OrderedDict

from tenants.asgi import App, Receive, Scope, Send, refuse
from tenants.gate import Busy, Gate, Whose

MOST_SEEN = 1_000
BEGIN = ("/v1/chat/completions", "/v1/responses")
"""Where programs begin turns by a POST: they wait for their places further inside (chat/turns.py)."""

Words = tuple[bytes, str, str]  # the Host header, the method, the path
NOBODY = uuid.UUID(int=0)  # no tenant's


class Gated:
    """Wraps an ASGI application inside the tenant's binding: each of its requests has a place while it works."""

    def __init__(self, app: App, gate: Gate) -> None:
        self.app = app
        self.gate = gate
        self._seen: OrderedDict[Words, Whose] = OrderedDict()  # requests that came here lately

    async def __call__(self, connection: Scope, receive: Receive, send: Send) -> None:
        self._remember(connection)
        try:
            async with self.gate.place(whose(connection)):
                await self.app(connection, receive, send)
        except Busy as error:
            await refuse(connection, receive, send, error)

    def notice(self, connection: Scope) -> None:
        """Somebody of a tenant's is there, at whichever door. On the platform's host a key may say whose it is."""
        if connection["paas.tenant"] is not None:
            self.gate.notice(whose(connection))
            if connection["path"] in BEGIN and connection["method"] == "POST":
                self._remember(connection)

    def turns_away(self, connection: Scope) -> bool:
        """Whether this request would be refused here; before its host is looked up, for in a crowd to refuse is most of
        what there is to do. Known are the requests that came here lately, by the words in which they ask."""
        if not self.gate.crowded or connection["type"] != "http":
            return False
        known = self._seen.get(_words(connection), NOBODY)
        if known is NOBODY or not self.gate.turns_away(known):
            return False
        self.gate.notice(known)
        return True

    def _remember(self, connection: Scope) -> None:
        """Who asks in these words is of this tenant, and waits for a place."""
        self._seen[_words(connection)] = whose(connection)
        if len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)


def whose(connection: Scope) -> Whose:
    """Whose host a request came to."""
    tenant = connection["paas.tenant"]
    return tenant.id if tenant else None


def _words(connection: Scope) -> Words:
    host = next((value for name, value in connection["headers"] if name == b"host"), b"")
    return host, connection.get("method", ""), connection["path"]
