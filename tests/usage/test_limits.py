"""Limits of every level, metric and period: held before, booked after, never passed (P42, P43, A33-A38, T7)."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import psycopg
import pytest

from tests.chat.ledger import Ledger
from tests.usage.conftest import Money

# A million tokens cost one and two; so 10 in and 90 out are 190 millionths, 190,000 billionths.
PRICED = {"input_price": "1", "output_price": "2", "currency": "USD"}
ONE_CALL = "0.00019"


def counters(ledger: Ledger, metric: str) -> list[tuple[str, str, int, int]]:
    rows = ledger.rows("SELECT * FROM usage_quota WHERE metric = %s ORDER BY level, month, period", metric)
    return [(row["level"], row["period"], row["used"], row["reserved"]) for row in rows]


async def granted(money: Money, times: int, **fields: Any) -> list[int]:
    found = await asyncio.gather(*(money.hold(**fields) for _ in range(times)))
    return sorted(one["granted"] for one in found if "granted" in one)


@pytest.mark.parametrize(
    ("level", "metric", "period", "amount"),
    [
        ("tenant", "cost", "month", "0.0019"),
        ("user", "tokens", "day", 1000),
        ("key", "cost", "day", "0.0019"),
        ("agent", "cost", "month", "0.0019"),
    ],
)
async def test_exactly_as_many_as_fit(
    money: Money, ledger: Ledger, metric: str, period: str, amount: Any, level: str
) -> None:
    """A33 for each limit that is counted: room for ten, twenty at once; then all is given back and booked (A34)."""
    subject = None if level == "tenant" else uuid.uuid4()
    ledger.limit(amount, metric, period, level=level, subject=subject, currency="USD" if metric == "cost" else "")
    who = {} if level == "tenant" else {level: subject}
    assert await granted(money, 20, terms=PRICED, **who) == [90] * 10
    whole = {"tokens": 1000, "cost": 1_900_000}[metric]
    assert (level, period, 0, whole) in counters(ledger, metric)
    if level != "tenant":
        assert "granted" in await money.hold(terms=PRICED, **{level: uuid.uuid4()}), "others have none of it"
    for row in ledger.rows(
        "SELECT run_id FROM usage_reservation WHERE %s = ANY (subjects)", subject or money.tenant.id
    ):
        assert await money.settle(row["run_id"], cost="0.00005")
    used = {"tokens": 10 * 30, "cost": 10 * 50_000}[metric]
    assert (level, period, used, 0) in counters(ledger, metric)


@pytest.mark.exhaustive
async def test_two_hundred_at_once_under_limits_of_every_level(money: Money, ledger: Ledger) -> None:
    """T7 in short, A33: eleven limits, of which the agent's cost of the day is the tightest; 200 on 20 connections, and
    as many again after those are settled. Nothing is ever above a limit, at no moment, and nothing stays held."""
    user, agent = uuid.uuid4(), uuid.uuid4()
    levels = (("tenant", None), ("user", user), ("agent", agent))
    for number, (level, subject) in enumerate(levels):
        for period in ("month", "day"):
            ledger.limit(3000 - number, period=period, level=level, subject=subject)
            ledger.limit(f"0.00{40 - number}", "cost", period, level=level, subject=subject, currency="USD")
    ledger.limit("0.0019", "cost", "day", level="agent", subject=agent, currency="USD")
    who = {"user": user, "agent": agent, "terms": PRICED}
    for settled in range(2):
        found = await granted(money, 200, **who)
        # Settled calls cost as much as they held: the second round finds nothing left.
        assert found == ([90] * 10 if not settled else [])
        for row in ledger.rows("SELECT run_id FROM usage_reservation WHERE state = 'held'"):
            assert await money.settle(row["run_id"], output_tokens=90, cost=ONE_CALL)
    assert set(counters(ledger, "cost")) == {
        (one, period, 1_900_000, 0) for one, _ in levels for period in ("month", "day")
    }
    assert {(used, reserved) for _, _, used, reserved in counters(ledger, "tokens")} == {(1000, 0)}


async def test_the_output_is_cut_to_what_the_cost_pays_for(money: Money, ledger: Ledger) -> None:
    ledger.limit("0.0001", "cost", "month", currency="USD")
    assert (await money.hold(terms=PRICED))["granted"] == 45, "10 + 2 x 45 millionths"
    refused = await money.hold(terms=PRICED)
    assert refused["code"] == "quota_exceeded"
    told = refused["limit"]
    assert (told["metric"], told["period"], told["limit"], told["reserved"]) == ("cost", "month", 100_000, 100_000)
    free = {"input_price": "0", "output_price": "0", "currency": "USD"}
    assert (await money.hold(terms=free))["granted"] == 90, "what costs nothing is not kept back"
    ledger.limit("0.0001000009", "cost", "month", currency="USD")
    assert (await money.hold(0, 90, terms=PRICED | {"output_price": "0.0005"}))["granted"] == 2, "to the billionth"


@pytest.mark.parametrize(
    "terms",
    [{}, {"currency": "USD"}, {"input_price": "1", "currency": "USD"}, PRICED | {"currency": "CNY"}],
    ids=["old", "unpriced", "half", "other currency"],
)
async def test_what_has_no_price_is_refused_where_cost_is_limited(money: Money, ledger: Ledger, terms: Any) -> None:
    """A38: nobody can say what it will cost, so it is not taken for nothing."""
    assert (await money.hold(terms=terms))["granted"] == 90
    ledger.limit(1000, "cost", "day", level="user", subject=money.user, currency="USD")
    refused = await money.hold(terms=terms)
    assert (refused["code"], refused["limit"]["level"]) == ("model_unpriced", "user")
    assert (await money.hold(terms=terms, user=uuid.uuid4()))["granted"] == 90
    if terms.get("currency") == "CNY":
        ledger.limit(1000, "cost", "day", level="user", subject=money.user, currency="CNY")
        assert (await money.hold(terms=terms))["granted"] == 90, "each currency has a limit of its own"


async def test_a_vendor_that_costs_more_than_was_held(money: Money, ledger: Ledger) -> None:
    """A35: booked in full, and nothing more is begun."""
    ledger.limit("0.001", "cost", "month", currency="USD")
    run = uuid.uuid4()
    await money.hold(run=run, terms=PRICED)
    assert await money.settle(run, output_tokens=5000, cost="0.01001")
    assert counters(ledger, "cost") == [("tenant", "month", 10_010_000, 0)]
    assert (await money.hold(1, 1, terms=PRICED))["code"] == "quota_exceeded"
    assert ledger.reservation(run)["overrun"] == 5010 - 100


async def test_midnight_and_the_end_of_a_month(money: Money, ledger: Ledger) -> None:
    """A37: a run is booked once, on the day and in the month in which it was held, whenever it ends."""
    for metric, currency in (("tokens", ""), ("cost", "USD")):
        for period in ("day", "month"):
            ledger.limit(10**6, metric, period, currency=currency)
    before, after = uuid.uuid4(), uuid.uuid4()
    await money.hold(run=before, terms=PRICED)
    # A month and a day pass.
    ledger.rows("UPDATE usage_quota SET month = (month - interval '1 month')::date")
    ledger.rows("UPDATE usage_reservation SET created_at = created_at - interval '1 month'")
    await money.hold(run=after, terms=PRICED)
    assert await money.settle(before, cost=ONE_CALL)
    assert await money.settle(after, output_tokens=5, cost="0.00002")
    assert sorted(used for _, _, used, _ in counters(ledger, "tokens")) == [15, 15, 30, 30]
    assert sorted(used for _, _, used, _ in counters(ledger, "cost")) == [20_000, 20_000, 190_000, 190_000]
    assert {reserved for metric in ("tokens", "cost") for *_, reserved in counters(ledger, metric)} == {0}


async def test_a_counter_that_is_made_today_knows_nothing_of_yesterday(money: Money, ledger: Ledger) -> None:
    """A37: what was held yesterday and settled today is yesterday's, also for a limit that is set today."""
    runs = [uuid.uuid4() for _ in range(2)]
    for run in runs:
        await money.hold(run=run)
    ledger.rows("UPDATE usage_reservation SET created_at = created_at - interval '1 day' WHERE run_id = %s", runs[0])
    for run in runs:
        assert await money.settle(run, user_id=str(money.user))
    ledger.limit(1000, "tokens", "day", level="user", subject=money.user)
    await money.hold()
    assert ("user", "day", 30, 100) in counters(ledger, "tokens")


