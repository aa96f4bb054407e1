"""What the database says about runs and money, read past row-level security as a superuser would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]


class Ledger:
    """Reads (and, where a test must break something, writes) with a connection of its own."""

    def __init__(self, url: str, schema: str) -> None:
        self._url, self._schema = url, schema
        self._connection: psycopg.Connection[Row] | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    @property
    def connection(self) -> psycopg.Connection[Row]:
        """Made by the first who asks: it costs 10 ms."""
        if self._connection is None:
            self._connection = psycopg.connect(self._url, dbname="paas", autocommit=True, row_factory=dict_row)
            self._connection.execute(f"SET search_path = {self._schema}, public".encode())
        return self._connection

    def rows(self, sql: str, *params: Any) -> list[Row]:
        cursor = self.connection.execute(sql.encode(), params)
        return cursor.fetchall() if cursor.description else []

    def one(self, sql: str, *params: Any) -> Row:
        found = self.rows(sql, *params)
        assert len(found) == 1, found
        return found[0]

    def value(self, sql: str, *params: Any) -> Any:
        return next(iter(self.one(sql, *params).values()))

    def run(self, run_id: Any) -> Row:
        return self.one("SELECT * FROM chat_run WHERE id = %s", run_id)

    def reservation(self, run_id: Any) -> Row:
        return self.one("SELECT * FROM usage_reservation WHERE run_id = %s", run_id)

    def usage(self, run_id: Any) -> list[Row]:
        return self.rows("SELECT * FROM usage_usagerecord WHERE run_id = %s", run_id)

    def quota(self, level: str = "tenant") -> Row:
        return self.one("SELECT * FROM usage_quota WHERE level = %s ORDER BY month DESC LIMIT 1", level)

    def messages(self, conversation: Any, *, hidden: bool = False) -> list[tuple[str, str, str]]:
        """(role, content, status) of the path that is shown, in order; or of the messages beside it."""
        found = self.rows(
            "WITH RECURSIVE path AS ("
            "SELECT m.* FROM chat_conversation c JOIN chat_message m ON m.id = c.leaf_id WHERE c.id = %s "
            "UNION ALL SELECT m.* FROM path JOIN chat_message m ON m.id = path.parent_id) "
            "SELECT role, content, status FROM chat_message m WHERE conversation_id = %s "
            "AND (m.id IN (SELECT id FROM path)) <> %s ORDER BY id",
            conversation,
            conversation,
            hidden,
        )
        return [(row["role"], row["content"], row["status"]) for row in found]

    def segments(self, run_id: Any) -> list[Row]:
        return self.rows("SELECT * FROM chat_runsegment WHERE run_id = %s ORDER BY first_seq", run_id)

    def allow(self, tokens: int | None, *, level: str = "tenant", subject: Any = None) -> None:
        """What may be used this month: of the tenant, by its plan; of anybody below it, by a limit of their own."""
        tenant = self.value("SELECT id FROM public.tenants_tenant WHERE schema_name = current_schema()")
        if level != "tenant":
            self.limit(tokens, level=level, subject=subject)
            return
        self.rows(
            "INSERT INTO usage_quota (id, tenant_id, level, subject_id, metric, month, allowance, used, reserved) "
            "VALUES (gen_random_uuid(), %s, %s, %s, 'tokens', date_trunc('month', now() AT TIME ZONE 'UTC')::date, %s, 0, 0) "
            "ON CONFLICT ON CONSTRAINT quota_once DO UPDATE SET allowance = excluded.allowance",
            tenant,
            level,
            tenant,
            tokens,
        )

    def limit(
        self, amount: Any, metric: str = "tokens", period: str = "month", *,
        level: str = "tenant", subject: Any = None, currency: str = "",
    ) -> None:  # fmt: skip
        """Set a limit; None takes it away."""
        tenant = self.value("SELECT id FROM public.tenants_tenant WHERE schema_name = current_schema()")
        what = (tenant, subject or tenant, level, metric, period, currency)
        self.rows(
            "DELETE FROM tenants_limit WHERE (tenant_id, subject_id, level, metric, period, currency) = (%s, %s, %s, %s, %s, %s)",
            *what,
        )
        if amount is not None:
            self.rows(
                "INSERT INTO tenants_limit (id, tenant_id, subject_id, level, metric, period, currency, amount, set_by, set_at) "
                "VALUES (gen_random_uuid(), %s, %s, %s, %s, %s, %s, %s, 'test', now())",
                *what,
                amount,
            )

    def left_behind(self) -> dict[str, int]:
        """What should be gone when nothing runs: tokens held, leases held, runs running. Empty: all is well."""
        found = {
            "reserved": self.value("SELECT coalesce(sum(reserved), 0)::bigint FROM usage_quota"),
            "held": self.value("SELECT count(*) FROM usage_reservation WHERE state = 'held'"),
            "running": self.value("SELECT count(*) FROM chat_run WHERE status IN ('queued', 'running')"),
        }
        return {name: count for name, count in found.items() if count}


async def eventually(condition: Callable[[], Any], seconds: float = 10.0, what: str = "it never came to be") -> Any:
    """What the condition gives once it is true; it is the other side's to make it so."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.005)
    return found
