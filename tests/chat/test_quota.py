"""A month's tokens at the level of turns: nobody gets past, nothing stays held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from chat import turns
from core import clock
from core.errors import PaasError
from llm.deltas import UsageReport
from llm.providers.scripted import ScriptedModel
from tests.chat.talk import ask, read, start

# "hi" is 1 token and 4 around it, and the answer may have 100.
ONE_TURN = 5 + 100


async def attempt(actor: Any, **fields: Any) -> Any:
    try:
        return await start(actor, **fields)
    except PaasError as error:
        return error


async def test_exactly_ten_of_two_hundred(host: Any, actor: Any, ledger: Any) -> None:
    """A33, T7."""
    ledger.allow(10 * ONE_TURN)
    gate = asyncio.Event()
    for _ in range(10):
        ScriptedModel.enqueue(["a", gate, UsageReport(5, 1, 0, 0)])
    member = actor("member")
    outcomes = await asyncio.gather(*(attempt(member, max_tokens=100) for _ in range(200)))
    runs = [outcome for outcome in outcomes if not isinstance(outcome, PaasError)]
    refusals = [outcome for outcome in outcomes if isinstance(outcome, PaasError)]
    assert len(runs) == 10
    assert {error.code for error in refusals} == {"quota_exceeded"}
    assert ledger.value("SELECT count(*) FROM chat_run") == 10
    assert ledger.value("SELECT count(*) FROM chat_message") == 10
    assert ledger.value("SELECT count(*) FROM chat_conversation") == 10
    gate.set()
    for run in runs:
        await read(member.tenant, run.run_id)
    assert ledger.quota()["used"] == 60
    assert not ledger.left_behind()


async def test_again_and_again_until_it_is_used_up(host: Any, actor: Any, agent: Any, ledger: Any) -> None:
    """T7: rounds of many at once; used never exceeds the allowance."""
    ledger.allow(2000)
    member, slug = actor("member"), agent("bench-0-0-500")
    for _ in range(6):
        outcomes = await asyncio.gather(*(attempt(member, agent=slug, max_tokens=90) for _ in range(20)))
        for outcome in outcomes:
            if not isinstance(outcome, PaasError):
                await read(member.tenant, outcome.run_id)
        assert ledger.quota()["used"] <= 2000
    assert ledger.quota()["used"] > 1900
    assert (await attempt(member, message="x" * 600)).code == "quota_exceeded"
    assert not ledger.left_behind()


async def test_a_refusal_says_when_it_ends(host: Any, actor: Any, ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A37: the database says which month it is; a clock of ours that runs ahead changes nothing but the wait."""
    ledger.allow(3)
    month = clock.month_of(clock.now())
    resets_at = clock.next_month(month)
    monkeypatch.setattr(clock, "now", lambda: resets_at - timedelta(hours=1))
    error = await attempt(actor("member"))
    assert (error.code, error.status, error.retry_after) == ("quota_exceeded", 429, 3600)
    assert (error.details["resets_at"], error.details["input_tokens"]) == (resets_at.isoformat(), 5)
    told = error.details["limit"]
    assert (told["level"], told["metric"], told["period"], told["limit"], told["left"]) == (
        "tenant",
        "tokens",
        "month",
        3,
        3,
    )
    assert f"{resets_at:%Y-%m-%d}" in error.message
    assert "3 of 3" in error.message
    assert error.headers() == {"Retry-After": "3600"}
    monkeypatch.setattr(clock, "now", lambda: resets_at + timedelta(minutes=5))
    error = await attempt(actor("member"))
    assert (error.details["resets_at"], error.headers()) == (resets_at.isoformat(), {"Retry-After": "1"})
    assert ledger.value("SELECT count(*) FROM chat_conversation") == 0
    assert ledger.value("SELECT count(*) FROM usage_reservation") == 0
    assert not ledger.left_behind()


async def test_a_refused_turn_leaves_the_conversation_as_it_was(host: Any, actor: Any, ledger: Any) -> None:
    member = actor("member")
    told = await ask(member, "1?")
    before = ledger.rows("SELECT * FROM chat_conversation"), ledger.rows("SELECT * FROM chat_message ORDER BY id")
    ledger.rows("UPDATE usage_quota SET allowance = 0")
    for more in ({"message": "2?"}, {"retry": True}):
        error = await attempt(member, conversation_id=told.conversation_id, **more)
        assert error.code == "quota_exceeded"
    after = ledger.rows("SELECT * FROM chat_conversation"), ledger.rows("SELECT * FROM chat_message ORDER BY id")
    assert after == before


