"""The platform asked without sockets: its ASGI application, called as uvicorn would call it.

For the matrices, whose thousands of requests ask about the application and not about connections. What is on the wire,
streams that clients leave, and websockets are asked through `Site.client`; tests/paas/test_direct.py holds both equal.
"""

from __future__ import annotations

import asyncio
import json as json_
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from yarl import URL

STREAM = "text/event-stream"


@dataclass(frozen=True)
class Answer:
    """headers: by name in lower case; of several with one name, the last. body: of a stream that was left, a part."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Direct:
    """Somebody who asks one host of the platform; cookies are those given here, whatever answers set.

    headers: of every request.
    """

    def __init__(self, origin: str, headers: Mapping[str, str]) -> None:
        self.origin = URL(origin)
        self._headers = {"Host": self.origin.authority, "Accept": "*/*"} | dict(headers)

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        whole: bool = True,
    ) -> Answer:
        """One request, redirects not followed. whole: read streams to their end; otherwise leave at their beginning."""
        content, own = b"", self._headers | dict(headers or {})
        if json is not None:
            content, own["Content-Type"] = json_.dumps(json).encode(), "application/json"
        elif form is not None:
            content, own["Content-Type"] = urlencode(form).encode(), "application/x-www-form-urlencoded"
        if method not in ("GET", "HEAD", "OPTIONS"):
            own["Content-Length"] = str(len(content))
        # A task of its own, as in uvicorn: what it binds, and that it cancels itself, is nobody else's business.
        return await asyncio.create_task(Exchange(content, whole).run(self._connection(method, URL(path), own)))

    def _connection(self, method: str, url: URL, headers: Mapping[str, str]) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": ("127.0.0.1", self.origin.port),
            "client": ("127.0.0.1", 50_000),
            "scheme": self.origin.scheme,
            "root_path": "",
            "method": method,
            "path": url.path,
            "raw_path": url.raw_path.encode(),
            "query_string": url.raw_query_string.encode(),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
            "state": {},
        }


class Exchange:
    """One request and its answer, from the application's side."""

    def __init__(self, content: bytes, whole: bool) -> None:
        self._content: bytes | None = content
        self._whole = whole
        self._over = asyncio.Event()
        self._started: Any = None
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._complete = False

    async def run(self, connection: dict[str, Any]) -> Answer:
        from paas.asgi import application

        await application(connection, self.receive, self.send)
        assert self._complete or self._over.is_set(), "the application has not answered to the end"
        body, told = b"".join(self._parts), self._headers.get("content-length")
        assert connection["method"] == "HEAD" or told in (None, str(len(body))), "content-length is wrong"
        return Answer(self._started["status"], self._headers, body)

    async def receive(self) -> dict[str, Any]:
        if self._content is not None:
            content, self._content = self._content, None
            return {"type": "http.request", "body": content, "more_body": False}
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            assert self._started is None, "an answer has begun already"
            self._started = message
            self._headers = {
                name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message["headers"]
            }
            if not self._whole and self._headers.get("content-type", "").startswith(STREAM):
                self._over.set()  # as a client that closes its connection
            return
        assert self._started is not None, "a body without a beginning"
        assert not self._complete, "more of an answer that was complete"
        self._parts.append(message.get("body", b""))
        if not message.get("more_body"):
            self._complete = True
            self._over.set()
