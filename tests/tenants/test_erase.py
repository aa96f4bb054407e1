"""The end of a tenant: a grace in which it can be had back, then nothing is left but its tombstone (A77)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import DatabaseError, connection, connections

from accounts import codes, keys, tenant_life
from accounts.models import ApiKey, AuditEvent, Invitation, Membership, OneTimeCode, Session
from core import clock
from core.errors import PaasError
from tenants import erasure, isolation, migrate, resolve, scope
from tenants.models import Domain, RetiredSlug, Tenant
from tests.conftest import Platform, in_thread
from tests.contracts.sampling import sampled
from tests.services import Services
from tests.tenants import life
from tests.tenants.test_provisioning import at_statement
from usage.models import Quota, UsageRecord


@pytest.fixture(autouse=True)
def _clean(db: Platform, services: Services) -> Iterator[None]:
    with life.cleaned(services):
        yield
        connections.close_all()


def furnished(slug: str = "leaving") -> Tenant:
    """An active tenant with something of everything."""
    tenant = life.made(slug)
    with scope.bind(tenant.ref()):
        key, _ = keys.key_create(name="k", scopes=["*"], actor="test")
        keys.key_create(name="child", scopes=["*"], actor="test")
        ApiKey.objects.filter(name="child").update(parent=key)
        default_storage.save("notes.txt", ContentFile(b"secret"))
    now = clock.now()
    with scope.platform():
        owner = Membership.objects.get(tenant=tenant).user
        Session.objects.create(session_key=f"s-{slug}", session_data="", expire_date=now, tenant=tenant, user=owner)
        Invitation.objects.create(tenant=tenant, email="x@y.test", digest=slug.encode(), expires_at=now)
        Domain.objects.create(tenant=tenant, domain=f"{slug}.example.com")
        Quota.objects.create(
            tenant=tenant, level="tenant", subject_id=tenant.id, metric="tokens", month=clock.month_of(now)
        )
        codes.issue("other", seconds=60, user=owner, tenant_id=tenant.id)
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner_login:
        owner_login.execute(USAGE, {"tenant": tenant.id})
    return tenant


USAGE = """
    INSERT INTO public.usage_usagerecord (id, tenant_id, {columns}) SELECT gen_random_uuid(), %(tenant)s, {values}
