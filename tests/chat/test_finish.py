"""The end of a run: exactly once, all of it or nothing, whatever happens to the database meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections
from redis import Redis

from agents.runtime.events import TERMINAL
from chat import finish, recovery
from chat import host as hosts
from chat.log import RunMoved, decode_events
from core.errors import PaasError
from llm.deltas import UsageReport
from llm.providers.scripted import ScriptedModel
from tenants.db import aio
from tests.chat.ledger import eventually
from tests.chat.talk import ask, read, start


class Flaky:
    """The hot pool, of which single answers get lost: the statement ran, nobody heard of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lose: Callable[[str], bool] = lambda sql: False
        self.refuse: Callable[[str], bool] = lambda sql: False
        self.hold: dict[str, asyncio.Event] = {}
        self.ran: list[str] = []
        for name in ("fetch_one", "fetch_platform"):
            monkeypatch.setattr(aio.Database, name, self._wrapped(getattr(aio.Database, name)))
        monkeypatch.setattr(finish, "RETRY_SECONDS", 0.02)

    def _wrapped(self, real: Any) -> Any:
        async def run(database: aio.Database, *args: Any) -> Any:
            sql = args[-2]
            if self.refuse(sql):
                raise PaasError("database_unavailable")
            found = await real(database, *args)
            self.ran.append(sql)
            for part, event in self.hold.items():
                if part in sql:
                    await event.wait()
            if self.lose(sql):
                raise PaasError("database_unavailable")
            return found

        return run

    def times(self, part: str) -> int:
        return sum(part in sql for sql in self.ran)


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Flaky:
    return Flaky(monkeypatch)


@pytest.fixture
def cut_off(db: Any) -> Iterator[None]:
    """The thread of the tests holds a connection too, and must not go on with a dead one."""
    yield
    connections.close_all()


def once(part: str, count: int = 1) -> Callable[[str], bool]:
    left = count

    def matches(sql: str) -> bool:
        nonlocal left
        if part in sql and left:
            left -= 1
            return True
        return False

    return matches


async def held_run(actor: Any, *words: str) -> tuple[Any, Any, asyncio.Event]:
    """A live run that has said `words` and waits for the gate."""
    gate = asyncio.Event()
    ScriptedModel.enqueue([*words, gate, UsageReport(10, 20, 0, 0)])
    started = await start(actor)
    await read(actor.tenant, started.run_id, limit=1 + len(words))
    return started, hosts.current().runs[started.run_id], gate


def stored_log(ledger: Any, run_id: Any) -> list[Any]:
    """The log in PostgreSQL; asserts that its stretches follow each other without a gap."""
    events: list[Any] = []
    for segment in ledger.segments(run_id):
        assert segment["first_seq"] == len(events) + 1
        found = decode_events(segment["events"])
        assert segment["last_seq"] == segment["first_seq"] + len(found) - 1
        events += found
    return events


async def test_a_second_end_changes_nothing(host: Any, actor: Any, ledger: Any) -> None:
    started, live, gate = await held_run(actor("member"), "a")
    gate.set()
    await read(actor("member").tenant, started.run_id)
    await eventually(lambda: not host.runs)
    before = (ledger.run(started.run_id), ledger.usage(started.run_id), ledger.quota())
    assert not await finish.finish(live.log, finish.outcome_of(live, PaasError("internal_error")))
    assert (ledger.run(started.run_id), ledger.usage(started.run_id), ledger.quota()) == before
    assert len(ledger.messages(started.conversation_id)) == 2


async def test_who_lost_the_fence_writes_nothing(host: Any, actor: Any, ledger: Any, acme: Any) -> None:
    """A72: the run was taken over; its former host may neither settle nor store nor say more."""
    started, live, gate = await held_run(actor("member"), "a")
    waiting = asyncio.create_task(anext(live.log.follow(2)))
    ledger.rows("UPDATE usage_reservation SET fence = 2, lease_until = now() + interval '1 minute'")
    live.log.append([("text.delta", {"text": "zombie"})])
    await host._checkpoint([live.log])
    gate.set()
    await eventually(lambda: not host.runs)
    with pytest.raises((RunMoved, StopAsyncIteration)):
        await anext(live.log.follow(3))
    await asyncio.gather(waiting, return_exceptions=True)
    assert ledger.segments(started.run_id) == []
    assert ledger.usage(started.run_id) == []
    assert ledger.run(started.run_id)["status"] == "running"
    assert ledger.reservation(started.run_id)["state"] == "held"
    assert [role for role, _, _ in ledger.messages(started.conversation_id)] == ["user"]


async def test_the_heartbeat_stops_a_run_that_was_taken_over(host: Any, actor: Any, ledger: Any) -> None:
    started, live, _ = await held_run(actor("member"), "a")
    waiting = asyncio.create_task(anext(live.log.follow(2)))
    ledger.rows("UPDATE usage_reservation SET fence = 2")
    await host._heartbeat()
    with pytest.raises(RunMoved):
        await waiting
    await eventually(lambda: not host.runs)
    assert ledger.run(started.run_id)["status"] == "running"


