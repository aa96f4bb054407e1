"""The official MCP SDK for Python as a client of `/mcp`: both ways that the protocol has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from llm.providers.scripted import ScriptedModel
from tests.chat.ledger import eventually
from tests.lazy import Lazy

sdk = Lazy("mcp")
pytestmark = pytest.mark.exhaustive  # to load this SDK takes longer than to use it

ERAS = ("legacy", "2026-07-28")


async def test_it_finds_out_what_is_spoken(connect: Any) -> None:
    async with connect("auto") as client:
        assert client.protocol_version == "2026-07-28"
        (tool,) = (await client.list_tools()).tools
        assert (tool.name, tool.title) == ("assistant", "Assistant")
    async with connect("legacy") as client:
        assert client.protocol_version == "2025-11-25"
        assert client.server_info.title == "Acme"
        assert (await client.list_tools()).tools == [tool]


@pytest.mark.parametrize("era", ERAS)
async def test_it_asks_an_agent_and_goes_on(connect: Any, era: str) -> None:
    told: list[str] = []
    gate = asyncio.Event()

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append(message or "")
        gate.set()

    ScriptedModel.enqueue(["Hel", gate, "lo"])
    ScriptedModel.enqueue(["Again"])
    async with connect(era) as client:
        found = await client.call_tool("assistant", {"message": "Hi"}, progress_callback=progress)
        assert (found.is_error, found.content[0].text) == (False, "Hello")
        assert told[0] == "Hel", "it is told while it is written"
        said = found.structured_content
        assert (said["answer"], said["finish_reason"]) == ("Hello", "stop")
        more = await client.call_tool("assistant", {"message": "More", "conversation_id": said["conversation_id"]})
        assert more.structured_content["conversation_id"] == said["conversation_id"]


@pytest.mark.parametrize("era", ERAS)
async def test_it_is_told_what_is_wrong(connect: Any, era: str) -> None:
    async with connect(era) as client:
        with pytest.raises(sdk.MCPError, match="no such tool"):
            await client.call_tool("nobody", {"message": "x"})
        with pytest.raises(sdk.MCPError, match="arguments"):
            await client.call_tool("assistant", {"message": 7})
        empty = await client.call_tool("assistant", {"message": ""})
        assert empty.is_error
        assert empty.structured_content["error"]["code"] == "message_empty"


@pytest.mark.parametrize("era", ERAS)
async def test_giving_up_stops_the_answer(connect: Any, era: str, host_runs: Any) -> None:
    """By a notification where there are sessions; by closing the stream where there are none."""
    begun = asyncio.Event()

    async def progress(*told: Any) -> None:
        begun.set()

    ScriptedModel.enqueue(["Never ", asyncio.Event(), "ends"])
    async with connect(era) as client:
        asking = asyncio.create_task(client.call_tool("assistant", {"message": "Hi"}, progress_callback=progress))
        await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await eventually(lambda: host_runs() == ["cancelled"])


@pytest.fixture
def host_runs(db: Any) -> Callable[[], list[str]]:
    """How acme's runs stand."""
    from chat.models import Run
    from tenants import scope
    from tests.conftest import in_thread

    def read() -> list[str]:
        with scope.bind(db.acme):
            return list(Run.objects.values_list("status", flat=True))

    return lambda: in_thread(read)


async def test_our_client_asks_the_sdks_server(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way round: what a tenant connects may be made with the SDK."""
    import socket

    import uvicorn
    from django.conf import settings

    from agents.mcp import wire
    from tests.site import Server

    monkeypatch.setattr(settings, "EGRESS_ALLOW", ["127.0.0.1"], raising=False)
    made = Lazy("mcp.server.mcpserver").MCPServer("adder")

    @made.tool()
    async def add(a: int, b: int) -> str:
        """Adds two numbers."""
        return str(a + b)

    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(uvicorn.Config(made.streamable_http_app(), log_level="warning", lifespan="on"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    await eventually(lambda: server.started)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    async with wire.opened(wire.Target(url, {})) as session:
        (tool,) = await session.tools()
        assert (tool["name"], tool["description"]) == ("add", "Adds two numbers.")
        found = await session.ask("tools/call", {"name": "add", "arguments": {"a": 2, "b": 3}})
        assert found["content"][0]["text"] == "5"
    server.told.set()
    server.should_exit = True
    await serving
