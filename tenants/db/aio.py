"""The hot path's database door: an async pool, bound by the same rule, that commits turns together.

What waits for one tenant is sent as one pipeline: the bind (role and search path, local to the transaction) and
the statements form one implicit transaction that ends with the pipeline. So role and path fall back by
themselves, a connection can never come back dirty, and under load many turns share one round trip and one
flush to disk. A tenant's turns all change its quota row, so two pipelines at a time do them faster than many
connections that queue for that row's lock (docs/adr/0009, 0020). When a statement fails, PostgreSQL has undone its
whole company; each is then run again alone, so that a failure stays with the one that caused it.
A tenant comes back to a connection that it had before where it can: PostgreSQL's side of a connection plans a turn's
statements once for each tenant and keeps the plans, which takes the time of ten turns and 2.7 MB.
Everything that is not a turn's start, checkpoint or end uses the ORM instead.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString, NamedTuple, cast
from weakref import WeakKeyDictionary

import psycopg
import psycopg_pool
from django.conf import settings

from core import tracing
from core.errors import PaasError
from tenants.db import session, statements
from tenants.scope import ANSWER_SECONDS, PLATFORM, Binding, TenantRef, binding_for

# With a lock on what the tenant's turns change: those sent together lock its counters, its conversations and its
# reservations in the order in which they came, and would wait for those of another connection in a ring.
LOCAL_BIND_SQL: LiteralString = (
    "SELECT set_config('role', %s, true), set_config('search_path', %s, true), "
    "pg_advisory_xact_lock(hashtextextended('turns:' || %s, 0))"  # of NULL: none
)
WAIT_SECONDS = 3.0
MOST_TOGETHER = 32
# While PostgreSQL works on what was sent together, this process makes ready what comes next: with one connection for a
# tenant each waits for the other. The second is on its way to PostgreSQL while the first is worked on.
LANES = 2

Row = tuple[Any, ...]


class Call(NamedTuple):
    """A statement that waits for its turn."""

    sql: LiteralString
    params: Sequence[Any]
    answer: asyncio.Future[list[Row]]


class Pool(psycopg_pool.AsyncConnectionPool):
    """Connections, and whom each has served."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.served: WeakKeyDictionary[psycopg.AsyncConnection[Any], set[str]] = WeakKeyDictionary()

    @property
    def idle(self) -> int:
        """How many nobody has."""
        return len(self._pool)

    def prefer(self, role: str) -> None:
        """Give out next one that has served `role`, if one is idle."""
        for connection in self._pool:
            if role in self.served.get(connection, ()):
                self._pool.remove(connection)
                self._pool.appendleft(connection)
                return


