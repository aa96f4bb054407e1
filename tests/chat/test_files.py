"""Files of a conversation: put in, had back, deleted, named by messages, and read by an agent that may (P17, P60, A52)."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from django.conf import settings

from chat import files, steps
from chat.file_notes import note_of, taken_apart
from chat.files import Upload, files_add
from core.errors import PaasError
from llm.deltas import Finish, ToolCallDelta
from llm.providers.scripted import ScriptedModel
from tenants import limits, scope
from tenants.models import Limit
from tests.chat.ledger import Ledger
from tests.chat.sockets import opened
from tests.chat.talk import ask
from tests.conftest import Platform, in_thread
from tests.files import no_files, stored  # noqa: F401

CSV = b"name,amount\nMia,3\nBo,39\n"


pytestmark = pytest.mark.usefixtures("no_files")


def form(*sent: tuple[str, bytes]) -> aiohttp.FormData:
    data = aiohttp.FormData(quote_fields=False)
    for name, content in sent:
        data.add_field("file", io.BytesIO(content), filename=name, content_type="text/html")
    return data


def put(who: Any, conversation: uuid.UUID, *sent: tuple[str, bytes]) -> list[Any]:
    def add() -> list[Any]:
        with scope.bind(who.tenant):
            uploads = [Upload(name, len(data), io.BytesIO(data)) for name, data in sent]
            return files_add(actor=who, conversation_id=conversation, uploads=uploads)

    return list(in_thread(add))


async def test_put_in_listed_had_back_and_deleted(
    site: Any, db: Platform, api_key: Callable[..., str], ledger: Ledger
) -> None:
    client = site.client("acme", token=api_key())
    async with client.post("/api/v1/conversations", json={"title": "Sums"}) as answer:
        begun = await answer.json()
        assert (answer.status, begun["title"], begun["agent"]["slug"]) == (201, "Sums", "assistant")
    place = f"/api/v1/conversations/{begun['id']}/files"
    async with client.post(
        place, data=form(("../../a.csv", CSV), ("报告\u202e.html", b"<script>1</script>"))
    ) as answer:
        told = await answer.json()
        assert answer.status == 201, told
    first, second = told["files"]
    assert [(one["name"], one["kind"], one["size"]) for one in told["files"]] == [
        ("a.csv", "csv", len(CSV)), ("报告.html", "text", 18),
    ]  # fmt: skip
    assert [path.parent.name for path in stored(db)] == [str(db.acme.id)] * 2
    assert {path.name for path in stored(db)} == {first["id"], second["id"]}
    async with client.get(place) as answer:
        assert [one["id"] for one in (await answer.json())["files"]] == [first["id"], second["id"]]
    async with client.get(f"{place}/{second['id']}") as answer:
        assert await answer.read() == b"<script>1</script>"
        headers = answer.headers
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"].startswith("attachment; filename*=utf-8''%E6%8A%A5")
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "private, no-store")
    async with client.delete(f"{place}/{first['id']}") as answer:
        assert answer.status == 204
    async with client.get(f"{place}/{first['id']}") as answer:
        assert answer.status == 404
    assert [path.name for path in stored(db)] == [second["id"]]
    rows = ledger.rows("SELECT action, data FROM accounts_auditevent WHERE action LIKE %s ORDER BY id", "file.%")
    assert [(row["action"], row["data"].get("count")) for row in rows] == [("file.added", 2), ("file.deleted", None)]


async def test_what_is_not_taken(
    site: Any, db: Platform, api_key: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = site.client("acme", token=api_key())
    async with client.post("/api/v1/conversations", json={"agent": "assistant"}) as answer:
        place = f"/api/v1/conversations/{(await answer.json())['id']}/files"
    monkeypatch.setattr(settings, "MAX_FILE_BYTES", 1000)
    for sent, status, code in (
        (form(("a.png", b"\x89PNG\r\n")), 415, "file_unsupported"),
        (form(("a.csv", CSV), ("a.docx", b"PK\x03\x04")), 415, "file_unsupported"),
        (form(("a.txt", b"x" * 1001)), 413, "file_too_large"),
        (form(("a.txt", b"")), 400, "validation_failed"),
        (form(), 400, "validation_failed"),
        (b"{}", 400, "validation_failed"),
        (form(("a.txt", b"x" * 3_000_000)), 413, "request_too_large"),
    ):
        async with client.post(place, data=sent) as answer:
            told = await answer.json()
            assert (answer.status, told["error"]["code"]) == (status, code), told
    assert stored(db) == [], "all of them or none"
    async with client.post("/api/v1/conversations", json={"agent": "nobody"}) as answer:
        assert answer.status == 404

    async def endless() -> Any:
        for _ in range(1000):
            yield b"x" * 100_000

    async with client.post("/api/v1/keys", data=endless(), headers={"Content-Type": "application/json"}) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (413, "request_too_large")


async def test_limits_hold_when_many_come_at_once(
    host: Any, actor: Any, db: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A52: of eight at once those that fit are taken, and not one more."""
    member = actor("member")
    conversation = (await ask(member)).conversation_id

    def limit() -> None:
        with scope.platform():
            Limit.objects.create(
                tenant_id=db.acme.id, level="tenant", subject_id=db.acme.id, metric="storage_bytes", amount=3500, set_by="test"
            )  # fmt: skip

    in_thread(limit)

    def one(number: int) -> str:
        from django.db import connections

        try:
            with scope.bind(db.acme):
                upload = Upload(f"{number}.txt", 1000, io.BytesIO(b"x" * 1000))
                files_add(actor=member, conversation_id=conversation, uploads=[upload])
            return "ok"
        except PaasError as error:
            return error.code
        finally:
            connections.close_all()

    def race() -> list[str]:
        with ThreadPoolExecutor(8) as pool:
            return sorted(pool.map(one, range(8)))

    assert await asyncio.to_thread(race) == ["ok"] * 3 + ["storage_full"] * 5
    assert len(stored(db)) == 3

    def used() -> int:
        with scope.bind(db.acme):
            return limits.stored_bytes()

    assert in_thread(used) == 3000
    monkeypatch.setattr(files, "MOST_FILES", 3)
    with pytest.raises(PaasError, match="as many files"):
        put(member, conversation, ("a.txt", b"x"))


