"""Holding and settling tokens: never more than allowed, whoever comes at the same time (P42, P43, T7)."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import psycopg
import pytest

from tests.chat.ledger import Ledger
from tests.usage.conftest import Money


async def test_the_first_turn_of_a_month_makes_the_counter_from_the_plan(money: Money, ledger: Ledger) -> None:
    assert await money.reserve() == 90
    quota = ledger.quota()
    plan = ledger.one(
        "SELECT p.* FROM tenants_plan p JOIN tenants_tenant t ON t.plan_id = p.slug WHERE t.slug = 'acme'"
    )
    assert (quota["allowance"], quota["used"], quota["reserved"]) == (plan["tokens_per_month"], 0, 100)
    assert quota["month"] == ledger.value("SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date")


async def test_exactly_as_many_as_fit(money: Money, ledger: Ledger) -> None:
    """A33: an allowance for 10, 200 at once on 20 connections."""
    ledger.allow(1000)
    granted = await asyncio.gather(*(money.reserve() for _ in range(200)))
    assert sorted(tokens for tokens in granted if tokens is not None) == [90] * 10
    assert ledger.quota()["reserved"] == 1000
    assert ledger.value("SELECT count(*) FROM usage_reservation") == 10


async def test_also_when_the_counter_does_not_exist_yet(money: Money, ledger: Ledger) -> None:
    """Twenty first turns of a month make one counter."""
    granted = await asyncio.gather(*(money.reserve() for _ in range(20)))
    assert granted == [90] * 20
    assert ledger.value("SELECT count(*) FROM usage_quota") == 1
    assert ledger.quota()["reserved"] == 2000


@pytest.mark.parametrize(
    ("allowance", "tokens_in", "tokens_out", "granted"),
    [
        (100, 10, 90, 90),
        (99, 10, 90, 89),
        (11, 10, 90, 1),
        (10, 10, 90, None),  # the input alone fills it: not one word of an answer fits
        (9, 10, 90, None),
        (0, 10, 90, None),
        (None, 10, 90, 90),  # unlimited
        (None, 10**12, 10**12, 10**12),
    ],
)
async def test_output_is_cut_to_what_is_left(
    money: Money, ledger: Ledger, allowance: int | None, tokens_in: int, tokens_out: int, granted: int | None
) -> None:
    ledger.allow(allowance)
    assert await money.reserve(tokens_in, tokens_out) == granted
    assert ledger.quota()["reserved"] == (0 if granted is None else tokens_in + granted)
    assert ledger.value("SELECT count(*) FROM usage_reservation") == (granted is not None)


@pytest.mark.parametrize("level", ["user", "key", "agent"])
async def test_a_level_limits_where_somebody_set_one(money: Money, ledger: Ledger, level: str) -> None:
    """Also in the first turn of the month, before the tenant's own counter exists; and the tenant's still holds."""
    subject = uuid.uuid4()
    ledger.allow(150, level=level, subject=subject)
    assert await money.reserve(**{level: subject}) == 90
    assert await money.reserve(**{level: subject}) == 40
    assert await money.reserve(**{level: subject}) is None
    assert await money.reserve(**{level: uuid.uuid4()}) == 90
    assert ledger.quota(level)["reserved"] == 150
    assert ledger.quota("tenant")["reserved"] == 250
    ledger.allow(260)
    assert await money.reserve(**{level: uuid.uuid4()}) is None


async def test_levels_together(money: Money, ledger: Ledger) -> None:
    """The narrowest decides, all are held, all are settled; many at once in one order of locking."""
    user, key, agent, run = (uuid.uuid4() for _ in range(4))
    for level, subject, allowance in (("user", user, 5000), ("key", key, 300), ("agent", agent, 4000)):
        ledger.allow(allowance, level=level, subject=subject)
    who = {"user": user, "key": key, "agent": agent}
    granted = await asyncio.gather(*(money.reserve(run=run if not n else None, **who) for n in range(40)))
    assert sorted(tokens for tokens in granted if tokens is not None) == [90, 90, 90]
    assert {row["reserved"] for row in ledger.rows("SELECT reserved FROM usage_quota")} == {300}
    run = ledger.rows("SELECT run_id FROM usage_reservation")[0]["run_id"]
    assert await money.settle(run)
    assert {(row["used"], row["reserved"]) for row in ledger.rows("SELECT * FROM usage_quota")} == {(30, 200)}


@pytest.mark.exhaustive
async def test_the_first_turns_of_a_month_do_not_wait_for_each_other_in_a_ring(money: Money, ledger: Ledger) -> None:
    """Counters of people and agents exist already, the tenant's is made now, by whoever comes first."""
    for _ in range(15):
        ledger.rows("DELETE FROM usage_quota")
        who = {level: uuid.uuid4() for level in ("user", "key", "agent")}
        for level, subject in who.items():
            ledger.allow(10**6, level=level, subject=subject)
        assert await asyncio.gather(*(money.reserve(**who) for _ in range(20))) == [90] * 20


