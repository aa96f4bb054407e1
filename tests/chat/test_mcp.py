"""The door `/mcp`: what is no call, whose it is, sessions. (With the official client: tests/sdk/test_mcp.py.)"""

from __future__ import annotations

from typing import Any

import pytest

from chat import mcp
from llm.providers.scripted import ScriptedModel
from tests.attack.knocking import key_of

META = {"io.modelcontextprotocol/protocolVersion": mcp.LATEST, "io.modelcontextprotocol/clientCapabilities": {}}
NEW = {"MCP-Protocol-Version": mcp.LATEST}


def rpc(method: str, params: Any = None, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}} | more


NO_CALLS: list[tuple[Any, dict[str, str], int]] = [
    ([], {}, -32700),
    ({"id": 1, "method": "ping"}, {}, -32600),
    (rpc("ping", id=None), {}, -32600),
    (rpc("ping", id=True), {}, -32600),
    (rpc("ping", id="x" * 300), {}, -32600),
    (rpc("ping", params=[1]), {}, -32600),
    (rpc("ping"), {"MCP-Protocol-Version": "2099-01-01"}, -32022),
    (rpc("tools/list"), NEW, -32602),
    (rpc("tools/list", {"_meta": META}), NEW | {"Mcp-Method": "tools/call"}, -32020),
    (rpc("tools/call", {"_meta": META, "name": "a"}), NEW | {"Mcp-Method": "tools/call", "Mcp-Name": "b"}, -32020),
    (rpc("tools/call", {"_meta": META, "name": "a"}), NEW | {"Mcp-Method": "tools/call"}, -32020),
]


async def test_what_is_no_call(mcp_client: Any) -> None:
    for body, headers, code in NO_CALLS:
        async with mcp_client.post("/mcp", json=body, headers=headers) as answer:
            found = await answer.json()
            assert (answer.status, found["error"]["code"], found["jsonrpc"]) == (400, code, "2.0"), body


@pytest.fixture
async def mcp_client(site: Any, api_key: Any) -> Any:
    return site.client("acme", token=api_key())


async def test_sessions_belong_to_who_was_given_them(db: Any, site: Any, mcp_client: Any) -> None:
    """A stolen session id opens nothing; neither does one that was made up."""
    async with mcp_client.post("/mcp", json=rpc("initialize", {"protocolVersion": "1999"})) as answer:
        session = answer.headers["Mcp-Session-Id"]
        assert (await answer.json())["result"]["protocolVersion"] == "2025-11-25"
    for client, name, status in (
        (mcp_client, session, 200),
        (site.client("acme", token=key_of(db.acme, "*")), session, 404),
        (mcp_client, session[:-1] + "%", 404),
    ):
        async with client.post("/mcp", json=rpc("ping"), headers={"Mcp-Session-Id": name}) as answer:
            assert answer.status == status, await answer.text()
    for method in ("GET", "DELETE"):
        async with mcp_client.request(method, "/mcp") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_pages_elsewhere_are_refused(site: Any, mcp_client: Any) -> None:
    """A26: also with a key, and before anything is read."""
    for origin in ("https://evil.example", "null", site.url("globex"), site.url("acme") + ".evil.example"):
        async with mcp_client.post("/mcp", data=b"{", headers={"Origin": origin}) as answer:
            assert (answer.status, (await answer.json())["error"]["data"]["code"]) == (403, "origin_forbidden")
    async with mcp_client.post("/mcp", json=rpc("ping"), headers={"Origin": site.url("acme")}) as answer:
        assert (await answer.json())["result"] == {}


async def test_a_key_has_its_own_agents_and_the_same_id_is_the_same_call(db: Any, site: Any, mcp_client: Any) -> None:
    other = site.client("acme", token=key_of(db.acme, "*", allowed_agents=["other"]))
    async with other.post("/mcp", json=rpc("tools/list")) as answer:
        assert (await answer.json())["result"]["tools"] == []
    call = rpc("tools/call", {"name": "assistant", "arguments": {"message": "Hi"}})
    async with other.post("/mcp", json=call) as answer:
        assert (await answer.json())["error"]["message"] == "There is no such tool."
    ScriptedModel.enqueue(["once"])
    async with mcp_client.post("/mcp", json=rpc("initialize")) as answer:
        session = {"Mcp-Session-Id": answer.headers["Mcp-Session-Id"]}
    runs = set()
    for _ in range(2):
        async with mcp_client.post("/mcp", json=call, headers=session) as answer:
            found = (await answer.json())["result"]
            assert found["content"] == [{"type": "text", "text": "once"}]
            runs.add(found["structuredContent"]["run_id"])
    assert len(runs) == 1