async def test_all_of_the_end_or_nothing(host: Any, actor: Any, ledger: Any) -> None:
    """Message, run, usage, quota and log are one transaction; recovery ends what could not be ended."""
    started, _, gate = await held_run(actor("member"), "a")
    ledger.rows("ALTER TABLE chat_message ADD CONSTRAINT boom CHECK (role <> 'assistant') NOT VALID")
    try:
        gate.set()
        await eventually(lambda: not host.runs)
    finally:
        ledger.rows("ALTER TABLE chat_message DROP CONSTRAINT boom")
    assert ledger.run(started.run_id)["status"] == "running"
    assert (ledger.usage(started.run_id), ledger.segments(started.run_id)) == ([], [])
    assert ledger.reservation(started.run_id)["state"] == "held"
    assert ledger.quota()["used"] == 0
    ledger.rows("UPDATE usage_reservation SET lease_until = now() - interval '1 second'")
    assert await recovery.sweep(host) == 1
    told = await read(actor("member").tenant, started.run_id)
    assert (told.text, told.end["code"]) == ("a", "run_interrupted")
    assert not ledger.left_behind()


async def test_the_database_is_away_at_the_end(host: Any, actor: Any, ledger: Any, flaky: Flaky) -> None:
    started, _, gate = await held_run(actor("member"), "a")
    flaky.refuse = once("finish_turn", 3)
    reader = asyncio.create_task(read(actor("member").tenant, started.run_id))
    gate.set()
    told = await reader
    assert told.kinds[-1] == "run.completed"
    assert flaky.times("finish_turn") == 1
    assert len(ledger.usage(started.run_id)) == 1
    assert not ledger.left_behind()


async def test_the_answer_to_the_end_gets_lost(host: Any, actor: Any, ledger: Any, flaky: Flaky) -> None:
    """It was committed and nobody heard: asked again, the end is not written twice, and everybody gets to it."""
    started, _, gate = await held_run(actor("member"), "a")
    flaky.lose = once("finish_turn")
    reader = asyncio.create_task(read(actor("member").tenant, started.run_id))
    gate.set()
    told = await reader
    assert told.kinds[-1] == "run.completed"
    assert told.numbers == list(range(1, len(told.events) + 1))
    assert flaky.times("finish_turn") == 2
    assert len(ledger.usage(started.run_id)) == 1
    assert len(ledger.messages(started.conversation_id)) == 2
    assert [event for _, event in told.events] == stored_log(ledger, started.run_id)


async def test_every_connection_is_cut_at_the_end(host: Any, actor: Any, ledger: Any, cut_off: None) -> None:
    """T11: PostgreSQL restarts while a run ends."""
    started, _, gate = await held_run(actor("member"), "a")
    reader = asyncio.create_task(read(actor("member").tenant, started.run_id))
    ledger.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('paas_app', 'paas_owner')")
    gate.set()
    assert (await reader).kinds[-1] == "run.completed"
    assert not ledger.left_behind()


@pytest.mark.parametrize("then", ["checkpoint", "end"])
async def test_the_answer_to_a_checkpoint_gets_lost(
    host: Any, actor: Any, ledger: Any, flaky: Flaky, then: str
) -> None:
    """What was stored unheard must neither leave a hole nor keep the run from ending."""
    started, live, gate = await held_run(actor("member"), "a", "b")
    flaky.lose = once("store_segments")
    with pytest.raises(PaasError):
        await host._checkpoint([live.log])
    assert live.log.stored == 0
    live.log.append([("text.delta", {"text": "c"})])
    if then == "checkpoint":
        await host._checkpoint([live.log])
        live.log.append([("text.delta", {"text": "d"})])
    gate.set()
    told = await read(actor("member").tenant, started.run_id)
    assert told.kinds[-1] == "run.completed"
    assert stored_log(ledger, started.run_id) == [event for _, event in told.events]


async def test_the_heartbeat_crosses_the_end(host: Any, actor: Any, ledger: Any, flaky: Flaky, services: Any) -> None:
    """Between commit and its answer the lease is no longer held; that is no reason to send followers away."""
    started, live, gate = await held_run(actor("member"), "a")
    flaky.hold["finish_turn"] = asyncio.Event()
    gate.set()
    await eventually(lambda: flaky.times("finish_turn"))
    await host._heartbeat()
    assert not live.log.moved
    flaky.hold["finish_turn"].set()
    assert (await read(actor("member").tenant, started.run_id)).kinds[-1] == "run.completed"
    await eventually(lambda: not host.runs)
    await host.writer.flush()
    with Redis.from_url(services.redis.url) as redis:
        last = redis.xrevrange(f"t:{live.log.tenant.id.hex}:run:{started.run_id.hex}", count=1)
    assert decode_events(last[0][1][b"e"])[-1][0] == "run.completed"


