"""Work on documents goes on whatever comes between: stops, kills, cancelling, vendors that are busy, other tenants."""

from __future__ import annotations

import asyncio
import io
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.documents import confined
from core.documents.blocks import Block
from core.errors import PaasError
from knowledge import documents, embedding, holding, ingest, reading, search
from knowledge.bases import base_update
from knowledge.documents import Source
from knowledge.generations import base_reindex, switch_where_due
from knowledge.models import Chunk, Document, KnowledgeBase, PageText
from knowledge.search import Question
from llm.services import provider_create
from tenants import scope
from tests.chat.ledger import Ledger
from tests.core.test_whole_documents import scan
from tests.knowledge.conftest import bound, ingested, make, put
from tests.knowledge.test_ingest import LONG, Killed, row


class Asked:
    """The embedder, counted; it can be made to wait, or to refuse."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts: list[str] = []
        self.error: BaseException | None = None
        self.waits = False
        self.waiting = asyncio.Event()
        self._asked = embedding.vectors
        monkeypatch.setattr(embedding, "vectors", self)

    async def __call__(self, who: Any, base: Any, texts: list[str]) -> Any:
        if self.waits:
            self.waiting.set()
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        found = await self._asked(who, base, texts)
        self.texts += texts
        return found


def jobs_of(ledger: Ledger) -> int:
    return len(ledger.rows("SELECT 1 FROM procrastinate_jobs WHERE task_name = 'knowledge.ingest' AND status = 'todo'"))


async def test_what_is_stopped_or_cancelled_is_let_go_at_once(
    host: Any, actor: Any, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, asked = actor("owner"), Asked(monkeypatch)
    make(owner, chunk_size=50, chunk_overlap=0)
    (one,) = put(owner, "docs", ("a.md", LONG))
    ledger.rows("DELETE FROM procrastinate_jobs")
    monkeypatch.setattr(ingest, "BATCHES", 3)
    assert await ingest.turn(owner.tenant)
    done = len(asked.texts)
    assert done == 2 * ingest.BATCH
    ledger.rows("DELETE FROM procrastinate_jobs")
    asked.waits = True
    turn = asyncio.create_task(ingest.turn(owner.tenant))
    await asked.waiting.wait()
    assert row(owner, one.id).lease is not None
    ingest.stop()  # SIGTERM
    assert await turn
    left = row(owner, one.id)
    assert (left.lease, left.leased_until, left.state) == (None, None, "embedding")
    assert jobs_of(ledger) == 1, "another worker is told"
    await ingest.work(owner.tenant)
    assert row(owner, one.id).lease is None, "nothing is begun any more"
    ingest._stopped.clear()
    # Cancelled in the middle of a call: it is not waited for.
    asked.waiting.clear()
    monkeypatch.setattr(holding, "LOOK_SECONDS", 0.01)
    turn = asyncio.create_task(ingest.turn(owner.tenant))
    await asked.waiting.wait()
    bound(owner, lambda: documents.document_cancel(actor=owner, slug="docs", document_id=one.id))
    assert await turn
    assert row(owner, one.id).state == "cancelled"
    assert bound(owner, lambda: Chunk.objects.filter(document_id=one.id).count()) == 0


@pytest.mark.exhaustive
async def test_killed_while_it_is_read(host: Any, actor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, asked = actor("owner"), Asked(monkeypatch)
    make(owner, chunk_size=50, chunk_overlap=0)
    (one,) = put(owner, "docs", ("a.md", LONG))
    monkeypatch.setattr(reading, "ROWS", 20)
    write, times = reading._Written._write, []

    def dies(self: Any) -> None:
        times.append(1)
        if len(times) == 3:
            raise Killed
        write(self)

    monkeypatch.setattr(reading._Written, "_write", dies)
    with pytest.raises(Killed):
        await ingest.turn(owner.tenant)
    half = row(owner, one.id)
    assert (half.state, half.cut_version) == ("parsing", 0)
    assert bound(owner, lambda: Chunk.objects.filter(document_id=one.id).count()) == 40
    bound(owner, lambda: Document.objects.update(leased_until=half.created_at))
    await ingested(owner)
    done = row(owner, one.id)
    ordinals = bound(owner, lambda: list(Chunk.objects.order_by("ordinal").values_list("ordinal", flat=True)))
    assert done.state == "ready"
    assert ordinals == list(range(1, done.chunk_count + 1))
    assert len(asked.texts) == done.chunk_count
    # Another version asks only for what is new; so does reading it anew with the same settings.
    asked.texts.clear()
    fresh = LONG + b"\n\nThe badger has moved."
    again = Source("a.md", len(fresh), io.BytesIO(fresh))
    bound(owner, lambda: documents.document_replace(actor=owner, slug="docs", document_id=one.id, source=again))
    await ingested(owner)
    assert (row(owner, one.id).live_version, len(asked.texts)) == (2, 1)
    assert bound(owner, lambda: base_reindex(actor=owner, slug="docs")) == 1
    await ingested(owner)
    assert (row(owner, one.id).live_version, len(asked.texts)) == (3, 1)
    bound(owner, lambda: base_update(actor=owner, slug="docs", fields={"chunk_size": 100}))
    bound(owner, lambda: base_reindex(actor=owner, slug="docs"))
    assert bound(owner, lambda: search.search(owner, "docs", Question("badger")))[0]["version"] == 3, (
        "found all the while"
    )
    await ingested(owner)
    assert row(owner, one.id).chunk_count < done.chunk_count


@pytest.mark.exhaustive
async def test_another_model_for_all_at_once(
    host: Any, actor: Any, vendor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searches find the former generation until the last document is ready."""
    owner = actor("owner")
    make(owner)
    put(owner, "docs", *((f"{n}.md", f"The badger has {n} holes.".encode()) for n in range(3)))
    await ingested(owner)
    kept = {"name": f"vectors-{uuid.uuid4().hex[:8]}", "kind": "openai_compatible", "base_url": vendor.base_url}
    models = {"embed-256": {"embeddings": True}}
    bound(owner, lambda: provider_create(actor="test", by_operator=True, models=models, **kept))
    wanted = {"provider": kept["name"], "model": "embed-256", "dimension": 256}
    with pytest.raises(PaasError, match="no embeddings model"):
        bound(owner, lambda: base_reindex(actor=owner, slug="docs", model=wanted | {"model": "x"}))
    assert bound(owner, lambda: base_reindex(actor=owner, slug="docs", model=wanted)) == 3
    monkeypatch.setattr(ingest, "BATCHES", 2)

    def state() -> tuple[str, str, set[int], int]:
        base = KnowledgeBase.objects.get(slug="docs")
        found = search.search(owner, "docs", Question("badger holes", top_k=50))
        return base.model, base.next_model, {one["version"] for one in found}, len(found)

    for _ in range(2):
        assert await ingest.turn(owner.tenant)
    assert bound(owner, state) == ("hashing", "embed-256", {1}, 3)
    # The last one fails: those that are ready change over, and it is found no more.
    last = bound(owner, lambda: Document.objects.get(state="queued"))
    bound(owner, lambda: documents.document_cancel(actor=owner, slug="docs", document_id=last.id))
    bound(owner, switch_where_due)
    told = await asyncio.to_thread(bound, owner, state)
    assert told == ("embed-256", "", {2}, 2)
    assert bound(owner, lambda: Chunk.objects.count()) == 2


