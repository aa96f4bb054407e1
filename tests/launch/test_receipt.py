"""Who sends half a request, or takes no answer, is not waited for, and costs nothing but that (P27, A41, T13)."""

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


begun: list[str] = []


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the size of the body. /late reads it late; /endless sends for ever."""
    begun.append(scope["path"])
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
    begun.clear()
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


async def dialled(server: Server) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", server.servers[0].sockets[0].getsockname()[1])


async def said(server: Server, *pieces: bytes, pause: float = 0.0) -> bytes:
    """All that the server says to these pieces until it closes the connection; b"left open" when it does not."""
    reader, writer = await dialled(server)
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
        ((b"GET / HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 20), 0.06, b"HTTP/1.1 408 "),
        ((b"GET / HTTP/1.1\r\n", *[b"X-A: " + b"b" * 8000 + b"\r\n"] * 9), 0, b"HTTP/1.1 431 "),
        ((HEAD % (b"/", 100),), 0, b""),
        ((HEAD % (b"/", 100), *[b"x"] * 20), 0.05, b""),
        ((HEAD % (b"/", 1_000_000) + b"x" * 100_000,), 0, b""),
        ((HEAD % (b"/", 5) + b"xxxxx" + b"GET /", b" HTT"), 0.1, b"HTTP/1.1 200 "),
    ],
    ids=[
        "nothing",
        "half a line",
        "a header now and then",
        "too many headers",
        "no body",
        "drops",
        "much, and then nothing",
        "half a second one",
    ],
)
async def test_half_a_request(server: Server, pieces: tuple[bytes, ...], pause: float, answer: bytes) -> None:
    found = await said(server, *pieces, pause=pause)
    assert found.startswith(answer), found
    assert found != b"left open"
    assert (found == b"") == (answer == b"")
    much = len(b"".join(pieces)) > receipt.HELD_BYTES and b"POST" in pieces[0]
    assert bool(begun) == (b"200" in answer or much), "the application was asked about half a request"
    assert not server.server_state.tasks or await _none(server.server_state.tasks)


async def _none(tasks: Any) -> bool:
    async with asyncio.timeout(2):
        while tasks:
            await asyncio.sleep(0.005)
    return True


@pytest.mark.parametrize(
    ("head", "held", "rest", "answer"),
    [
        (LAST % (b"/", 10), b"12345", b"67890", b"\r\n10\r\n"),
        (LAST % (b"/", receipt.HELD_BYTES), b"x" * (receipt.HELD_BYTES - 1), b"x", b"\r\n65536\r\n"),
        (
            LAST.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked") % b"/",
            b"3\r\nabc\r\n",
            b"0\r\n\r\n",
            b"\r\n3\r\n",
        ),
    ],
    ids=["a small one", "as much as is held", "chunked"],
)
async def test_a_request_begins_with_the_end_of_its_body(
    server: Server, head: bytes, held: bytes, rest: bytes, answer: bytes
) -> None:
    asked = asyncio.create_task(said(server, head + held, rest, pause=0.1))
    while not server.server_state.connections:
        await asyncio.sleep(0)
    connection: Any = next(iter(server.server_state.connections))
    while connection._body_bytes < len(held) - 5:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert begun == []
    assert answer in await asked
    assert begun == ["/"]


async def test_what_is_more_than_is_held_begins_before_its_end(server: Server) -> None:
    reader, writer = await dialled(server)
    writer.write(LAST % (b"/", receipt.HELD_BYTES + 2) + b"x" * (receipt.HELD_BYTES + 1))
    async with asyncio.timeout(3):
        while not begun:
            await asyncio.sleep(0.001)
        writer.write(b"x")
        assert b"\r\n65538\r\n" in await reader.read()
    writer.close()


async def test_who_waits_to_be_told_is_told_to_go_on(server: Server) -> None:
    reader, writer = await dialled(server)
    writer.write(LAST[:-2] % (b"/", 3) + b"Expect: 100-continue\r\n\r\n")
    async with asyncio.timeout(3):
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        writer.write(b"abc")
        assert b"\r\n3\r\n" in await reader.read()
    writer.close()


async def test_a_request_that_comes_in_when_the_server_stops_is_answered(server: Server) -> None:
    reader, writer = await dialled(server)
    writer.write(HEAD % (b"/", 3) + b"ab")
    while not server.server_state.connections:
        await asyncio.sleep(0)
    connection: Any = next(iter(server.server_state.connections))
    while not connection._body_bytes:
        await asyncio.sleep(0)
    connection.shutdown()
    writer.write(b"c")
    async with asyncio.timeout(3):
        answer = await reader.read()
    assert b"\r\n3\r\n" in answer
    assert b"connection: close\r\n" in answer
    writer.close()


async def test_a_request_that_comes_in_while_the_one_before_is_answered(server: Server) -> None:
    """uvicorn closes a connection that is idle for so long after an answer; this one is not idle."""
    server.config.timeout_keep_alive = 0
    reader, writer = await dialled(server)
    writer.write(HEAD % (b"/", 2) + b"ab" + LAST % (b"/", 3) + b"ab")
    async with asyncio.timeout(3):
        first = await reader.readuntil(b"0\r\n\r\n")
        await asyncio.sleep(0.02)
        writer.write(b"c")
        second = await reader.read()
    assert b"\r\n2\r\n" in first
    assert b"\r\n3\r\n" in second
    writer.close()


async def test_who_is_slow_but_sends_is_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """4 KiB each 50 ms are ten times what is asked for."""
    monkeypatch.setattr(receipt, "BODY_SECONDS", 0.6)
    slow = await said(server, LAST % (b"/", 65_536), *[b"x" * 4096] * 16, b"", pause=0.05)
    assert b"65536" in slow, slow


async def test_what_is_read_late_is_not_held_against_who_sent_it(server: Server) -> None:
    assert b"1000000" in await said(server, LAST % (b"/late", 1_000_000), *[b"x" * 100_000] * 10)


async def test_much_at_once_buys_little_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drops keep nobody's connection open for as long as what came before them would have taken at the slowest."""
    monkeypatch.setattr(receipt, "MOST_EARNED", 0.15)
    assert await said(server, HEAD % (b"/", 2_000_000) + b"x" * 1_000_000, *[b"x"] * 30, pause=0.05) == b""


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
