"""Jobs: written in the caller's transaction, run bound to their tenant or not at all (P22, P23, A6, A21)."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from django.db import connection, transaction
from procrastinate.contrib.django import app

from tenants import jobs, scope
from tenants.models import Tenant
from tenants.scope import TenantNotBound
from tests.conftest import Platform, in_thread

NAME = "tests.note"
seen: list[tuple[str, Any]] = []


async def note(value: Any) -> None:
    seen.append((scope.current_tenant().slug, value))


jobs.job(NAME)(note)


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    seen.clear()


def stored() -> list[tuple[str, dict[str, Any]]]:
    def read() -> Any:
        with scope.platform(), connection.cursor() as cursor:
            cursor.execute("SELECT task_name, args::text FROM procrastinate_jobs ORDER BY id")
            return [(name, json.loads(arguments)) for name, arguments in cursor.fetchall()]

    found: list[tuple[str, dict[str, Any]]] = in_thread(read)
    return found


def test_a_job_is_there_if_its_transaction_is(db: Platform) -> None:
    with scope.bind(db.acme):
        with transaction.atomic():
            jobs.enqueue(NAME, value=1)
            assert scope.current_tenant() == db.acme
            with connection.cursor() as cursor:
                cursor.execute("SELECT current_user")
                assert cursor.fetchone() == (db.acme.schema,), "and the caller goes on as itself"
        with transaction.atomic():
            jobs.enqueue(NAME, value=2)
            transaction.set_rollback(True)
    with scope.bind(db.globex):
        jobs.enqueue(NAME, value=3)
    connection.close()
    assert stored() == [
        (NAME, {"value": 1, "tenant_id": str(db.acme.id)}),
        (NAME, {"value": 3, "tenant_id": str(db.globex.id)}),
    ]


def test_a_job_belongs_to_a_tenant(db: Platform) -> None:
    with pytest.raises(TenantNotBound):
        jobs.enqueue(NAME, value=1)
    with scope.platform(), pytest.raises(TenantNotBound):
        jobs.enqueue(NAME, value=1)
    assert stored() == []


def test_tenants_do_not_see_the_queue(db: Platform) -> None:
    from django.db import ProgrammingError

    with scope.bind(db.acme):
        jobs.enqueue(NAME, value=1)
        with pytest.raises(ProgrammingError, match="permission denied"), connection.cursor() as cursor:
            cursor.execute("SELECT args FROM procrastinate_jobs")
    connection.close()


async def test_a_job_runs_as_its_tenant(db: Platform) -> None:
    for tenant in (db.acme, db.globex):
        await app.tasks[NAME](tenant_id=str(tenant.id), value=tenant.slug)
    assert seen == [("acme", "acme"), ("globex", "globex")]
    assert not scope.is_bound()


async def test_a_job_without_a_tenant_is_refused(db: Platform) -> None:
    with pytest.raises(TenantNotBound):
        await app.tasks[NAME](value=1)
    with scope.bind(db.acme), pytest.raises(TenantNotBound):
        await app.tasks[NAME](value=1)
    assert seen == []


@pytest.mark.parametrize("status", ["suspended", "deleting"])
async def test_a_job_of_a_tenant_that_may_not_act_is_skipped(db: Platform, status: str) -> None:
    def set_status(value: str) -> None:
        def work() -> None:
            with scope.platform():
                Tenant.objects.filter(pk=db.acme.id).update(status=value)

        in_thread(work)

    set_status(status)
    try:
        await app.tasks[NAME](tenant_id=str(db.acme.id), value=1)
    finally:
        set_status("active")
    await app.tasks[NAME](tenant_id=str(uuid.uuid4()), value=2)
    assert seen == []


async def test_periodic_work_is_the_platforms(db: Platform) -> None:
    bound: list[Any] = []

    @jobs.every("0 0 1 1 *", "tests.yearly")
    async def yearly() -> None:
        bound.append(scope.current_binding())

    await app.tasks["tests.yearly"](timestamp=0)
    assert bound == [scope.PLATFORM]
