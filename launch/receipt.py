"""uvicorn's HTTP protocol, with an end to patience: uvicorn itself waits for ever for the rest of a request (P27).

Nothing is made for a request, and nobody is asked who sent it, before its body is here, or HELD_BYTES of it: who sends
halves of requests costs a connection and a timer each. (A request that expects to be told to go on is begun at once.)

A connection is closed when its request's head is not here HEAD_SECONDS after it was opened or begun, when nothing of a
body comes for BODY_SECONDS or it comes in slower than SLOWEST_BODY, when a head is too large, and when its client takes
nothing of an answer for WRITE_SECONDS. What the server itself keeps back (it has not read what came, it has nothing to
send) is held against nobody.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
BODY_SECONDS = 10.0  # before its speed counts, and at most between two pieces
SLOWEST_BODY = 8 * 1024  # bytes a second
MOST_EARNED = 30.0  # s in which nearly nothing need come after much did
SOON = 0.1  # s that nobody waits for
SPREAD = 0.1  # of the time for a head or a body more: who came at once is not let go, and back again, at once
WRITE_SECONDS = 30.0
HEAD_BYTES = 64 * 1024
HELD_BYTES = 64 * 1024  # as much as uvicorn itself keeps of a body that nobody has read yet

_CLOSE = "connection: close\r\ncontent-length: 0\r\n\r\n"
REQUEST_TIMEOUT = f"HTTP/1.1 408 Request Timeout\r\n{_CLOSE}".encode()
HEAD_TOO_LARGE = f"HTTP/1.1 431 Request Header Fields Too Large\r\n{_CLOSE}".encode()


def patience(seconds: float) -> float:
    """So long, or a little longer."""
    return seconds * random.uniform(1.0, 1.0 + SPREAD)


class Flow(FlowControl):
    """What is kept back of a connection, and since when nothing has been."""

    resumed_at = 0.0  # of the loop's time

    def resume_reading(self) -> None:
        if self.read_paused:
            self.resumed_at = asyncio.get_running_loop().time()
        super().resume_reading()


class ReceiptProtocol(HttpToolsProtocol):
    """One connection. A websocket leaves it at its handshake; it has pings and a bounded outbox of its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head: asyncio.TimerHandle | None = None  # while a head is awaited
        self._body: asyncio.TimerHandle | None = None  # while a body is
        self._writing: asyncio.TimerHandle | None = None  # while the client takes nothing
        self._in_head = True
        self._in_body = False
        self._head_bytes = 0
        self._body_bytes = 0  # since it was last asked how fast they come
        self._body_seconds = 0.0  # for the first of them, and between two
        self._body_at = 0.0  # the loop's time when the last of them came
        self._body_until = 0.0  # and until when no more need come
        self._unsent = 0
        self._held: bytearray | None = None  # what has come of the body, while its request is not begun
        self._leaves = False  # the connection is closed with the answer to the request that comes in

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow: Flow = Flow(transport)
        self._head = self.loop.call_later(patience(HEAD_SECONDS), self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(HEAD_TOO_LARGE)
            self.transport.close()
        elif self._in_body and self._body is None and not self.transport.is_closing():
            self._body_seconds = patience(BODY_SECONDS)
            self._body_at = self.loop.time()
            self._body_until = self._body_at + self._body_seconds
            self._body = self.loop.call_later(self._body_seconds, self._body_due)

    # --- the parser's calls -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        if self._head is None:
            self._head = self.loop.call_later(patience(HEAD_SECONDS), self._too_slow)

    def on_headers_complete(self) -> None:
        self._head_is_here()
        self._held = bytearray()
        if self.expect_100_continue or self.parser.should_upgrade():
            self.begin()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._body_at = self.loop.time()
        if self._held is None:
            self.take(body)
            return
        self._held += body
        if len(self._held) > HELD_BYTES:
            self.begin()

    def on_message_complete(self) -> None:
        self._body_is_here()
        if self._held is not None:
            self.begin()
        self.complete()

    # --- what becomes of a request ----------------------------------------------------------------

    def begin(self) -> None:
        """Start the application, with what is here of the body."""
        held, self._held = self._held, None
        super().on_headers_complete()
        if held:
            self.take(bytes(held))
        if self._leaves:
            super().shutdown()

    def take(self, body: bytes) -> None:
        """A piece of the body for the application."""
        super().on_body(body)

    def complete(self) -> None:
        """All of the body was taken."""
        super().on_message_complete()

    def shutdown(self) -> None:
        """Close, once the request is answered that is here or comes in."""
        if self._held is None:
            super().shutdown()
        else:
            self._leaves = True

    def timeout_keep_alive_handler(self) -> None:
        if self._held is None:  # else the one before was answered while this one comes in, which has timers of its own
            super().timeout_keep_alive_handler()

    def handle_websocket_upgrade(self) -> None:
        self._forget()
        super().handle_websocket_upgrade()

    # --- writing ----------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        super().resume_writing()

    def _watch_writing(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._writing = self.loop.call_later(WRITE_SECONDS, self._write_due)

    def _write_due(self) -> None:
        self._writing = None
        if self.transport.get_write_buffer_size() < self._unsent:
            self._watch_writing()  # slow, but it takes something
        else:
            self.transport.abort()

    # --- running out ------------------------------------------------------------------------------

    def _body_due(self) -> None:
        self._body, now = None, self.loop.time()
        if self.flow.read_paused:
            left = self._body_seconds  # it is we who do not take what has come
            self._body_until = now + left
        else:
            if now > self._body_until - SOON:
                self._body_until = now + min(self._body_bytes / SLOWEST_BODY, MOST_EARNED)
                self._body_bytes = 0  # each stretch of time needs bytes of its own
            left = min(self._body_until, max(self._body_at, self.flow.resumed_at) + self._body_seconds) - now
        if left < SOON:
            self.transport.abort()
        else:
            self._body = self.loop.call_later(left, self._body_due)

    def _too_slow(self) -> None:
        self._head = None
        if self.cycle is not None and not self.cycle.response_complete:
            # The one before is being answered.
            self._head = self.loop.call_later(patience(HEAD_SECONDS), self._too_slow)
        elif not self.transport.is_closing():
            self.transport.write(REQUEST_TIMEOUT)
            self.transport.close()

    def _head_is_here(self) -> None:
        self._stop_head()
        self._in_head, self._in_body, self._head_bytes, self._body_bytes = False, True, 0, 0

    def _body_is_here(self) -> None:
        self._in_body = False
        if self._body is not None:
            self._body.cancel()
            self._body = None

    def _stop_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _forget(self) -> None:
        self._stop_head()
        for timer in (self._body, self._writing):
            if timer is not None:
                timer.cancel()
        self._body = self._writing = None
