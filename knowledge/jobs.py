"""The worker's work of this room."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime

from core import clock, metrics
from knowledge import counts, generations, uploads
from knowledge import ingest as ingesting
from knowledge.models import Document
from tenants import scope
from tenants.jobs import every, job


@job("knowledge.ingest")
async def ingest() -> None:
    """Work on the tenant's next document for a while."""
    await ingesting.work(scope.current_tenant())


@every("* * * * * 40", "knowledge.resume")
async def resume() -> int:
    """Take up what a killed worker has left, and what has waited for something that passes; every minute. Counts the
    documents on its way. Returns in how many tenants something waits."""
    return await scope.run_patiently(_resume)


def _resume() -> int:
    found: Counter[str] = Counter()
    oldest: list[datetime] = []
    waiting = 0
    for _ in scope.each_tenant():
        generations.switch_where_due()
        waiting += ingesting.wake_if_waiting()
        found += counts.states()
        oldest += filter(None, [counts.waiting_since()])
    for state in Document.State.values:
        metrics.DOCUMENTS_STORED.labels(state).set(found[state])
    metrics.DOCUMENTS_AGE.set(max((clock.now() - min(oldest)).total_seconds(), 0) if oldest else 0)
    metrics.DOCUMENTS_READ.set(time.time())
    return waiting


@every("35 * * * *", "knowledge.forget_uploads")
async def forget_uploads() -> int:
    """Delete what has stopped arriving; every hour. Returns how many."""
    return await scope.run_patiently(_forget)


def _forget() -> int:
    return sum(uploads.uploads_forget() for _ in scope.each_tenant())
