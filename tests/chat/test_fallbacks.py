"""Another model answers while the first one cannot: asked once, billed once, at its own price."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from agents.fallbacks import fallbacks_checked
from bench.vendor import Vendor
from chat import worker
from core.errors import PaasError
from llm import breaker
from tenants import scope
from tests.chat.hosts import another
from tests.chat.ledger import Ledger, eventually
from tests.chat.talk import ask, read, start
from tests.chat.test_recovery import die, end_of, survivor
from tests.conftest import Platform, in_thread

__all__ = ["survivor"]
CHEAP = {"input_price": "1", "output_price": "2", "currency": "USD"}
DEAR = {"input_price": "10", "output_price": "20", "currency": "USD"}
Make = Callable[..., str]


@pytest.fixture(autouse=True)
def _no_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm.wire.BACK_OFF", 0.0)


@pytest.fixture
def chained(agent: Make) -> Callable[..., str]:
    """`chained("fault-500", "echo")`: an agent with a model at CHEAP and another, of another account, at DEAR."""

    def make(first: str, *others: str, price: dict[str, str] = DEAR) -> str:
        stand_in = agent("echo", models=dict.fromkeys(others, price))
        account = stand_in.replace("agent", "provider")
        fallbacks = [{"provider": account, "model": model} for model in others]
        return agent(first, models={first: CHEAP}, parameters={"fallbacks": fallbacks, "max_tokens": 50})

    return make


@pytest.mark.parametrize("first", ["fault-500", "fault-429-60"])
async def test_the_next_one_answers_and_is_billed(
    host: Any, actor: Any, chained: Make, vendor: Vendor, ledger: Ledger, first: str
) -> None:
    told = await ask(actor("member"), agent=chained(first, "no-such-model", "bench-0-0-20"))
    assert told.text == "".join(f"t{index} " for index in range(20))
    changed = [data for _, (kind, data) in told.events if kind == "model.changed"]
    assert [data["model"] for data in changed] == ["no-such-model", "bench-0-0-20"]
    assert told.kinds[0] == "run.started"
    (bill,) = ledger.usage(told.run_id)
    assert (bill["model"], bill["input_tokens"], bill["output_tokens"]) == ("bench-0-0-20", 10, 20)
    assert bill["cost"] == Decimal(10 * 10 + 20 * 20) / 10**6
    assert told.end["usage"]["cost"] == "0.0005"
    held = ledger.reservation(told.run_id)
    assert held["cost"] >= (held["amount"] - 50) * 10_000 + 50 * 20_000, "the dearest was held"
    assert [record.model for record in vendor.stats.records].count("bench-0-0-20") == 1


async def test_an_answer_that_has_begun_is_nobody_elses(
    host: Any, actor: Any, chained: Make, vendor: Vendor, ledger: Ledger
) -> None:
    told = await ask(actor("member"), agent=chained("fault-cut-5", "echo"))
    assert (told.end["code"], told.text) == ("provider_stream_cut", "t0 t1 t2 t3 t4 ")
    assert vendor.stats.requests == 1
    assert [bill["model"] for bill in ledger.usage(told.run_id)] == ["fault-cut-5"]


async def test_when_none_answers_the_first_one_is_told_of_and_nobody_pays(
    host: Any, actor: Any, chained: Make, ledger: Ledger
) -> None:
    told = await ask(actor("member"), agent=chained("fault-429-60", "fault-401"))
    assert told.end["code"] == "provider_rate_limited"
    assert ledger.usage(told.run_id) == []
    assert (await ask(actor("member"), agent=chained("fault-401", "echo"))).end["code"] == "provider_auth_failed"


async def test_a_dead_vendor_is_not_waited_for(
    host: Any, actor: Any, chained: Make, agent: Make, vendor: Vendor, ledger: Ledger
) -> None:
    slug, alone = chained("fault-500", "echo"), agent("fault-500")
    for _ in range(breaker.FAULTS):
        assert (await ask(actor("member"), agent=slug)).text == "hi"
        assert (await ask(actor("member"), agent=alone)).end["code"] == "provider_unavailable"
    vendor.stats.reset()
    assert (await ask(actor("member"), agent=slug)).text == "hi"
    with pytest.raises(PaasError) as refused:
        await start(actor("member"), agent=alone)
    assert (refused.value.code, refused.value.retry_after) == ("provider_unavailable", breaker.OPEN_SECONDS)
    assert not ledger.left_behind()
    assert [record.model for record in vendor.stats.records] == ["echo"]


@pytest.mark.parametrize("why", ["key", "price"])
async def test_who_may_not_stand_in(host: Any, actor: Any, chained: Make, vendor: Vendor, why: str) -> None:
    price = DEAR if why == "key" else {**DEAR, "currency": "CNY"}
    caller = replace(actor("member"), models=frozenset({"fault-500"})) if why == "key" else actor("member")
    told = await ask(caller, agent=chained("fault-500", "echo", price=price))
    assert told.end["code"] == "provider_unavailable"
    assert {record.model for record in vendor.stats.records} == {"fault-500"}


async def test_whoever_ends_a_dead_run_bills_the_model_that_answered(
    survivor: Any, actor: Any, chained: Make, ledger: Ledger
) -> None:
    member = actor("member")
    started = await start(member, agent=chained("fault-500", "fault-stall-3"))
    await read(member.tenant, started.run_id, limit=5)
    die(survivor, started.run_id)
    await end_of(survivor, member, ledger, started.run_id)
    (bill,) = ledger.usage(started.run_id)
    assert (bill["model"], bill["output_price"]) == ("fault-stall-3", Decimal(20))


async def test_a_worker_goes_on_with_the_next_one_too(host: Any, actor: Any, chained: Make, ledger: Ledger) -> None:
    async with another(worker=True) as working:
        run = await start(actor("member"), agent=chained("fault-500", "echo"), background=True)
        await eventually(lambda: ledger.reservation(run.run_id)["host"] == "worker")
        assert await worker.take(working) == 1
        assert (await read(actor("member").tenant, run.run_id)).text == "hi"
    assert [bill["model"] for bill in ledger.usage(run.run_id)] == ["echo"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("echo", "is a list"),
        ([{"provider": "scripted"}], "is an object with provider and model"),
        ([{"provider": "nobody's", "model": "m"}], "There is no provider"),
        ([{"provider": "scripted", "model": ""}], "is a name"),
        ([{"provider": "scripted", "model": "m"}] * 2, "are the same"),
    ],
)
def test_what_is_no_chain(db: Platform, given: Any, said: str) -> None:
    def check() -> None:
        with scope.bind(db.acme), pytest.raises(ValidationError) as error:
            fallbacks_checked(given)
        assert said in error.value.messages[0]

    in_thread(check)
