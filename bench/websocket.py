"""The load generator's websocket: one socket that listens, on the bare transport.

It costs the generator a few hundred bytes and nothing while nothing comes, so a thousand of them say what they cost
the platform.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from bench.client import Target

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
OPEN_TIMEOUT_S = 30.0


class IdleSocket(asyncio.Protocol):
    """One websocket. `frames` counts text frames that came; `closed` is the close code, None while it is open.

    A connection that ended without a close frame has the code 1006.
    """

    def __init__(self, request: bytes) -> None:
        self.frames = 0
        self.closed: int | None = None
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()
        self._rest = b""

    @classmethod
    async def open(cls, target: Target, path: str, headers: Mapping[str, str]) -> IdleSocket:
        """Connect and shake hands. Raises OSError when the server refuses or takes longer than 30 s."""
        lines = {"Host": urlsplit(target.url).netloc, "Upgrade": "websocket", "Connection": "Upgrade"}
        lines |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode()}
        lines["Sec-WebSocket-Extensions"] = "permessage-deflate; client_max_window_bits"  # as browsers offer it
        head = "".join(f"{name}: {value}\r\n" for name, value in {**lines, **headers}.items())
        request = f"GET {path} HTTP/1.1\r\n{head}\r\n".encode()
        host, port = target.address
        _, found = await asyncio.get_running_loop().create_connection(lambda: cls(request), host, port)
        assert found._opened is not None
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            await found._opened
        found._opened = None
        return found

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected: ask for the upgrade."""
        self._transport = transport  # type: ignore[assignment]  # a stream client gets stream transports
        transport.write(self._request)  # type: ignore[attr-defined]
        self._request = b""

    def connection_lost(self, exc: Exception | None) -> None:
        """The server hung up."""
        self._transport = None
        if self.closed is None:
            self.closed = 1006
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(ConnectionError("The server closed before the websocket was open."))

    def data_received(self, data: bytes) -> None:
        """The answer to the upgrade, then frames."""
        self._rest += data
        if self._opened is not None and not self._opened.done() and not self._shake():
            return
        while (frame := _frame(self._rest)) is not None:
            opcode, payload, self._rest = frame
            self._take(opcode, payload)

    def _shake(self) -> bool:
        head, end, rest = self._rest.partition(b"\r\n\r\n")
        if not end or self._opened is None:
            return False
        self._rest = rest
        if head.startswith(b"HTTP/1.1 101 "):
            self._opened.set_result(None)
            return True
        self._opened.set_exception(ConnectionError(f"No websocket: {head[:60]!r}"))
        self.close()
        return False

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self.frames += 1
        elif opcode == CLOSE:
            self.closed = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            self.close()
        elif opcode == PING and self._transport is not None:
            # A client masks what it sends; with the mask 0 the bytes stay as they are.
            self._transport.write(bytes((0x80 | PONG, 0x80 | len(payload))) + b"\0\0\0\0" + payload)


def _frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """(opcode, payload, what follows) of the first frame of a server; None when it is not all there."""
    if len(data) < 2:
        return None
    size, at = data[1] & 0x7F, 2
    if size > 125:
        width = 2 if size == 126 else 8
        size, at = int.from_bytes(data[2 : 2 + width], "big"), 2 + width
    if len(data) < at + size:
        return None
    return data[0] & 0x0F, data[at : at + size], data[at + size :]
