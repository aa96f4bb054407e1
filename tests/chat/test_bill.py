"""What a run costs: the vendor's count where there is one, ours where there is none, priced exactly."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import access
from agents.runtime.spec import Transcript
from chat import turns
from chat.finish import cost_of, usage_of
from core import clock
from llm import breaker
from llm.catalog import ModelInfo
from llm.deltas import ReasoningDelta, UsageReport
from llm.providers.scripted import ScriptedModel
from tenants import scope
from tests.chat.talk import ask, read, start
from tests.conftest import Platform, in_thread
from tests.usage.test_prices import margin, put
from usage import chain, statements

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


@pytest.mark.exhaustive
async def test_the_records_add_up_to_the_counter(host: Any, actor: Any, agent: Any, ledger: Any) -> None:
    slugs = [agent(model) for model in ("bench-0-0-20", "fault-cut-3", "reasoning-4", "length-6", "fault-500")]
    await asyncio.gather(*(ask(actor("member"), agent=slug) for slug in slugs * 4))
    total = ledger.value("SELECT sum(input_tokens + output_tokens)::bigint FROM usage_usagerecord")
    assert ledger.quota()["used"] == total
    assert ledger.value("SELECT count(*) FROM usage_usagerecord") == 16
    assert not ledger.left_behind()


async def test_a_turn_is_charged_at_the_price_of_its_moment(
    host: Any, actor: Any, agents: Any, ledger: Any, db: Platform
) -> None:
    """With a margin, and with prices for cached and reasoning tokens; the entry holds what it was charged at."""
    slug = agents("m", provider={"kind": "scripted"})

    def set_up() -> None:
        put("scripted", "m", input="1", output="10", cached="0.1", reasoning="20")
        margin("25", tenant_id=db.acme.id)

    in_thread(set_up)
    access.forget_all()
    ScriptedModel.enqueue([ReasoningDelta("hm"), "a", UsageReport(1000, 400, 900, 300)])
    told = await ask(actor("member"), agent=slug)
    (record,) = ledger.usage(told.run_id)
    assert [record[f"{name}_price"] for name in ("input", "output", "cached", "reasoning")] == [
        Decimal("1.25"), Decimal("12.5"), Decimal("0.125"), Decimal(25),
    ]  # fmt: skip
    assert (
        record["cost"]
        == (100 * Decimal("1.25") + 900 * Decimal("0.125") + 100 * Decimal("12.5") + 300 * Decimal(25)) / 10**6
    )
    assert record["agent"] == slug
    in_thread(lambda: put("scripted", "m", input=None, output=None, cached=None, reasoning=None, at=clock.now()))
    access.forget_all()
    ScriptedModel.enqueue(["a", UsageReport(1000, 400, 0, 0)])
    told = await ask(actor("member"), agent=slug)
    (record,) = ledger.usage(told.run_id)
    assert (record["cost"], record["input_price"]) == (None, None)


async def test_the_ledger_is_the_vendors_own_count(
    host: Any, actor: Any, agent: Any, ledger: Any, vendor: Any, db: Platform
) -> None:
    """T8: sixty answers that end in every way, some stopped on the way; then both books are compared, the ledger is
    sealed and whole, and the statement says the same."""
    models = ("bench-0-0-20", "bench-0-1-60", "fault-cut-3", "reasoning-4", "length-6", "fault-500", "fault-nousage-7")
    prices = {"input_price": "0.15", "output_price": "0.60"}
    slugs = [agent(model, models={model: prices}) for model in models]
    member = actor("member")

    async def one(number: int) -> None:
        slug = slugs[number % len(slugs)]
        if number % 7 == 1 and number % 2:
            started = await start(member, agent=slug)
            await read(member.tenant, started.run_id, limit=4)
            await turns.cancel_turn(member, started.run_id)
            await read(member.tenant, started.run_id)
        else:
            await ask(member, agent=slug)

    for batch in range(0, 63, 9):
        breaker.forget()  # a vendor that fails is asked all the same
        await asyncio.gather(*(one(number) for number in range(batch, batch + 9)))
    answers = vendor.stats.document()["answers"]
    complete = {"done", "cut", "error"}
    for model in models:
        of_model = [answer for answer in answers if answer["model"] == model]
        booked = ledger.rows("SELECT * FROM usage_usagerecord WHERE model = %s", model)
        paid = [answer for answer in of_model if answer["state"] != "refused"]
        assert len(booked) == len(paid), model
        stopped = any(answer["state"] not in complete for answer in of_model)
        given, counted = sum(one["tokens"] for one in paid), sum(row["output_tokens"] for row in booked)
        # Of an answer that was stopped the vendor has handed more to the socket than was ever read.
        assert counted == given if not stopped else counted <= given, model
    assert not ledger.left_behind()

    def audit() -> tuple[Any, Any]:
        with scope.platform():
            chain.seal_all()
            (verdict,) = [one for one, _ in chain.verify_all(slug="acme")]
            return verdict, statements.statement_of(db.acme.id, clock.month_of(clock.now()))

    verdict, statement = await asyncio.to_thread(audit)
    assert (verdict.problem, verdict.seq) == ("", ledger.value("SELECT count(*) FROM usage_usagerecord"))
    assert statement.totals()[0].exact == ledger.value("SELECT sum(cost) FROM usage_usagerecord")
    assert ledger.quota()["used"] == sum(line.input + line.output for line in statement.lines)
