"""Real workers, stopped with SIGTERM and killed with SIGKILL in the middle of a document (A73, T16 for ingestion)."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from bench.embeddings import document_of
from knowledge import ingest
from knowledge.models import Chunk, Document
from tests.chat.ledger import Ledger, eventually
from tests.chat.test_killed_worker import begin_worker
from tests.knowledge.conftest import bound, make, put
from tests.knowledge.test_ingest import LONG, row

__all__ = ["begin_worker"]
pytestmark = pytest.mark.fault


class Slow:
    """A vendor of vectors that keeps each second call waiting until it is let go. texts: how often each was asked."""

    def __init__(self) -> None:
        self.texts: Counter[str] = Counter()
        self.calls = 0
        self.holds = True
        self.held = asyncio.Event()
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self.texts.update(asked["input"])
        self.calls += 1
        if self.holds and self.calls % 2 == 0:
            self.held.set()
            await asyncio.Event().wait()
        return web.json_response(document_of(asked))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Slow]:
        app = web.Application()
        app.router.add_post("/v1/embeddings", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        try:
            yield self
        finally:
            await runner.cleanup()


@pytest.mark.exhaustive
async def test_a_document_is_taken_up_by_the_next_worker(
    host: Any,
    actor: Any,
    ledger: Ledger,
    begin_worker: Any,
) -> None:
    owner = actor("owner")
    async with Slow().serving() as slow:
        account = {"name": "slow-vectors", "kind": "openai_compatible", "base_url": slow.url}
        models = {"embed-256": {"embeddings": True}}

        def set_up() -> Any:
            from llm.services import provider_create

            return provider_create(actor="test", by_operator=True, models=models, **account)

        bound(owner, set_up)
        make(owner, provider=account["name"], model="embed-256", dimension=256, chunk_size=50, chunk_overlap=0)
        (one,) = put(owner, "docs", ("long.md", LONG))
        first = begin_worker()
        await asyncio.wait_for(slow.held.wait(), 60)
        # Told to stop, it hands the document back at once; what it has is kept.
        first.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(first.wait, 60) == 0
        left = row(owner, one.id)
        assert (left.state, left.lease, left.live_version) == ("embedding", None, 0)
        assert done(owner, one.id) == ingest.BATCH
        # Killed, its lease has to run out; the job that looks every minute finds the document then.
        slow.held.clear()
        second = begin_worker()
        await asyncio.wait_for(slow.held.wait(), 60)
        second.send_signal(signal.SIGKILL)
        await asyncio.to_thread(second.wait, 60)
        left = row(owner, one.id)
        assert (left.state, left.lease is None, done(owner, one.id)) == ("embedding", False, 2 * ingest.BATCH)
        assert bound(owner, ingest.wake_if_waiting) is False, "it is still somebody's"
        bound(owner, lambda: Document.objects.filter(id=one.id).update(leased_until=left.created_at))
        assert bound(owner, ingest.wake_if_waiting) is True
        slow.holds = False
        await eventually(lambda: ledger.rows("SELECT 1 FROM procrastinate_jobs WHERE status = 'todo'"))
        await ingest.work(owner.tenant)
    ready = row(owner, one.id)
    passages = bound(owner, lambda: list(Chunk.objects.filter(document_id=one.id, embedding__isnull=False)))
    assert (ready.state, ready.progress, ready.live_version) == ("ready", 100, 1)
    assert sorted(passage.ordinal for passage in passages) == list(range(1, ready.chunk_count + 1))
    # Only the two batches whose answers were lost were asked for again.
    again = [text for text, times in slow.texts.items() if times > 1]
    assert len(slow.texts) == ready.chunk_count
    assert (len(again), max(slow.texts.values())) == (2 * ingest.BATCH, 2)


def done(owner: Any, document_id: Any) -> int:
    """How many of its passages have vectors."""
    found = Chunk.objects.filter(document_id=document_id, embedding__isnull=False)
    return bound(owner, found.count)  # type: ignore[no-any-return]
