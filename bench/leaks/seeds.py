"""Leaks on purpose: each takes one defence away, as a slip in the product would, and puts it back.

The fuzz must report every one of them (`python -m bench.leaks --prove-harness`); `met_by` names the traffic
that is bound to meet it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import psycopg
from django.core.cache.backends.base import BaseCache
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from core.remembered import Remembered
from tenants import jobs, resolve, scope
from tenants.db import aio, base
from tenants.storage import TenantStorage


@dataclass(frozen=True, slots=True)
class Seed:
    """One leak. met_by: kinds of traffic, at least one of which must report it. needs: what must go before."""

    name: str
    break_: Callable[[], AbstractContextManager[Any]]
    met_by: frozenset[str]
    needs: frozenset[str]


SEEDS: list[Seed] = []


def seed(
    *met_by: str, needs: str = ""
) -> Callable[[Callable[[], Iterator[None]]], Callable[[], AbstractContextManager[Any]]]:
    """Register a generator function that breaks something, yields, and mends it."""

    def add(work: Callable[[], Iterator[None]]) -> Callable[[], AbstractContextManager[Any]]:
        break_ = contextmanager(work)
        SEEDS.append(Seed(work.__name__, break_, frozenset(met_by), frozenset(needs.split())))
        return break_

    return add


# --- the database ------------------------------------------------------------------------------------


@seed("raw_connections")
def no_reset_hook() -> Iterator[None]:
    """Connections go back to the pool as the last tenant left them (P3)."""
    with patch.object(base, "reset_connection", lambda connection: None):
        yield


@seed("raw_connections")
def hot_bind_outlives_its_call() -> Iterator[None]:
    """The hot pool binds the session in place of the transaction."""
    with patch.object(aio, "LOCAL_BIND_SQL", aio.LOCAL_BIND_SQL.replace("true", "false")):
        yield


@seed("hot_pool", "hot_pool_together", "hot_pool_cancelled")
def hot_calls_of_all_tenants_together() -> Iterator[None]:
    """What waits at the same moment is sent together, whoever it is for."""
    original = aio.Database._send

    async def send(self: Any, binding: scope.Binding, calls: Any) -> Any:
        previous, self.seen = getattr(self, "seen", binding), binding
        return await original(self, previous if previous.tenant else binding, calls)

    with patch.object(aio.Database, "_send", send):
        yield


@seed("orm_in_a_task", "nested_transactions", "a_foreign_schema")
def no_role() -> Iterator[None]:
    """Binding sets the search path only; the login, here the owner's, may read everything (P8)."""

    def bind(self: Any, wanted: scope.Binding) -> None:
        self.connection.execute("SELECT set_config('search_path', %s, false)", [wanted.search_path])

    with patch.object(base.DatabaseWrapper, "_bind", bind):
        yield


@seed("a_bind_that_is_cut")
def swallowed_bind_error() -> Iterator[None]:
    """A bind that fails is passed over, and the work goes on as the previous tenant (P4)."""
    original = base.DatabaseWrapper._bind

    def bind(self: Any, wanted: scope.Binding) -> None:
        try:
            original(self, wanted)
        except DatabaseError:
            self.bound = (wanted.role, wanted.search_path)

    with patch.object(base.DatabaseWrapper, "_bind", bind):
        yield


@seed("nested_transactions")
def binding_kept_over_rollback() -> Iterator[None]:
    """What a rollback has undone on the server is still believed (P14)."""
    parent: Any = base.DatabaseWrapper.__mro__[1]
    with (
        patch.object(base.DatabaseWrapper, "savepoint_rollback", parent.savepoint_rollback),
        patch.object(base.DatabaseWrapper, "rollback", parent.rollback),
        patch.object(base.DatabaseWrapper, "_rollback", parent._rollback),
    ):
        yield


@seed("nested_transactions")
def cursors_bound_when_opened() -> Iterator[None]:
    """A cursor that was opened for one tenant runs its statements as whoever came after."""
    with patch.object(base.DatabaseWrapper, "follow_context", lambda self: None):
        yield


@seed("hooks_on_commit")
def hooks_of_whoever_commits() -> Iterator[None]:
    """A hook runs under the outermost block's binding."""
    with patch.object(base.DatabaseWrapper, "on_commit", BaseDatabaseWrapper.on_commit):
        yield