class Database:
    """One pool for one event loop. `open()` on start, `close()` on shutdown."""

    def __init__(self, conninfo: str, *, min_size: int, max_size: int) -> None:
        self._pool = Pool(
            conninfo,
            min_size=min_size,
            max_size=max_size,
            timeout=WAIT_SECONDS,
            max_lifetime=settings.DATABASE_CONNECTION_SECONDS,
            reconnect_timeout=1,  # no growing pauses: a database that is back is asked at once (P26)
            kwargs={"autocommit": True, "prepare_threshold": 2},
            configure=session.abegin,
            open=False,
            name="hot",
        )
        self._waiting: dict[str, deque[Call]] = {}  # by role
        self._serving: dict[str, set[asyncio.Task[None]]] = {}
        self._checking: asyncio.Task[None] | None = None

    @property
    def pool(self) -> psycopg_pool.AsyncConnectionPool:
        """The connections, to be counted."""
        return self._pool

    async def open(self) -> None:
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close()

    async def fetch_one(self, tenant: TenantRef, sql: LiteralString, params: Sequence[Any]) -> Row | None:
        """The first row of `sql` run as `tenant`. Raises database_unavailable, or psycopg's error."""
        rows = await self._answer(binding_for(tenant), sql, params)
        return rows[0] if rows else None

    async def fetch_platform(self, sql: LiteralString, params: Sequence[Any]) -> list[Row]:
        """All rows of `sql` run as the platform."""
        return await self._answer(PLATFORM, sql, params)

    async def _answer(self, binding: Binding, sql: LiteralString, params: Sequence[Any]) -> list[Row]:
        call = Call(sql, params, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(binding.role, deque()).append(call)
        serving = self._serving.setdefault(binding.role, set())
        if not serving or (len(serving) < LANES and self._pool.idle):
            serving.add(asyncio.create_task(self._serve(binding, serving)))
        with statements.span(sql) if tracing.enabled() else tracing.NOTHING:
            return await call.answer

    async def _serve(self, binding: Binding, serving: set[asyncio.Task[None]]) -> None:
        """Run what waits for `binding`, as much together as there is, until nothing waits."""
        waiting = self._waiting[binding.role]
        try:
            while waiting:
                await self._run_company(binding, [waiting.popleft() for _ in range(min(len(waiting), MOST_TOGETHER))])
        finally:
            serving.remove(cast("asyncio.Task[None]", asyncio.current_task()))
            if not serving:
                del self._serving[binding.role], self._waiting[binding.role]

    async def _run_company(self, binding: Binding, calls: list[Call]) -> None:
        try:
            answers = await self._send(binding, calls)
        except psycopg.Error as error:
            if len(calls) == 1:
                _refuse(calls, error)
                return
            for call in calls:
                await self._run_company(binding, [call])
        except BaseException as error:
            _refuse(calls, error)
            if not isinstance(error, Exception):
                raise
        else:
            for call, rows in zip(calls, answers, strict=True):
                if not call.answer.done():
                    call.answer.set_result(rows)

    async def _send(self, binding: Binding, calls: Sequence[Call], *, again: bool = True) -> list[list[Row]]:
        """The rows of each. again: what was given up to end a deadlock (with somebody who is not of the hot path) is
        tried once more."""
        self._pool.prefer(binding.role)
        lock = binding.role if binding.tenant else None
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._pool.connection() as connection:
                served = self._pool.served.setdefault(connection, set())
                served.add(binding.role)
                async with connection.pipeline():
                    await connection.execute(LOCAL_BIND_SQL, (binding.role, binding.search_path, lock))
                    cursors = [await connection.execute(call.sql, call.params) for call in calls]
                found = [await cursor.fetchall() if cursor.description else [] for cursor in cursors]
                if len(served) >= settings.HOT_CONNECTION_TENANTS:
                    await connection.close()  # the pool makes another
                return found
        except (TimeoutError, psycopg_pool.PoolTimeout, psycopg_pool.PoolClosed, psycopg_pool.TooManyRequests):
            raise PaasError("database_unavailable", retry_after=1) from None
        except psycopg.OperationalError as error:
            if error.sqlstate is not None and len(calls) > 1:
                raise  # the server is there and refused one of them (a lock, a deadlock): each again, alone
            if again and isinstance(error, psycopg.errors.DeadlockDetected):
                return await self._send(binding, calls, again=False)
            if error.sqlstate is None or error.sqlstate.startswith("57"):
                # The server went away under this connection, so the other idle ones are stale too: have the
                # pool try and replace them now, not one failed request at a time (P26).
                self._checking = asyncio.create_task(self._pool.check())
            raise PaasError("database_unavailable", retry_after=1) from error


def _refuse(calls: Sequence[Call], error: BaseException) -> None:
    for call in calls:
        if not call.answer.done():
            call.answer.set_exception(
                PaasError(error.code, retry_after=error.retry_after) if isinstance(error, PaasError) else error
            )


_open: dict[asyncio.AbstractEventLoop, Database] = {}


def database() -> Database:
    """The hot pool of the running event loop. Opened by `opened()`; RuntimeError before that."""
    try:
        return _open[asyncio.get_running_loop()]
    except KeyError:
        raise RuntimeError("The hot database pool is not open on this event loop.") from None


def open_databases() -> list[Database]:
    """Those of this process, for whoever counts."""
    return list(_open.values())


@asynccontextmanager
async def opened() -> AsyncIterator[Database]:
    """Open the hot pool for this event loop for the block (the process's lifespan, or a test)."""
    loop = asyncio.get_running_loop()
    pool = Database(settings.HOT_DATABASE_CONNINFO, min_size=settings.HOT_POOL_WARM, max_size=settings.HOT_POOL_SIZE)
    await pool.open()
    _open[loop] = pool
    try:
        yield pool
    finally:
        del _open[loop]
        await pool.close()
