"""The two ends of a run's money, called as a web process calls them: as a tenant, on real connections."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import psycopg_pool
import pytest
from psycopg.types.json import Jsonb

from tests.chat.ledger import Ledger

USAGE = {"input_tokens": 10, "output_tokens": 20, "counted": False, "currency": "USD"}


@dataclass
class Money:
    """One tenant's calls. `month()` prices are left out: they are tests/chat/test_bill.py's."""

    pool: psycopg_pool.AsyncConnectionPool[Any]
    tenant: Any
    user: uuid.UUID = field(default_factory=uuid.uuid4)

    @asynccontextmanager
    async def bound(self, role: str | None = None) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        async with self.pool.connection() as connection, connection.transaction():
            await connection.execute("SELECT set_config('role', %s, true)", [role or self.tenant.schema])
            yield connection

    async def one(self, sql: str, *params: Any, role: str | None = None) -> Any:
        async with self.bound(role) as connection:
            row = await (await connection.execute(sql.encode(), params)).fetchone()
            return row[0] if row and len(row) == 1 else row

    async def rows(self, sql: str, *params: Any, role: str | None = None) -> list[Any]:
        async with self.bound(role) as connection:
            return await (await connection.execute(sql.encode(), params)).fetchall()

    async def reserve(
        self, tokens_in: int = 10, tokens_out: int = 90, *, run: Any = None, lease: int = 15, **who: Any
    ) -> int | None:
        """The output tokens granted, or None."""
        return await self.one(
            "SELECT public.usage_reserve(%s, %s, %s, %s, %s, %s, 'here', make_interval(secs => %s), 'a', 'p', 'm')",
            run or uuid.uuid4(), who.get("user", self.user), who.get("key"), who.get("agent"), tokens_in, tokens_out, lease,
        )  # fmt: skip

    async def hold(
        self, tokens_in: int = 10, tokens_out: int = 90, *, run: Any = None, terms: Any = None, **who: Any
    ) -> dict[str, Any]:
        """What the database says: granted, or why not, and the limit."""
        found = await self.one(
            "SELECT public.usage_hold(%s, %s, %s, %s, %s, %s, 'here', interval '15 seconds', 'a', 'p', 'm', %s)",
            run or uuid.uuid4(), who.get("user", self.user), who.get("key"), who.get("agent"), tokens_in, tokens_out,
            Jsonb(terms or {}),
        )  # fmt: skip
        return dict(found)

    async def settle(self, run: Any, fence: int = 1, **usage: Any) -> bool:
        found = USAGE | {"record_id": str(uuid.uuid4())} | usage
        return bool(await self.one("SELECT public.usage_settle(%s, %s, 'completed', '', %s)", run, fence, Jsonb(found)))


@pytest.fixture
async def pool(db: Any, services: Any) -> AsyncIterator[psycopg_pool.AsyncConnectionPool[Any]]:
    """Connections of the web processes' login."""
    async with psycopg_pool.AsyncConnectionPool(
        services.environment["DATABASE_URL"], min_size=1, max_size=20, open=False, kwargs={"autocommit": True}
    ) as opened:
        yield opened


@pytest.fixture
def money(pool: Any, db: Any) -> Money:
    return Money(pool, db.acme)


@pytest.fixture
def rivals_money(pool: Any, db: Any) -> Money:
    return Money(pool, db.globex)


@pytest.fixture
def ledger(db: Any, services: Any) -> Iterator[Ledger]:
    found = Ledger(services.postgres.admin_url, db.acme.schema)
    yield found
    found.close()
