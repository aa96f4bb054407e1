"""What the websocket tests share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from chat.transports import websocket
from tenants import resolve
from tests.chat.ledger import eventually


@pytest.fixture(autouse=True)
async def every_socket_is_let_go(site: Any) -> AsyncIterator[None]:
    """Whatever a test did, the process counts no socket afterwards."""
    yield
    await eventually(lambda: not websocket._open, what=f"{websocket._open}")


async def close_of(socket: aiohttp.ClientWebSocketResponse) -> tuple[int | None, str]:
    """Read until the socket is closed; (code, reason)."""
    async with asyncio.timeout(20):
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.CLOSE:
                return message.data, str(message.extra)
            if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSING):
                return socket.close_code, ""


@asynccontextmanager
async def opened(client: aiohttp.ClientSession, path: str = "/ws/chat/", **options: Any) -> AsyncIterator[Any]:
    async with client.ws_connect(path, max_msg_size=0, **options) as socket:
        ready = await socket.receive()
        assert ready.type is aiohttp.WSMsgType.TEXT, ready
        assert ready.json() == {"type": "ready", "heartbeat_seconds": websocket.HEARTBEAT_SECONDS}
        yield socket


async def refused(client: aiohttp.ClientSession, path: str = "/ws/chat/", **options: Any) -> tuple[int | None, str]:
    async with client.ws_connect(path, **options) as socket:
        return await close_of(socket)


async def answer_to(socket: Any, frame: Any) -> dict[str, Any]:
    await (socket.send_str(frame) if isinstance(frame, str) else socket.send_json(frame))
    found: dict[str, Any] = await socket.receive_json(timeout=10)
    return found


# --- who may come in -------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "RECHECK_SECONDS", 0.05)
    monkeypatch.setattr(resolve._hosts, "seconds", 0.01)
