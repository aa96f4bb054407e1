"""What was billed and what was audited stays as it was written, whoever asks (P45)."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg
import pytest

from tests.chat.ledger import Ledger
from tests.conftest import in_thread
from tests.usage.conftest import Money

CHANGES = {
    "usage_usagerecord": ["UPDATE public.usage_usagerecord SET cost = 0", "DELETE FROM public.usage_usagerecord"],
    "accounts_auditevent": [
        "UPDATE public.accounts_auditevent SET actor = 'nobody'",
        "DELETE FROM public.accounts_auditevent",
    ],
}
EVERYBODY = ["tenant", "paas_platform", "paas_owner", "superuser"]


@pytest.fixture
async def written(money: Money, ledger: Ledger) -> None:
    """One row in each."""
    from accounts import audit
    from tenants import scope

    run = uuid.uuid4()
    await money.reserve(run=run)
    await money.settle(run)

    def write() -> None:
        with scope.bind(money.tenant):
            audit.record("thing.done", actor="test")

    in_thread(write)


@pytest.mark.parametrize("table", CHANGES)
@pytest.mark.parametrize("who", EVERYBODY)
async def test_nobody_changes_a_row(
    written: None, money: Money, ledger: Ledger, services: Any, table: str, who: str
) -> None:
    before = ledger.rows(f"SELECT * FROM {table} ORDER BY id")
    assert before
    for statement in CHANGES[table]:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            if who == "tenant":
                await money.one(statement)
            elif who == "paas_platform":
                await money.one(statement, role=who)
            elif who == "paas_owner":
                with psycopg.connect(services.environment["DATABASE_OWNER_URL"]) as owner:
                    owner.execute(statement.encode())
            else:
                ledger.rows(statement)
    assert ledger.rows(f"SELECT * FROM {table} ORDER BY id") == before


@pytest.mark.parametrize("table", CHANGES)
async def test_a_tenant_neither_sees_nor_writes_a_rivals_rows(
    written: None, money: Money, rivals_money: Money, ledger: Ledger, table: str
) -> None:
    theirs = f"SELECT count(*) FROM public.{table} WHERE tenant_id = %s"
    assert ledger.value(theirs, money.tenant.id) > 0
    assert await rivals_money.one(theirs, money.tenant.id) == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await rivals_money.one(
            "INSERT INTO public.accounts_auditevent (id, tenant_id, actor, action, target, data, at) "
            "VALUES (gen_random_uuid(), %s, 'x', 'x', '', '{}', now()) RETURNING 1",
            money.tenant.id,
        )


async def test_the_login_alone_sees_nothing(written: None, pool: Any) -> None:
    async with pool.connection() as connection:
        for table in CHANGES:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute(f"SELECT * FROM public.{table}".encode())


async def test_once_a_call(written: None, ledger: Ledger) -> None:
    """P45: the same call cannot be billed twice."""
    columns = "tenant_id, run_id, call, kind, provider, model, input_tokens, output_tokens, cached_tokens, "
    columns += "reasoning_tokens, counted, currency, at"
    with pytest.raises(psycopg.errors.UniqueViolation):
        ledger.rows(
            f"INSERT INTO usage_usagerecord (id, {columns}) SELECT gen_random_uuid(), {columns} FROM usage_usagerecord"
        )
