"""Corrections: new entries only, once, with a reason and an audit row, and by the platform only."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connections

from accounts.models import AuditEvent
from core import clock
from core.errors import PaasError
from tenants import scope
from tenants.models import Tenant
from tests.conftest import Platform
from tests.usage.entries import entry, free, last_month, seal
from usage import chain, corrections, statements
from usage.models import UsageRecord


def reverse(one: UsageRecord, reason: str = "counted twice") -> UsageRecord:
    with scope.platform():
        return corrections.entry_reverse(entry_id=one.pk, reason=reason, actor="operator:7")


def amount(kind: str, value: str, **fields: Any) -> UsageRecord:
    given = {"amount": Decimal(value), "currency": "USD", "reason": "an outage", "actor": "operator:7", **fields}
    with scope.platform():
        tenant = Tenant.objects.get(slug="acme")
        return getattr(corrections, f"{kind}_create")(tenant=tenant, **given)


def statement(db: Platform, month: Any = None) -> statements.Statement:
    with scope.bind(db.acme):
        return statements.statement_of(db.acme.id, month or clock.month_of(clock.now()))


def test_a_reversal_takes_back_all_numbers_and_the_month_of_old_stays(db: Platform) -> None:
    old = entry(db.acme, at=last_month(), cached_tokens=5, reasoning_tokens=3)
    before = statement(db, clock.month_of(last_month()))
    made = reverse(old)
    assert statement(db, clock.month_of(last_month())) == before
    assert [getattr(made, name) for name in ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")] == [
        -1000, -10, -5, -3
    ]  # fmt: skip
    assert (made.cost, made.reverses, made.made_by, made.kind) == (-old.cost, old.pk, "operator:7", "reversal")
    now = statement(db)
    assert [(one.calls, one.amount, one.correction) for one in now.lines] == [(-1, Decimal("-0.00203"), True)]
    assert now.corrections[0].reason == "counted twice"
    assert now.totals()[0].corrections == now.totals()[0].exact == Decimal("-0.00203")
    with scope.bind(db.acme):
        said = AuditEvent.objects.get(action="ledger.corrected")
        assert (said.actor, said.target, said.data["reverses"]) == ("operator:7", str(made.pk), str(old.pk))
    seal()
    with scope.platform():
        assert [verdict.problem for verdict, _ in chain.verify_all(slug="acme")] == [""]


def test_in_the_same_month_both_cancel_out(db: Platform) -> None:
    reverse(entry(db.acme))
    found = statement(db)
    assert found.totals()[0].exact == 0
    assert [(one.calls, one.input, one.amount) for _, one in found.by("agent")] == [(0, 0, Decimal(0))]


def test_what_had_no_price_is_taken_back_without_one(db: Platform) -> None:
    made = reverse(entry(db.acme, **free(None)))
    assert made.cost is None
    assert statement(db).totals() == []
    assert sum(one.unpriced for one in statement(db).lines) == 0


def test_once_also_when_many_try_at_once(db: Platform) -> None:
    one = entry(db.acme)

    def attempt(_number: int) -> str:
        try:
            reverse(one)
        except PaasError as error:
            return error.code
        finally:
            connections.close_all()
        return "done"

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(attempt, range(6))) == ["already_exists"] * 5 + ["done"]
    with scope.platform(), pytest.raises(PaasError, match="not taken back"):
        reverse(UsageRecord.objects.get(kind="reversal"))


def test_credits_and_adjustments(db: Platform) -> None:
    entry(db.acme, **free("5"))
    amount("credit", "1.25")
    amount("adjustment", "0.10")
    back = amount("adjustment", "-3")
    found = statement(db)
    (total,) = found.totals()
    assert (total.exact, total.corrections, total.total) == (
        Decimal("0.85"), Decimal("-4.15"), Decimal("0.85"),
    )  # fmt: skip
    assert sum(one.calls for one in found.lines) == 1
    assert reverse(back).cost == 3, "a correction that was wrong is taken back too"


WRONG = [
    ("credit", "0", {}), ("credit", "-1", {}), ("credit", "NaN", {}), ("credit", "Infinity", {}), ("credit", "1e10", {}),
    ("adjustment", "0", {}), ("adjustment", "0.0000000000001", {}), ("credit", "1", {"currency": "usd"}),
    ("credit", "1", {"currency": "DOLLARS"}), ("credit", "1", {"reason": " "}), ("credit", "1", {"reason": "x" * 301}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "fields"), WRONG)
def test_refused(db: Platform, kind: str, value: str, fields: dict[str, Any]) -> None:
    """A38: nothing that is no amount, has no reason or no currency gets into the books."""
    with pytest.raises(PaasError):
        amount(kind, value, **fields)
    with scope.platform():
        assert not UsageRecord.objects.exists()
        assert not AuditEvent.objects.filter(action="ledger.corrected").exists()
        with pytest.raises(PaasError):
            corrections.entry_reverse(entry_id=uuid.uuid4(), reason="nothing there", actor="x")


def test_a_tenants_role_corrects_nothing(db: Platform) -> None:
    """It may insert what it used, and nothing that lowers a bill, whatever SQL it runs."""
    for fields in (
        {"kind": "credit", "reason": "a gift", "made_by": "me", "cost": Decimal(-5)},
        {"kind": "reversal", "reason": "a gift", "made_by": "me", "reverses": uuid.uuid4()},
        {"cost": Decimal(-5)},
        {"input_tokens": -5},
        {"reverses": uuid.uuid4()},
    ):
        with pytest.raises(DatabaseError, match=r"usage_|row-level security"):
            entry(db.acme, **fields)
    entry(db.acme)
