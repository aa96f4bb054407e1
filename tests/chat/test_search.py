"""Finding conversations by their titles and what was said, in English and Chinese; and pinning them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from chat import search, services
from core.errors import PaasError
from llm.providers.scripted import ScriptedModel
from tests.chat.ledger import Ledger
from tests.chat.talk import ask
from tests.chat.test_api import Client, client  # noqa: F401  # a fixture


async def test_what_was_said_is_found_by_whoever_said_it(
    client: Client,
    actor: Any,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    member = actor("member")
    said = {
        "travel": ("What does a night in Lisbon cost?", "About 90 EUR; see travel_policy.pdf and https://Rates.example/lisbon"),
        "lease": ("合同什么时候到期？", "租赁合同将于2027年3月到期，请提前通知房东。"),
        "mixed": ("GPT4 和 PostgreSQL", "两者没有关系。" + " filler" * 400 + " needle in the hay"),
    }  # fmt: skip
    ids = {}
    for name, (question, answer) in said.items():
        ScriptedModel.enqueue([answer])
        ids[name] = str((await ask(member, question)).conversation_id)
    ScriptedModel.enqueue(["Lisbon, says the admin, and 合同."])
    await ask(actor("admin"), "Lisbon 合同")

    async def found(text: str) -> list[str]:
        status, body = await client.call("GET", "/conversations", params={"q": text})
        assert status == 200, body
        return [name for one in body["conversations"] for name, id_ in ids.items() if one["id"] == id_]

    for text, names in {
        "lisbon": ["travel"], "LISB": ["travel"], "lisbon night": ["travel"], "lisbon needle": [],
        "policy": ["travel"], "policy.pdf": ["travel"], "rates example": ["travel"], "90": ["travel"], "olicy": [],
        "合同": ["lease"], "租赁合同": ["lease"], "合租": [], "房东": ["lease"], "东": ["lease"], "到期 2027": ["lease"],
        "postgres 关系": [], "两者 needle": ["mixed"], "gpt4": ["mixed"],
        "': | !(": [], "' & 'x": [], "%": [], "_": [], "\\": [], "nothing of this": [],
    }.items():  # fmt: skip
        assert await found(text) == names, text
    _, body = await client.call("GET", "/conversations", params={"q": "needle"})
    (one,) = body["conversations"]
    assert one["match"]["role"] == "assistant"
    assert one["match"]["text"].startswith("…")
    assert one["match"]["text"].endswith("needle in the hay")
    await client.call("PATCH", f"/conversations/{ids['mixed']}", json={"title": "Zebra crossing"})
    _, body = await client.call("GET", "/conversations", params={"q": "zebra"})
    assert [(one["id"], one["match"]) for one in body["conversations"]] == [(ids["mixed"], None)]
    await client.call("DELETE", f"/conversations/{ids['travel']}")
    assert await found("lisbon") == []
    # What is not indexed yet is found all the same, and the index answers for what is.
    assert ledger.value("SELECT count(*)::int FROM chat_messagewords") == 6
    ledger.rows("DELETE FROM chat_messagewords")
    monkeypatch.setattr(search, "INDEXED_AT_ONCE", 1)
    assert await found("租赁合同") == ["lease"]
    ledger.rows("SET enable_seqscan = off")
    asked = "EXPLAIN SELECT message_id FROM chat_messagewords WHERE words @@ to_tsquery('simple', %s)"
    assert "message_search" in str(ledger.rows(asked, search.query_of(["租赁合同", "lease"])))


async def test_an_answer_that_was_continued_is_indexed_anew(client: Client, actor: Any) -> None:
    member = actor("member")
    ScriptedModel.enqueue(["first half", PaasError("provider_stream_cut")])
    told = await ask(member, "?")
    look = {"params": {"q": "second half"}}
    assert (await client.call("GET", "/conversations", **look))[1]["conversations"] == []
    _, page = await client.call("GET", f"/conversations/{told.conversation_id}/messages")
    ScriptedModel.enqueue([" and second half"])
    await ask(member, conversation_id=told.conversation_id, continues=uuid.UUID(page["messages"][-1]["id"]), message="")
    assert (await client.call("GET", "/conversations", **look))[1]["conversations"]


async def test_texts_that_are_long_or_odd_can_be_written_and_asked_for(client: Client, actor: Any) -> None:
    member = actor("member")
    ScriptedModel.enqueue(["字" * 30_000 + "a" * 30_000 + " " + " ".join(f"w{one}" for one in range(20_000))])
    assert (await ask(member, "x" * 3000)).end["finish_reason"] == "stop"
    assert (await client.call("GET", "/conversations", params={"q": "字字字"}))[1]["conversations"]
    for wrong in ("x" * 201, "a\x00b"):
        status, body = await client.call("GET", "/conversations", params={"q": wrong})
        assert (status, body["error"]["code"]) == (400, "validation_failed"), wrong
    assert (await client.call("GET", "/conversations", params={"q": " ".join("abcdefghijklmnopqrstuvwxyz")}))[0] == 200


async def test_pins(client: Client, actor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    member = actor("member")
    first, second = [str((await ask(member, text)).conversation_id) for text in ("one", "two")]

    async def pinned() -> list[str]:
        _, body = await client.call("GET", "/conversations", params={"pinned": "true"})
        return [one["id"] for one in body["conversations"]]

    status, body = await client.call("PATCH", f"/conversations/{first}", json={"pinned": True})
    assert (status, body["title"]) == (200, "one")
    assert body["pinned_at"]
    assert await pinned() == [first]
    again = (await client.call("PATCH", f"/conversations/{first}", json={"pinned": True}))[1]
    assert again["pinned_at"] == body["pinned_at"]
    monkeypatch.setattr(services, "MOST_PINNED", 1)
    status, refused = await client.call("PATCH", f"/conversations/{second}", json={"pinned": True})
    assert (status, refused["error"]["code"]) == (400, "validation_failed")
    assert "unpin one" in refused["error"]["message"]
    status, body = await client.call("PATCH", f"/conversations/{first}", json={"pinned": False, "title": "first"})
    assert (status, body["pinned_at"], body["title"]) == (200, None, "first")
    assert await pinned() == []
    _, everything = await client.call("GET", "/conversations")
    assert [one["id"] for one in everything["conversations"]] == [second, first]
