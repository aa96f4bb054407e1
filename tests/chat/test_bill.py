"""What a run costs: the vendor's count where there is one, ours where there is none, priced exactly."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.runtime.spec import Transcript
from chat import turns
from chat.finish import cost_of, usage_of
from llm.catalog import ModelInfo
from llm.deltas import ReasoningDelta, UsageReport
from llm.providers.scripted import ScriptedModel
from tests.chat.talk import ask, read, start

PRICES = {"input_price": "0.15", "output_price": "0.60", "cached_price": "0.075"}
price = st.decimals(0, 1_000_000, places=9, allow_nan=False, allow_infinity=False)
tokens = st.integers(0, 10**9)


@given(price, price, st.none() | price, tokens, tokens, tokens)
def test_cost_is_exact(
    input_price: Decimal,
    output_price: Decimal,
    cached_price: Decimal | None,
    tokens_in: int,
    tokens_out: int,
    cached: int,
) -> None:
    """To 12 places, as it is stored; cached tokens are part of the input and never more than it."""
    info = ModelInfo(input_price=input_price, output_price=output_price, cached_price=cached_price)
    cost = cost_of(info, tokens_in, tokens_out, cached)
    cached = min(cached, tokens_in)
    of_cached = input_price if cached_price is None else cached_price
    exact = (
        Fraction(input_price) * (tokens_in - cached)
        + Fraction(of_cached) * cached
        + Fraction(output_price) * tokens_out
    ) / 10**6
    assert cost is not None
    assert abs(Fraction(cost) - exact) <= Fraction(1, 2 * 10**12)
    assert cost == round(cost, 12)


@pytest.mark.parametrize("known", [{}, {"input_price": Decimal(1)}, {"output_price": Decimal(1)}])
def test_unpriced_is_not_free(known: dict[str, Decimal]) -> None:
    assert cost_of(ModelInfo(**known), 1000, 1000, 0) is None
    assert cost_of(ModelInfo(input_price=Decimal(0), output_price=Decimal(0)), 1000, 1000, 0) == 0


def test_what_is_counted_when_nobody_says() -> None:
    silent = Transcript(text=["a"] * 7, reasoning=["b"] * 2, deltas=9)
    usage = usage_of(silent, 50, ModelInfo())
    assert (usage["input_tokens"], usage["output_tokens"], usage["counted"], usage["cost"]) == (50, 9, True, None)
    mute = usage_of(Transcript(), 50, ModelInfo())
    assert (mute["input_tokens"], mute["output_tokens"]) == (0, 0)
    said = usage_of(Transcript(deltas=9, input_tokens=0, output_tokens=0), 50, ModelInfo())
    assert (said["input_tokens"], said["output_tokens"], said["counted"]) == (0, 0, False)


async def test_a_vendors_own_count(host: Any, actor: Any, agent: Any, ledger: Any) -> None:
    slug = agent("bench-0-0-20", models={"bench-0-0-20": PRICES | {"currency": "CNY"}})
    told = await ask(actor("member"), agent=slug)
    (record,) = ledger.usage(told.run_id)
    assert (record["input_tokens"], record["output_tokens"], record["counted"]) == (10, 20, False)
    assert record["cost"] == Decimal("0.0000135")
    assert (record["input_price"], record["output_price"], record["cached_price"], record["currency"]) == (
        Decimal("0.15"), Decimal("0.60"), Decimal("0.075"), "CNY",
    )  # fmt: skip
    assert told.end["usage"]["cost"] == "0.0000135"
    assert Decimal(told.end["usage"]["cost"]) == record["cost"]
    member = actor("member")
    assert (record["user_id"], record["key_id"], record["model"], record["kind"], record["call"]) == (
        member.user_id, None, "bench-0-0-20", "chat", 1,
    )  # fmt: skip
    assert told.started is not None
    assert (record["agent_id"], record["provider"]) == (told.started.spec.agent_id, told.started.spec.provider_name)
    assert ledger.quota()["used"] == 30
    assert not ledger.left_behind()


async def test_cached_and_reasoning_tokens(host: Any, actor: Any, agents: Any, ledger: Any) -> None:
    slug = agents("m", provider={"kind": "scripted", "models": {"m": PRICES}})
    ScriptedModel.enqueue([ReasoningDelta("hm"), "a", UsageReport(1000, 400, 900, 300)])
    told = await ask(actor("member"), agent=slug)
    (record,) = ledger.usage(told.run_id)
    assert (record["cached_tokens"], record["reasoning_tokens"]) == (900, 300)
    assert record["cost"] == (100 * Decimal("0.15") + 900 * Decimal("0.075") + 400 * Decimal("0.60")) / 10**6
    assert ledger.quota()["used"] == 1400


async def test_a_price_finer_than_the_books(host: Any, actor: Any, agents: Any, ledger: Any) -> None:
    """What a person is shown is what is stored, to the last place."""
    fine = {"input_price": "0.000000123", "output_price": "0.0000007"}
    slug = agents("m", provider={"kind": "scripted", "models": {"m": fine}})
    ScriptedModel.enqueue(["a", UsageReport(11, 13, 0, 0)])
    told = await ask(actor("member"), agent=slug)
    (record,) = ledger.usage(told.run_id)
    assert record["cost"] == Decimal("0.000000000010")
    assert Decimal(told.end["usage"]["cost"]) == record["cost"]


async def test_unpriced_models_have_no_cost(host: Any, actor: Any, ledger: Any) -> None:
    told = await ask(actor("member"))
    (record,) = ledger.usage(told.run_id)
    assert (record["cost"], record["input_price"], told.end["usage"]["cost"]) == (None, None, None)


@pytest.mark.parametrize(("model", "count"), [("fault-nousage-7", 7), ("fault-cut-4", 4), ("fault-error-6", 6)])
async def test_a_vendor_that_never_counts(
    host: Any, actor: Any, agent: Any, ledger: Any, model: str, count: int
) -> None:
    """P44: our count is billed, and said to be ours."""
    told = await ask(actor("member"), "x" * 300, agent=agent(model))
    (record,) = ledger.usage(told.run_id)
    assert (record["counted"], record["output_tokens"], record["input_tokens"]) == (True, count, 104)
    assert told.end["usage"]["counted"] is True
    assert ledger.quota()["used"] == 104 + count
    assert not ledger.left_behind()


@pytest.mark.parametrize(
    "model", ["fault-401", "fault-500", "fault-429-9", "fault-cut-0", "fault-garbage", "fault-html"]
)
async def test_who_did_not_answer_is_paid_nothing(host: Any, actor: Any, agent: Any, ledger: Any, model: str) -> None:
    told = await ask(actor("member"), agent=agent(model))
    assert told.kinds[-1] == "run.failed"
    assert ledger.usage(told.run_id) == []
    assert ledger.quota()["used"] == 0
    assert not ledger.left_behind()


async def test_a_stopped_answer_costs_what_was_said(
    host: Any, actor: Any, agent: Any, ledger: Any, vendor: Any
) -> None:
    """A34; and the vendor is stopped, so that it bills no more than that."""
    member = actor("member")
    started = await start(member, agent=agent("fault-stall-5"))
    await read(member.tenant, started.run_id, limit=6)
    await turns.cancel_turn(member, started.run_id)
    told = await read(member.tenant, started.run_id)
    assert told.kinds[-1] == "run.cancelled"
    (record,) = ledger.usage(told.run_id)
    assert (record["output_tokens"], record["counted"]) == (5, True)
    await asyncio.sleep(0)
    assert vendor.stats.document()["open_streams"] == 0
    assert not ledger.left_behind()


async def test_the_records_add_up_to_the_counter(host: Any, actor: Any, agent: Any, ledger: Any) -> None:
    slugs = [agent(model) for model in ("bench-0-0-20", "fault-cut-3", "reasoning-4", "length-6", "fault-500")]
    await asyncio.gather(*(ask(actor("member"), agent=slug) for slug in slugs * 4))
    total = ledger.value("SELECT sum(input_tokens + output_tokens)::bigint FROM usage_usagerecord")
    assert ledger.quota()["used"] == total
    assert ledger.value("SELECT count(*) FROM usage_usagerecord") == 16
    assert not ledger.left_behind()