async def test_a_limit_that_is_set_while_runs_are_under_way(money: Money, ledger: Ledger) -> None:
    """They count for it when they end: nothing is booked twice, nothing is missed."""
    runs = [uuid.uuid4() for _ in range(3)]
    for run in runs:
        await money.hold(run=run, terms=PRICED)
    assert await money.settle(runs[0], user_id=str(money.user), cost=ONE_CALL)
    ledger.limit(1000, level="user", subject=money.user)
    ledger.limit(1, "cost", "day", level="user", subject=money.user, currency="USD")
    assert await money.settle(runs[1], user_id=str(money.user), cost=ONE_CALL)  # before the counter is made
    await money.hold(terms=PRICED)
    assert await money.settle(runs[2], user_id=str(money.user), cost=ONE_CALL)  # and after
    assert ("user", "month", 90, 100) in counters(ledger, "tokens")
    assert ("user", "day", 3 * 190_000, 190_000) in counters(ledger, "cost")


async def test_another_limit_counts_at_once(money: Money, ledger: Ledger) -> None:
    """A38: lowered below what is used, nothing more is begun; what runs is settled; taken away, the plan's holds."""
    run = uuid.uuid4()
    await money.hold(run=run)
    ledger.limit(50)
    assert (await money.hold())["code"] == "quota_exceeded"
    assert await money.settle(run)
    assert (await money.hold(1, 90))["granted"] == 19
    ledger.limit(None)
    assert (await money.hold())["granted"] == 90


