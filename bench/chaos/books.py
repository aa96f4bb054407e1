"""What the platform's books hold when nothing runs any more, read past row-level security."""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import orjson
import psycopg

Connection = psycopg.Connection[dict[str, Any]]

LEFT = """
SELECT (SELECT coalesce(sum(reserved), 0)::bigint FROM public.usage_quota WHERE tenant_id = %(tenant)s) AS reserved,
       (SELECT count(*) FROM public.usage_reservation WHERE tenant_id = %(tenant)s AND state = 'held') AS held,
       (SELECT count(*) FROM chat_run WHERE status = 'running') AS running
"""
QUOTAS = """
SELECT level, subject_id::text AS subject, sum(used)::bigint AS used FROM public.usage_quota
WHERE tenant_id = %s AND metric = 'tokens' AND level = 'tenant' GROUP BY 1, 2
"""

EMPTY = """
SET session_replication_role = replica;
DELETE FROM public.usage_usagerecord; DELETE FROM public.usage_seal; DELETE FROM public.usage_ledgerhead;
DELETE FROM public.usage_quota; DELETE FROM public.usage_reservation;
DELETE FROM chat_runsegment; DELETE FROM chat_runtrace; DELETE FROM chat_approval;
DELETE FROM chat_message; DELETE FROM chat_run; DELETE FROM chat_conversation;
SET session_replication_role = origin
"""


@dataclass(slots=True)
class Run:
    """A run as PostgreSQL has it: its log in order, and what it was billed."""

    id: str
    status: str
    first_seqs: list[tuple[int, int]] = field(default_factory=list)
    events: list[tuple[str, Any]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    fence: int = 1
    settled_at: float = 0.0  # seconds since 1970

    @property
    def deltas(self) -> list[str]:
        """Its pieces of text."""
        return [data["text"] for kind, data in self.events if kind == "text.delta"]


@dataclass(slots=True)
class Books:
    """Everything that the audit compares. left: what is held, reserved or running still; chain: what is wrong there."""

    runs: dict[str, Run]
    left: dict[str, int]
    used: dict[str, int]
    unsealed: int
    chain: list[str]


class Reader:
    """Reads the books of one tenant through a superuser's connection, which is renewed when the server was."""

    def __init__(self, connect: Any, slug: str) -> None:
        self._connect = connect
        self._slug = slug

    def _opened(self) -> tuple[Connection, uuid.UUID]:
        connection: Connection = self._connect()
        row = connection.execute(
            "SELECT id, schema_name FROM public.tenants_tenant WHERE slug = %s", [self._slug]
        ).fetchone()
        assert row is not None
        connection.execute(f"SET search_path = {row['schema_name']}, public".encode())
        return connection, row["id"]

    def left(self) -> dict[str, int]:
        """Tokens reserved, leases held, runs running; empty when nothing is."""
        connection, tenant = self._opened()
        with connection:
            row = connection.execute(LEFT, {"tenant": tenant}).fetchone() or {}
        return {name: count for name, count in row.items() if count}

    def expire(self) -> None:
        """Let every lease run out now, for who has no time to wait."""
        connection, tenant = self._opened()
        with connection:
            connection.execute(
                "UPDATE public.usage_reservation SET lease_until = now() - interval '1 second' "
                "WHERE state = 'held' AND tenant_id = %s",
                [tenant],
            )

    def empty(self) -> None:
        """Forget all runs and what they were billed, so that the next measurement has the books to itself."""
        connection, _ = self._opened()
        with connection:
            connection.execute(EMPTY)

    def read(self, chain: list[str]) -> Books:
        """All of it. `chain`: what the verification of the ledger said."""
        connection, tenant = self._opened()
        with connection:
            runs = {
                str(row["id"]): Run(str(row["id"]), row["status"])
                for row in connection.execute("SELECT * FROM chat_run")
            }
            for row in connection.execute("SELECT * FROM chat_runsegment ORDER BY run_id, first_seq"):
                run = runs[str(row["run_id"])]
                run.first_seqs.append((row["first_seq"], row["last_seq"]))
                run.events += [(kind, data) for kind, data in orjson.loads(bytes(row["events"]))]
            for row in connection.execute("SELECT * FROM public.usage_reservation WHERE tenant_id = %s", [tenant]):
                if (held := runs.get(str(row["run_id"]))) and row["settled_at"]:
                    held.fence, held.settled_at = row["fence"], row["settled_at"].timestamp()
            for row in connection.execute("SELECT * FROM public.usage_usagerecord WHERE tenant_id = %s", [tenant]):
                owner = runs.setdefault(str(row["run_id"]), Run(str(row["run_id"]), "no run"))
                owner.records.append(row)
            used: dict[str, int] = defaultdict(int)
            for row in connection.execute(QUOTAS, [tenant]):
                used[row["level"]] += row["used"]
            unsealed = connection.execute(
                "SELECT count(*) FROM public.usage_usagerecord r WHERE tenant_id = %s AND NOT EXISTS "
                "(SELECT 1 FROM public.usage_seal s WHERE s.record_id = r.id)",
                [tenant],
            ).fetchone()
        return Books(runs, self.left(), dict(used), unsealed["count"] if unsealed else 0, chain)
