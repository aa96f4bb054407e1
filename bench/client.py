"""The load generator's HTTP client: one keep-alive connection, one request at a time, every event parsed.

It is a protocol on the bare socket, because a general client would cost more than the relays it measures.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httptools
import orjson

REQUEST_TIMEOUT_S = 60.0


@dataclass(slots=True)
class Outcome:
    """What came back for one request. Times are `time.perf_counter()` seconds.

    `deltas` counts events that carried text; `text` is all of it; `done` says that the stream ended with
    `[DONE]` and that the response was complete, `retry_after` that the answer had that header.
    """

    sent_at: float = 0.0
    first_at: float = 0.0
    ended_at: float = 0.0
    status: int = 0
    deltas: int = 0
    text: list[str] = field(default_factory=list)
    finish: str | None = None
    done: bool = False
    retry_after: bool = False
    error: str | None = None

    @property
    def ttft_ms(self) -> float:
        """From the request's last byte handed to the socket to the first text, in milliseconds."""
        return (self.first_at - self.sent_at) * 1000

    def problem(self, expected: str) -> str | None:
        """Why this is not the whole right answer; None when it is."""
        if self.error:
            return self.error
        if self.status != 200:
            return f"status {self.status}: {''.join(self.text)[:200]}"
        got = "".join(self.text)
        if got != expected:
            return f"{len(got)} characters of text instead of {len(expected)}: ...{got[-30:]!r}"
        if self.finish != "stop":
            return f"finish_reason {self.finish!r}"
        return None if self.done else "the stream did not end with [DONE]"


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go: `url` like http://127.0.0.1:9900/v1 (a path prefix), and a bearer key."""

    url: str
    key: str = ""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to dial; a name that is not an address is loopback, its Host header is kept."""
        parts = urlsplit(self.url)
        host = parts.hostname or "127.0.0.1"
        return ("127.0.0.1" if host.endswith("localhost") else host), parts.port or 80

    def request(self, model: str, stream: bool) -> bytes:
        """A chat request as bytes."""
        parts = urlsplit(self.url)
        message = {"role": "user", "content": "Count, please."}
        body = orjson.dumps({"model": model, "messages": [message], "stream": stream})
        head = (
            f"POST {parts.path.rstrip('/')}/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Authorization: Bearer {self.key or 'none'}\r\nContent-Type: application/json\r\n"
            f"Accept: */*\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def reading(self, path: str) -> bytes:
        """GET of a path of this host, as bytes."""
        return f"GET {self._head(path)}\r\n".encode()

    def run(self, agent: str) -> bytes:
        """A native turn of a new conversation whose events are streamed, as bytes."""
        body = orjson.dumps({"agent": agent, "message": "Count, please."})
        more = f"Accept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return f"POST {self._head('/api/v1/runs')}{more}\r\n".encode() + body

    def _head(self, path: str) -> str:
        return f"{path} HTTP/1.1\r\nHost: {urlsplit(self.url).netloc}\r\nAuthorization: Bearer {self.key}\r\n"


class Connection(asyncio.Protocol):
    """One connection. `await ask(request)` gives an Outcome and never raises for what the server does."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._outcome = Outcome()
        self._parser = httptools.HttpResponseParser(self)
        self._rest = b""
        self._streamed = False
        self._keep_alive = True

    @classmethod
    async def open(cls, target: Target) -> Connection:
        """Connect to the target."""
        host, port = target.address
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        return connection

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        return self._transport is not None and self._keep_alive

    @property
    def outcome(self) -> Outcome:
        """What has come so far of the answer that is on its way."""
        return self._outcome

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()

    async def ask(self, request: bytes) -> Outcome:
        """Send a request made by Target.request and wait for the end of its answer, at most 60 s."""
        outcome = self._outcome = Outcome()
        if self._transport is None:
            outcome.error = "not connected"
            return outcome
        self._parser = httptools.HttpResponseParser(self)
        self._rest = b""
        waiter = self._waiter = self._loop.create_future()
        timer = self._loop.call_later(REQUEST_TIMEOUT_S, self._fail, f"no answer within {REQUEST_TIMEOUT_S:.0f} s")
        self._transport.write(request)
        outcome.sent_at = time.perf_counter()
        try:
            await waiter
        finally:
            timer.cancel()
        return outcome

    def _fail(self, reason: str) -> None:
        self._outcome.error = self._outcome.error or reason
        self._finish()
        self.close()

    def _finish(self) -> None:
        self._outcome.ended_at = time.perf_counter()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._waiter = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = transport  # type: ignore[assignment]  # a stream client gets stream transports

    def connection_lost(self, exc: Exception | None) -> None:
        """The server closed: an answer under way failed."""
        self._transport = None
        if self._waiter is not None:
            self._fail("the connection was closed before the end of the answer")

    def data_received(self, data: bytes) -> None:
        """Feed the parser, which calls the methods below."""
        if self._waiter is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"not HTTP: {error}")

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        name = name.lower()
        if name == b"content-type":
            self._streamed = value.startswith(b"text/event-stream")
        elif name == b"retry-after":
            self._outcome.retry_after = True

    def on_headers_complete(self) -> None:
        """The response head is here."""
        self._outcome.status = self._parser.get_status_code()
        self._keep_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """A piece of the body; whole lines of a stream are looked at now."""
        data = self._rest + body if self._rest else body
        if not self._streamed:
            self._rest = data
            return
        lines = data.split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line[5:])

    def on_message_complete(self) -> None:
        """The response is complete."""
        if not self._streamed:
            self._document(self._rest)
        self._finish()

    def _event(self, payload: bytes) -> None:
        outcome = self._outcome
        try:
            value: dict[str, Any] = orjson.loads(payload)
            if not (choices := value["choices"]):
                return
            if text := choices[0]["delta"].get("content"):
                if not outcome.deltas:
                    outcome.first_at = time.perf_counter()
                outcome.deltas += 1
                outcome.text.append(text)
            outcome.finish = choices[0].get("finish_reason") or outcome.finish
        except (ValueError, KeyError):
            if payload.strip() == b"[DONE]":
                outcome.done = True
            else:
                outcome.error = outcome.error or f"unexpected event: {payload[:200]!r}"

    def _document(self, body: bytes) -> None:
        outcome = self._outcome
        outcome.first_at = time.perf_counter()
        try:
            choice = orjson.loads(body)["choices"][0]
            outcome.text.append(choice["message"]["content"])
            outcome.finish = choice["finish_reason"]
            outcome.deltas, outcome.done = 1, True
        except (ValueError, KeyError, TypeError):
            outcome.text.append(body[:200].decode(errors="replace"))
            outcome.error = f"status {outcome.status}: not a completion: {outcome.text[-1]}"