async def test_the_model_is_held_to_what_was_granted(host: Any, actor: Any, ledger: Any) -> None:
    """P42: the clamp reaches the vendor's `max_tokens`, or it would be no clamp."""
    ledger.allow(5 + 12)
    script = ScriptedModel.enqueue(["a"])
    told = await ask(actor("member"))
    assert script.request is not None
    assert script.request.max_tokens == 12
    assert ledger.reservation(told.run_id)["amount"] == 17


async def test_the_vendor_cuts_there(host: Any, actor: Any, agent: Any, ledger: Any) -> None:
    ledger.allow(5 + 8)
    told = await ask(actor("member"), agent=agent("bench-0-0-50"))
    assert told.end["finish_reason"] == "length"
    assert told.end["usage"]["output_tokens"] == 8


async def test_a_vendor_that_takes_more_than_it_was_given(host: Any, actor: Any, ledger: Any) -> None:
    """A35: the truth is billed, and the next turn is refused."""
    ledger.allow(50)
    ScriptedModel.enqueue(["a", UsageReport(5, 5000, 0, 0)])
    await ask(actor("member"))
    assert ledger.quota()["used"] == 5005
    assert (await attempt(actor("member"))).code == "quota_exceeded"
    assert not ledger.left_behind()


@pytest.mark.parametrize("level", ["user", "agent"])
async def test_a_persons_and_an_agents_own_limit(host: Any, actor: Any, agents: Any, ledger: Any, level: str) -> None:
    slug = agents("demo")
    first = await ask(actor("owner"), agent=slug)
    assert first.started is not None
    subject = {"user": actor("member").user_id, "agent": first.started.spec.agent_id}[level]
    ledger.allow(3, level=level, subject=subject)
    assert (await attempt(actor("member"), agent=slug)).code == "quota_exceeded"
    other = {"user": {"actor": actor("owner"), "agent": slug}, "agent": {"actor": actor("member")}}[level]
    assert not isinstance(await attempt(**other), PaasError)


async def test_a_turn_that_crosses_the_month(host: Any, actor: Any, ledger: Any) -> None:
    """A37."""
    member, gate = actor("member"), asyncio.Event()
    ScriptedModel.enqueue(["a", gate, UsageReport(5, 7, 0, 0)])
    started = await start(member)
    await read(member.tenant, started.run_id, limit=2)
    ledger.rows("UPDATE usage_quota SET month = month - interval '1 month'")
    ScriptedModel.enqueue(["b", UsageReport(5, 1, 0, 0)])
    await ask(member)
    gate.set()
    await read(member.tenant, started.run_id)
    months = ledger.rows("SELECT used, reserved FROM usage_quota ORDER BY month")
    assert [(row["used"], row["reserved"]) for row in months] == [(12, 0), (6, 0)]


@pytest.mark.parametrize("steps", [["a"], ["a", PaasError("provider_stream_cut")], [PaasError("provider_timeout")]])
@pytest.mark.parametrize("stop", [False, True])
async def test_nothing_stays_held(host: Any, actor: Any, ledger: Any, steps: list[Any], stop: bool) -> None:
    """A34, for conversations and for calls without one."""
    member = actor("member")
    for fields in ({}, {"messages": [{"role": "user", "content": "hi"}]}):
        gate = asyncio.Event()
        ScriptedModel.enqueue([gate, *steps])
        started = await start(member, **fields)
        assert ledger.left_behind()["held"] == 1
        if stop:
            await turns.cancel_turn(member, started.run_id)
        gate.set()
        await read(member.tenant, started.run_id)
        assert not ledger.left_behind()


@pytest.mark.parametrize("count", [10**18, 2**63, 2**64])
async def test_a_vendor_that_reports_nonsense(host: Any, actor: Any, ledger: Any, count: int) -> None:
    """Numbers that no counter can hold must not keep the run from ending."""
    ScriptedModel.enqueue(["a", UsageReport(5, count, 0, 0)])
    told = await ask(actor("member"))
    assert told.kinds[-1] in ("run.completed", "run.failed")
    assert not ledger.left_behind()


# --- conversations a day -------------------------------------------------------------------------------


@pytest.fixture
def plan(ledger: Any) -> Iterator[Callable[..., None]]:
    """`plan(sessions_per_day=2)`: acme on a plan of its own with these limits; then on its former one again."""
    ledger.rows("INSERT INTO tenants_plan (slug, name, max_concurrent_runs) VALUES ('own', 'Own', 50)")

    def change(**limits: int | None) -> None:
        for name, limit in limits.items():
            ledger.rows(f"UPDATE tenants_plan SET {name} = %s WHERE slug = 'own'", limit)
        ledger.rows("UPDATE tenants_tenant SET plan_id = 'own' WHERE slug = 'acme'")

    yield change
    ledger.rows("UPDATE tenants_tenant SET plan_id = 'pro' WHERE slug = 'acme'")
    ledger.rows("DELETE FROM tenants_plan WHERE slug = 'own'")


