"""A key's own budget: it holds, for the keys above too, and begins with what was used before."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from accounts import keys
from accounts.models import ApiKey
from tenants import scope
from tests.chat.ledger import Ledger
from tests.conftest import Platform, in_thread
from tests.usage.conftest import Money
from usage.selectors import tokens_of_keys


@pytest.fixture
def key(db: Platform) -> Any:
    """`key("name", budget, parent)`: a key of acme."""

    def make(name: str, tokens: int | None = None, parent: ApiKey | None = None) -> ApiKey:
        def create() -> ApiKey:
            with scope.bind(db.acme):
                made, _ = keys.key_create(name=name, scopes=["*"], actor="test", parent=parent, tokens_per_month=tokens)
                return made

        return in_thread(create)  # type: ignore[no-any-return]

    return make


def used(db: Platform, *wanted: ApiKey) -> list[int | None]:
    def read() -> list[int | None]:
        with scope.bind(db.acme):
            found = tokens_of_keys(ApiKey.objects.filter(pk__in=[one.pk for one in wanted]))
            return [found.get(one.pk) for one in wanted]

    return in_thread(read)  # type: ignore[no-any-return]


async def test_a_budget_holds_whoever_comes_at_the_same_time(money: Money, ledger: Ledger, key: Any) -> None:
    """A33 for a key: 40 at once, where three fit; the counter is made by the first."""
    one = key("one", 300)
    granted = await asyncio.gather(*(money.reserve(key=one.pk) for _ in range(40)))
    assert sorted(tokens for tokens in granted if tokens is not None) == [90] * 3
    counter = ledger.quota("key")
    assert (counter["subject_id"], counter["allowance"], counter["reserved"]) == (one.pk, 300, 300)
    assert ledger.value("SELECT count(*) FROM usage_quota") == 2
    assert await money.reserve(key=key("another").pk) == 90
    assert await money.reserve() == 90


async def test_a_child_uses_its_parents_budgets_too(money: Money, ledger: Ledger, key: Any, db: Platform) -> None:
    """Many children together get no more than their parent alone."""
    top = key("top", 400)
    middle = key("middle", None, top)
    low = [key(f"low {number}", 200, middle) for number in range(3)]
    granted = [await money.reserve(key=one.pk) for one in low for _ in range(3)]
    assert granted == [90, 90, None, 90, 90, None, None, None, None]
    assert await money.reserve(key=middle.pk) is None
    assert await money.reserve(key=top.pk) is None
    assert ledger.rows("SELECT reserved FROM usage_quota WHERE level = 'key' ORDER BY reserved DESC") == [
        {"reserved": 400}, {"reserved": 200}, {"reserved": 200}, {"reserved": 0},
    ]  # fmt: skip


async def test_settling_gives_back_and_books_on_all_of_them(
    money: Money, ledger: Ledger, key: Any, db: Platform
) -> None:
    top = key("top", 1000)
    low = key("low", 500, top)
    run = uuid.uuid4()
    assert await money.reserve(run=run, key=low.pk) == 90
    assert await money.settle(run, key_id=str(low.pk), user_id=None)
    assert (
        ledger.rows("SELECT used, reserved FROM usage_quota WHERE level = 'key'") == [{"used": 30, "reserved": 0}] * 2
    )
    assert used(db, top, low) == [30, 30]


async def test_a_budget_of_the_middle_of_a_month_counts_what_was_used(
    money: Money, ledger: Ledger, key: Any, db: Platform
) -> None:
    top = key("top")
    low = key("low", None, top)
    for who in (top, low):
        run = uuid.uuid4()
        assert await money.reserve(run=run, key=who.pk) == 90
        assert await money.settle(run, key_id=str(who.pk), user_id=None)

    def budget(tokens: int | None) -> None:
        with scope.bind(db.acme):
            keys.key_update(key=ApiKey.objects.get(pk=top.pk), actor="test", tokens_per_month=tokens)

    in_thread(lambda: budget(100))
    assert used(db, top, low) == [60, None], "known before the counter is made"
    assert await money.reserve(key=low.pk) == 30
    in_thread(lambda: budget(200))
    assert await money.reserve(key=low.pk) == 90, "the key's own row decides"
    in_thread(lambda: budget(None))
    assert await money.reserve(key=low.pk) == 90
    assert ledger.quota("key")["reserved"] == 240


async def test_a_key_of_another_tenant_is_none(money: Money, rivals_money: Money, key: Any, ledger: Ledger) -> None:
    """P42 under row-level security: its budget is neither seen nor touched."""
    one = key("one", 10)
    assert await rivals_money.reserve(key=one.pk) == 90
    assert ledger.rows("SELECT 1 FROM usage_quota WHERE level = 'key'") == []
