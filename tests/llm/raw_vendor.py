"""A vendor that answers with exactly the bytes that a test gives it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Self

import orjson


@dataclass
class Reply:
    """Bytes for one request. ends: close the connection behind them. cuts: with a reset, not an end.

    hold: wait for this event before the bytes.
    """

    data: bytes = b""
    ends: bool = False
    cuts: bool = False
    hold: asyncio.Event | None = None


def head(status: int, *lines: str, kind: str = "application/json") -> bytes:
    """The head of a response."""
    return "\r\n".join([f"HTTP/1.1 {status} X", f"Content-Type: {kind}", *lines, "", ""]).encode()


def json_reply(status: int, body: bytes, *lines: str) -> Reply:
    """A whole response."""
    return Reply(head(status, f"Content-Length: {len(body)}", *lines) + body)


def event_stream(body: bytes) -> Reply:
    """A whole stream, ended by the end of the connection."""
    return Reply(head(200, "Connection: close", kind="text/event-stream") + body, ends=True)


def chunked_stream(*parts: bytes, last: bool = True) -> Reply:
    """A stream in chunks; without the last one it never ends."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return Reply(head(200, "Transfer-Encoding: chunked", kind="text/event-stream") + chunks + b"0\r\n\r\n" * last)


def event(**delta: Any) -> bytes:
    """One event with this delta."""
    return b"data: " + orjson.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}) + b"\n\n"


STOP = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


class RawVendor:
    """A server on loopback. Each request takes the next reply; the last one stays."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.heads: list[bytes] = []
        self.bodies: list[dict[str, Any]] = []
        self.connections = 0
        self.closed = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for writer in tuple(self._writers):
            writer.close()
        await self._server.wait_closed()

    @property
    def base_url(self) -> str:
        """What a client takes as base URL."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while await self._answer(reader, writer):
                pass
            await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed += 1
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in request.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        self.heads.append(request)
        self.bodies.append(orjson.loads(await reader.readexactly(int(length[15:]))))
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if reply.hold is not None:
            await reply.hold.wait()
        if reply.cuts:
            writer.transport.abort()
            return False
        writer.write(reply.data)
        await writer.drain()
        if reply.ends:
            writer.close()
        return not reply.ends
