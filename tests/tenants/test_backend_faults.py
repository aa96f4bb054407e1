"""The database backend when something fails: binds, servers, resets; and what lies in the pool (P3, P4, A7)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from django.db import DataError, OperationalError, ProgrammingError, connection, connections, transaction
from django.db.backends.postgresql import base as django_backend
from psycopg.pq import TransactionStatus

from tenants import scope
from tenants.db import base
from tenants.scope import bind
from tests.conftest import Platform
from tests.services import Services
from tests.tenants.server import where

BARE = ("none", "pg_catalog")


@pytest.fixture(autouse=True)
def _fresh_connection(platform: Platform) -> Iterator[None]:
    connections.close_all()
    yield
    connections.close_all()


@contextmanager
def failing_bind(nth: int) -> Iterator[None]:
    """The nth bind from now on is cancelled by PostgreSQL itself."""
    original, count = psycopg.ClientCursor.execute, 0

    def execute(self: Any, query: Any, params: Any = None, **options: Any) -> Any:
        nonlocal count
        if query == base.BIND_SQL:
            count += 1
            if count == nth:
                self.connection.execute("SELECT set_config('statement_timeout', '1ms', false)")
                try:
                    return original(self, f"{query} FROM pg_sleep(5)", params, **options)
                finally:
                    if self.connection.info.transaction_status != TransactionStatus.INERROR:
                        self.connection.execute("SELECT set_config('statement_timeout', '5s', false)")
        return original(self, query, params, **options)

    with patch.object(django_backend.Cursor, "execute", execute, create=True):
        yield


@pytest.mark.parametrize("nth", range(1, 6))
@pytest.mark.parametrize("inside", [False, True], ids=["autocommit", "transaction"])
def test_a_bind_that_is_cancelled_never_leaves_the_previous_tenant(platform: Platform, nth: int, inside: bool) -> None:
    """P4, A7: an error, or the right rows."""
    from accounts.models import Membership

    def rows() -> set[Any]:
        return {row.tenant_id for row in Membership.objects.all()}

    errors = 0
    with failing_bind(nth):
        for tenant in (platform.acme, platform.globex, platform.acme, platform.globex):
            with bind(tenant), ExitStack() as stack:
                try:
                    if inside:
                        stack.enter_context(transaction.atomic())
                    assert rows() == {tenant.id}
                    with bind(platform.globex if tenant is platform.acme else platform.acme):
                        assert rows() == {scope.current_tenant().id}
                except OperationalError:
                    errors += 1
                    if inside:
                        transaction.set_rollback(True)
                        continue
                    assert rows() == {scope.current_tenant().id}
    assert errors == 1


def test_a_tenant_whose_role_is_gone_sees_nothing(platform: Platform) -> None:
    import uuid

    from accounts.models import User

    nobody = scope.TenantRef(uuid.uuid4(), "gone")
    with bind(platform.acme):
        where()
    with bind(nobody), pytest.raises((DataError, ProgrammingError), match="role"):
        list(User.objects.all())
    with bind(platform.acme):
        assert where()[0] == platform.acme.schema


def test_a_connection_that_dies_is_replaced_and_bound(platform: Platform, services: Services) -> None:
    with bind(platform.acme):
        where()
        pid = connection.connection.info.backend_pid
        with psycopg.connect(services.postgres.admin_url, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        with pytest.raises(OperationalError):
            where()
        connection.close_if_unusable_or_obsolete()
        assert where()[0] == platform.acme.schema


# --- the pool ----------------------------------------------------------------------------------------


def test_a_pool_full_of_dead_connections_serves_the_next_request(platform: Platform, services: Services) -> None:
    """P26: PostgreSQL restarted; whoever asks next gets an answer, however many connections died with it."""
    size = 8
    all_have_one = threading.Barrier(size)

    def use() -> None:
        with bind(platform.acme):
            where()
        all_have_one.wait(5)
        connections.close_all()

    with ThreadPoolExecutor(size) as threads:
        for done in [threads.submit(use) for _ in range(size)]:
            done.result()
    with psycopg.connect(services.postgres.admin_url, autocommit=True) as admin:
        cut = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename LIKE 'paas%'"
        row = admin.execute(cut).fetchone()
        assert row is not None
        assert row[0] >= size
    with bind(platform.acme):
        assert where()[0] == platform.acme.schema


def raw() -> Any:
    """A connection straight from the pool, unbound."""
    wrapper: Any = connection
    return wrapper.pool.connection()


def test_connections_go_back_as_nobodys(platform: Platform) -> None:
    """P3: after reads, after an open transaction, after an error, after SET of anything."""

    def dirty(statement: str) -> None:
        with bind(platform.acme), connection.cursor() as cursor:
            cursor.execute(statement)

    def in_a_transaction() -> None:
        with bind(platform.acme):
            connection.set_autocommit(False)
            where()

    def broken() -> None:
        with bind(platform.acme):
            connection.set_autocommit(False)
            with pytest.raises(DataError):
                dirty("SELECT 1 / 0")

    uses = [
        lambda: dirty("SELECT 1"),
        lambda: dirty("SET search_path = public"),
        lambda: dirty("SELECT set_config('app.tenant_id', 'x', false)"),
        lambda: dirty("SET statement_timeout = 0"),
        in_a_transaction,
        broken,
    ]
    for use in uses:
        use()
        connections.close_all()
        with raw() as found:
            row = found.execute(
                "SELECT current_setting('role'), current_setting('search_path'), current_user = session_user, "
                "coalesce(current_setting('app.tenant_id', true), ''), current_setting('statement_timeout')"
            ).fetchone()
            assert row == (*BARE, True, "", "5s")


def test_a_connection_whose_reset_fails_is_not_used_again(platform: Platform) -> None:
    with bind(platform.acme):
        where()
        pid = connection.connection.info.backend_pid

    def refuse(connection: Any) -> None:
        raise psycopg.OperationalError("no reset today")

    with patch.object(base, "reset_connection", refuse):
        connections.close_all()
    with raw() as found:
        assert found.info.backend_pid != pid
        assert found.execute("SELECT current_setting('role')").fetchone() == ("none",)
