"""What was used over some weeks: days that are over are added up once, and nothing is counted twice or forgotten."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from core import clock
from tenants import scope
from tests.conftest import Platform
from tests.usage.entries import entry, free, inserted
from usage import summaries
from usage.models import DailyUse, UsageRecord
from usage.summaries import Used, summary_of

PERSON, KEY = uuid.uuid4(), uuid.uuid4()


@pytest.fixture
def used(db: Platform) -> Platform:
    """Calls of today and of days before, of a person and of a key, in two currencies, one of them taken back."""
    today = clock.now()
    for days, fields in (
        (0, {"user_id": PERSON, **free("1.5")}),
        (1, {"user_id": PERSON, **free("2")}),
        (1, {"user_id": PERSON, "call": 2, **free("0.25")}),
        (1, {"key_id": KEY, "agent": "other", "model": "n", **free("7"), "currency": "CNY"}),
        (3, {"user_id": PERSON, **free(None), "input_tokens": 0, "output_tokens": 1_000_000}),
        (40, {"user_id": PERSON, **free("100")}),
    ):  # fmt: skip
        entry(db.acme, at=today - timedelta(days=days), **fields)
    for fields in (
        {"kind": "reversal", "user_id": PERSON, "output_tokens": -1_000_000, "provider": "p", "model": "m",
         "agent": "assistant", "cost": None},
        {"kind": "credit", "output_tokens": 0, "cost": Decimal(-1)},
    ):  # fmt: skip
        correction(db.acme, today - timedelta(days=3), **fields)
    entry(db.globex, **free("1000"))
    return db


def correction(tenant: Any, at: datetime, **fields: Any) -> None:
    """What an operator has taken back or credited."""
    with scope.platform():
        reverses = uuid.uuid4() if fields["kind"] == "reversal" else None
        told = {"reason": "Wrong", "made_by": "operator:1", "reverses": reverses}
        inserted(
            UsageRecord(
                tenant_id=tenant.id, run_id=uuid.uuid4(), at=at, input_tokens=0, counted=False, **told, **fields
            )
        )


def shown(found: list[Used]) -> list[tuple[Any, ...]]:
    return [(one.key, one.runs, one.calls, one.unpriced, one.tokens, one.amounts) for one in found]


def read(tenant: Any, days: int = 7, **only: str) -> summaries.Summary:
    with scope.bind(tenant):
        return summary_of(tenant.id, days, **only)


def test_it_says_the_same_before_and_after_days_are_added_up(used: Platform) -> None:
    before = read(used.acme)
    today = clock.now().date()
    assert before.days == [today - timedelta(days=number) for number in range(6, -1, -1)]
    assert shown(before.by["day"]) == [
        ((today - timedelta(days=3)).isoformat(), 1, 0, 0, 0, {"USD": Decimal(-1)}),
        ((today - timedelta(days=1)).isoformat(), 2, 3, 0, 3_000_000, {"USD": Decimal("2.25"), "CNY": Decimal(7)}),
        (today.isoformat(), 1, 1, 0, 1_000_000, {"USD": Decimal("1.5")}),
    ]
    assert [one.key for one in before.by["agent"]] == ["assistant", "other", ""]
    assert [one.key for one in before.by["model"]] == ["p/m", "p/n", "/"]
    assert [one.key for one in before.by["who"]] == [f"user:{PERSON}", f"key:{KEY}", ""]
    assert before.currencies == ["CNY", "USD"]
    for name in ("agent", "model", "who"):
        assert sum(one.tokens for one in before.by[name]) == before.total.tokens == 4_000_000

    with scope.platform():
        assert summaries.fold_all() > 0
        assert summaries.fold_all() == 0, "each day once"
        assert not DailyUse.objects.filter(day=today).exists(), "today is not over"
        assert DailyUse.objects.filter(tenant_id=used.acme.id).count() == 5
    after = read(used.acme)
    assert after.by == before.by
    assert read(used.acme, 90).total.amounts["USD"] == Decimal("102.75")
    # An entry of a day that is added up already can only be one of today's clock: it is read from the ledger.
    entry(used.acme, user_id=PERSON, **free("0.5"))
    assert read(used.acme).total.amounts["USD"] == before.total.amounts["USD"] + Decimal("0.5")


def test_a_part_of_it_and_nobody_elses(used: Platform) -> None:
    with scope.platform():
        summaries.fold_all()
    for only, tokens in (
        ({"user": str(PERSON)}, 3_000_000),
        ({"key": str(KEY)}, 1_000_000),
        ({"agent": "other"}, 1_000_000),
        ({"model": "p/m"}, 3_000_000),
        ({"user": str(PERSON), "agent": "other"}, 0),
    ):
        assert read(used.acme, **only).total.tokens == tokens, only
    assert read(used.globex).total.amounts == {"USD": Decimal(1000)}
    with scope.bind(used.globex):
        assert summary_of(used.acme.id, 7).total == Used(""), "row-level security, whatever is asked for"
        assert not DailyUse.objects.filter(tenant_id=used.acme.id).exists()
