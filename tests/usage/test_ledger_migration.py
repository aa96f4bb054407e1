"""The migration to the chained ledger keeps what was billed before it, and those entries are sealed too."""

from __future__ import annotations

import io
import re
from typing import Any

import psycopg
import pytest
from django.core.management import call_command

from tenants import scope
from tests.conftest import Platform
from tests.services import Services

NEW_COLUMNS = ("reasoning_price", "tool_calls", "tool_price", "agent", "reverses", "reason", "made_by")
NEW_TABLES = ("seal", "ledgerhead", "price", "margin", "invoice", "invoicecounter")
NEW_FUNCTIONS = (
    "usage_seal_some(uuid, int, boolean)",
    "usage_waits(uuid, boolean)",
    "usage_content(usage_usagerecord)",
)
OLD = (
    "INSERT INTO usage_usagerecord (id, tenant_id, run_id, call, kind, provider, model, input_tokens, output_tokens, "
    "cached_tokens, reasoning_tokens, counted, input_price, output_price, currency, cost, at) "
    "SELECT gen_random_uuid(), %s, gen_random_uuid(), 1, 'chat', 'p', 'm', 10 * n, n, 3, 0, false, 0.15, 0.6, 'CNY', "
    "0.000001 * n, now() - interval '1 month' * n FROM generate_series(1, 5) n"
)


def _sql_of_the_migration() -> str:
    out = io.StringIO()
    with scope.owner():
        call_command("sqlmigrate", "usage", "0005", stdout=out)
    return re.sub(r"^(BEGIN|COMMIT);$", "", out.getvalue(), flags=re.M)


@pytest.fixture
def as_before(db: Platform, services: Services) -> Any:
    """A connection, in a transaction that is undone, to which the migration has never happened."""
    with psycopg.connect(services.postgres.admin_url, dbname="paas") as superuser:
        superuser.execute("SET LOCAL search_path = public, pg_catalog")
        for function in NEW_FUNCTIONS:
            superuser.execute(f"DROP FUNCTION {function}".encode())
        for name in NEW_TABLES:
            superuser.execute(f"DROP TABLE usage_{name} CASCADE".encode())
        superuser.execute("DROP FUNCTION usage_invoice_frozen()")
        superuser.execute("ALTER TABLE usage_usagerecord DROP CONSTRAINT usage_signs")
        superuser.execute("DROP POLICY tenants_correct_nothing ON usage_usagerecord")
        for column in NEW_COLUMNS:
            superuser.execute(f"ALTER TABLE usage_usagerecord DROP COLUMN {column}".encode())
        yield superuser
        superuser.rollback()


@pytest.mark.exhaustive
def test_entries_of_before_are_kept_and_sealed(db: Platform, as_before: psycopg.Connection[Any]) -> None:
    as_before.execute(OLD.encode(), [db.acme.id])
    as_before.execute("SET CONSTRAINTS ALL IMMEDIATE")  # keys are looked at when a transaction ends
    before = as_before.execute("SELECT * FROM usage_usagerecord ORDER BY id").fetchall()
    as_before.execute(_sql_of_the_migration().encode())
    old = (
        "id, run_id, call, kind, user_id, key_id, agent_id, provider, model, input_tokens, output_tokens, cached_tokens, "
        "reasoning_tokens, counted, input_price, output_price, cached_price, currency, cost, at, tenant_id"
    )
    assert as_before.execute(f"SELECT {old} FROM usage_usagerecord ORDER BY id".encode()).fetchall() == before
    assert len(before) == 5
    added = as_before.execute("SELECT DISTINCT tool_calls, agent, reason, made_by, reverses FROM usage_usagerecord")
    assert added.fetchall() == [(0, "", "", "", None)]
    assert as_before.execute("SELECT usage_waits(%s, false)", [db.acme.id]).fetchone() == (True,)
    assert as_before.execute("SELECT usage_seal_some(%s, 100, false)", [db.acme.id]).fetchone() == (5,)
    rows = as_before.execute(
        "SELECT s.seq, r.at FROM usage_seal s JOIN usage_usagerecord r ON r.id = s.record_id ORDER BY s.seq"
    ).fetchall()
    assert [seq for seq, _ in rows] == [1, 2, 3, 4, 5]
    assert [at for _, at in rows] == sorted(at for _, at in rows), "oldest first"