async def test_a_vendor_that_is_busy_is_waited_for_outside(
    host: Any, actor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, asked = actor("owner"), Asked(monkeypatch)
    monkeypatch.setattr(ingest, "PAUSES", ())
    make(owner)
    (one,) = put(owner, "docs", ("a.md", b"Text."))
    asked.error = PaasError("provider_rate_limited", retry_after=600)
    assert await ingest.turn(owner.tenant)
    waits = row(owner, one.id)
    assert (waits.state, waits.failures, waits.lease) == ("embedding", 1, None)
    assert waits.not_before is not None
    assert (waits.not_before - waits.updated_at).total_seconds() == 600
    assert await ingest.turn(owner.tenant) is False
    asked.error = None
    bound(owner, lambda: Document.objects.update(not_before=None))
    await ingested(owner)
    assert (row(owner, one.id).state, row(owner, one.id).failures, row(owner, one.id).error) == ("ready", 0, "")


@pytest.mark.exhaustive
async def test_many_documents_of_one_hold_up_nobody(
    host: Any, actor: Any, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T16: jobs are taken in the queue's order, as a worker does; a tenant with twice the weight does twice as much."""
    owner, rival = actor("owner"), actor("rival")
    make(owner)
    make(rival)
    put(owner, "docs", *((f"{number}.md", b"Text.") for number in range(9)))
    put(rival, "docs", *((f"{number}.md", b"Text.") for number in range(4)))
    monkeypatch.setattr(ingest, "BATCHES", 2)  # one document
    weights = {owner.tenant.id: 2, rival.tenant.id: 1}
    monkeypatch.setattr(ingest.limits, "ingest_weight", lambda: weights[scope.current_tenant().id])
    order = []
    while taken := ledger.rows(
        "DELETE FROM procrastinate_jobs WHERE id = (SELECT min(id) FROM procrastinate_jobs "
        "WHERE task_name = 'knowledge.ingest') RETURNING args"
    ):
        who = owner if taken[0]["args"]["tenant_id"] == str(owner.tenant.id) else rival
        before = bound(who, lambda who=who: Document.objects.filter(state="ready").count())
        await ingest.work(who.tenant)
        done = bound(who, lambda who=who: Document.objects.filter(state="ready").count()) - before
        order.append(("owner" if who is owner else "rival", done))
    assert order == [("owner", 2), ("rival", 1)] * 4 + [("owner", 1)]


@pytest.mark.exhaustive
async def test_one_document_comes_soon_behind_two_hundred(host: Any, actor: Any, ledger: Ledger) -> None:
    """T16: whoever has put in two hundred has one job in the queue, so that of the other is the next one."""
    owner, rival = actor("owner"), actor("rival")
    make(owner)
    make(rival)
    for _ in range(2):
        put(owner, "docs", *((f"{number}.md", b"Text.") for number in range(100)))
    put(rival, "docs", ("one.md", b"Text."))
    jobs = 0
    while not bound(rival, lambda: Document.objects.filter(state="ready").exists()):
        (taken,) = ledger.rows(
            "DELETE FROM procrastinate_jobs WHERE id = (SELECT min(id) FROM procrastinate_jobs "
            "WHERE task_name = 'knowledge.ingest') RETURNING args"
        )
        jobs += 1
        assert jobs <= 2
        await ingest.work((owner if taken["args"]["tenant_id"] == str(owner.tenant.id) else rival).tenant)
    assert bound(owner, lambda: Document.objects.filter(state="ready").count()) <= ingest.BATCHES, "one job's worth"


def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """OCR whose models are scripted: each page says its number. The pages that were looked at."""
    seen: list[str] = []
    whole = confined.whole

    async def scripted(source: Any, kind: str, asked: Any) -> AsyncIterator[list[Block]]:
        if not kind.startswith("ocr:"):
            async for batch in whole(source, kind, asked):
                yield batch
            return
        for page in (asked.pages or "1").split():
            if page == "4" and "4" not in seen:
                seen.append(page)
                raise Killed
            seen.append(page)
            yield [Block(f"Scanned page {page}.\n\nThe gnu signs here.", int(page))]

    monkeypatch.setattr(confined, "whole", scripted)
    monkeypatch.setattr(reading, "installed", lambda: True)
    return seen


def scans(*after: bytes) -> bytes:
    """A page of text, and pictures."""
    from pypdf import PdfWriter

    writer = PdfWriter()
    for one in (scan(), *after):
        writer.append(io.BytesIO(one))
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


@pytest.mark.exhaustive
async def test_pictures_are_looked_at_once(host: Any, actor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = actor("owner")
    make(owner)
    make(owner, "blind", ocr="never")
    picture = ("a.png", b"\x89PNG\r\n\x1a\n" + b"x" * 50)
    put(owner, "docs", picture, ("scan.pdf", scan()))
    put(owner, "blind", picture)
    monkeypatch.setattr(reading, "installed", lambda: False)
    await ingested(owner)

    def told() -> list[tuple[str, str, str]]:
        found = bound(owner, lambda: list(Document.objects.order_by("id")))
        return [(one.state, one.step, one.error) for one in found]

    missing, mixed, never = told()
    assert (missing[0], missing[2][:20]) == ("failed", "OCR is not installed")
    assert mixed == ("ready", "pages not read, as they are pictures: 1", ""), "what can be read is read"
    assert "set to never" in never[2]
    seen = looks(monkeypatch)
    (one,) = put(owner, "docs", ("long.pdf", scans(scan())))
    with pytest.raises(Killed):
        while await ingest.turn(owner.tenant):
            pass
    assert seen == ["2", "4"]
    bound(owner, lambda: Document.objects.filter(id=one.id).update(leased_until=one.created_at))
    await ingested(owner)
    done = row(owner, one.id)
    assert (done.state, done.pages, done.step) == ("ready", 4, "")
    assert seen == ["2", "4", "4"], "what was read before the kill is not read again"
    (hit, *_) = bound(owner, lambda: search.search(owner, "docs", Question("gnu signs")))
    assert (hit["title"], hit["page"]) == ("long.pdf", 1)
    assert hit["text"].startswith("Deposits are returned.\nScanned page 2.")
    assert bound(owner, lambda: PageText.objects.filter(document_id=one.id).count()) == 0
