"""Knowledge over HTTP, end to end: a base, documents in, made searchable, searched with reasons, deleted for good."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import aiohttp
from openpyxl import Workbook

from tests.chat.ledger import Ledger
from tests.conftest import Platform
from tests.files import stored
from tests.knowledge.conftest import ingested

GUIDE = b"""# Holidays
Every employee has thirty days of holiday a year.

## Carrying over
Up to five days are carried over until the end of March.

# Parking
The garage is behind the house; the code of its gate is 4711.
"""
CHINESE = "# 报销制度\n\n员工出差的住宿费每晚不超过五百元。\n\n# 考勤\n\n上班时间为早上九点到下午六点。\n".encode()


def book() -> bytes:
    made = Workbook()
    made.active.append(["part", "price"])
    made.active.append(["flux capacitor", 88])
    made.active.append(["hinge", 2])
    data = io.BytesIO()
    made.save(data)
    return data.getvalue()


def form(*sent: tuple[str, bytes], **fields: str) -> aiohttp.FormData:
    data = aiohttp.FormData(quote_fields=False)
    for name, content in sent:
        data.add_field("file", io.BytesIO(content), filename=name, content_type="text/html")
    for name, value in fields.items():
        data.add_field(name, value)
    return data


async def test_from_upload_to_deletion(
    site: Any, db: Platform, actor: Any, api_key: Callable[..., str], ledger: Ledger
) -> None:
    client, owner = site.client("acme", token=api_key()), actor("owner")
    place = "/api/v1/knowledge/docs"
    async with client.post("/api/v1/knowledge", json={"slug": "docs", "name": "Handbook"}) as answer:
        made = await answer.json()
        assert answer.status == 201, made
        assert (answer.status, made["model"], made["dimension"], made["provider"]) == (201, "hashing", 256, None), made
    files = (("guide.md", GUIDE), ("制度.md", CHINESE), ("parts.xlsx", book()), ("broken.pdf", b"%PDF-1.4 nothing"))
    async with client.post(f"{place}/files", data=form(*files, tags='["hr"]')) as answer:
        told = await answer.json()
        assert answer.status == 202, told
    ids = {one["title"]: one["id"] for one in told["documents"]}
    assert {one["state"] for one in told["documents"]} == {"queued"}
    async with client.post(f"{place}/documents", json={"title": "Note", "text": "The mascot is a badger."}) as answer:
        assert answer.status == 202
    # A job is in the queue, one for all of them, and none of their texts in it.
    jobs = ledger.rows("SELECT args FROM procrastinate_jobs WHERE task_name = 'knowledge.ingest'")
    assert [one["args"] for one in jobs] == [{"tenant_id": str(db.acme.id)}]
    await ingested(owner)
    async with client.get(f"{place}/documents") as answer:
        shown = {one["title"]: one for one in (await answer.json())["documents"]}
    assert {name: one["state"] for name, one in shown.items()} == {
        "guide.md": "ready", "制度.md": "ready", "parts.xlsx": "ready", "Note.md": "ready", "broken.pdf": "failed",
    }  # fmt: skip
    assert (shown["guide.md"]["progress"], shown["guide.md"]["chunks"]) == (100, 3)
    assert "damaged" in shown["broken.pdf"]["error"]

    async def found(query: str, **more: Any) -> list[Any]:
        async with client.post(f"{place}/search", json={"query": query} | more) as answer:
            told = await answer.json()
            assert answer.status == 200, told
            return list(told["passages"])

    best = (await found("How many days can be carried over?"))[0]
    assert (best["title"], best["heading"]) == ("guide.md", "Holidays › Carrying over")
    why = best["why"]
    assert (why["vector"]["rank"], why["keyword"]["rank"]) == (1, 1)
    assert best["score"] == 1.0 == round(why["vector"]["part"] + why["keyword"]["part"], 4)
    assert "五百元" in (await found("住宿费是多少？", neighbours=True))[0]["text"]
    row = (await found("flux capacitor"))[0]
    assert row["text"] == "part\tprice\nflux capacitor\t88\nhinge\t2"
    # A filter is in the search: what does not have the tag is not found, and all else may fill its place.
    assert "Note.md" not in {one["title"] for one in await found("badger mascot", tags=["hr"], top_k=50)}
    assert (await found("badger"))[0]["why"]["keyword"]
    assert {one["why"]["keyword"] is None for one in await found("badger", keyword_weight=0)} == {True}
    assert len(await found("badger", vector_weight=0)) == 1
    for body in ({"query": " "}, {}, {"query": "x", "top_k": 0}, {"query": "x", "nonsense": 1},
                 {"query": "x", "vector_weight": 0, "keyword_weight": 0}, {"query": "x", "metadata": {"a": "\0"}}):  # fmt: skip
        async with client.post(f"{place}/search", json=body) as answer:
            assert answer.status == 400, body

    async with client.delete(f"{place}/documents/{ids['guide.md']}") as answer:
        assert answer.status == 204
    assert all(one["title"] != "guide.md" for one in await found("days carried over until March", top_k=50))
    assert ledger.value("SELECT count(*) FROM knowledge_chunk WHERE document_id = %s", ids["guide.md"]) == 0
    assert len(stored(db)) == 4
    async with client.delete(place) as answer:
        assert answer.status == 204
    assert (stored(db), ledger.value("SELECT count(*) FROM knowledge_chunk")) == ([], 0)
    acts = ledger.rows("SELECT action FROM accounts_auditevent WHERE action ~ '^(knowledge|document)' ORDER BY id")
    assert [one["action"] for one in acts] == [
        "knowledge.created", "document.added", "document.added", "document.deleted", "knowledge.deleted",
    ]  # fmt: skip


async def test_what_is_refused(site: Any, db: Platform, api_key: Callable[..., str]) -> None:
    client = site.client("acme", token=api_key())
    for body, param in (
        ({"slug": "Docs!"}, "slug"), ({"slug": "a", "chunk_size": 1}, "chunk_size"), ({"slug": "a", "x": 1}, "x"),
        ({"slug": "a", "roles": ["king"]}, "roles"), ({"slug": "a", "provider": "nobody"}, "provider"),
        ({"slug": "a", "chunk_overlap": 300}, "chunk_overlap"), ({"slug": "a", "dimension": 3}, "dimension"),
        ({"slug": "a", "provider": ["x"], "model": {}}, "provider"), ({"slug": "a", "name": "a\0"}, ""),
    ):  # fmt: skip
        async with client.post("/api/v1/knowledge", json=body) as answer:
            told = await answer.json()
            assert (answer.status, param in str(told)) == (400, True), told
    async with client.post("/api/v1/knowledge", json={"slug": "docs"}) as answer:
        assert answer.status == 201
    async with client.post("/api/v1/knowledge", json={"slug": "docs"}) as answer:
        assert answer.status == 409
    async with client.patch("/api/v1/knowledge/docs", json={"dimension": 512}) as answer:
        assert answer.status == 400
    place = "/api/v1/knowledge/docs"
    cases: list[tuple[str, Any, int]] = [
        ("files", {"data": form(("a.png", b"\x89PNG\r\n"))}, 415),
        ("files", {"data": form(("a.md", GUIDE), ("a.txt", b" "))}, 400),
        ("files", {"data": form(("a.md", GUIDE), tags="hr")}, 400),
        ("files", {"data": b"{}"}, 400),
        ("documents", {"json": {}}, 400),
        ("documents", {"json": {"url": "ftp://example.com/"}}, 400),
        ("documents", {"json": {"text": "x", "url": "https://example.com/"}}, 400),
        ("documents", {"json": {"text": "x", "tags": [""]}}, 400),
        ("documents", {"json": {"text": "x", "metadata": {"a": {"b": 1}}}}, 400),
    ]
    for where, sent, status in cases:
        async with client.post(f"{place}/{where}", **sent) as answer:
            assert answer.status == status, (where, sent, await answer.text())
    async with client.post(f"{place}/documents", json={"url": "http://127.0.0.1/secret"}) as answer:
        assert (await answer.json())["error"]["code"] == "provider_address_forbidden"
    assert stored(db) == []