async def test_nobody_is_told_of_an_end_before_it_is_stored(host: Any, actor: Any, ledger: Any, flaky: Flaky) -> None:
    started, live, gate = await held_run(actor("member"), "a")
    flaky.hold["finish_turn"] = asyncio.Event()
    reader = asyncio.create_task(read(actor("member").tenant, started.run_id))
    gate.set()
    await eventually(lambda: flaky.times("finish_turn"))
    await host.writer.flush()
    assert live.log.released == 2
    assert not reader.done()
    flaky.hold["finish_turn"].set()
    assert (await reader).kinds[-1] == "run.completed"


async def test_checkpoints_concatenate_to_the_log(
    host: Any, actor: Any, ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 64 events or after a second, whichever comes first; one statement for all runs of a tenant."""
    monkeypatch.setattr(hosts, "CHECKPOINT_EVENTS", 8)
    monkeypatch.setattr(hosts, "CHECKPOINT_SECONDS", 0.2)
    gates = [asyncio.Event() for _ in range(3)]
    ScriptedModel.enqueue([*"abcdefgh", gates[0], *"ij", gates[1], *"klmnopqrstu", gates[2]])
    started = await start(actor("member"))
    live = host.runs[started.run_id].log
    for gate, upto in zip(gates, (9, 11, 22), strict=True):
        await eventually(lambda upto=upto: live.stored == upto)
        gate.set()
    told = await read(actor("member").tenant, started.run_id)
    segments = ledger.segments(started.run_id)
    assert [(row["first_seq"], row["last_seq"]) for row in segments] == [(1, 9), (10, 11), (12, 22), (23, 24)]
    assert stored_log(ledger, started.run_id) == [event for _, event in told.events]


async def test_one_statement_checkpoints_all_runs_of_a_tenant(
    host: Any, actor: Any, ledger: Any, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "CHECKPOINT_SECONDS", 0.2)
    member, runs = actor("member"), []
    for number in range(5):
        runs.append(await held_run(member, f"{number}"))
        runs[-1][1].log.stored_at = float("inf")
    before = flaky.times("store_segments")
    for _, live, _ in runs:
        live.log.append([("text.delta", {"text": "more"})])
        live.log.stored_at = 0.0
    await eventually(lambda: all(live.log.stored == 3 for _, live, _ in runs))
    assert flaky.times("store_segments") == before + 1
    for _, _, gate in runs:
        gate.set()
    for started, _, _ in runs:
        await read(member.tenant, started.run_id)


def test_the_promised_intervals() -> None:
    assert (hosts.CHECKPOINT_SECONDS, hosts.CHECKPOINT_EVENTS) == (1.0, 64)
    assert hosts.HEARTBEAT_SECONDS * 3 < hosts.LEASE_SECONDS


@pytest.mark.parametrize(
    ("steps", "kind", "status", "code"),
    [
        (["a"], "run.completed", "complete", ""),
        (["a", PaasError("provider_stream_cut")], "run.failed", "failed", "provider_stream_cut"),
        ([PaasError("provider_auth_failed")], "run.failed", "failed", "provider_auth_failed"),
        (["a", ValueError()], "run.failed", "failed", "internal_error"),
    ],
)
async def test_every_way_to_end(
    host: Any, actor: Any, ledger: Any, steps: list[Any], kind: str, status: str, code: str
) -> None:
    ScriptedModel.enqueue(steps)
    told = await ask(actor("member"))
    assert told.kinds[-2:] == ["message.completed", kind]
    assert sum(name in TERMINAL for name in told.kinds) == 1
    run = ledger.run(told.run_id)
    assert run["error_code"] == code
    assert run["last_seq"] == len(told.events)
    assert ledger.messages(told.conversation_id)[-1] == ("assistant", "a" if steps[0] == "a" else "", status)
    if code:
        assert told.end["message"] == run["error_message"]
        assert told.events[-2][1][1]["finish_reason"] == "error"
    assert not ledger.left_behind()


async def test_an_interrupted_run_keeps_what_was_said(actor: Any, ledger: Any, db: Any) -> None:
    """SIGTERM: the process waits, then ends what is left and says why."""
    async with hosts.opened(drain_seconds=0.05):
        started, _, _ = await held_run(actor("member"), "half")
        reader = asyncio.create_task(read(actor("member").tenant, started.run_id))
    told = await reader
    assert (told.text, told.end["code"], told.end["retryable"]) == ("half", "run_interrupted", True)
    assert ledger.messages(started.conversation_id)[-1] == ("assistant", "half", "failed")
    assert not ledger.left_behind()


async def test_draining_lets_runs_end(actor: Any, ledger: Any, db: Any) -> None:
    async with hosts.opened(drain_seconds=10):
        started, _, gate = await held_run(actor("member"), "a")
        asyncio.get_running_loop().call_later(0.05, gate.set)
    assert ledger.run(started.run_id)["status"] == "completed"