@seed("orm_in_a_task", "orm_in_to_thread", "nested_transactions", "orm_in_child_tasks", "jobs_at_once")
def row_security_off() -> Iterator[None]:
    """One shared table without row-level security."""
    from paas import env

    with psycopg.connect(env.text("DATABASE_OWNER_URL"), autocommit=True) as owner:
        owner.execute("ALTER TABLE public.accounts_membership DISABLE ROW LEVEL SECURITY")
        try:
            yield
        finally:
            owner.execute("ALTER TABLE public.accounts_membership ENABLE ROW LEVEL SECURITY")


# --- the binding -------------------------------------------------------------------------------------


@seed("a_plain_thread")
def public_fall_through() -> Iterator[None]:
    """Unbound work goes on as the platform in place of raising (P1, A6)."""
    with patch.object(scope, "current_binding", lambda: scope.bound_or_none() or scope.PLATFORM):
        yield


class _OneForAll:
    """A ContextVar's face over one slot that every task and thread shares."""

    def __init__(self) -> None:
        self._value: Any = None

    def get(self) -> Any:
        return self._value

    def set(self, value: Any) -> Any:
        before, self._value = self._value, value
        return before

    def reset(self, before: Any) -> None:
        self._value = before


@seed("orm_in_a_task", "orm_in_child_tasks", "websockets", "pages_and_api", "cached_values", "orm_in_to_thread")
def shared_socket_thread() -> Iterator[None]:
    """The tenant is kept where all sockets meet, on one thread's connection, in place of the context (P2)."""
    with patch.object(scope, "_bound", _OneForAll()):
        yield


@seed("jobs_at_once", "jobs_through_the_worker")
def job_of_the_previous_tenant() -> Iterator[None]:
    """A worker that does not bind runs a job as the tenant of the job before."""
    original, last = jobs.run_for_tenant, [""]

    async def run_for_tenant(work: Any, tenant_id: str | None, arguments: dict[str, Any]) -> None:
        bound, last[0] = last[0] or tenant_id, tenant_id or last[0]
        await original(work, bound, arguments)

    with patch.object(jobs, "run_for_tenant", run_for_tenant):
        yield


# --- stores ------------------------------------------------------------------------------------------


@seed("cached_values", "a_plain_thread")
def unprefixed_cache_key() -> Iterator[None]:
    """Django's own cache keys (P16)."""
    with patch.object(BaseCache, "make_key", lambda self, key, version=None: f"platform:cache:{key}"):
        yield


@seed("keys_in_redis", "run_streams", needs="completions")
def key_without_an_owner() -> Iterator[None]:
    """Something writes to Redis past the tenant's prefix."""
    from chat import relay

    with patch.object(relay, "run_key", lambda tenant, run: f"run:{run.hex}"):
        yield


@seed("run_streams", needs="completions")
def unprefixed_run_stream() -> Iterator[None]:
    """Run streams of all tenants under one prefix."""
    from chat import relay

    with patch.object(relay, "run_key", lambda tenant, run: f"platform:run:{run.hex}"):
        yield


@seed("files")
def files_by_name_only() -> Iterator[None]:
    """The storage trusts the name in the row (P17)."""
    with patch.object(TenantStorage, "_own", lambda self, name: name):
        yield


@seed("sessions")
def session_without_tenant() -> Iterator[None]:
    """A session is looked up by its key alone, as the platform (P18)."""
    from accounts.sessions import SessionStore

    def find(self: Any) -> Any:
        with scope.platform():
            return self.get_model_class().objects.filter(session_key=self.session_key).first()

    with patch.object(SessionStore, "_get_session_from_db", find):
        yield


class _Careless(Remembered[Any, Any]):
    """A memory that forgets a part of its keys."""

    def __init__(self, keep: Callable[[Any], Hashable]) -> None:
        super().__init__(2.0)
        self._keep = keep

    async def get(self, key: Any, look_up: Any) -> Any:
        return await super().get(self._keep(key), look_up)


@seed("remembered_values", "pages_and_api", "completions", "websockets", "stolen_credentials")
def hosts_remembered_as_one() -> Iterator[None]:
    """The memory of hosts does not ask which host."""
    with patch.object(resolve, "_hosts", _Careless(lambda host: "")):
        yield


@seed("remembered_values", "stolen_credentials")
def keys_remembered_without_tenant() -> Iterator[None]:
    """A key that one host has accepted is accepted by all."""
    from accounts import keys

    with patch.object(keys, "_known", _Careless(lambda name: name[1])):
        yield


@seed("remembered_values")
def agents_remembered_without_tenant() -> Iterator[None]:
    """Agents of equal slug are one."""
    from agents import access

    with patch.object(access, "_known", _Careless(lambda name: name[1])):
        yield
