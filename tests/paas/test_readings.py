"""What workers tell of the database: runs that nobody takes or ends, jobs that wait, books that are broken."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import Any

from chat.tasks import BACKGROUND_LEASE_SECONDS
from core import clock
from paas.readings import Readings
from tenants import jobs, scope
from tests.conftest import in_thread
from tests.tenants.test_jobs import NAME
from usage.models import LedgerHead, Reservation

HOUR = timedelta(hours=1)


async def told() -> dict[tuple[str, ...], float]:
    """(name, labels' values...) -> value."""
    found = Readings()
    assert list(found.collect()) == []
    await found.read()
    return {
        (sample.name, *sample.labels.values()): sample.value for family in found.collect() for sample in family.samples
    }


def hold(tenant: Any, host: str, fence: int, lease_left: timedelta, age: timedelta) -> None:
    held = Reservation.objects.create(
        run_id=uuid.uuid4(), tenant_id=tenant.id, amount=1, host=host, fence=fence, lease_until=clock.now() + lease_left
    )
    Reservation.objects.filter(pk=held.pk).update(created_at=clock.now() - age)


async def test_who_holds_runs_and_for_how_long_none_was_taken(db: Any, host: Any) -> None:
    lease = timedelta(seconds=BACKGROUND_LEASE_SECONDS)

    def rows() -> None:
        with scope.platform():
            hold(db.acme, "worker", 1, lease, HOUR)
            hold(db.acme, "worker", 2, lease, 9 * HOUR)  # its process let go of it just now
            hold(db.acme, "resume", 3, lease - 2 * HOUR, 9 * HOUR)  # decided on two hours ago
            hold(db.globex, "approval", 2, lease, 9 * HOUR)
            hold(db.globex, "web-1", 1, HOUR, HOUR)
            hold(db.globex, "web-2", 1, -3 * HOUR, 4 * HOUR)

    await asyncio.to_thread(in_thread, rows)
    found = await told()
    held = {
        holder: found["paas_reservations_held", holder] for holder in ("unclaimed", "approval", "executing", "lapsed")
    }
    assert held == {"unclaimed": 3, "approval": 1, "executing": 2, "lapsed": 1}
    ages = {holder: round(found["paas_reservation_age_seconds", holder] / 3600) for holder in held}
    assert ages == {"unclaimed": 2, "approval": 9, "executing": 4, "lapsed": 3}


async def test_jobs_that_wait_and_books_that_are_broken(db: Any, host: Any) -> None:
    before = await told()

    def rows() -> None:
        with scope.bind(db.acme):
            jobs.enqueue(NAME, value=1)
        with scope.platform():
            LedgerHead.objects.create(tenant_id=db.acme.id, problem="The seal #2 is missing.", verified_at=None)
            LedgerHead.objects.create(tenant_id=db.globex.id, verified_at=clock.now() - HOUR)

    await asyncio.to_thread(in_thread, rows)
    found = await told()
    assert found["paas_jobs", "todo"] == before["paas_jobs", "todo"] + 1
    assert found["paas_jobs_waiting_seconds",] >= 0
    assert (found["paas_chain_broken", "ledger"], found["paas_chain_broken", "audit"]) == (1, 0)
    assert found["paas_chain_verified_timestamp_seconds", "ledger"] > 0
    assert before["paas_chain_verified_timestamp_seconds", "ledger"] == 0
