"""Who sends half a request, or takes no answer, is not waited for (P27, A41, T13)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from launch import receipt
from tests.site import Server

HEAD = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
LAST = HEAD[:-2] + b"Connection: close\r\n\r\n"


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the size of the body. /late reads it late; /endless sends for ever."""
    await asyncio.sleep(0.4 if scope["path"] == "/late" else 0)
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while scope["path"] == "/endless":
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": str(size).encode()})


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """With the protocol that launch.web names, and less patience."""
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "WRITE_SECONDS"):
        monkeypatch.setattr(receipt, name, 0.15)
    config = uvicorn.Config(
        application,
        http="launch.receipt:ReceiptProtocol",
        lifespan="off",
        log_level="error",
        timeout_graceful_shutdown=1,
    )
    running, listener = Server(config), socket.create_server(("127.0.0.1", 0))
    task = asyncio.create_task(running.serve(sockets=[listener]))
    while not running.started:
        await asyncio.sleep(0.005)
    yield running
    running.told.set()
    await task


async def said(server: Server, *pieces: bytes, pause: float = 0.0) -> bytes:
    """All that the server says to these pieces until it closes the connection; b"left open" when it does not."""
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    reading = asyncio.create_task(asyncio.wait_for(reader.read(), 2))
    with contextlib.suppress(OSError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
    try:
        return await reading
    except TimeoutError:
        return b"left open"
    except OSError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("pieces", "pause", "answer"),
    [
        ((), 0, b"HTTP/1.1 408 "),
        ((b"GET / HT",), 0, b"HTTP/1.1 408 "),
        ((b"GET / HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 20), 0.05, b"HTTP/1.1 408 "),
        ((b"GET / HTTP/1.1\r\n", *[b"X-A: " + b"b" * 8000 + b"\r\n"] * 9), 0, b"HTTP/1.1 431 "),
        ((HEAD % (b"/", 100),), 0, b""),
        ((HEAD % (b"/", 100), *[b"x"] * 20), 0.05, b""),
        ((HEAD % (b"/", 5) + b"xxxxx" + b"GET /", b" HTT"), 0.1, b"HTTP/1.1 200 "),
    ],
    ids=[
        "nothing",
        "half a line",
        "a header now and then",
        "too many headers",
        "no body",
        "drops",
        "half a second one",
    ],
)
async def test_half_a_request(server: Server, pieces: tuple[bytes, ...], pause: float, answer: bytes) -> None:
    found = await said(server, *pieces, pause=pause)
    assert found.startswith(answer), found
    assert found != b"left open"
    assert (found == b"") == (answer == b"")
    assert not server.server_state.tasks or await _none(server.server_state.tasks)


async def _none(tasks: Any) -> bool:
    async with asyncio.timeout(2):
        while tasks:
            await asyncio.sleep(0.005)
    return True


async def test_who_is_slow_but_sends_is_waited_for(server: Server) -> None:
    """4 KiB each 50 ms are ten times what is asked for; and what we read late is not the client's fault."""
    parts = [b"x" * 4096] * 10
    slow, late = await asyncio.gather(
        said(server, LAST % (b"/", 40_960), *parts, b"", pause=0.05),
        said(server, LAST % (b"/late", 1_000_000), *[b"x" * 100_000] * 10),
    )
    assert b"40960" in slow, slow
    assert b"1000000" in late


async def test_who_takes_nothing_is_let_go(server: Server) -> None:
    """The application is cut off from it, and so gets on."""
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(HEAD % (b"/endless", 0))
    await reader.readline()
    connection = next(iter(server.server_state.connections))
    async with asyncio.timeout(3):
        while connection in server.server_state.connections:
            await asyncio.sleep(0.01)
    for task in list(server.server_state.tasks):
        task.cancel()
    writer.close()
