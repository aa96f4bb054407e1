"""A run whose tools would act on what somebody else wrote waits for a person, and goes on in a worker (P54, A63, P48)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from agents.tools import registry
from agents.tools.gate import DENIED
from agents.tools.spec import ToolContext, ToolResult, ToolSpec
from chat import approvals, recovery, turns, worker
from chat import host as hosts
from chat.approvals import Verdict
from chat.host import Host
from core.errors import PaasError
from llm.deltas import Finish, ToolCallDelta, UsageReport
from llm.providers.scripted import ScriptedModel
from tests.chat.hosts import another
from tests.chat.ledger import Ledger, eventually
from tests.chat.talk import read, start
from tests.chat.test_queue import caps
from tests.chat.test_recovery import die

ANY = {"type": "object", "properties": {}}
EXPIRE = "UPDATE usage_reservation SET lease_until = now() - interval '1 second' WHERE state = 'held'"


class World:
    """Tools of the outside, and what was done there."""

    def __init__(self) -> None:
        self.done: list[tuple[str, Any]] = []
        effects = {"look": "egress", "send": "write", "fetch": "egress", "note": "read"}
        self.specs = [ToolSpec(name, name, ANY, effect, self._tool(name), name == "look") for name, effect in effects.items()]  # type: ignore[arg-type]  # fmt: skip

    def _tool(self, name: str) -> Any:
        async def call(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
            self.done.append((name, arguments))
            return ToolResult(f"{name}: done")

        return call

    def times(self, name: str) -> int:
        return sum(one == name for one, _ in self.done)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(registry, "tool_specs", lambda: made.specs)
    return made


@pytest.fixture
async def working() -> AsyncIterator[Host]:
    async with another(worker=True) as made:
        yield made


def asks(*calls: tuple[str, str], used: tuple[int, int] = (100, 10)) -> list[Any]:
    """An answer that calls tools."""
    found: list[Any] = [ToolCallDelta(at, f"c{at}", name, arguments) for at, (name, arguments) in enumerate(calls)]
    return [*found, Finish("tool_calls"), UsageReport(*used, 0, 0)]


END = ["All done.", Finish("stop"), UsageReport(300, 7, 0, 0)]


async def waiting(member: Any, slug: str, ledger: Ledger, *scripts: list[Any], **fields: Any) -> tuple[Any, list[Any]]:
    """(a run that waits and that no process holds, its approvals)."""
    for script in scripts:
        ScriptedModel.enqueue(script)
    started = await start(member, agent=slug, **fields)
    await eventually(lambda: ledger.run(started.run_id)["status"] != "running" and not hosts.current().runs, 60)
    rows = ledger.rows(
        "SELECT * FROM chat_approval WHERE run_id = %s AND status = 'pending' ORDER BY id", started.run_id
    )
    assert ledger.run(started.run_id)["status"] == "waiting"
    return started, rows


def verdict(row: Any, decision: str = "approve", note: str = "") -> Verdict:
    return Verdict(row["id"], decision, row["arguments_hash"], note)


async def test_it_waits_with_nothing_held_and_goes_on_where_it_was(
    host: Host, working: Host, actor: Any, agents: Callable[..., str], world: World, ledger: Ledger
) -> None:
    """Every call of the model is billed once, every tool called once, the log is one."""
    member, slug = actor("member"), agents("demo", tools=["look", "send", "note"])
    started, (row,) = await waiting(
        member, slug, ledger, ["Let me look.", *asks(("look", "{}"))], asks(("note", "{}"), ("send", '{"to": "x"}'))
    )
    assert world.done == [("look", {}), ("note", {})]
    assert (row["name"], row["arguments"], row["reason"], row["effect"]) == ("send", '{"to":"x"}', "tainted", "write")
    held = ledger.reservation(started.run_id)
    assert (held["host"], held["amount"], ledger.quota()["reserved"]) == ("approval", 220, 220)
    assert started.run_id not in host.runs
    told = await read(member.tenant, started.run_id, limit=8)
    shown = told.events[-1][1]
    assert (told.kinds[-1], shown[1]["arguments"], shown[1]["arguments_hash"]) == (
        "approval.requested", {"to": "x"}, row["arguments_hash"],
    )  # fmt: skip
    with pytest.raises(PaasError) as busy:
        await start(member, agent=slug, conversation_id=started.conversation_id)
    assert busy.value.code == "run_in_progress"
    ScriptedModel.enqueue(END)
    view = await approvals.decide(member, verdict(row, note="go ahead"))
    assert (view["status"], view["decided_by"], view["may_decide"]) == ("approved", str(member.user_id), False)
    assert await worker.take(working) == 1
    told = await read(member.tenant, started.run_id)
    assert told.numbers == list(range(1, len(told.events) + 1))
    assert told.kinds == [
        "run.started", "text.delta", "tool.started", "tool.finished", "tool.started", "tool.started", "tool.finished",
        "approval.requested", "approval.decided", "tool.finished", "text.delta", "message.completed", "run.completed",
    ] or told.kinds[4:7] == ["tool.started", "tool.finished", "tool.started"]  # fmt: skip
    decided = next(data for _, (kind, data) in told.events if kind == "approval.decided")
    assert (decided["decision"], decided["by"], decided["note"]) == ("approved", str(member.user_id), "go ahead")
    assert world.done == [("look", {}), ("note", {}), ("send", {"to": "x"})]
    assert [(one["call"], one["input_tokens"], one["output_tokens"]) for one in ledger.usage(started.run_id)] == [
        (1, 100, 10), (2, 100, 10), (3, 300, 7),
    ]  # fmt: skip
    assert (told.end["usage"]["input_tokens"], ledger.quota()["used"]) == (500, 527)
    assert ledger.messages(started.conversation_id)[-1] == ("assistant", "Let me look.\n\nAll done.", "complete")
    assert not ledger.left_behind()
    assert ledger.value("SELECT tainted FROM chat_conversation WHERE id = %s", started.conversation_id)
    trace = ledger.one("SELECT * FROM chat_runtrace WHERE run_id = %s", started.run_id)
    assert '"decision":"approved"' in trace["document"]
    assert trace["tainted"]
    events = ledger.rows("SELECT * FROM public.accounts_auditevent WHERE action = 'approval.approved'")
    assert [(one["actor"], one["data"]["arguments_hash"]) for one in events] == [(member.label, row["arguments_hash"])]


async def test_several_calls_of_one_answer_and_what_is_denied(
    host: Host, working: Host, actor: Any, agents: Callable[..., str], world: World, ledger: Ledger
) -> None:
    """It goes on when all are decided; a second pause is like the first. The conversation stays tainted."""
    member, slug = actor("member"), agents("demo", tools=["look", "send", "fetch"])
    started, rows = await waiting(
        member, slug, ledger, asks(("look", "{}")), asks(("send", '{"n": 1}'), ("send", '{"n": 2}'), ("fetch", "{}"))
    )
    assert [one["arguments"] for one in rows] == ['{"n":1}', '{"n":2}', "{}"]
    denied = await approvals.decide(actor("admin"), verdict(rows[0], "deny", "Not this one."))
    assert (denied["status"], denied["note"]) == ("denied", "Not this one.")
    await approvals.decide(member, verdict(rows[1]))
    assert await worker.take(working) == 0
    again = ScriptedModel.enqueue(asks(("send", '{"n": 3}')))
    await approvals.decide(member, verdict(rows[2]))
    assert await worker.take(working) == 1
    await eventually(lambda: ledger.run(started.run_id)["status"] == "waiting")
    assert again.request is not None
    said = [one["content"] for one in again.request.messages if one["role"] == "tool"]
    assert said == ["look: done", f"{DENIED} They say: Not this one.", "send: done", "fetch: done"]
    assert sorted(str(one) for one in world.done) == ["('fetch', {})", "('look', {})", "('send', {'n': 2})"]
    (third,) = ledger.rows("SELECT * FROM chat_approval WHERE status = 'pending'")
    ScriptedModel.enqueue(END)
    await approvals.decide(member, verdict(third))
    assert await worker.take(working) == 1
    told = await read(member.tenant, started.run_id)
    assert told.numbers == list(range(1, len(told.events) + 1))
    assert (told.kinds.count("tool.started"), told.kinds.count("tool.finished")) == (5, 5)
    assert world.times("send") == 2
    assert [one["output_tokens"] for one in ledger.usage(started.run_id)] == [10, 10, 10, 7]
    # The next turn has read nothing itself, and is asked about all the same.
    started, (row,) = await waiting(member, slug, ledger, asks(("send", "{}")), conversation_id=started.conversation_id)
    assert row["reason"] == "tainted"
    await turns.cancel_turn(member, started.run_id)
    assert not ledger.left_behind()


async def test_who_may_decide_and_what_a_decision_is_bound_to(
    host: Host,
    actor: Any,
    acme: Any,
    api_key: Callable[..., str],
    agents: Callable[..., str],
    world: World,
    ledger: Ledger,
) -> None:
    from accounts import keys

    member, slug = actor("member"), agents("demo", tools=["look", "send"])
    key = await keys.actor_of_token(api_key(), acme)
    _, (row,) = await waiting(member, slug, ledger, asks(("look", "{}")), asks(("send", "{}")))
    by_key, (of_key,) = await waiting(key, slug, ledger, asks(("look", "{}")), asks(("send", "{}")))

    async def code(who: Any, found: Any) -> str:
        try:
            await approvals.decide(who, found)
        except PaasError as error:
            return error.code
        return ""

    other = actor("owner")
    for who, found, wanted in (
        (key, row, "permission_denied"), (actor("viewer"), row, "permission_denied"), (actor("rival"), row, "not_found"),
        (member, of_key, "not_found"), (key, of_key, "permission_denied"),
    ):  # fmt: skip
        assert await code(who, verdict(found)) == wanted
    assert await code(member, Verdict(row["id"], "approve", of_key["arguments_hash"])) == "approval_mismatch"
    assert await code(member, Verdict(uuid.uuid4(), "approve", row["arguments_hash"])) == "not_found"
    assert await code(other, verdict(row)) == ""
    for wanted, found in (("", verdict(row)), ("approval_decided", verdict(row, "deny"))):
        assert await code(member, found) == wanted
    assert ledger.value("SELECT count(*)::int FROM public.accounts_auditevent WHERE action LIKE 'approval.%%'") == 1
    assert await code(other, verdict(of_key, "deny")) == ""
    assert world.times("send") == 0
    assert ledger.reservation(by_key.run_id)["host"] == "resume"


async def test_stopped_and_expired_while_it_waits(
    host: Host, actor: Any, agents: Callable[..., str], world: World, ledger: Ledger
) -> None:
    """At once; what it has used is billed, what is open is closed, and nothing can be decided any more."""
    member, slug = actor("member"), agents("demo", tools=["look", "send"])
    for ended in ("cancelled", "failed"):
        started, (row,) = await waiting(member, slug, ledger, asks(("look", "{}")), asks(("send", "{}")))
        if ended == "cancelled":
            await turns.cancel_turn(member, started.run_id)
        else:
            ledger.rows(EXPIRE)
            with pytest.raises(PaasError) as late:
                await approvals.decide(member, verdict(row))
            assert late.value.code == "approval_expired"
            assert await recovery.sweep(host) == 1
        told = await read(member.tenant, started.run_id)
        assert told.kinds[-5:] == [
            "approval.requested", "approval.decided", "tool.finished", "message.completed", f"run.{ended}",
        ]  # fmt: skip
        assert ended == "cancelled" or told.end["code"] == "approval_expired"
        assert [one["output_tokens"] for one in ledger.usage(started.run_id)] == [10, 10]
        assert ledger.value("SELECT status FROM chat_approval WHERE id = %s", row["id"]) == "expired"
        with pytest.raises(PaasError) as late:
            await approvals.decide(member, verdict(row))
        assert late.value.code == "approval_expired"
        assert not ledger.left_behind()
    assert world.times("send") == 0


async def test_whoever_dies_no_tool_is_called_twice(
    host: Host, actor: Any, agents: Callable[..., str], world: World, ledger: Ledger
) -> None:
    """A72, P48: before a worker has begun it, another one does; afterwards it ends, and what it used is billed."""
    member, slug = actor("member"), agents("demo", tools=["look", "send"])
    started, (row,) = await waiting(member, slug, ledger, asks(("look", "{}")), asks(("send", "{}")))
    await approvals.decide(member, verdict(row))
    async with another(worker=True) as doomed:
        doomed.execute = lambda run: None  # type: ignore[method-assign]  # it dies with the run in its hands
        assert await worker.take(doomed) == 1
    ledger.rows(EXPIRE)
    assert await recovery.sweep(host) == 0
    ScriptedModel.enqueue(["Half", asyncio.Event()])
    async with another(worker=True) as second:
        assert await worker.take(second) == 1
        await eventually(lambda: world.times("send") == 1)
        await read(member.tenant, started.run_id, limit=8)
        die(second, started.run_id)
    ledger.rows(EXPIRE)
    assert await recovery.sweep(host) == 1
    told = await read(member.tenant, started.run_id)
    assert (told.end["code"], world.times("send")) == ("run_interrupted", 1)
    assert [(one["output_tokens"], one["counted"]) for one in ledger.usage(started.run_id)] == [
        (10, False), (10, False), (1, True),
    ]  # fmt: skip
    assert not ledger.left_behind()


async def test_who_waits_keeps_nobody_from_a_place_and_goes_on_in_its_turn(
    host: Host, working: Host, actor: Any, agents: Callable[..., str], world: World, ledger: Ledger
) -> None:
    """Going on, it takes a place like any other run, or waits for one. Whose turn it is, it tells nobody again."""
    caps(ledger, 1)
    member, slug, gate = actor("member"), agents("demo", tools=["look", "send"]), asyncio.Event()
    waits, (row,) = await waiting(member, slug, ledger, asks(("look", "{}")), asks(("send", "{}")))
    ScriptedModel.enqueue(["a", gate])
    other = await start(member)
    await read(member.tenant, other.run_id, limit=2)
    assert ledger.run(other.run_id)["status"] == "running"
    await approvals.decide(member, verdict(row))
    assert await worker.take(working) == 1
    await eventually(lambda: len(working.queue) == 1)
    assert (ledger.run(waits.run_id)["status"], world.times("send")) == ("queued", 0)
    ScriptedModel.enqueue(END)
    gate.set()
    await read(member.tenant, other.run_id)
    told = await read(member.tenant, waits.run_id)
    assert (told.kinds[-1], told.kinds.count("run.queued"), world.times("send")) == ("run.completed", 0, 1)
    assert not ledger.left_behind()


async def test_the_model_that_stood_in_goes_on_and_is_billed(
    host: Host, working: Host, actor: Any, agents: Callable[..., str], world: World, ledger: Ledger
) -> None:
    """Whoever has begun to answer stays the run's model, also after a pause."""
    named = agents(
        "echo",
        provider={
            "kind": "scripted",
            "models": {"spare": {"output_price": "2", "input_price": "1", "currency": "USD"}},
        },
    )
    chain = [{"provider": named.replace("agent", "provider"), "model": "spare"}]
    slug, member = agents("demo", tools=["look", "send"], parameters={"fallbacks": chain}), actor("member")
    away = [PaasError("provider_unavailable")]
    started, (row,) = await waiting(member, slug, ledger, away, asks(("look", "{}")), asks(("send", "{}")))
    last = ScriptedModel.enqueue(END)
    await approvals.decide(member, verdict(row))
    assert await worker.take(working) == 1
    assert (await read(member.tenant, started.run_id)).kinds[-1] == "run.completed"
    assert last.request is not None
    assert last.request.model == "spare"
    assert [(one["model"], one["output_price"] is not None) for one in ledger.usage(started.run_id)] == [
        ("spare", True)
    ] * 3