async def test_what_is_settled_can_be_used_again(money: Money, ledger: Ledger) -> None:
    ledger.allow(200)
    run = uuid.uuid4()
    assert await money.reserve(run=run, tokens_out=190) == 190
    assert await money.reserve() is None
    assert await money.settle(run)
    assert await money.reserve(tokens_out=1000) == 160


async def test_a_run_is_settled_once(money: Money, ledger: Ledger) -> None:
    run = uuid.uuid4()
    await money.reserve(run=run)
    assert sorted(await asyncio.gather(*(money.settle(run) for _ in range(10)))) == [False] * 9 + [True]
    assert not await money.settle(run)
    quota = ledger.quota()
    assert (quota["used"], quota["reserved"]) == (30, 0)
    assert len(ledger.usage(run)) == 1


@pytest.mark.parametrize("fence", [0, 2, 99])
async def test_another_fence_settles_nothing(money: Money, ledger: Ledger, fence: int) -> None:
    run = uuid.uuid4()
    await money.reserve(run=run)
    assert not await money.settle(run, fence)
    assert ledger.quota()["reserved"] == 100
    assert ledger.usage(run) == []


async def test_more_than_was_held_is_billed_and_blocks_the_next(money: Money, ledger: Ledger) -> None:
    """A35."""
    ledger.allow(100)
    run = uuid.uuid4()
    await money.reserve(run=run)
    assert await money.settle(run, output_tokens=500)
    quota = ledger.quota()
    assert (quota["used"], quota["reserved"]) == (510, 0)
    assert await money.reserve(1, 1) is None


async def test_a_call_that_used_nothing_leaves_no_record(money: Money, ledger: Ledger) -> None:
    run = uuid.uuid4()
    await money.reserve(run=run)
    assert await money.settle(run, input_tokens=0, output_tokens=0)
    assert ledger.usage(run) == []
    assert (ledger.quota()["used"], ledger.quota()["reserved"]) == (0, 0)


async def test_a_month_that_ends_meanwhile(money: Money, ledger: Ledger) -> None:
    """A37: tokens are booked once, to the month in which they were held; the next month starts afresh."""
    run, next_run = uuid.uuid4(), uuid.uuid4()
    await money.reserve(run=run)
    ledger.rows("UPDATE usage_quota SET month = month - interval '1 month'")
    await money.reserve(run=next_run, tokens_out=40)
    assert await money.settle(run)
    assert await money.settle(next_run, output_tokens=5)
    months = ledger.rows("SELECT used, reserved FROM usage_quota ORDER BY month")
    assert [(row["used"], row["reserved"]) for row in months] == [(30, 0), (15, 0)]


