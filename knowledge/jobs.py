"""The worker's work of this room."""

from __future__ import annotations

from knowledge import ingest as ingesting
from knowledge import uploads
from tenants import scope
from tenants.jobs import every, job


@job("knowledge.ingest")
async def ingest() -> None:
    """Work on the tenant's next document for a while."""
    await ingesting.work(scope.current_tenant())


@every("* * * * * 40", "knowledge.resume")
async def resume() -> int:
    """Take up what a killed worker has left; every minute. Returns in how many tenants."""
    return await scope.run_patiently(_resume)


def _resume() -> int:
    return sum(ingesting.wake_if_waiting() for _ in scope.each_tenant())


@every("35 * * * *", "knowledge.forget_uploads")
async def forget_uploads() -> int:
    """Delete what has stopped arriving; every hour. Returns how many."""
    return await scope.run_patiently(_forget)


def _forget() -> int:
    return sum(uploads.uploads_forget() for _ in scope.each_tenant())
