"""Caps on runs at once, and the fair queue behind them: exact over processes, bounded, and nobody is passed over."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from accounts.keys import key_create
from chat import queue, turns
from chat.host import Host
from chat.places import Places
from core.errors import PaasError
from llm.providers.scripted import ScriptedModel
from tenants import scope
from tests.chat.doors import OpenAIDoor, Refusal
from tests.chat.hosts import another, at
from tests.chat.ledger import Ledger, eventually
from tests.chat.talk import read, start
from tests.conftest import in_thread


def caps(ledger: Ledger, tenant: int, user: int | None = None, key: int | None = None) -> None:
    ledger.rows(
        "UPDATE tenants_plan SET max_concurrent_runs = %s, max_concurrent_runs_per_user = %s, "
        "max_concurrent_runs_per_key = %s WHERE slug = 'pro'",
        tenant, user, key,
    )  # fmt: skip


def status_of(ledger: Ledger, run: Any) -> str:
    return str(ledger.run(run.run_id)["status"])


async def held(actor: Any) -> tuple[Any, asyncio.Event]:
    """A run that goes on until the event is set."""
    gate = asyncio.Event()
    ScriptedModel.enqueue(["a", gate])
    run = await start(actor)
    if run.status == "running":
        await read(actor.tenant, run.run_id, limit=2)
    return run, gate


async def told_to_wait(actor: Any) -> Any:
    """A run that waits, and has been told so."""
    run = await start(actor)
    assert (await read(actor.tenant, run.run_id, limit=1)).kinds == ["run.queued"]
    return run


async def test_one_too_many_waits_and_then_runs(host: Host, actor: Any, ledger: Ledger) -> None:
    """P56: three of a person at once. The fourth is told its place; its lease is kept; another person does not wait."""
    caps(ledger, 100, 3)
    member = actor("member")
    running = [await held(member) for _ in range(3)]
    waiting = await start(member)
    assert [waiting.status, status_of(ledger, waiting)] == ["queued", "queued"]
    following = asyncio.create_task(read(member.tenant, waiting.run_id))
    assert (await read(member.tenant, waiting.run_id, limit=1)).events == [(1, ("run.queued", {"position": 1}))]
    assert (await start(actor("owner"))).status == "running"
    ledger.rows("UPDATE usage_reservation SET lease_until = now() + interval '1 second' WHERE state = 'held'")
    await host._heartbeat()
    late = "SELECT count(*) FROM usage_reservation WHERE state = 'held' AND lease_until < now() + interval '10 seconds'"
    assert ledger.value(late) == 0
    running[0][1].set()
    told = await following
    assert told.kinds[:2] == ["run.queued", "run.started"]
    assert told.kinds[-1] == "run.completed"
    for _, gate in running:
        gate.set()
    await eventually(lambda: not host.runs)
    assert not ledger.left_behind()
    assert ledger.rows("SELECT 1 FROM chat_runtask") == []


async def test_an_agent_with_a_cap_of_its_own(host: Host, actor: Any, agents: Any, ledger: Ledger) -> None:
    """Whoever asks it, over all callers; who waits for their own cap keeps nobody else from it."""
    caps(ledger, 100, 1)
    member, owner, admin, other = actor("member"), actor("owner"), actor("admin"), agents("demo")
    agent_id = ledger.value("SELECT id FROM agents_agent WHERE slug = 'assistant'")
    ledger.limit(1, "concurrent_runs", "", level="agent", subject=agent_id)
    gates = [asyncio.Event(), asyncio.Event()]
    for gate in gates:
        ScriptedModel.enqueue(["a", gate])
    first = await start(member, agent=other)
    await read(member.tenant, first.run_id, limit=2)
    behind = await told_to_wait(member)
    asked = await start(owner)
    assert (asked.status, status_of(ledger, behind)) == ("running", "queued")
    await read(owner.tenant, asked.run_id, limit=2)
    waiting = await told_to_wait(admin)
    gates[0].set()
    await read(member.tenant, first.run_id)
    assert {status_of(ledger, run) for run in (behind, waiting)} == {"queued"}, "one at once, whoever asks"
    gates[1].set()
    for run in (asked, behind, waiting):
        assert (await read(owner.tenant, run.run_id)).kinds[-1] == "run.completed"
    await eventually(lambda: not host.runs)
    assert not ledger.left_behind()


async def test_callers_take_turns(host: Host, actor: Any, ledger: Ledger) -> None:
    """Who came first with many does not keep those waiting who came later with few."""
    caps(ledger, 1)
    first, gate = await held(actor("member"))
    asked = ["member"] * 4 + ["owner"] * 2 + ["admin"]
    names = {}
    for number, name in enumerate(asked):
        names[(await start(actor(name))).run_id] = f"{name}{number}"
    gate.set()
    for run_id in names:
        await read(first.log.tenant, run_id)
    rows = ledger.rows("SELECT id FROM chat_run WHERE id <> %s ORDER BY finished_at", first.run_id)
    assert [names[row["id"]] for row in rows] == [
        "member0", "owner4", "admin6", "member1", "owner5", "member2", "member3",
    ]  # fmt: skip


async def test_exact_over_processes(host: Host, actor: Any, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts where: never more than the cap, and who waits at one process hears of an end at another."""
    monkeypatch.setattr(queue, "LOOK_SECONDS", 30)  # an end is heard of, or this takes too long
    caps(ledger, 5)
    gates = [asyncio.Event() for _ in range(12)]
    for gate in gates:
        ScriptedModel.enqueue(["a", gate])
    async with another() as there:

        async def begin(number: int) -> Any:
            with at(there if number % 2 else host):
                return await start(actor("member"))

        runs = await asyncio.gather(*(begin(number) for number in range(12)))
        assert sorted(run.status for run in runs) == ["queued"] * 7 + ["running"] * 5
        assert ledger.value("SELECT count(*) FROM chat_run WHERE status = 'running'") == 5
        for gate in gates:
            gate.set()
        async with asyncio.timeout(10):
            for run in runs:
                await read(run.log.tenant, run.run_id)
    assert not ledger.left_behind()


