"""A team as a run: what its members' calls cost, to the vendor's own count, however it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from bench.answers import PROMPT_TOKENS
from bench.vendor import Vendor
from chat import approvals, worker
from chat.host import Host
from chat.traces import trace_of
from core.errors import PaasError
from llm.deltas import Finish, ToolCallDelta, UsageReport
from llm.providers.scripted import ScriptedModel
from tenants import scope
from tests.chat.ledger import Ledger, eventually
from tests.chat.talk import Told, ask, read, start
from tests.chat.test_approvals import World, asks, verdict, waiting, working, world
from tests.chat.test_recovery import die, end_of, survivor
from tests.conftest import in_thread

__all__ = ["survivor", "working", "world"]
Make = Callable[..., str]
CHEAP = {"input_price": "1", "output_price": "2", "currency": "USD"}
DEAR = {"input_price": "10", "output_price": "20", "currency": "USD"}
YUAN = {"input_price": "100", "output_price": "200", "currency": "CNY"}


@pytest.fixture
def member_of(agent: Make) -> Callable[..., str]:
    """`member_of("bench-0-0-20", CHEAP)`: the slug of an agent that asks the stand-in vendor, at a price."""

    def make(model: str, price: dict[str, Any] = CHEAP, **fields: Any) -> str:
        return agent(model, models={model: price}, **({"parameters": {"max_tokens": 50}} | fields))

    return make


@pytest.fixture
def team(db: Any, agents: Make) -> Callable[..., str]:
    """`team("parallel", "agent-1", "agent-2")`: the slug of a team; a supervisor's own model is scripted."""

    def make(mode: str, *members: str, **fields: Any) -> str:
        from agents.services import agent_set
        from tenants import scope

        said = {"mode": mode, "members": list(members)} | fields.pop("more", {})
        if mode == "supervisor":
            return agents("demo", team=said, **fields)
        slug = agents("demo", **fields)  # and from then on it is a team

        def create() -> None:
            with scope.bind(db.acme):
                agent_set(slug=slug, provider=None, model="", actor="test", fields={"team": said} | fields)

        in_thread(create)
        return slug

    return make


def entries(ledger: Ledger, told: Told) -> list[tuple[Any, ...]]:
    """(model, tokens in, tokens out, currency, cost) of each entry, dearest last."""
    names = ("model", "input_tokens", "output_tokens", "currency", "cost")
    return sorted(tuple(row[name] for name in names) for row in ledger.usage(told.run_id))


def counted(vendor: Vendor, ledger: Ledger, told: Told) -> None:
    """The books say what the vendor says, nothing is left, and the counters are the sum of the entries."""
    rows = ledger.usage(told.run_id)
    said = sorted((one.model, PROMPT_TOKENS, one.tokens) for one in vendor.stats.records)
    assert sorted((row["model"], row["input_tokens"], row["output_tokens"]) for row in rows) == said
    assert ledger.quota()["used"] == sum(row["input_tokens"] + row["output_tokens"] for row in rows)
    assert told.numbers == list(range(1, len(told.numbers) + 1))
    assert not ledger.left_behind()


async def test_each_member_is_billed_at_its_own_price(
    host: Any, actor: Any, team: Make, member_of: Make, vendor: Vendor, ledger: Ledger
) -> None:
    slug = team("sequential", member_of("bench-0-0-20"), member_of("bench-0-0-5", DEAR), member_of("echo", DEAR))
    told = await ask(actor("member"), "hi", agent=slug)
    assert told.kinds[0] == "run.started"
    assert told.text.startswith("hi\n\nWhat the team has so far:")
    counted(vendor, ledger, told)
    rows = {row["model"]: row for row in ledger.usage(told.run_id)}
    assert rows["bench-0-0-20"]["cost"] == Decimal(10 * 1 + 20 * 2) / 10**6
    assert rows["bench-0-0-5"]["cost"] == Decimal(10 * 10 + 5 * 20) / 10**6
    assert len({row["provider"] for row in rows.values()}) == 3
    assert Decimal(told.end["usage"]["cost"]) == sum(row["cost"] for row in rows.values())
    assert {row["agent"] for row in rows.values()} == {slug}
    assert ledger.messages(told.conversation_id)[-1] == ("assistant", told.text, "complete")


