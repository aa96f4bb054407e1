"""The database backend: the server is what the context says before every statement (P1-P3, P14)."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from django.db import DataError, InternalError, connection, connections, transaction
from django.db.backends.postgresql import base as django_backend
from django.test.utils import CaptureQueriesContext
from psycopg.pq import TransactionStatus

from tenants import scope
from tenants.db import base
from tenants.scope import TenantNotBound, bind
from tests.conftest import Platform
from tests.tenants.server import WHERE, on_server, undone, where


@pytest.fixture(autouse=True)
def _fresh_connection(platform: Platform) -> Iterator[None]:
    connections.close_all()
    yield
    connections.close_all()


def expected(binding: scope.Binding) -> tuple[str, str]:
    return binding.role, binding.search_path


@contextmanager
def counted_binds() -> Iterator[list[Any]]:
    """The binds that are sent to PostgreSQL meanwhile."""
    sent: list[Any] = []
    original = psycopg.ClientCursor.execute

    def execute(self: Any, query: Any, params: Any = None, **options: Any) -> Any:
        if query == base.BIND_SQL:
            sent.append(params)
        return original(self, query, params, **options)

    with patch.object(django_backend.Cursor, "execute", execute, create=True):
        yield sent


# --- once per change ---------------------------------------------------------------------------------


def test_a_statement_runs_under_the_bound_role_and_path(platform: Platform) -> None:
    for tenant in (platform.acme, platform.globex):
        with bind(tenant):
            assert where() == (tenant.schema, f"{tenant.schema}, public")
    with scope.platform():
        assert where() == ("paas_platform", "public")


def test_one_bind_for_each_change(platform: Platform) -> None:
    with counted_binds() as sent:
        with bind(platform.acme):
            for _ in range(5):
                where()
            with transaction.atomic():
                where()
                with transaction.atomic():
                    where()
            where()
            with bind(platform.acme):
                where()
        assert len(sent) == 1
        with bind(platform.globex):
            where()
        with bind(platform.acme):
            where()
        with scope.platform():
            where()
            where()
        assert len(sent) == 4
    assert [params[0] for params in sent] == [
        platform.acme.schema, platform.globex.schema, platform.acme.schema, "paas_platform"
    ]  # fmt: skip


def test_no_bind_for_a_block_that_asks_nothing(platform: Platform) -> None:
    with counted_binds() as sent, bind(platform.acme):
        where()
        with bind(platform.globex), scope.platform():
            pass
        where()
    assert len(sent) == 1


def test_a_new_connection_is_bound_anew(platform: Platform) -> None:
    with counted_binds() as sent, bind(platform.acme):
        where()
        connection.close()
        where()
    assert len(sent) == 2


# --- cursors that live long --------------------------------------------------------------------------


def test_an_open_cursor_follows_the_context(platform: Platform) -> None:
    with bind(platform.acme), connection.cursor() as cursor:
        with bind(platform.globex):
            assert where()[0] == platform.globex.schema
        cursor.execute(WHERE)
        assert cursor.fetchone()[0] == platform.acme.schema
        with scope.platform():
            cursor.execute(WHERE)
            assert cursor.fetchone()[0] == "paas_platform"
        with bind(platform.globex):
            cursor.executemany("SELECT set_config('paas.seen', current_user || %s, false)", [("1",), ("2",)])
            cursor.execute("SELECT current_setting('paas.seen')")
            assert cursor.fetchone()[0] == f"{platform.globex.schema}2"
        cursor.callproc("current_setting", ["search_path"])
        assert cursor.fetchone()[0] == f"{platform.acme.schema}, public"
        with bind(platform.globex), cursor.copy("COPY (SELECT current_user) TO STDOUT") as copied:
            assert b"".join(copied).decode().strip() == platform.globex.schema


def test_an_open_cursor_without_a_binding_raises(platform: Platform) -> None:
    with bind(platform.acme), connection.cursor() as cursor, scope.use(None):
        for call in (
            lambda: cursor.execute("SELECT 1"),
            lambda: cursor.executemany("SELECT %s", [(1,)]),
            lambda: cursor.callproc("now"),
            lambda: cursor.copy("COPY (SELECT 1) TO STDOUT"),
        ):
            with pytest.raises(TenantNotBound):
                call()


def test_a_logged_cursor_follows_the_context_too(platform: Platform) -> None:
    with bind(platform.acme), CaptureQueriesContext(connection) as queries, connection.cursor() as cursor:
        with bind(platform.globex):
            where()
        cursor.execute(WHERE)
        assert cursor.fetchone()[0] == platform.acme.schema
    assert len(queries) == 2


def test_an_iterator_goes_on_with_its_own_tenants_rows(platform: Platform) -> None:
    from accounts.models import Membership

    with bind(platform.acme):
        rows = Membership.objects.order_by("created_at").iterator(chunk_size=1)
        first = next(rows)
        with bind(platform.globex):
            assert {row.tenant_id for row in Membership.objects.all()} == {platform.globex.id}
            assert {row.tenant_id for row in rows} | {first.tenant_id} == {platform.acme.id}


def test_a_lazy_queryset_asks_as_whoever_evaluates_it(platform: Platform) -> None:
    from accounts.models import Membership

    with bind(platform.acme):
        lazy = Membership.objects.all()
    with bind(platform.globex):
        assert {row.tenant_id for row in lazy} == {platform.globex.id}
    with pytest.raises(TenantNotBound):
        list(Membership.objects.all())


# --- transactions ------------------------------------------------------------------------------------


def _write(text: str) -> None:
    from accounts import audit

    audit.record("test.written", actor=text)


def _written() -> list[str]:
    from accounts.models import AuditEvent

    return sorted(AuditEvent.objects.filter(action="test.written").values_list("actor", flat=True))


def test_one_transaction_across_bindings_commits_as_one(db: Platform) -> None:
    with bind(db.acme), transaction.atomic():
        _write("a")
        with bind(db.globex):
            _write("b")
        with scope.platform():
            _write("platform")
    with bind(db.acme):
        assert _written() == ["a"]
    with bind(db.globex):
        assert _written() == ["b"]
    with scope.platform():
        assert _written() == ["a", "b", "platform"]


def test_one_transaction_across_bindings_is_undone_as_one(db: Platform) -> None:
    with bind(db.acme), undone():
        _write("a")
        with bind(db.globex):
            _write("b")
    with scope.platform():
        assert _written() == []
        assert where()[0] == "paas_platform"


def test_a_rollback_takes_the_bind_with_it(platform: Platform) -> None:
    with bind(platform.acme):
        where()
        with undone(), bind(platform.globex):
            where()
        assert on_server() == expected(scope.current_binding()), "PostgreSQL went back to before the block"
        assert where()[0] == platform.acme.schema
        with bind(platform.globex):
            assert where()[0] == platform.globex.schema


def test_a_savepoints_rollback_takes_the_bind_with_it(platform: Platform) -> None:
    with bind(platform.acme), transaction.atomic():
        where()
        with bind(platform.globex), undone():
            where()
        with bind(platform.globex):
            assert where()[0] == platform.globex.schema
        assert where()[0] == platform.acme.schema


@pytest.mark.parametrize("seed", range(12))
def test_what_the_backend_believes_is_what_the_server_has(platform: Platform, seed: int) -> None:
    """Random programs of bindings, blocks, rollbacks and errors; checked after every step (P14)."""
    chance = random.Random(seed)
    bindings = [scope.binding_for(platform.acme), scope.binding_for(platform.globex), scope.PLATFORM]
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        wrapper: Any = connection
        if wrapper.connection is None or wrapper.bound is None:
            return
        if wrapper.connection.info.transaction_status != TransactionStatus.INERROR:
            assert on_server() == wrapper.bound

    def step(depth: int) -> None:
        kind = chance.choice(("ask", "bind", "block", "undo", "error", "close"))
        if kind == "ask" or depth == 0:
            assert where() == (scope.current_binding().role, scope.current_binding().search_path)
        elif kind == "bind":
            with scope.use(chance.choice(bindings)):
                program(depth - 1)
        elif kind == "block":
            with transaction.atomic():
                program(depth - 1)
        elif kind == "undo":
            with undone():
                program(depth - 1)
        elif kind == "error":
            with pytest.raises(DataError), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT 1 / 0")
        elif not connection.in_atomic_block:
            connection.close()
        check()

    def program(depth: int) -> None:
        for _ in range(chance.randint(1, 4)):
            step(depth)

    for _ in range(8):
        with scope.use(chance.choice(bindings)):
            program(4)
    assert checks > 30


def test_a_broken_transaction_serves_nobody(platform: Platform) -> None:
    from accounts.models import Membership

    with bind(platform.acme):
        with undone():
            Membership.objects.count()
            with pytest.raises(DataError), connection.cursor() as cursor:
                cursor.execute("SELECT 1 / 0")
            with bind(platform.globex), pytest.raises(InternalError, match="aborted"), connection.cursor() as cursor:
                cursor.execute("SELECT tenant_id FROM accounts_membership")
        with bind(platform.globex):
            assert {row.tenant_id for row in Membership.objects.all()} == {platform.globex.id}


def test_manual_transactions_are_followed(platform: Platform) -> None:
    with bind(platform.acme):
        where()
        connection.set_autocommit(False)
        try:
            with bind(platform.globex):
                where()
            connection.rollback()
            assert where()[0] == platform.acme.schema
            with bind(platform.globex):
                where()
            connection.commit()
            assert where()[0] == platform.acme.schema
        finally:
            connection.rollback()
            connection.set_autocommit(True)


# --- hooks -------------------------------------------------------------------------------------------


def test_a_hook_works_for_whoever_registered_it(platform: Platform) -> None:
    seen: list[str] = []

    def hook() -> None:
        seen.append(where()[0])

    with scope.platform(), transaction.atomic():
        with bind(platform.acme):
            transaction.on_commit(hook)
        with bind(platform.globex), transaction.atomic():
            transaction.on_commit(hook, robust=True)
        transaction.on_commit(hook)
        assert seen == []
    assert seen == [platform.acme.schema, platform.globex.schema, "paas_platform"]


def test_a_hook_outside_a_transaction_runs_at_once(platform: Platform) -> None:
    seen: list[str] = []
    with bind(platform.acme):
        transaction.on_commit(lambda: seen.append(where()[0]))
    assert seen == [platform.acme.schema]


def test_a_hook_of_nobody_is_unbound(platform: Platform) -> None:
    seen: list[bool] = []
    with scope.platform(), transaction.atomic(), scope.use(None):
        transaction.on_commit(lambda: seen.append(scope.is_bound()))
    assert seen == [False]


def test_a_hook_must_be_callable_and_undone_blocks_have_none(platform: Platform) -> None:
    seen: list[int] = []
    with bind(platform.acme):
        with pytest.raises(TypeError, match="callable"):
            transaction.on_commit("not a function")  # type: ignore[arg-type]
        with undone():
            transaction.on_commit(lambda: seen.append(1))
    assert seen == []


# --- django-tenants' own ways ------------------------------------------------------------------------


def test_the_thread_has_no_tenant(platform: Platform) -> None:
    wrapper: Any = connection
    with bind(platform.acme):
        assert wrapper.tenant == platform.acme
        assert wrapper.schema_name == platform.acme.schema
        for call in (lambda: wrapper.set_tenant(platform.globex), lambda: wrapper.set_schema(platform.globex.schema)):
            with pytest.raises(TenantNotBound):
                call()
        wrapper.tenant = platform.globex
        wrapper.schema_name = platform.globex.schema
        wrapper.set_schema_to_public()
        assert where()[0] == platform.acme.schema
    with scope.platform():
        assert wrapper.tenant is None
        assert wrapper.schema_name == "public"


def test_threads_do_not_share_bindings_or_connections(platform: Platform) -> None:
    seen: dict[str, set[tuple[str, str]]] = {}
    pids: set[int] = set()
    gate = threading.Barrier(2, timeout=10)

    def work(tenant: scope.TenantRef) -> None:
        try:
            with bind(tenant):
                for _ in range(20):
                    gate.wait()
                    seen.setdefault(tenant.slug, set()).add(where())
                pids.add(connection.connection.info.backend_pid)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(tenant,)) for tenant in (platform.acme, platform.globex)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {
        tenant.slug: {(tenant.schema, f"{tenant.schema}, public")} for tenant in (platform.acme, platform.globex)
    }
    assert len(pids) == 2