async def test_a_message_names_files_and_the_agent_reads_them(
    site: Any, db: Platform, actor: Any, agents: Callable[..., str], ledger: Ledger
) -> None:
    slug, member = agents("demo", tools=["read_file"]), actor("member")
    session = await site.signed_in("member")
    csrf = {"Origin": site.url("acme")}
    conversation = (await ask(member, agent=slug)).conversation_id
    (made,) = put(member, conversation, ("sums.csv", CSV))
    arguments = json.dumps({"file": str(made.id), "query": "bo"})
    first = ScriptedModel.enqueue([ToolCallDelta(0, "c1", "read_file", arguments), Finish("tool_calls")])
    ScriptedModel.enqueue(["Bo has 39."])
    body = {"agent": slug, "conversation_id": str(conversation), "message": "How much has Bo?", "files": [str(made.id)]}
    async with opened(session) as socket:
        await socket.send_json({"type": "turn.start", "ref": "1"} | body)
        frames = [await socket.receive_json(timeout=20)]
        while frames[-1]["type"] not in ("run.completed", "run.failed", "error"):
            frames.append(await socket.receive_json(timeout=20))
    (finished,) = [frame for frame in frames if frame["type"] == "tool.finished"]
    assert finished["data"]["result"].splitlines() == ["sums.csv: CSV, 3 rows.", "name\tamount", "3: Bo\t39"]
    assert first.request.messages[-1]["content"] == f'How much has Bo?\n\n[Files: "sums.csv" (id {made.id})]'
    # In the history of the next turn it is still there for the model; people see the message and its files.
    again = ScriptedModel.enqueue(["39"])
    await ask(member, "Sure?", agent=slug, conversation_id=conversation)
    assert f"(id {made.id})" in str(again.request.messages)
    async with session.get(f"/api/v1/conversations/{conversation}/messages") as answer:
        shown = (await answer.json())["messages"]
    asked = shown[2]
    assert (asked["content"], asked["files"]) == ("How much has Bo?", [{"id": str(made.id), "name": "sums.csv"}])
    assert shown[3]["files"] == shown[4]["files"] == []
    # Over HTTP; and what is refused.
    other = (await ask(member, agent=slug)).conversation_id
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"conversation_id": str(other)}, 404, "not_found"),
        ({"files": [str(uuid.uuid4())]}, 404, "not_found"),
        ({"files": ["x"]}, 404, "not_found"), ({"files": "x"}, 400, "validation_failed"),
        ({"files": [str(made.id)] * 21}, 400, "validation_failed"),
        ({"conversation_id": None}, 400, "validation_failed"), ({"retry": True}, 400, "validation_failed"),
        ({"agent": "assistant"}, 400, "unsupported_parameter"), ({}, 202, ""),
    ]  # fmt: skip
    for change, status, code in cases:
        async with session.post("/api/v1/runs", json=body | change, headers=csrf) as answer:
            told = await answer.json()
            assert (answer.status, told.get("error", {}).get("code", "")) == (status, code), (change, told)
    assert ledger.value("SELECT count(*) FROM agents_toolcall WHERE name = 'read_file' AND effect = 'read' AND ok") == 1


