"""Documents become searchable whatever happens meanwhile: kills, cancelling, replacing, vendors that fail."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from core.errors import PaasError
from knowledge import documents, embedding, holding, ingest, search
from knowledge.models import Chunk, Document
from knowledge.search import Question
from tests.chat.ledger import Ledger
from tests.conftest import Platform
from tests.knowledge.conftest import bound, ingested, make, put

LONG = "\n\n".join(f"Paragraph {number} is about subject{number}." for number in range(400)).encode()


class Killed(BaseException):
    """As if the process had died: nothing is tidied up."""


def row(who: Any, document_id: uuid.UUID) -> Document:
    return bound(who, lambda: Document.objects.get(id=document_id))  # type: ignore[no-any-return]


def titles(who: Any, query: str) -> list[str]:
    return [one["title"] for one in bound(who, lambda: search.search(who, "docs", Question(query)))]


async def test_a_turn_that_is_killed_is_taken_up(host: Any, actor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = actor("owner")
    make(owner, chunk_size=50, chunk_overlap=0)
    (one,) = put(owner, "docs", ("long.md", LONG))
    asked: list[int] = []
    vectors = embedding.vectors

    async def counted(who: Any, base: Any, texts: Any) -> Any:
        asked.append(len(texts))
        if len(asked) == 2:
            raise Killed
        return await vectors(who, base, texts)

    monkeypatch.setattr(embedding, "vectors", counted)
    with pytest.raises(Killed):
        await ingest.turn(owner.tenant)
    half = row(owner, one.id)
    assert (half.state, half.live_version) == ("embedding", 0)
    assert 25 < half.progress < 100
    assert titles(owner, "subject3") == [], "half a document is not found"
    assert await ingest.turn(owner.tenant) is False, "its lease lasts"
    bound(owner, lambda: Document.objects.filter(id=one.id).update(leased_until=half.created_at))
    await ingested(owner)
    done = row(owner, one.id)
    assert (done.state, done.progress, done.live_version) == ("ready", 100, 1)
    count = bound(owner, lambda: Chunk.objects.filter(document_id=one.id, embedding__isnull=False).count())
    assert sum(asked) - ingest.BATCH == count == done.chunk_count, "nothing was embedded twice but what was lost"


@pytest.mark.exhaustive
async def test_cancelled_replaced_retried(host: Any, actor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = actor("owner")
    make(owner, chunk_size=50, chunk_overlap=0)
    (one,) = put(owner, "docs", ("a.md", b"The badger lives here."))
    await ingested(owner)

    def replace(data: bytes) -> None:
        import io

        source = documents.Source("a.md", len(data), io.BytesIO(data))
        documents.document_replace(actor=owner, slug="docs", document_id=one.id, source=source)

    bound(owner, lambda: replace(LONG))
    monkeypatch.setattr(ingest, "BATCHES", 1)
    assert await ingest.turn(owner.tenant)
    assert titles(owner, "badger") == ["a.md"], "the version before is found until the new one is ready"
    bound(owner, lambda: documents.document_cancel(actor=owner, slug="docs", document_id=one.id))
    assert await ingest.turn(owner.tenant) is False
    assert row(owner, one.id).state == "cancelled"
    monkeypatch.setattr(ingest, "BATCHES", 100)
    bound(owner, lambda: documents.document_retry(actor=owner, slug="docs", document_id=one.id))
    await ingested(owner)
    assert (row(owner, one.id).state, row(owner, one.id).live_version) == ("ready", 2)
    texts = [one["text"] for one in bound(owner, lambda: search.search(owner, "docs", Question("badger")))]
    assert not any("badger" in text for text in texts)
    with pytest.raises(PaasError, match="failed or was cancelled"):
        bound(owner, lambda: documents.document_retry(actor=owner, slug="docs", document_id=one.id))
    # Cancelled while a batch is on its way: nothing of it is kept.
    bound(owner, lambda: replace(LONG.replace(b"subject", b"topic")))
    vectors = embedding.vectors

    async def cancelled(who: Any, base: Any, texts: Any) -> Any:
        bound(owner, lambda: documents.document_cancel(actor=owner, slug="docs", document_id=one.id))
        return await vectors(who, base, texts)

    monkeypatch.setattr(embedding, "vectors", cancelled)
    await ingested(owner)
    assert row(owner, one.id).state == "cancelled"
    assert bound(owner, lambda: Chunk.objects.filter(document_id=one.id, version=3).count()) == 0


async def test_a_vendors_model_is_held_and_billed(
    host: Any, actor: Any, vendor: Any, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, db: Platform
) -> None:
    from llm.services import provider_create

    monkeypatch.setattr(ingest, "PAUSES", (0.0, 0.0))
    owner = actor("owner")
    models = {
        "embed-256": {"embeddings": True, "embedding_price": "1", "currency": "USD"},
        "fault-500": {"embeddings": True},
    }
    kept = {"name": f"vectors-{uuid.uuid4().hex[:8]}", "kind": "openai_compatible", "base_url": vendor.base_url}
    bound(owner, lambda: provider_create(actor="test", by_operator=True, models=models, **kept))
    with pytest.raises(PaasError, match="dimension"):
        make(owner, provider=kept["name"], model="embed-256")
    make(owner, provider=kept["name"], model="embed-256", dimension=256)
    (one,) = put(owner, "docs", ("a.md", b"The badger lives here."))
    await ingested(owner)
    assert (row(owner, one.id).state, row(owner, one.id).error) == ("ready", "")
    billed = ledger.rows("SELECT kind, user_id, cost FROM usage_usagerecord")
    assert [(used["kind"], used["user_id"]) for used in billed] == [("embeddings", owner.user_id)]
    assert billed[0]["cost"] > 0
    # A question is paid by who asks, also where that is a person who may use no such model by themselves.
    viewer = actor("viewer")
    found = await asyncio.to_thread(lambda: bound(viewer, lambda: search.search(viewer, "docs", Question("badger"))))
    assert found[0]["why"]["vector"]["rank"] == 1
    assert ledger.value("SELECT count(*) FROM usage_usagerecord WHERE user_id = %s", viewer.user_id) == 1
    # A vendor that fails: the document waits for it, and ends with a sentence where that lasts.
    make(owner, "other", provider=kept["name"], model="fault-500", dimension=256)
    (two,) = put(owner, "other", ("b.md", b"Text."))
    await ingested(owner)
    waits = row(owner, two.id)
    assert (waits.state, waits.failures, waits.lease) == ("embedding", 1, None)
    assert waits.not_before is not None
    assert waits.error
    monkeypatch.setattr(holding, "MOST_FAILURES", 1)
    bound(owner, lambda: Document.objects.update(not_before=None))
    await ingested(owner)
    failed = row(owner, two.id)
    assert (failed.state, failed.live_version) == ("failed", 0)
    assert failed.error


async def test_two_lanes_and_the_end_of_the_queue(
    host: Any, actor: Any, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenant has one job in the queue, however much it puts in; what is left is behind the others' (T16)."""
    owner, rival = actor("owner"), actor("rival")
    make(owner)
    make(rival)
    put(owner, "docs", *((f"{number}.md", b"Text.") for number in range(5)))
    put(rival, "docs", ("r.md", b"Text."))

    def line() -> list[str]:
        rows = ledger.rows("SELECT args FROM procrastinate_jobs WHERE status = 'todo' ORDER BY id")
        return [one["args"]["tenant_id"] for one in rows]

    assert line() == [str(owner.tenant.id), str(rival.tenant.id)]
    monkeypatch.setattr(ingest, "BATCHES", 2)  # reading one and a batch of it
    ledger.rows("DELETE FROM procrastinate_jobs WHERE args ->> 'tenant_id' = %s", str(owner.tenant.id))
    await ingest.work(owner.tenant)
    assert line() == [str(rival.tenant.id), str(owner.tenant.id)]
    bound(owner, lambda: Document.objects.filter(title__in=("1.md", "2.md")).update(
        leased_until=holding.Now() + holding.LEASE))  # fmt: skip
    assert await ingest.turn(owner.tenant) is False
    assert bound(owner, lambda: Document.objects.filter(state="queued").count()) == 4
    ledger.rows("DELETE FROM procrastinate_jobs")
    await ingest.work(owner.tenant)
    assert line() == [], "who has all turns puts the next job there, and nobody goes round in a circle"