async def test_side_by_side_nothing_is_used_that_is_not_held(
    host: Any, actor: Any, team: Make, member_of: Make, vendor: Vendor, ledger: Ledger
) -> None:
    """Twenty calls at once, of two currencies, within limits on tokens and on either cost; the sum is the vendor's."""
    member = actor("member")
    ledger.limit(10**6, "cost", currency="USD")
    ledger.limit(10**6, "cost", currency="CNY")
    dollars, yuan = member_of("bench-0-0-3"), member_of("bench-0-0-4", YUAN)
    told = await ask(member, "hi", agent=team("parallel", *[dollars, yuan] * 10))
    assert told.end["usage"]["cost"] is None
    assert told.end["usage"]["costs"] == {"USD": "0.00016", "CNY": "0.018"}
    assert ledger.run(told.run_id)["usage"]["costs"]["CNY"] == "0.018"
    counted(vendor, ledger, told)
    costs = {
        row["currency"]: row
        for row in ledger.rows("SELECT currency, used, reserved FROM usage_quota WHERE metric = 'cost'")
    }
    assert {name: (row["used"], row["reserved"]) for name, row in costs.items()} == {
        "USD": (160_000, 0), "CNY": (18_000_000, 0),
    }  # fmt: skip
    held = ledger.reservation(told.run_id)
    assert (held["overrun"], len(held["calls"])) == (0, 20)
    assert held["other_costs"]["CNY"] >= 18_000_000


async def test_what_is_left_is_held_by_those_who_write_and_whoever_gets_none_is_told(
    host: Any, actor: Any, team: Make, agents: Make, member_of: Make, ledger: Ledger
) -> None:
    """Together they use no more than the limit; what none of them has a price for is not begun."""
    ledger.allow(140)
    gate = asyncio.Event()
    for _ in range(3):
        ScriptedModel.enqueue([gate, "x", UsageReport(5, 40, 0, 0)])
    started = await start(actor("member"), agent=team("parallel", *[agents("demo", parameters={"max_tokens": 40})] * 4))
    told = await read(actor("member").tenant, started.run_id, limit=1 + 4 + 1)
    assert "which is too little" in told.events[-1][1][1]["error"]
    assert 120 <= ledger.quota()["reserved"] <= 140
    gate.set()
    await read(actor("member").tenant, started.run_id)
    assert ledger.quota()["used"] == 3 * 45
    ledger.allow(10**6)
    ledger.limit(1, "cost", currency="USD")
    slug = team("sequential", member_of("bench-0-0-3"), member_of("bench-0-0-4", YUAN))
    told = await ask(actor("member"), "hi", agent=slug)
    assert told.end["code"] == "model_unpriced", "nobody knows what yuan are of a limit in dollars"
    unpriced = team("sequential", member_of("bench-0-0-3"), member_of("echo", {"context_tokens": 9000}))
    with pytest.raises(PaasError) as refused:
        await start(actor("member"), agent=unpriced)
    assert refused.value.code == "model_unpriced", "and before anything is asked, where it can be known"
    assert not ledger.left_behind()


async def test_a_member_that_fails_ends_the_run_and_what_was_used_is_paid(
    host: Any, actor: Any, team: Make, member_of: Make, vendor: Vendor, ledger: Ledger
) -> None:
    broken = member_of("fault-cut-5", DEAR)
    told = await ask(actor("member"), agent=team("sequential", member_of("bench-0-0-20"), broken, member_of("echo")))
    assert (told.end["code"], told.end["message"][: len(broken) + 1]) == ("provider_stream_cut", f"{broken}:")
    assert told.kinds[-4:] == ["agent.delta", "agent.finished", "message.completed", "run.failed"]
    rows = {row["model"]: row for row in ledger.usage(told.run_id)}
    assert [(rows["fault-cut-5"][name]) for name in ("output_tokens", "counted")] == [5, True]
    assert set(rows) == {"bench-0-0-20", "fault-cut-5"}
    assert ledger.quota()["used"] == sum(row["input_tokens"] + row["output_tokens"] for row in rows.values())
    assert not ledger.left_behind()


async def test_a_stop_reaches_all_and_what_was_said_is_paid(
    host: Any, actor: Any, team: Make, member_of: Make, vendor: Vendor, ledger: Ledger
) -> None:
    from chat import turns

    member = actor("member")
    slug = team("parallel", *[member_of("fault-stall-3")] * 3)
    started = await start(member, agent=slug)
    await read(member.tenant, started.run_id, limit=1 + 3 + 9)
    await turns.cancel_turn(member, started.run_id)
    told = await read(member.tenant, started.run_id)
    assert told.kinds[-5:] == ["agent.finished"] * 3 + ["message.completed", "run.cancelled"]
    rows = ledger.usage(started.run_id)
    assert [(row["output_tokens"], row["counted"]) for row in rows] == [(3, True)] * 3
    await eventually(lambda: not vendor.stats.connections or all(one.closed for one in vendor.stats.records))
    assert not ledger.left_behind()