async def test_new_conversations_a_day(host: Any, actor: Any, ledger: Any, plan: Any) -> None:
    """Two of twenty at once; an old conversation and a call without one go on; a larger plan counts at once."""
    plan(sessions_per_day=2)
    member = actor("member")
    outcomes = await asyncio.gather(*(attempt(member) for _ in range(20)))
    refusals = [outcome for outcome in outcomes if isinstance(outcome, PaasError)]
    begun = [outcome for outcome in outcomes if not isinstance(outcome, PaasError)]
    assert (len(begun), {error.code for error in refusals}) == (2, {"session_limit_reached"})
    error = refusals[0]
    assert (error.status, error.retry_after is not None and 0 < error.retry_after <= 86_400) == (429, True)
    assert error.details["resets_at"].endswith("T00:00:00+00:00")
    assert ledger.value("SELECT count(*) FROM chat_conversation") == 2
    for run in begun:
        await read(member.tenant, run.run_id)
    await ask(member, conversation_id=begun[0].conversation_id)
    await ask(member, messages=[{"role": "user", "content": "hi"}])
    assert not ledger.left_behind()
    plan(sessions_per_day=3)
    await ask(member)
    assert (await attempt(member)).code == "session_limit_reached"
    ledger.rows("UPDATE usage_sessioncount SET day = day - 1")
    await ask(member)
    assert ledger.one("SELECT begun FROM usage_sessioncount")["begun"] == 1, "a day begins with none"


async def test_a_turn_without_tokens_counts_as_no_conversation(host: Any, actor: Any, ledger: Any, plan: Any) -> None:
    plan(sessions_per_day=1)
    ledger.allow(3)
    assert (await attempt(actor("member"))).code == "quota_exceeded"
    ledger.allow(None)
    await ask(actor("member"))
    plan(sessions_per_day=0)
    assert (await attempt(actor("owner"))).code == "session_limit_reached"
    plan(sessions_per_day=None)
    await ask(actor("owner"))


async def test_another_plan_gives_its_tokens_at_once(host: Any, actor: Any, ledger: Any, plan: Any) -> None:
    await ask(actor("member"))
    plan(tokens_per_month=7)
    assert ledger.quota()["allowance"] == 7
    assert (await attempt(actor("member"))).code == "quota_exceeded"
    ledger.rows("UPDATE tenants_plan SET tokens_per_month = 1000000 WHERE slug = 'own'")
    assert ledger.quota()["allowance"] == 1_000_000
    await ask(actor("member"))


# --- cost ----------------------------------------------------------------------------------------------


async def test_a_limit_of_cost_from_the_first_word_to_the_bill(host: Any, actor: Any, agents: Any, ledger: Any) -> None:
    """P42: held at the dearest price that a token can get, booked as it is billed, and the model is held to it; what has
    no price is not begun (A38)."""
    member = actor("member")
    ledger.limit("0.001", "cost", "month", currency="USD")
    error = await attempt(member)
    assert (error.code, error.status) == ("model_unpriced", 403)
    assert "USD" in error.message
    prices = {"input_price": "10", "output_price": "20", "cached_price": "1", "reasoning_price": "40"}
    slug = agents("m", provider={"kind": "scripted", "models": {"m": prices}})
    script = ScriptedModel.enqueue(["a", UsageReport(5, 10, 2, 4)])
    told = await ask(member, agent=slug)
    assert script.request is not None
    # 5 in at 10 millionths; what is left of a thousand pays for 23 at 40, the price of thinking.
    assert script.request.max_tokens == 23
    assert ledger.reservation(told.run_id)["cost"] == 970_000
    cost = ledger.usage(told.run_id)[0]["cost"]
    assert cost == Decimal("0.000312"), "3 at 10, 2 at 1, 6 at 20, 4 at 40"
    counter = ledger.one("SELECT used, reserved FROM usage_quota WHERE metric = 'cost'")
    assert (counter["used"], counter["reserved"]) == (cost * 10**9, 0)
    ScriptedModel.enqueue(["a", UsageReport(5, 100, 0, 0)])
    await ask(member, agent=slug)
    error = await attempt(member, agent=slug)
    told = error.details["limit"]
    assert (error.code, told["metric"], told["left"]) == ("quota_exceeded", "cost", "0.00")
    assert "cost a month leaves 0.00 USD of 0.001 USD" in error.message
    assert not ledger.left_behind()
