"""uvicorn's HTTP protocol, with an end to patience: uvicorn itself waits for ever for the rest of a request (P27).

A connection is closed when its request's head is not here HEAD_SECONDS after it was opened or begun, when a body comes
in slower than SLOWEST_BODY allows, when a head is too large, and when its client takes nothing of an answer for
WRITE_SECONDS. What the server itself keeps back (it has not read what came, it has nothing to send) is held against
nobody.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
BODY_SECONDS = 10.0  # on top of what the size may take
SLOWEST_BODY = 8 * 1024  # bytes a second
WRITE_SECONDS = 30.0
HEAD_BYTES = 64 * 1024

_CLOSE = "connection: close\r\ncontent-length: 0\r\n\r\n"
REQUEST_TIMEOUT = f"HTTP/1.1 408 Request Timeout\r\n{_CLOSE}".encode()
HEAD_TOO_LARGE = f"HTTP/1.1 431 Request Header Fields Too Large\r\n{_CLOSE}".encode()


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
        self._body_bytes = 0
        self._unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head = self.loop.call_later(HEAD_SECONDS, self._too_slow)

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
            self._body = self.loop.call_later(BODY_SECONDS, self._body_due)

    # --- the parser's calls -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        if self._head is None:
            self._head = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def on_headers_complete(self) -> None:
        self._head_is_here()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._body_is_here()
        super().on_message_complete()

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
        self._body = None
        if self.flow.read_paused:
            allowed = BODY_SECONDS  # it is we who do not take what has come
        else:
            allowed = self._body_bytes / SLOWEST_BODY
            self._body_bytes = 0  # each stretch of time needs bytes of its own
        if allowed <= 0.1:
            self.transport.abort()
        else:
            self._body = self.loop.call_later(allowed, self._body_due)

    def _too_slow(self) -> None:
        self._head = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._head = self.loop.call_later(HEAD_SECONDS, self._too_slow)  # the one before is being answered
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