async def test_an_agent_reads_the_files_of_its_own_conversation_only(
    host: Any, actor: Any, agents: Callable[..., str], db: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P54: with the rights of who asks; and who read a file remembers with doubt (P55)."""
    monkeypatch.setattr(steps, "MEMORY_TOOLS", tuple(replace(one, approval="never") for one in steps.MEMORY_TOOLS))
    slug, member, owner = agents("demo", tools=["read_file"], memory=True), actor("member"), actor("owner")
    foreign = (await ask(owner, agent=slug)).conversation_id
    (secret,) = put(owner, foreign, ("secret.txt", b"launch codes"))
    conversation = (await ask(member, agent=slug)).conversation_id
    own = (await ask(member, agent=slug)).conversation_id
    (elsewhere,) = put(member, own, ("mine.txt", b"my codes"))
    put(member, conversation, ("here.txt", b"nothing"))
    for file in (str(secret.id), "secret.txt", str(elsewhere.id), "mine.txt", "../../etc/passwd", ""):
        ScriptedModel.enqueue([ToolCallDelta(0, "c", "read_file", json.dumps({"file": file})), Finish("tool_calls")])
        last = ScriptedModel.enqueue(["no"])
        told = await ask(member, agent=slug, conversation_id=conversation)
        (ended,) = [data for _, (kind, data) in told.events if kind == "tool.finished"]
        assert not ended["ok"]
        assert "here.txt" in ended["error"]
        assert "codes" not in str(last.request.messages)
    ScriptedModel.enqueue([ToolCallDelta(0, "c", "read_file", '{"file": "here.txt"}'), Finish("tool_calls")])
    ScriptedModel.enqueue([ToolCallDelta(0, "d", "remember", '{"text": "x"}'), Finish("tool_calls")])
    ScriptedModel.enqueue(["x"])
    await ask(member, agent=slug, conversation_id=conversation)

    def tainted() -> bool:
        from agents.models import Memory

        with scope.bind(db.acme):
            return Memory.objects.get().tainted

    assert in_thread(tainted) is True


def test_the_line_that_names_files() -> None:
    first, second = uuid.uuid4(), uuid.uuid4()
    note = note_of([(first, "a b.csv"), (second, "报告 (1).pdf")])
    assert taken_apart("hi" + note) == (
        "hi", [{"id": str(first), "name": "a b.csv"}, {"id": str(second), "name": "报告 (1).pdf"}],
    )  # fmt: skip
    for text in ("hi", "", "[Files: x]", "hi\n\n[Files: ]", f"hi{note} more", note_of([])):
        assert taken_apart(text) == (text, [])
