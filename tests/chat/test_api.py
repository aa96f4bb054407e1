"""Conversations over the API: lists, pages, titles, deleting and its undo, messages as they are shown."""

from __future__ import annotations

import asyncio
import base64
import uuid
from typing import Any

import aiohttp
import pytest

from core.errors import PaasError
from llm.deltas import ReasoningDelta, UsageReport
from llm.providers.scripted import ScriptedModel
from tests.chat.ledger import eventually
from tests.chat.talk import ask, read, start


class Client:
    """A signed-in browser's calls."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        cookies = session.cookie_jar.filter_cookies(session._base_url)  # type: ignore[arg-type]
        self.headers = {"X-CSRFToken": cookies["csrftoken"].value}

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        async with self.session.request(method, f"/api/v1{path}", headers=self.headers, **options) as response:
            return response.status, await response.json() if response.content_type == "application/json" else None


@pytest.fixture
async def client(site: Any) -> Client:
    return Client(await site.signed_in("member"))


async def test_a_conversation_as_it_is_shown(client: Client, actor: Any) -> None:
    ScriptedModel.enqueue([ReasoningDelta("Hm."), "Hello", UsageReport(9, 3, 1, 1)])
    told = await ask(actor("member"), "First line\nmore")
    status, body = await client.call("GET", f"/conversations/{told.conversation_id}")
    assert status == 200
    assert body | {"created_at": "", "updated_at": ""} == {
        "id": str(told.conversation_id), "title": "First line", "agent": {"slug": "assistant", "name": "Assistant"},
        "created_at": "", "updated_at": "", "pinned_at": None, "active_run_id": None, "waiting": False,
    }  # fmt: skip
    status, body = await client.call("GET", f"/conversations/{told.conversation_id}/messages")
    question, answer = body["messages"]
    assert (question["role"], question["content"], question["usage"], question["error"]) == (
        "user",
        "First line\nmore",
        None,
        None,
    )
    assert (answer["role"], answer["content"], answer["reasoning"], answer["status"]) == (
        "assistant",
        "Hello",
        "Hm.",
        "complete",
    )
    assert (answer["usage"], answer["run_id"]) == (told.end["usage"], str(told.run_id))
    assert body["active_run"] is None
    assert body["conversation"]["id"] == str(told.conversation_id)


async def test_a_running_and_a_failed_answer(client: Client, actor: Any) -> None:
    member, gate = actor("member"), asyncio.Event()
    ScriptedModel.enqueue(["a", PaasError("provider_stream_cut")])
    failed = await ask(member)
    ScriptedModel.enqueue(["b", gate])
    started = await start(member, conversation_id=failed.conversation_id)
    await read(member.tenant, started.run_id, limit=2)
    _, body = await client.call("GET", f"/conversations/{failed.conversation_id}/messages")
    assert [message["status"] for message in body["messages"]] == ["complete", "failed", "complete"]
    assert body["messages"][1]["error"]["code"] == "provider_stream_cut"
    assert (body["active_run"]["id"], body["active_run"]["status"]) == (str(started.run_id), "running")
    _, listed = await client.call("GET", "/conversations")
    assert listed["conversations"][0]["active_run_id"] == str(started.run_id)
    gate.set()
    await read(member.tenant, started.run_id)
    _, body = await client.call("GET", f"/conversations/{failed.conversation_id}/messages")
    assert body["active_run"] is None


async def test_pages_newest_first_without_gap_or_repetition(client: Client, actor: Any, ledger: Any) -> None:
    member = actor("member")
    made = [(await ask(member, f"number {number}")).conversation_id for number in range(7)]
    # Several at one moment: the id decides.
    ledger.rows("UPDATE chat_conversation SET updated_at = '2026-05-05T05:05:05Z' WHERE id = ANY(%s)", made[:4])
    _, whole = await client.call("GET", "/conversations")
    everything = [one["id"] for one in whole["conversations"]]
    assert len(everything) == 7
    assert everything[:3] == [str(one) for one in reversed(made[4:])]
    assert whole["next_cursor"] is None
    for limit in (1, 2, 3, 7):
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            _, page = await client.call("GET", "/conversations", params={"limit": str(limit), "cursor": cursor})
            seen += [one["id"] for one in page["conversations"]]
            assert len(page["conversations"]) <= limit
            cursor = page["next_cursor"]
        assert seen == everything, limit


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"limit": "-1"}, {"cursor": "x"}, {"cursor": "===="},
        {"cursor": "ä"}, {"cursor": "x" * 500},
        {"cursor": base64.urlsafe_b64encode(b"2026-01-01T00:00:00 00000000-0000-7000-8000-000000000000").decode()},
        {"cursor": base64.urlsafe_b64encode(b"2026-01-01T00:00:00+00:00 no-uuid").decode()},
    ],
    ids=str,
)  # fmt: skip
async def test_pages_that_are_none(client: Client, query: dict[str, str]) -> None:
    status, body = await client.call("GET", "/conversations", params=query)
    assert (status, body["error"]["code"]) == (400, "validation_failed")


async def test_titles(client: Client, actor: Any) -> None:
    told = await ask(actor("member"))
    path = f"/conversations/{told.conversation_id}"
    status, body = await client.call("PATCH", path, json={"title": "  Neuer Titel 🦊 "})
    assert (status, body["title"]) == (200, "Neuer Titel 🦊")
    for wrong in (
        {},
        {"title": ""},
        {"title": "  "},
        {"title": "x" * 201},
        {"title": "a\x00b"},
        {"title": None},
        {"title": ["x"]},
    ):
        status, body = await client.call("PATCH", path, json=wrong)
        assert (status, body["error"]["code"]) == (400, "validation_failed"), wrong
    status, body = await client.call("PATCH", path, data=b"{")
    assert (status, body["error"]["code"]) == (400, "validation_failed")
    async with client.session.patch(
        f"/api/v1{path}", data=b"{", headers=client.headers | {"Content-Type": "application/json"}
    ) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (400, "malformed_json")


async def test_deleting_and_its_undo(client: Client, actor: Any) -> None:
    member = actor("member")
    told = await ask(member)
    path = f"/conversations/{told.conversation_id}"
    assert (await client.call("DELETE", path))[0] == 204
    assert (await client.call("GET", "/conversations"))[1]["conversations"] == []
    for method, where in (("GET", path), ("GET", f"{path}/messages"), ("DELETE", path), ("PATCH", path)):
        status, body = await client.call(method, where, json={"title": "x"})
        assert (status, body["error"]["code"]) == (404, "not_found")
    status, body = await client.call("POST", f"{path}/restore")
    assert (status, body["id"]) == (200, str(told.conversation_id))
    assert (await client.call("POST", f"{path}/restore"))[0] == 404
    assert (await client.call("GET", f"{path}/messages"))[1]["messages"]
    assert (await ask(member, conversation_id=told.conversation_id)).end["finish_reason"] == "stop"


async def test_deleting_while_it_is_answered(client: Client, actor: Any, ledger: Any) -> None:
    """The run ends as it would have; nothing is held, and the undo brings the whole answer."""
    member, gate = actor("member"), asyncio.Event()
    ScriptedModel.enqueue(["a", gate, "b"])
    started = await start(member)
    await read(member.tenant, started.run_id, limit=2)
    path = f"/conversations/{started.conversation_id}"
    assert (await client.call("DELETE", path))[0] == 204
    gate.set()
    await read(member.tenant, started.run_id)
    await eventually(lambda: not ledger.left_behind())
    await client.call("POST", f"{path}/restore")
    _, body = await client.call("GET", f"{path}/messages")
    assert body["messages"][-1]["content"] == "ab"


async def test_retried_answers_are_not_shown(client: Client, actor: Any) -> None:
    member = actor("member")
    ScriptedModel.enqueue(["bad"])
    told = await ask(member, "?")
    ScriptedModel.enqueue(["good"])
    await ask(member, retry=True, conversation_id=told.conversation_id)
    _, body = await client.call("GET", f"/conversations/{told.conversation_id}/messages")
    assert [message["content"] for message in body["messages"]] == ["?", "good"]


async def test_writes_need_the_csrf_token(client: Client, actor: Any) -> None:
    told = await ask(actor("member"))
    async with client.session.delete(f"/api/v1/conversations/{told.conversation_id}") as response:
        assert (response.status, (await response.json())["error"]["code"]) == (403, "permission_denied")
    async with client.session.post("/api/v1/ws-ticket") as response:
        assert response.status == 403


async def test_a_keys_conversations_are_its_own(site: Any, api_key: Any, client: Client, actor: Any) -> None:
    mine = await ask(actor("member"))
    program = site.client("acme", token=api_key())
    async with program.post("/api/v1/runs", json={"message": "hi"}) as response:
        theirs = (await response.json())["conversation"]["id"]
    async with program.get("/api/v1/conversations") as response:
        assert [one["id"] for one in (await response.json())["conversations"]] == [theirs]
    _, listed = await client.call("GET", "/conversations")
    assert [one["id"] for one in listed["conversations"]] == [str(mine.conversation_id)]
    assert (await client.call("GET", f"/conversations/{theirs}"))[0] == 404


async def test_other_addresses_and_methods(client: Client) -> None:
    some = uuid.uuid4()
    for method, path, status, code in (
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/conversations/1", 404, "not_found"),
        ("GET", f"/conversations/{some}", 404, "not_found"),
        ("PUT", "/conversations", 405, "method_not_allowed"),
        ("GET", "/ws-ticket", 405, "method_not_allowed"),
        ("PUT", f"/conversations/{some}", 405, "method_not_allowed"),
    ):
        found, body = await client.call(method, path)
        assert (found, body["error"]["code"]) == (status, code), path
        assert set(body["error"]) == {"code", "message", "details", "request_id"}