async def test_a_member_with_a_fallback_is_billed_for_the_one_that_answered(
    host: Any, actor: Any, team: Make, agent: Make, member_of: Make, vendor: Vendor, ledger: Ledger, monkeypatch: Any
) -> None:
    monkeypatch.setattr("llm.wire.BACK_OFF", 0.0)
    stand_in = agent("bench-0-0-7", models={"bench-0-0-7": DEAR}).replace("agent", "provider")
    kept = {"fallbacks": [{"provider": stand_in, "model": "bench-0-0-7"}], "max_tokens": 50}
    slug = team("parallel", member_of("fault-500", parameters=kept), member_of("echo"))
    told = await ask(actor("member"), "hi", agent=slug)
    changed = [data for _, (kind, data) in told.events if kind == "model.changed"]
    assert [(data["model"], data["path"][:2]) for data in changed] == [("bench-0-0-7", "0.")]
    rows = {row["model"]: row["cost"] for row in ledger.usage(told.run_id)}
    assert rows["bench-0-0-7"] == Decimal(10 * 10 + 7 * 20) / 10**6
    assert not ledger.left_behind()


async def test_what_members_of_a_dead_process_had_used_is_booked(
    survivor: Host, actor: Any, team: Make, member_of: Make, ledger: Ledger
) -> None:
    """One had ended and is known, two were writing and are counted, each at its own price."""
    member = actor("member")
    slug = team(
        "parallel", member_of("bench-0-0-6"), member_of("fault-stall-3", DEAR), member_of("fault-stall-4", YUAN)
    )
    inner = team("sequential", member_of("bench-0-0-2"), slug)
    started = await start(member, agent=inner)
    await eventually(lambda: ended_with(survivor, started.run_id, 3 + 4 + 6 + 2))
    await read(member.tenant, started.run_id, limit=1 + 15 + 5)
    die(survivor, started.run_id)
    told = await end_of(survivor, member, ledger, started.run_id)
    rows = {row["model"]: row for row in ledger.usage(started.run_id)}
    said = {model: (row["output_tokens"], row["currency"], row["counted"]) for model, row in rows.items()}
    assert said["fault-stall-3"] == (3, "USD", True)
    assert said["fault-stall-4"] == (4, "CNY", True)
    assert rows["fault-stall-3"]["output_price"] == Decimal(20)
    assert said["bench-0-0-2"] == (2, "USD", False)
    assert said["bench-0-0-6"][0] == 6
    opened = [data["path"] for _, (kind, data) in told.events if kind == "agent.started"]
    closed = [data["path"] for _, (kind, data) in told.events if kind == "agent.finished"]
    assert sorted(opened) == sorted(closed)
    assert set(told.end["usage"]["costs"]) == {"USD", "CNY"}
    steps = (await scope.run_in_tenant(member.tenant, trace_of, member, started.run_id))["steps"]
    members = {one["input"]["path"]: one for one in steps if one["kind"] == "agent"}
    assert members.keys() == set(opened), "what the log says has the members, where they worked"
    assert members["1." + slug]["title"] == members["1." + slug]["name"] == slug
    answers = {one["name"]: (one["path"], one["ok"], one["output"]["text"]) for one in steps if one["kind"] == "model"}
    assert answers["bench-0-0-2"][1] is True
    path, ok, text = answers["fault-stall-3"]
    assert (path.partition("/")[0], ok, len(text.split())) == ("1." + slug, False, 3)


def ended_with(host: Host, run_id: Any, deltas: int) -> bool:
    return host.runs[run_id].transcript.deltas >= deltas


async def test_a_supervisor_its_members_and_their_tools(
    host: Any, actor: Any, team: Make, agents: Make, ledger: Ledger
) -> None:
    """With a member in Python, one with a tool of its own, and a trace that says who did what."""
    counter = agents("demo", tools=["calculator"])
    slug = team("supervisor", counter, "echo_agent")
    asked = [("ask_" + counter, {"task": "6*7"}), ("ask_echo_agent", {"task": "hello"})]
    calls = [ToolCallDelta(at, f"c{at}", name, json.dumps(arguments)) for at, (name, arguments) in enumerate(asked)]
    ScriptedModel.enqueue(["I ask.", *calls, Finish("tool_calls"), UsageReport(100, 20, 0, 0)])
    ScriptedModel.enqueue([
        ToolCallDelta(0, "k", "calculator", '{"expression":"6*7"}'), Finish("tool_calls"), UsageReport(50, 5, 0, 0),
    ])  # fmt: skip
    ScriptedModel.enqueue(["42", UsageReport(60, 1, 0, 0)])
    ScriptedModel.enqueue(["It is 42.", UsageReport(150, 4, 0, 0)])
    told = await ask(actor("member"), "6*7?", agent=slug)
    assert told.text == "I ask.\n\nIt is 42."
    finished = {data["name"]: data["result"] for _, (kind, data) in told.events if kind == "tool.finished"}
    assert finished == {"calculator": "42", asked[0][0]: "42", "ask_echo_agent": "Echo: hello"}
    assert told.end["usage"]["output_tokens"] == 30 + 4  # the agent in Python costs nothing, and is counted
    assert [row["name"] for row in ledger.rows("SELECT name FROM agents_toolcall")] == ["calculator"]
    (document,) = ledger.rows("SELECT document FROM chat_runtrace")
    steps = json.loads(document["document"])["steps"]
    assert [step["kind"] for step in steps if step["path"].endswith("." + counter)] == ["model", "tool", "model"]
    assert [step["name"] for step in steps if step["kind"] == "agent"] == [counter, "echo_agent"]
    assert not ledger.left_behind()