"""


def _usage_insert() -> str:
    """An insert that fills whatever columns the table needs, with zero or nothing."""
    columns, values = [], []
    for field in UsageRecord._meta.concrete_fields:
        if field.name in ("id", "tenant") or field.null:
            continue
        columns.append(field.column)
        kind = field.get_internal_type()
        values.append(
            {
                "UUIDField": "gen_random_uuid()",
                "DateTimeField": "now()",
                "DateField": "now()",
                "JSONField": "'{}'",
                "BooleanField": "false",
                "CharField": "''",
                "TextField": "''",
            }.get(kind, "0")
        )
    return USAGE.format(columns=", ".join(columns), values=", ".join(values))


USAGE = _usage_insert()


def let_grace_pass(tenant: Tenant) -> None:
    with scope.platform():
        Tenant.objects.filter(pk=tenant.pk).update(delete_after=clock.now() - timedelta(seconds=1))


def left_of(tenant: Tenant) -> dict[str, int]:
    """Rows of shared tables that still name the tenant."""
    with scope.platform():
        counts = {
            model._meta.label: model._default_manager.filter(**{column: tenant.pk}).count()
            for model, column in [*erasure.owned_models(), (AuditEvent, "tenant_id"), (UsageRecord, "tenant_id")]
        }
    return {label: count for label, count in counts.items() if count}


def folder(tenant: Tenant) -> Path:
    storage: Any = default_storage
    return Path(storage.location) / str(tenant.id)


def tombstone(services: Services, tenant: Tenant) -> None:
    """Nothing is left but the row, the audit log and what was used."""
    found = life.fresh(tenant)
    assert (found.status, found.step, found.failure) == ("deleted", "", "")
    assert found.deleted_at is not None
    assert life.about(services, tenant) == ["deleted"]
    assert set(left_of(tenant)) == {"accounts.AuditEvent", "usage.UsageRecord"}
    assert not folder(tenant).exists()
    with psycopg.connect(services.environment["DATABASE_URL"]) as login:
        assert isolation.gaps(login) == []


# --- the grace ---------------------------------------------------------------------------------------


def test_a_deleted_tenant_lets_nobody_in_and_can_be_had_back(services: Services) -> None:
    tenant = furnished()
    assert tenant_life.tenant_delete(tenant=tenant, actor="user:1")
    assert not tenant_life.tenant_delete(tenant=tenant, actor="user:1")
    with pytest.raises(PaasError) as caught:
        resolve.admitted(life.fresh(tenant).ref())
    assert caught.value.code == "tenant_deleted"
    assert not tenant_life.erase_some(tenant.id), "its grace is not over"
    assert tenant_life.tenants_resume() == 0
    assert tenant_life.tenant_restore(tenant=tenant, actor="operator:1")
    assert not tenant_life.tenant_restore(tenant=tenant, actor="operator:1")
    resolve.admitted(life.fresh(tenant).ref())
    assert left_of(tenant)["accounts.ApiKey"] == 2
    with scope.platform():
        assert not OneTimeCode.objects.filter(purpose=tenant_life.RESTORE).exists()


def test_a_suspended_tenant_comes_back_suspended() -> None:
    tenant = life.made()
    tenant_life.tenant_suspend(tenant=tenant, actor="operator:1")
    tenant_life.tenant_delete(tenant=tenant, actor="operator:1")
    tenant_life.tenant_restore(tenant=tenant, actor="user:1")
    assert life.fresh(tenant).status == "suspended"


def test_the_link_in_the_letter_restores_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(
        tenant_life.mail, "send", lambda template, **fields: sent.append({"template": template} | fields)
    )
    tenant = life.made()
    tenant_life.tenant_delete(tenant=tenant, actor="user:1")
    letter = sent[-1]
    assert (letter["template"], letter["to"]) == ("workspace_deleted", "boss@newcomer.test")
    code = letter["url"].rstrip("/").rsplit("/", 1)[1]
    assert tenant_life.deleted_by_code(code).id == tenant.id
    tenant_life.tenant_restore_by_code(code=code)
    assert life.fresh(tenant).status == "active"
    for again in (code, "x", ""):
        with pytest.raises(PaasError) as caught:
            tenant_life.tenant_restore_by_code(code=again)
        assert caught.value.code == "link_invalid"


def test_after_the_grace_there_is_no_way_back() -> None:
    tenant = life.made()
    tenant_life.tenant_delete(tenant=tenant, actor="user:1")
    let_grace_pass(tenant)
    with scope.platform():
        assert erasure.erasure_begin(tenant.id)
        assert not erasure.erasure_begin(tenant.id)
    assert not tenant_life.tenant_restore(tenant=tenant, actor="operator:1")
    assert life.fresh(tenant).status == "deleted"


# --- the erasing -------------------------------------------------------------------------------------


def test_erasing_leaves_the_tombstone(services: Services) -> None:
    tenant, neighbour = furnished(), furnished("staying")
    rows = left_of(neighbour)
    tenant_life.tenant_move(tenant=tenant, slug="renamed", actor="test")
    tenant_life.tenant_delete(tenant=tenant, actor="user:1")
    let_grace_pass(tenant)
    assert tenant_life.tenants_resume() == 1
    life.erase(tenant.id)
    tombstone(services, life.fresh(tenant))
    assert left_of(neighbour) == rows
    assert folder(neighbour).exists()
    assert tenant_life.tenants_resume() == 0
    with scope.platform():
        assert AuditEvent.objects.filter(tenant_id=tenant.id).order_by("-seq")[0].action == "tenant.erased"
        assert RetiredSlug.objects.filter(slug="leaving").exists(), "names are never given away"
    with pytest.raises(Exception, match="taken"):
        life.request("renamed")


def test_no_web_process_becomes_a_tenant_that_is_being_erased(services: Services) -> None:
    tenant = furnished()
    tenant_life.tenant_delete(tenant=tenant, actor="user:1")
    let_grace_pass(tenant)
    assert tenant_life.erase_some(tenant.id)
    with (
        psycopg.connect(services.environment["DATABASE_URL"], autocommit=True) as login,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        login.execute(f"SET ROLE {tenant.schema_name}".encode())
    life.erase(tenant.id)


@pytest.mark.exhaustive
def test_what_is_half_erased_is_no_gap_and_not_migrated(services: Services) -> None:
    """Between its steps a tenant has no right to be whole; nobody takes it for damaged and makes its tables anew."""
    tenant = furnished()
    tenant_life.tenant_delete(tenant=tenant, actor="user:1")
    let_grace_pass(tenant)
    for _ in erasure.STEPS:
        with psycopg.connect(services.environment["DATABASE_URL"]) as login:
            assert isolation.gaps(login) == []
        tenant_life.erase_some(tenant.id)
        assert tenant.schema_name not in migrate.tenant_schemas()
    life.erase(tenant.id)
    tombstone(services, tenant)


def test_what_is_left_of_an_erased_tenant_is_a_gap(services: Services) -> None:
    """So is a role or schema of one that was only asked for."""
    erased, asked_for = life.made(), life.request("asked-for")
    with scope.platform():
        Tenant.objects.filter(pk=erased.pk).update(status="deleted", step="")
    with psycopg.connect(services.environment["DATABASE_URL"]) as login:
        found = {str(gap) for gap in isolation.gaps(login)}
    left = "of a tenant that is not built yet, or erased"
    assert found == {f"{erased.schema_name}: there is a role {left}", f"{erased.schema_name}: there is a schema {left}"}
    with scope.platform():
        Tenant.objects.filter(pk=asked_for.pk).update(status="active")
    with psycopg.connect(services.environment["DATABASE_URL"]) as login:
        assert f"{asked_for.schema_name}: the tenant has no schema" in {str(gap) for gap in isolation.gaps(login)}


def statements_of_an_erasing() -> int:
    tenant = furnished("counted")
    tenant_life.tenant_delete(tenant=tenant, actor="user:1")
    let_grace_pass(tenant)
    with at_statement(-1, _raise) as count:
        life.erase(tenant.id)
    return count[0]


class Killed(Exception):
    pass


def _raise(cursor: Any) -> None:
    raise Killed


@pytest.mark.exhaustive
def test_an_erasing_killed_at_any_statement_converges(services: Services) -> None:
    """A77: an error at every statement of the erasing, one tenant for all of them, then it runs to its end."""
    last = statements_of_an_erasing()
    assert last > 50
    tenant = furnished()
    tenant_life.tenant_delete(tenant=tenant, actor="user:1")
    let_grace_pass(tenant)
    for number in range(1, last, 3):
        try:
            with at_statement(number, _raise):
                life.erase(tenant.id)
        except Killed:
            continue
        break
    life.erase(tenant.id)
    tombstone(services, tenant)


@pytest.mark.parametrize("step", sampled(erasure.STEPS, lambda step: step == "rows"))
def test_an_erasing_whose_backend_is_killed_in_a_step_converges(step: str, services: Services) -> None:
    tenant = furnished()
    tenant_life.tenant_delete(tenant=tenant, actor="user:1")
    let_grace_pass(tenant)
    with scope.platform():
        assert erasure.erasure_begin(tenant.id)
    while life.fresh(tenant).step != step:
        assert tenant_life.erase_some(tenant.id)
    original = erasure.WORK[step]

    def killed(row: Tenant) -> bool:
        done = original(row)
        with psycopg.connect(services.postgres.admin_url, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.connection.info.backend_pid])
        return done

    erasure.WORK[step] = killed
    try:
        with pytest.raises(DatabaseError):
            tenant_life.erase_some(tenant.id)
    finally:
        erasure.WORK[step] = original
    connections.close_all()
    assert life.fresh(tenant).step == step, "that step is not through"
    life.erase(tenant.id)
    tombstone(services, tenant)


ERASER = """
import django, os, sys, uuid
django.setup()
from accounts import tenant_life
for _ in sys.stdin:  # for each line a process of its own, which need not import everything again
    if pid := os.fork():
        os.waitpid(pid, 0)
        continue
    print(os.getpid(), flush=True)
    while tenant_life.erase_some(uuid.UUID(sys.argv[1])):
        print("step", flush=True)
    print("done", flush=True)
    os._exit(0)
