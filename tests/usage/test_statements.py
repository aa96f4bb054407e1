"""A month's statement: the ledger's entries added up, to the cent, whoever adds and in whatever order."""

from __future__ import annotations

import json
import random
import uuid
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PaasError
from tenants import scope
from tests.conftest import Platform
from tests.usage.entries import entry, free
from usage import money, statements
from usage.statements import Line, Statement, Use

OCTOBER = date(2026, 10, 1)
amount = st.decimals(-(10**6), 10**6, places=12, allow_nan=False, allow_infinity=False)
line = st.builds(
    Line,
    day=st.dates(OCTOBER, date(2026, 10, 31)),
    use=st.builds(
        Use, st.sampled_from(["", "a1", "a2"]), st.sampled_from(["", "one"]), st.just("p"), st.sampled_from(["m", "n"])
    ),
    who=st.sampled_from(["", "user:1", "user:2", "key:3"]),
    currency=st.sampled_from(["USD", "CNY"]),
    correction=st.booleans(),
    calls=st.integers(-2, 9),
    unpriced=st.integers(0, 3),
    input=st.integers(-100, 10**9),
    output=st.integers(-100, 10**9),
    amount=st.none() | amount,
)


@pytest.mark.exhaustive
@given(st.lists(line, max_size=40), st.randoms(use_true_random=False), st.integers(1, 5))
def test_recomputed_from_any_order_and_any_parts(lines: list[Line], chance: random.Random, parts: int) -> None:
    """Shuffled, cut into parts that are added up by themselves, and put together: the same bytes."""
    whole = Statement(OCTOBER, lines, [])
    shuffled = list(lines)
    chance.shuffle(shuffled)
    pieces = [statements.folded(shuffled[part::parts], _all_that_is_told_apart) for part in range(parts)]
    again = Statement(OCTOBER, [one for piece in pieces for _, one in piece], [])
    for currency in ("USD", "CNY"):
        assert json.dumps(whole.frozen(currency)) == json.dumps(again.frozen(currency))
    assert whole.totals() == again.totals()


def _all_that_is_told_apart(one: Line) -> object:
    return (one.day, one.use.agent_id, one.use.agent, one.use.model, one.who, one.correction)


@given(st.lists(line, max_size=40))
def test_every_table_adds_up_to_the_total(lines: list[Line]) -> None:
    statement = Statement(OCTOBER, lines, [])
    for total in statement.totals():
        exact = sum(
            (Fraction(one.amount) for one in lines if one.currency == total.currency and one.amount), Fraction(0)
        )
        assert Fraction(total.exact) == exact
        for by in statements.KEYS:
            found = [
                one.amount for _, one in statement.by(by) if one.currency == total.currency and one.amount is not None
            ]
            assert money.added(found) == total.exact, by
            assert sum(one.calls for _, one in statement.by(by)) == sum(one.calls for one in lines)
        assert abs(Fraction(total.total) - exact) <= Fraction(1, 200)


def test_from_the_database(db: Platform) -> None:
    """Random entries of two tenants; the database's sums against sums of fractions made here."""
    chance = random.Random(4)
    users, at = [uuid.uuid4(), uuid.uuid4(), None], datetime(2026, 10, 1, tzinfo=UTC)
    sums: dict[str, Fraction] = defaultdict(Fraction)
    by_user: dict[str, Fraction] = defaultdict(Fraction)
    unpriced = 0
    for number in range(60):
        cost = None if number % 9 == 0 else f"{chance.randrange(10**9)}.{chance.randrange(10**12):012}"
        currency = chance.choice(["USD", "USD", "CNY"])
        user = chance.choice(users)
        fields = free(None) if cost is None else {"cost": Decimal(cost)}
        moment = at + timedelta(seconds=chance.randrange(31 * 86400))
        entry(db.acme, at=moment, user_id=user, currency=currency, model=chance.choice("mn"), **fields)
        unpriced += cost is None
        if cost is not None:
            sums[currency] += Fraction(cost)
            by_user[f"{user}{currency}"] += Fraction(cost)
        entry(db.globex, at=moment)
    with scope.bind(db.acme):
        statement = statements.statement_of(db.acme.id, OCTOBER)
        assert {one.currency: Fraction(one.exact) for one in statement.totals()} == sums
        assert sum(one.unpriced for one in statement.lines) == unpriced
        assert sum(one.calls for one in statement.lines) == 60
        for _, one in statement.by("who"):
            user_id = one.who.removeprefix("user:") or "None"
            assert Fraction(one.amount or 0) == by_user[f"{user_id}{one.currency}"]
        assert statements.statement_of(db.globex.id, OCTOBER).lines == [], "not even by its id"
    with scope.platform():
        again = statements.statement_of(db.acme.id, OCTOBER)
        assert again.frozen("USD") == statement.frozen("USD")


def test_every_entry_is_in_exactly_one_month(db: Platform) -> None:
    """A37: at midnight UTC, to the microsecond, whatever the session's time zone."""
    midnight = datetime(2026, 11, 1, tzinfo=UTC)
    for moment in (midnight - timedelta(microseconds=1), midnight, midnight + timedelta(hours=23, minutes=59)):
        entry(db.acme, at=moment)
    with scope.bind(db.acme):
        october = statements.statement_of(db.acme.id, OCTOBER)
        november = statements.statement_of(db.acme.id, date(2026, 11, 1))
        assert [one.day for one in october.lines] == [date(2026, 10, 31)]
        assert [(one.day, one.calls) for one in november.lines] == [(date(2026, 11, 1), 2)]
        assert statements.months_of(db.acme.id)[-1] == OCTOBER


def test_nothing_is_nothing(db: Platform) -> None:
    with scope.bind(db.acme):
        empty = statements.statement_of(db.acme.id, OCTOBER)
        assert (empty.totals(), empty.lines, len(statements.months_of(db.acme.id))) == ([], [], 1)
        assert empty.frozen("USD")["total"] == "0.00"
        entry(db.acme, at=datetime(2026, 10, 2, tzinfo=UTC), **free(None))
        assert statements.statement_of(db.acme.id, OCTOBER).totals() == [], "unpriced is not zero"


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-13", "2026-00", "26-01", "2026-1", "2026-01-01", "２０２６-01", "x"]
)
def test_months_are_written_so(text: str) -> None:
    with pytest.raises(PaasError):
        statements.month_named(text)