async def test_members_whose_tools_wait_for_a_person(
    host: Any, working: Host, actor: Any, team: Make, agents: Make, world: World, ledger: Ledger
) -> None:
    """The whole run waits, with nothing held; it goes on in a worker, and nobody is asked or billed twice."""
    member = actor("member")
    supervisor = team("supervisor", first := agents("demo"), second := agents("demo", tools=["look", "send"]))
    slug = team("parallel", agents("demo"), supervisor)
    calls = [ToolCallDelta(at, f"c{at}", f"ask_{name}", '{"task":"t"}') for at, name in enumerate((first, second))]
    started, (row,) = await waiting(
        member, slug, ledger, ["A", UsageReport(10, 1, 0, 0)], [*calls, Finish("tool_calls"), UsageReport(20, 2, 0, 0)],
        ["one", UsageReport(30, 3, 0, 0)], asks(("look", "{}"), used=(40, 4)), asks(("send", "{}"), used=(50, 5)),
    )  # fmt: skip
    where, _, name = row["path"].rpartition(".")  # numbered as the two that are asked at once happen to begin
    assert (where.rpartition("/")[0], name) == ("1." + supervisor, second)
    assert (row["name"], world.done) == ("send", [("look", {})])
    held = ledger.reservation(started.run_id)
    assert (held["host"], held["amount"], ledger.quota()["reserved"]) == ("approval", 165, 165)
    ScriptedModel.enqueue(["sent", UsageReport(60, 6, 0, 0)])
    ScriptedModel.enqueue(["both", UsageReport(70, 7, 0, 0)])
    await approvals.decide(member, verdict(row))
    assert await worker.take(working) == 1
    told = await read(member.tenant, started.run_id)
    assert told.numbers == list(range(1, len(told.events) + 1))
    assert (told.kinds[-1], world.times("send")) == ("run.completed", 1)
    assert told.text.replace(slug, "").endswith("\n\nboth")
    opened = [data["path"] for _, (kind, data) in told.events if kind == "agent.started"]
    closed = [data["path"] for _, (kind, data) in told.events if kind == "agent.finished" and data["ok"]]
    assert len(opened) == 4
    assert sorted(opened) == sorted(closed)
    used = sorted((row["input_tokens"], row["output_tokens"]) for row in ledger.usage(started.run_id))
    assert used == [(10 * at, at) for at in range(1, 8)]
    assert not ledger.left_behind()


async def test_a_team_over_an_openai_client(
    site: Any, api_key: Callable[..., str], team: Make, member_of: Make, ledger: Ledger
) -> None:
    """Only its answer is the answer; tools of the caller's are refused where nobody could call them."""
    slug = team("sequential", member_of("bench-0-0-3"), member_of("bench-0-0-2"))
    lookup = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object", "properties": {}}}}
    body: dict[str, Any] = {"model": slug, "messages": [{"role": "user", "content": "hi"}]}
    async with site.client("acme", token=api_key()) as client:
        async with client.post("/v1/chat/completions", json=body) as answer:
            told = await answer.json()
        assert (told["choices"][0]["message"]["content"], told["usage"]["completion_tokens"]) == ("t0 t1 ", 5)
        async with client.post("/v1/chat/completions", json=body | {"tools": [lookup]}) as answer:
            assert (answer.status, (await answer.json())["error"]["param"]) == (400, "tools")
        broken = team("sequential", member_of("fault-401"), member_of("echo"))
        async with client.post("/v1/chat/completions", json=body | {"model": broken, "stream": True}) as answer:
            assert answer.status == 502
    async with site.client("acme", token=api_key(models=["bench-0-0-3"], name="k2")).post(
        "/v1/chat/completions", json=body
    ) as answer:
        assert answer.status == 404, "a key for other models than its members ask"
    assert not ledger.left_behind()
