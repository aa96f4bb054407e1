"""Who would only be told to come again is told so before anything is made for the request (T15)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import uvicorn

from launch.receipt import HELD_BYTES
from launch.refusal import MOST_READ_AWAY, RefusingProtocol
from tests.site import Server

SAID = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 4\r\n\r\nBusy"
BUSY, SERVED = b"429 Too Many Requests", b"200 OK"


class Door:
    """Refuses what asks for /busy."""

    crowded = True
    asked: list[tuple[str, str]] = []

    def refusal(self, scope: Any) -> bytes | None:
        self.asked.append((scope["method"], scope["path"]))
        return SAID if scope["path"] == "/busy" else None


begun: list[str] = []


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the size of the body; /wait not before the client leaves."""
    begun.append(scope["path"])
    if scope["path"] == "/wait":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    found = Door()
    found.asked = []
    begun.clear()
    monkeypatch.setattr(RefusingProtocol, "door", found)
    return found


@pytest.fixture
async def server(door: Door) -> AsyncIterator[Server]:
    config = uvicorn.Config(application, http="launch.refusal:RefusingProtocol", lifespan="off", log_level="error")
    running, listener = Server(config), socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(running.serve(sockets=[listener]))
    while not running.started:
        await asyncio.sleep(0.005)
    yield running
    running.told.set()
    await task


async def said(server: Server, *pieces: bytes) -> bytes:
    """All that is said to these pieces, on one connection that the last one asks to be closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.servers[0].sockets[0].getsockname()[1])
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        found = await reader.read()
    writer.close()
    return found


def ask(path: str, body: bytes = b"", *headers: str, last: bool = False) -> bytes:
    lines = ["Host: x", f"Content-Length: {len(body)}", *headers, *(["Connection: close"] if last else [])]
    head = "".join(f"{line}\r\n" for line in (f"POST {path} HTTP/1.1", *lines))
    return f"{head}\r\n".encode() + body


def codes(answers: bytes) -> list[bytes]:
    return [
        line[9:] for line in answers.replace(b"HTTP/1.1", b"\nHTTP/1.1").splitlines() if line.startswith(b"HTTP/1.1")
    ]


async def test_one_connection_is_refused_and_served_in_turn(server: Server, door: Door) -> None:
    """The body is thrown away, also one that comes in pieces; what follows is a request of its own."""
    whole = ask("/busy", b"x" * 5000)
    found = await said(
        server,
        ask("/busy?a=1", b"abc"),
        ask("/", b"abc"),
        whole[:100],
        whole[100:3000],
        whole[3000:],
        ask("/", b"abcd", last=True),
    )
    assert codes(found) == [BUSY, SERVED, BUSY, SERVED]
    assert found.count(b"Busy") == 2
    assert b"\r\n4\r\n" in found
    assert found.count(b"\r\ndate: ") == 4, "what the server adds to each answer"
    assert door.asked == [("POST", "/busy"), ("POST", "/"), ("POST", "/busy"), ("POST", "/")]
    assert server.server_state.total_requests == 4


async def test_a_connection_that_is_not_kept_is_closed(server: Server) -> None:
    for asked in (ask("/busy", last=True), b"GET /busy HTTP/1.0\r\nHost: x\r\n\r\n"):
        found = await said(server, asked)
        assert codes(found) == [BUSY]
        assert b"\r\nconnection: close\r\n" in found


async def test_requests_in_one_packet(server: Server) -> None:
    assert codes(await said(server, ask("/busy") * 3 + ask("/", last=True))) == [BUSY] * 3 + [SERVED]
    assert codes(await said(server, ask("/") + ask("/busy") + ask("/busy", last=True)))[0] == SERVED


@pytest.mark.parametrize(
    "headers",
    [
        {"Upgrade": "websocket", "Connection": "close, upgrade"},
        {"Expect": "100-continue"},
        {"Content-Length": str(MOST_READ_AWAY + 1)},
        {"Content-Length": "9" * 18},
        {"Transfer-Encoding": "chunked"},
    ],  # the body that is sent is more than is waited for, so that the request begins
    ids=["upgrade", "expect", "large", "huge", "chunked"],
)
async def test_what_is_no_plain_request_is_the_applications(
    server: Server, door: Door, headers: dict[str, str]
) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    _, writer = await asyncio.open_connection("127.0.0.1", server.servers[0].sockets[0].getsockname()[1])
    size = b"%x\r\n" % (HELD_BYTES + 1) if "Transfer-Encoding" in headers else b""
    body = b"" if "Upgrade" in headers or "Expect" in headers else size + b"x" * (HELD_BYTES + 1)
    writer.write(f"POST /busy HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode() + body)
    async with asyncio.timeout(3):
        while not begun and "Upgrade" not in headers:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.02 if "Upgrade" in headers else 0)
    assert door.asked == []
    writer.close()


async def test_a_head_has_no_body(server: Server, door: Door) -> None:
    head = b"HEAD /busy HTTP/1.1\r\nHost: x\r\n\r\n"
    found = await said(server, head, ask("/busy", last=True))
    assert (codes(found), found.count(b"Busy")) == ([SERVED, BUSY], 1)
    assert door.asked == [("POST", "/busy")]


async def test_who_takes_nothing_is_not_answered_without_end(server: Server, door: Door) -> None:
    """Such a client's requests are the application's, which waits until it takes something."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.servers[0].sockets[0].getsockname()[1], limit=1)
    writer.transport.set_write_buffer_limits(high=0)  # type: ignore[attr-defined]
    protocol: Any = None
    async with asyncio.timeout(20):
        while protocol is None or not (protocol.flow.write_paused and protocol.flow.read_paused):
            writer.write(ask("/busy") * 1000)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await writer.drain()
            protocol = next(iter(server.server_state.connections), None)
    assert protocol.transport.get_write_buffer_size() < 1_000_000
    writer.transport.abort()


async def test_a_request_behind_a_refusal_has_all_its_time(server: Server, door: Door) -> None:
    """The refusal's timer, after which a connection that nobody uses is closed, is not that of what follows it."""
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ask("/busy") + ask("/wait"))
    await reader.readuntil(b"Busy")
    (protocol,) = server.server_state.connections
    assert protocol.timeout_keep_alive_task is None  # type: ignore[union-attr]
    writer.close()


async def test_a_server_that_stops_closes_who_was_only_refused(server: Server, door: Door) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.servers[0].sockets[0].getsockname()[1])
    whole = ask("/busy", b"x" * 5000)
    writer.write(ask("/busy") + whole[:1000])
    await reader.readuntil(b"Busy")
    (protocol,) = server.server_state.connections
    assert cast(RefusingProtocol, protocol).answered
    protocol.shutdown()
    writer.write(whole[1000:])
    async with asyncio.timeout(5):
        assert b"connection: close" in await reader.read(), "what is under way is said first"
    writer.close()


async def test_nobody_is_asked_where_there_is_no_crowd(server: Server, door: Door) -> None:
    door.crowded = False
    assert codes(await said(server, ask("/busy", last=True))) == [SERVED]
    assert door.asked == []