async def test_the_queue_is_bounded(host: Host, actor: Any, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """T15: one more than may wait is told so at once, and when to come again; nothing of it is kept."""
    caps(ledger, 1)
    monkeypatch.setattr(queue, "LOOK_SECONDS", 30)
    monkeypatch.setitem(queue.MOST_WAITING, "own", 2)
    monkeypatch.setitem(queue.MOST_WAITING, "most", 3)
    member, (_, gate) = actor("member"), await held(actor("member"))
    for _ in range(2):
        await told_to_wait(member)
    refused = {"member": member, "admin": actor("admin")}
    for name in ("member", "owner", "admin"):
        if name not in refused:
            await told_to_wait(actor(name))
            continue
        with ledger.connection.transaction():
            # It is told without a wait for any lock, however busy the tenant is.
            ledger.rows("SELECT 1 FROM usage_quota FOR UPDATE")
            with pytest.raises(PaasError) as error:
                await asyncio.wait_for(start(refused[name]), 3)
        assert (error.value.code, error.value.status, error.value.retry_after) == ("too_many_runs", 429, 5)
    assert ledger.value("SELECT count(*) FROM chat_run") == ledger.value("SELECT count(*) FROM usage_reservation") == 4
    gate.set()
    await eventually(lambda: not host.runs)


async def test_stopped_while_it_waits(host: Host, actor: Any, ledger: Ledger) -> None:
    caps(ledger, 1)
    member = actor("member")
    _, gate = await held(member)
    waiting = [await start(member) for _ in range(2)]
    await turns.cancel_turn(member, waiting[0].run_id)
    told = await read(member.tenant, waiting[0].run_id)
    assert told.kinds[-3:] == ["run.started", "message.completed", "run.cancelled"]
    assert ledger.usage(waiting[0].run_id) == []
    gate.set()
    assert (await read(member.tenant, waiting[1].run_id)).kinds[-1] == "run.completed"
    assert not ledger.left_behind()


async def test_it_waits_for_so_long(site: Any, api_key: Any, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "WAIT_SECONDS", 0.05)
    caps(ledger, 0)
    door = OpenAIDoor(site, api_key())
    for ask in (door.ask, door.complete):
        with pytest.raises(Refusal) as refused:
            await ask("assistant")
        assert (refused.value.status, refused.value.code) == (429, "too_many_runs")
        assert refused.value.retry_after
    assert not ledger.left_behind()


async def test_a_key_has_its_own_cap_and_a_plan_that_changes_counts_at_once(
    site: Any, api_key: Any, acme: Any, ledger: Ledger
) -> None:
    def other_key() -> str:
        with scope.bind(acme):
            return key_create(name="other", scopes=["*"], actor="test")[1]

    caps(ledger, 100, key=1)
    gate = asyncio.Event()
    ScriptedModel.enqueue(["a", gate])
    clients = [site.client("acme", token=token) for token in (api_key(), in_thread(other_key))]

    async def begin(client: Any) -> str:
        async with client.post("/api/v1/runs", json={"agent": "assistant", "message": "hi"}) as response:
            return str((await response.json())["run"]["status"])

    assert [await begin(client) for client in (clients[0], clients[0], clients[1])] == ["running", "queued", "running"]
    caps(ledger, 100, key=2)
    await eventually(lambda: ledger.value("SELECT count(*) FROM chat_run WHERE status = 'queued'") == 0)
    gate.set()
    await eventually(lambda: not ledger.left_behind())


def test_places_go_round_the_tenants() -> None:
    async def scene() -> list[str]:
        places, order = Places(1), []
        assert places.take()
        assert not places.take()
        many, few = uuid.uuid4(), uuid.uuid4()
        asked = [(name, places.ask(tenant)) for name, tenant in (("a", many), ("b", many), ("c", many), ("d", few))]
        asked[1][1].cancel()
        for _ in range(3):
            places.give()
            order += [name for name, place in asked if place.done() and not place.cancelled() and name not in order]
        assert (places.waiting, places.free) == (0, 0)
        places.give()
        assert places.free == 1
        return order

    assert asyncio.run(scene()) == ["a", "d", "c"]


async def test_a_full_process(host: Host, actor: Any, ledger: Ledger) -> None:
    host.places = Places(1)
    member = actor("member")
    _, gate = await held(member)
    waiting = [await start(member) for _ in range(2)]
    assert (await read(member.tenant, waiting[0].run_id, limit=1)).kinds == ["run.queued"]
    await turns.cancel_turn(member, waiting[1].run_id)
    assert (await read(member.tenant, waiting[1].run_id)).kinds[-1] == "run.cancelled"
    gate.set()
    assert (await read(member.tenant, waiting[0].run_id)).kinds[-1] == "run.completed"
    await eventually(lambda: not host.runs)
    assert host.places.free == 1
    assert not ledger.left_behind()
