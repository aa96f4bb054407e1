"""The live stream of a base: what changes is told once, to who may see it, for as long as they may."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chat.transports import knowledge as door
from knowledge.models import Document, KnowledgeBase
from knowledge.progress import Watch
from tests.chat.ledger import eventually
from tests.conftest import Platform
from tests.knowledge.conftest import bound, ingested, make, put

PLACE = "/api/v1/knowledge/docs/events"


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "BUSY_SECONDS", 0.02)
    monkeypatch.setattr(door, "IDLE_SECONDS", 0.02)


async def events(answer: Any) -> AsyncIterator[tuple[str, Any]]:
    name = ""
    async for line in answer.content:
        if line.startswith(b"event: "):
            name = line[7:].strip().decode()
        elif line.startswith(b"data: "):
            yield name, json.loads(line[6:])


async def test_from_queued_to_ready_and_out(site: Any, db: Platform, actor: Any, hurried: None) -> None:
    owner = actor("owner")
    make(owner, access="restricted", roles=["viewer"])
    put(owner, "docs", ("a.md", b"The gate is green."), ("b.pdf", b"%PDF-1.4 nothing"))
    viewer = await site.signed_in("viewer")
    async with asyncio.timeout(20), viewer.get(PLACE, headers={"Last-Event-ID": "7"}) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        stream = events(answer)
        kind, first = await anext(stream)
        assert (kind, {one["state"] for one in first["documents"]}, first["counts"]) == (
            "documents",
            {"queued"},
            {"queued": 2},
        )
        await ingested(owner)
        last: dict[str, Any] = {}
        while {one["state"] for one in last.values()} != {"ready", "failed"}:
            _, told = await anext(stream)
            last |= {one["title"]: one for one in told["documents"]}
        assert (last["a.md"]["progress"], last["a.md"]["chunks"], last["a.md"]["searchable"]) == (100, 1, True)
        assert "damaged" in last["b.pdf"]["error"]
        # Who may read it no longer is told so, and the stream ends (P36).
        bound(owner, lambda: KnowledgeBase.objects.update(roles=[]))
        told = [one async for one in stream if one[0] == "end"]
        assert [one["code"] for _, one in told] == ["not_found"]
    await eventually(lambda: not door._open)
    async with viewer.get(PLACE) as answer:
        assert answer.status == 404


async def test_a_person_has_so_many(site: Any, actor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make(actor("owner"))
    monkeypatch.setattr(door, "MOST_STREAMS", 1)
    member, other = await site.signed_in("member"), await site.signed_in("viewer")
    async with member.get(PLACE) as answer:
        await answer.content.readline()
        async with member.get(PLACE) as second:
            assert (second.status, (await second.json())["error"]["code"]) == (429, "too_many_connections")
        async with other.get(PLACE) as theirs:
            assert theirs.status == 200
    async with member.post(PLACE, headers={"Origin": site.url("acme")}) as answer:
        assert answer.status == 405


async def test_what_is_deleted_and_what_is_told_twice(actor: Any) -> None:
    owner = actor("owner")
    make(owner)
    one, other = put(owner, "docs", ("a.md", b"x"), ("b.md", b"y"))
    watch = Watch("docs")

    def look() -> Any:
        return bound(owner, lambda: watch.look(owner))

    assert len(look()["documents"]) == 2
    assert (look(), watch.busy) == (None, True)
    bound(owner, lambda: Document.objects.filter(id=one.id).delete())
    told = look()
    assert (told["gone"], told["documents"], told["counts"]) == ([str(one.id)], [], {"queued": 1})
    # What was done long ago is told when it is waited for, whenever that was.
    done = {"state": "ready", "updated_at": "2026-01-01T00:00:00Z"}
    bound(owner, lambda: Document.objects.filter(id=other.id).update(**done))
    assert [row["state"] for row in look()["documents"]] == ["ready"]
    assert (look(), watch.busy) == (None, False)
