"""Tenants' schemas in the console: what the worker found, and the next try (A76)."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from procrastinate.contrib.django.models import ProcrastinateJob

from accounts.models import AuditEvent
from paas import jobs
from tenants import migrate, scope
from tenants.models import Tenant
from tests.conftest import Platform, in_thread
from tests.console import Console, console  # noqa: F401 - the fixture
from tests.services import Services

PLACE = "/admin/tenants/tenantschema"
LOST = "UPDATE {schema}.django_migrations SET app = '{to}' WHERE app = '{of}' AND name = '0001_initial'"


def row(tenant: Any) -> Tenant:
    with scope.platform():
        found: Tenant = Tenant.objects.get(pk=tenant.id)
        return found


@pytest.fixture
def behind(db: Platform, services: Services) -> Any:
    """Acme's schema does not know that it has a migration."""
    with psycopg.connect(services.postgres.admin_url, dbname="paas", autocommit=True) as admin:
        admin.execute(LOST.format(schema=db.acme.schema, to="gone", of="llm").encode())
        yield
        admin.execute(LOST.format(schema=db.acme.schema, to="llm", of="gone").encode())


def test_what_is_behind_is_noted_and_shown(db: Platform, behind: None, console: Console) -> None:
    assert migrate.note_states() == 1
    assert (row(db.acme).schema_missing, row(db.globex).schema_missing) == (["llm.0001_initial"], [])
    with scope.platform():
        words = console.said(f"{PLACE}/{db.acme.id}/change")
        assert "llm.0001_initial" in words
        listed: Any = console.client.get(f"{PLACE}/?schema=behind").context_data["cl"]
        assert [one.slug for one in listed.result_list] == ["acme"]
        assert "1 migrations behind" in console.said(f"/admin/tenants/tenant/{db.acme.id}/change")


async def test_the_next_try(db: Platform, behind: None, site: Any) -> None:
    """An operator asks, the worker tries, and says in the tenant's row why it failed."""

    def ask() -> None:
        with scope.platform():
            console = Console()
            assert "acme" in console.said(f"{PLACE}/{db.acme.id}/migrate")
            assert not ProcrastinateJob.objects.exists(), "a page that asks does nothing"
            for _twice in range(2):
                assert console.post(f"{PLACE}/{db.acme.id}/migrate").status_code == 302
            job = ProcrastinateJob.objects.get()
            assert (job.task_name, job.args["tenant_id"]) == (jobs.MIGRATE, str(db.acme.id))
            told = AuditEvent.objects.filter(action="schema.migration_asked")
            assert set(told.values_list("actor", "target")) == {(f"operator:{console.user.pk}", "acme")}
            assert console.post(f"{PLACE}/look-again").status_code == 302
            assert ProcrastinateJob.objects.filter(task_name=jobs.LOOK_NOW).count() == 1

    in_thread(ask)
    from tenants.jobs import app

    with pytest.raises(KeyError):
        await app.tasks[jobs.MIGRATE].func(tenant_id=str(db.acme.id))
    failed = in_thread(lambda: row(db.acme))
    assert failed.schema_failure.startswith("KeyError: ")
    assert failed.schema_missing == ["llm.0001_initial"]
    await app.tasks[jobs.MIGRATE].func(tenant_id=str(db.globex.id))
    assert in_thread(lambda: row(db.globex)).schema_failure == ""


async def test_once_mended_it_is_whole_again(db: Platform) -> None:
    def spoil() -> None:
        with scope.platform():
            Tenant.objects.filter(pk=db.acme.id).update(schema_missing=["x.1"], schema_failure="no room")

    in_thread(spoil)
    from tenants.jobs import app

    await app.tasks[jobs.LOOK_NOW].func()
    found = in_thread(lambda: row(db.acme))
    assert (found.schema_missing, found.schema_failure) == ([], "")


def test_tables_that_cannot_be_read_are_noted(db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    def unfit(tenant: Any) -> None:
        raise migrate.SchemaUnfit("chat_run of acme: column does not exist")

    monkeypatch.setattr(migrate, "look_at", unfit)
    with pytest.raises(migrate.SchemaUnfit):
        migrate.migrate_all(lambda line: None, first=["acme"], only=True)
    assert row(db.acme).schema_failure == "chat_run of acme: column does not exist"


def test_other_staff_asks_for_nothing(db: Platform) -> None:
    with scope.platform():
        staff = Console(superuser=False)
        for path in (f"{db.acme.id}/migrate", "look-again"):
            assert staff.post(f"{PLACE}/{path}").status_code in (302, 403, 404), path
        assert not ProcrastinateJob.objects.exists()
