"""django-tenants' backend, bound to the ContextVar of `tenants.scope` instead of to the thread.

Before every statement, what the connection has is compared with what the context wants; only if they
differ, one statement sets role and search path. A bind that fails raises: nothing ever runs under the
previous tenant's rights (P1-P4, P14).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.db.backends.postgresql.base import CursorDebugWrapper
from django.db.backends.utils import CursorWrapper
from django_tenants.postgresql_backend.base import DatabaseWrapper as TenantsWrapper
from psycopg import Connection, OperationalError
from psycopg.pq import TransactionStatus

from core import tracing
from tenants import scope
from tenants.db import session, statements

BIND_SQL = "SELECT set_config('role', %s, false), set_config('search_path', %s, false)"
RESET_SQL = "RESET ROLE; RESET ALL"


def reset_connection(connection: Connection[Any]) -> None:
    """The pool's `reset` hook: a connection goes back as the bare login, which may see nothing (P3)."""
    connection.execute(RESET_SQL)
    session.begin(connection)
    connection.commit()


class _FollowsContext:
    """A cursor that runs each statement under the binding of that moment, not of the moment it was opened.

    Between the two, `with bind(other): ...` may have turned the connection to another tenant.
    """

    db: DatabaseWrapper
    cursor: Any

    def _execute(self, sql: Any, params: Any, *ignored: Any) -> Any:
        self.db.follow_context()
        if not tracing.enabled():
            return super()._execute(sql, params, *ignored)  # type: ignore[misc]
        with statements.span(sql):
            return super()._execute(sql, params, *ignored)  # type: ignore[misc]

    def _executemany(self, sql: Any, param_list: Any, *ignored: Any) -> Any:
        self.db.follow_context()
        if not tracing.enabled():
            return super()._executemany(sql, param_list, *ignored)  # type: ignore[misc]
        with statements.span(sql):
            return super()._executemany(sql, param_list, *ignored)  # type: ignore[misc]

    def callproc(self, *args: Any, **kwargs: Any) -> Any:
        self.db.follow_context()
        return super().callproc(*args, **kwargs)  # type: ignore[misc]

    def copy(self, *args: Any, **kwargs: Any) -> Any:
        self.db.follow_context()
        return self.cursor.copy(*args, **kwargs)


class BoundCursor(_FollowsContext, CursorWrapper):
    """Django's cursor, bound anew before every statement."""


class BoundDebugCursor(_FollowsContext, CursorDebugWrapper):
    """The same while queries are logged."""


def _run_under(binding: scope.Binding | None, hook: Callable[[], Any]) -> Any:
    with scope.use(binding):
        return hook()


class DatabaseWrapper(TenantsWrapper):
    """One connection; `bound` is what it is set to, or None when that is not known."""

    bound: tuple[str, str] | None = None
    _bound_for: scope.Binding | None = None  # the same, as the value that was in force: quick to compare

    # django-tenants keeps the tenant on the wrapper, i.e. on the thread. Here these only mirror the
    # context, for its migration router and introspection; assignments from its __init__ are dropped.
    @property
    def tenant(self) -> Any:
        return scope.current_binding().tenant

    @tenant.setter
    def tenant(self, value: Any) -> None: ...

    @property
    def schema_name(self) -> str:
        return scope.current_binding().schema

    @schema_name.setter
    def schema_name(self, value: Any) -> None: ...

    def set_schema_to_public(self) -> None:
        """Called by django-tenants when a wrapper is made. A new wrapper has no opinion."""

    def set_tenant(self, tenant: Any, include_public: bool = True) -> None:
        raise scope.TenantNotBound("Use `with tenants.scope.bind(tenant):`; connections follow the context.")

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """A living connection from the pool; the dead ones that a restart of PostgreSQL left there are dropped.

        The pool's own check would pause 1, then 2 seconds between two dead ones: longer than anybody waits.
        Raises OperationalError when not even a new connection answers.
        """
        for _ in range(self.pool.max_size if self.pool else 0):
            connection = super().get_new_connection(conn_params)
            try:
                self.pool.check_connection(connection)
            except OperationalError:
                self.pool.putconn(connection)
            else:
                return connection
        return super().get_new_connection(conn_params)

    def _configure_connection(self, connection: Connection[Any]) -> bool:
        changed = super()._configure_connection(connection)
        return session.begin(connection) or bool(changed)

    def connect(self) -> None:
        self.bound = None
        super().connect()

    def close(self) -> None:
        self.bound = None
        super().close()

    def rollback(self) -> None:
        # A setting made inside a transaction is undone with it.
        self.bound = None
        super().rollback()

    def _rollback(self) -> None:
        self.bound = None
        super()._rollback()

    def savepoint_rollback(self, sid: str) -> None:
        try:
            super().savepoint_rollback(sid)
        finally:
            self.bound = None

    def _cursor(self, name: str | None = None) -> Any:
        wanted = scope.current_binding()  # raises before any SQL (A6)
        cursor = super(TenantsWrapper, self)._cursor(name)
        self._bind(wanted)
        return cursor

    def make_cursor(self, cursor: Any) -> CursorWrapper:
        return BoundCursor(cursor, self)

    def make_debug_cursor(self, cursor: Any) -> CursorWrapper:
        return BoundDebugCursor(cursor, self)

    def on_commit(self, func: Callable[[], Any], robust: bool = False) -> None:
        """A hook works for whoever registered it, not for whoever is bound when the outermost block commits."""
        if not callable(func):
            raise TypeError("on_commit()'s callback must be a callable.")
        super().on_commit(partial(_run_under, scope.bound_or_none(), func), robust=robust)

    def follow_context(self) -> None:
        """Turn the connection to the binding in force. Raises TenantNotBound, or what PostgreSQL says to it."""
        self._bind(scope.current_binding())

    def _bind(self, wanted: scope.Binding) -> None:
        if wanted is self._bound_for and self.bound is not None:
            return
        target = (wanted.role, wanted.search_path)
        if self.bound == target:
            self._bound_for = wanted
            return
        connection: Connection[Any] = self.connection
        if connection.info.transaction_status == TransactionStatus.INERROR:
            # Only ROLLBACK can run now, and it needs no role; whatever else is tried fails by itself.
            self.bound = None
            return
        self.bound = None
        with self.wrap_database_errors, connection.cursor() as cursor:
            cursor.execute(BIND_SQL, target)
        self.bound, self._bound_for = target, wanted

    def _handle_search_path(self, cursor: Any = None) -> None:
        """django-tenants' own binding, which swallows errors (P4); `_bind` is in its place."""


__all__ = ["DatabaseWrapper", "reset_connection"]