async def test_tenants_do_not_share_anything(money: Money, rivals_money: Money, ledger: Ledger) -> None:
    ledger.allow(100)
    run = uuid.uuid4()
    assert await money.reserve(run=run) == 90
    assert await rivals_money.reserve() == 90
    assert not await rivals_money.settle(run)
    with pytest.raises(psycopg.errors.UniqueViolation):
        await rivals_money.reserve(run=run)
    assert (ledger.reservation(run)["state"], ledger.quota()["reserved"]) == ("held", 100)


async def test_a_rivals_subject_is_nobody_here(money: Money, rivals_money: Money, ledger: Ledger) -> None:
    """A limit that acme set for a subject does not hold for the same id in globex."""
    subject = uuid.uuid4()
    ledger.allow(0, level="user", subject=subject)
    assert await money.reserve(user=subject) is None
    assert await rivals_money.reserve(user=subject) == 90


async def test_counters_never_become_negative(money: Money, ledger: Ledger) -> None:
    await money.reserve()
    with pytest.raises(psycopg.errors.CheckViolation):
        ledger.rows("UPDATE usage_quota SET reserved = -1")


HEARTBEAT = "SELECT * FROM public.usage_heartbeat(%s::uuid[], %s::int[], %s::bigint[], interval '15 seconds')"
TAKE = "SELECT * FROM public.usage_take_expired(%s, interval '15 seconds', %s)"


async def test_a_heartbeat_renews_only_what_is_still_held(money: Money, ledger: Ledger) -> None:
    runs = [uuid.uuid4() for _ in range(4)]
    for run in runs:
        await money.reserve(run=run, lease=1)
    await money.settle(runs[1])
    ledger.rows("UPDATE usage_reservation SET fence = 2 WHERE run_id = %s", runs[2])
    ledger.rows("UPDATE usage_reservation SET cancel_requested = true WHERE run_id = %s", runs[3])
    found = await money.rows(HEARTBEAT, runs, [1] * 4, [7, 8, 9, 10], role="paas_platform")
    assert dict(found) == {runs[0]: False, runs[3]: True}
    left = "SELECT extract(epoch FROM lease_until - now()) AS seconds, counted_output FROM usage_reservation WHERE run_id = %s"
    assert ledger.one(left, runs[0])["seconds"] > 5
    assert ledger.one(left, runs[0])["counted_output"] == 7
    assert ledger.one(left, runs[2])["seconds"] < 1


async def test_an_expired_lease_is_taken_once(money: Money, ledger: Ledger) -> None:
    runs = [uuid.uuid4() for _ in range(30)]
    for run in runs:
        await money.reserve(run=run)
    ledger.rows("UPDATE usage_reservation SET lease_until = now() - interval '1 second' WHERE run_id <> %s", runs[0])
    taken = await asyncio.gather(*(money.rows(TAKE, f"host-{n}", 10, role="paas_platform") for n in range(6)))
    ids = [row[0] for rows in taken for row in rows]
    assert sorted(ids) == sorted(runs[1:])
    assert {row[2] for rows in taken for row in rows} == {2}
    assert {row[1] for rows in taken for row in rows} == {money.tenant.id}
    assert not await money.settle(runs[1]), "the former host could still settle"
    assert await money.settle(runs[1], 2)
    assert await money.rows(TAKE, "another", 10, role="paas_platform") == []


async def test_a_checkpoint_that_runs_keeps_a_takeover_out(money: Money, ledger: Ledger, pool: Any) -> None:
    """And a takeover keeps the former host's checkpoint out, however the two are interleaved."""
    run = uuid.uuid4()
    await money.reserve(run=run)
    ledger.rows("UPDATE usage_reservation SET lease_until = now() - interval '1 second'")
    async with money.bound() as connection:
        await connection.execute("SELECT 1 FROM public.usage_reservation WHERE run_id = %s FOR KEY SHARE", [run])
        assert await money.rows(TAKE, "other", 10, role="paas_platform") == []
        assert await money.rows(HEARTBEAT, [run], [1], [0], role="paas_platform") == [(run, False)]
