"""Readers that stop, and frames that are more than they look: bounded, whatever comes (A31, A39)."""

from __future__ import annotations

import asyncio
import socket
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from chat.transports import websocket
from launch.web import WEBSOCKET_FRAME_BYTES
from llm.providers.scripted import ScriptedModel
from tests.chat.ledger import eventually
from tests.chat.sockets import answer_to, close_of, every_socket_is_let_go, opened  # noqa: F401 - a fixture

MEGABYTE = 1024 * 1024
TEXT, CONTINUED, FINAL, COMPRESSED = 0x1, 0x0, 0x80, 0x40


def frame(first: int, payload: bytes) -> bytes:
    """A client's frame as bytes; `first` is opcode and flags."""
    length = len(payload)
    head = (
        struct.pack("!BBH", first, 0x80 | 126, length)
        if length < 65_536
        else struct.pack("!BBQ", first, 0x80 | 127, length)
    )
    return head + bytes(4) + payload  # a mask of zeros changes nothing


def wire(client: aiohttp.ClientWebSocketResponse) -> asyncio.Transport:
    connection = client._response.connection
    assert connection is not None
    assert isinstance(connection.transport, asyncio.Transport)
    return connection.transport


@pytest.mark.parametrize(("bomb", "code"), [("fragments", 1009), ("deflated fragments", 1002)])
async def test_frames_that_grow(site: Any, api_key: Callable[..., str], bomb: str, code: int) -> None:
    """A39: closed, and what it would have become was never held. Compressed frames are none of ours."""
    site._server.config.ws_max_size = WEBSOCKET_FRAME_BYTES
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(64 * MEGABYTE)) + packer.flush(zlib.Z_SYNC_FLUSH)
    packed = packed[:-4]
    half = len(packed) // 2
    pieces = {
        "fragments": [frame(TEXT, b" " * 60_000)] + [frame(CONTINUED, b" " * 60_000)] * 20,
        "deflated fragments": [frame(COMPRESSED | TEXT, packed[:half]), frame(FINAL | CONTINUED, packed[half:])],
    }[bomb]
    async with opened(site.client("acme", token=api_key()), compress=15) as client:
        tracemalloc.start()
        try:
            for piece in pieces:
                wire(client).write(piece)
            assert (await close_of(client))[0] == code
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 20 * MEGABYTE


@pytest.mark.exhaustive
async def test_ten_thousand_messages_to_a_reader_that_stops(
    site: Any, api_key: Callable[..., str], ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A31: 4008, at most 256 frames wait, the line's buffer stays small, and the run does not notice."""
    monkeypatch.setattr(websocket, "SLOW_READER_SECONDS", 0.2)
    monkeypatch.setattr(websocket, "LINGER_SECONDS", 0.1)
    waiting, buffered, closed = [0], [0], []
    real_put, real_close = websocket.ChatSocket._put, websocket.ChatSocket.close

    async def put(self: Any, told: Any) -> None:
        await real_put(self, told)
        waiting.append(self.outbox.qsize())
        buffered.append(self.base_send.__self__.transport.get_write_buffer_size())

    async def close(self: Any, code: Any = None, reason: Any = None) -> None:
        closed.append(code)
        await real_close(self, code, reason)

    monkeypatch.setattr(websocket.ChatSocket, "_put", put)
    monkeypatch.setattr(websocket.ChatSocket, "close", close)
    gate = asyncio.Event()
    ScriptedModel.enqueue(["x", gate, *["x" * 600] * 10_000])
    async with opened(site.client("acme", token=api_key())) as client:
        run_id = (await answer_to(client, {"type": "turn.start", "message": "hi"}))["run_id"]
        line = wire(client)
        line.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.pause_reading()
        gate.set()
        await eventually(lambda: closed, 20)
        assert closed == [4008]
        assert max(waiting) == websocket.QUEUE_FRAMES == 256
        assert max(buffered) < MEGABYTE / 4
        await eventually(lambda: not ledger.left_behind(), 20)
        line.abort()
    assert ledger.run(run_id)["status"] == "completed"
    assert ledger.run(run_id)["last_seq"] > 10_000