"""


@pytest.mark.exhaustive
@pytest.mark.fault
async def test_a_killed_process_is_followed_by_another_that_ends_it(services: Services) -> None:
    """A77, with a process of its own and SIGKILL after each of its steps, five times."""
    tenant = in_thread(furnished)
    in_thread(lambda: tenant_life.tenant_delete(tenant=tenant, actor="user:1"))
    in_thread(lambda: let_grace_pass(tenant))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ERASER, str(tenant.id), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout
    for _ in range(5):
        process.stdin.write(b"\n")
        child = int(await process.stdout.readline())
        assert await process.stdout.readline() == b"step\n"
        os.kill(child, signal.SIGKILL)
    process.stdin.close()
    assert await process.wait() == 0
    in_thread(lambda: life.erase(tenant.id))
    in_thread(lambda: tombstone(services, tenant))


def test_a_tenant_that_was_never_built_is_erased_too(services: Services) -> None:
    tenant = life.request()
    tenant_life.tenant_delete(tenant=tenant, actor="operator:1")
    let_grace_pass(tenant)
    life.erase(tenant.id)
    assert life.about(services, tenant) == ["deleted"]


def test_every_shared_table_of_a_tenant_is_erased_or_kept_on_purpose() -> None:
    from django.apps import apps

    naming = {
        model._meta.label
        for model in apps.get_models()
        for f in model._meta.concrete_fields
        if f.related_model is Tenant
    }
    assert naming - {model._meta.label for model, _ in erasure.owned_models()} == erasure.KEPT