async def test_a_plan_limits_the_day_and_the_cost(money: Money, ledger: Ledger) -> None:
    ledger.rows("UPDATE tenants_plan SET tokens_per_day = 150, cost_per_day = 0.0004, cost_currency = 'USD'")
    assert (await money.hold(terms=PRICED))["granted"] == 90
    refused = await money.hold(60, 90, terms=PRICED)
    assert (refused["code"], refused["limit"]["period"], refused["limit"]["limit"]) == ("quota_exceeded", "day", 150)
    ledger.limit(10**6, "tokens", "day")
    assert (await money.hold(terms=PRICED))["granted"] == 90, "the workspace's own stands in the plan's place"
    assert (await money.hold(terms=PRICED))["granted"] == 5, "and the plan's cost holds on"
    assert (await money.hold())["code"] == "model_unpriced"


async def test_conversations_of_a_person_and_of_a_workspace(money: Money, ledger: Ledger) -> None:
    ledger.limit(2, "sessions", "day", level="user", subject=money.user)
    begun = await asyncio.gather(*(money.hold(terms={"session": True}) for _ in range(10)))
    assert sorted(one.get("code", "ok") for one in begun) == ["ok"] * 2 + ["session_limit_reached"] * 8
    assert (await money.hold())["granted"] == 90, "those that are there go on"
    ledger.limit(1, "sessions", "day")
    assert [await money.one("SELECT public.usage_begin_session()") for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("tokens_in", "tokens_out", "terms"),
    [
        (-1, 90, {}), (10, -90, {}), (10, -(10**18), {}), (10, None, {}),
        (10, 90, PRICED | {"input_price": "-1"}), (10, 90, PRICED | {"output_price": "NaN"}),
    ],
)  # fmt: skip
async def test_nonsense_holds_nothing(
    money: Money, ledger: Ledger, tokens_in: int, tokens_out: Any, terms: dict[str, str]
) -> None:
    """A38, below what the doors refuse: negative and missing numbers would give room away."""
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        await money.hold(tokens_in, tokens_out, terms=terms)
    assert ledger.rows("SELECT 1 FROM usage_quota WHERE reserved <> 0") == []
    assert ledger.value("SELECT count(*) FROM usage_reservation") == 0


async def test_a_tenant_sets_no_limit_of_its_own(money: Money, ledger: Ledger) -> None:
    """Row-level security: what the operator set, the tenant's role neither adds, changes nor removes."""
    ledger.limit(100)
    insert = (
        "INSERT INTO public.tenants_limit (id, tenant_id, level, subject_id, metric, period, currency, amount, set_by, set_at) "
        "VALUES (gen_random_uuid(), %s, %s, %s, 'tokens', 'day', '', 1, 'me', now()) RETURNING 1"
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await money.one(insert, money.tenant.id, "tenant", money.tenant.id)
    assert await money.one(insert, money.tenant.id, "user", money.user) == 1
    assert await money.rows("UPDATE public.tenants_limit SET amount = 10 ^ 9 WHERE level = 'tenant' RETURNING 1") == []
    assert await money.rows("DELETE FROM public.tenants_limit RETURNING level") == [("user",)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await money.one("INSERT INTO public.usage_limitwarning (id) VALUES (gen_random_uuid()) RETURNING 1")


async def test_a_rivals_limits_are_not_seen(money: Money, rivals_money: Money, ledger: Ledger) -> None:
    ledger.limit(1, level="user", subject=money.user)
    assert (await rivals_money.hold(user=money.user))["granted"] == 90
    seen = "SELECT public.usage_standing(%s, NULL)"
    assert [one["level"] for one in await money.one(seen, money.tenant.id) if one["level"] == "user"] == ["user"]
    assert await rivals_money.one(seen, money.tenant.id) == []
    await rivals_money.one("SELECT public.usage_warn(%s)", rivals_money.tenant.id, role="paas_platform")
    assert ledger.rows("SELECT 1 FROM usage_limitwarning") == []


async def test_a_counter_says_where_it_stands_before_it_is_made(money: Money, ledger: Ledger) -> None:
    run = uuid.uuid4()
    await money.hold(run=run)
    assert await money.settle(run, user_id=str(money.user))
    ledger.limit(1000, level="user", subject=money.user)
    (told,) = await money.one("SELECT public.usage_standing(%s, %s)", money.tenant.id, [money.user])
    assert (told["limit"], told["used"], told["reserved"]) == (1000, 30, 0)


async def test_runs_at_once_of_one_and_of_all(money: Money, ledger: Ledger) -> None:
    """A limit of their own stands in the place of the plan's, where the queue of runs asks."""
    cap = f"SELECT {money.tenant.schema}.run_cap(%s::uuid, %s::uuid)"
    key = uuid.uuid4()
    plan = [await money.one(cap, *who) for who in ((money.user, None), (None, key), (None, None))]
    ledger.limit(2, "concurrent_runs", "", level="user", subject=money.user)
    ledger.limit(7, "concurrent_runs", "", level="key", subject=key)
    ledger.limit(9, "concurrent_runs", "")
    assert [await money.one(cap, *who) for who in ((money.user, None), (None, key), (None, None))] == [2, 7, 9] != plan
    assert await money.one(cap, uuid.uuid4(), None) == plan[0]
