"""Runs that a worker does: begun in one transaction, taken once, followed from anywhere, handed on when nobody has them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.conf import settings

from accounts import keys
from chat import recovery, turns, worker
from chat.host import Host
from llm.providers.scripted import ScriptedModel
from tests.chat.hosts import another
from tests.chat.ledger import Ledger, eventually
from tests.chat.sockets import opened
from tests.chat.talk import read, start
from tests.chat.test_queue import caps
from tests.chat.test_recovery import die

EXPIRE = "UPDATE usage_reservation SET lease_until = now() - interval '1 second' WHERE state = 'held'"


@pytest.fixture
async def working(host: Host) -> Any:
    """A worker beside the process that takes requests."""
    async with another(worker=True) as made:
        yield made


async def taken(working: Host, count: int = 1) -> None:
    assert await worker.take(working) == count


async def test_begun_here_and_run_there(host: Host, working: Host, actor: Any, agents: Any, ledger: Ledger) -> None:
    member, slug = actor("member"), agents("demo", instructions="Be brief.", parameters={"temperature": 0.5})
    ScriptedModel.enqueue(["one"])
    first = await start(member, "1?", agent=slug, background=True)
    assert (first.status, first.log, ledger.run(first.run_id)["status"]) == ("queued", None, "queued")
    assert ledger.run(first.run_id)["background"] is True
    assert not host.runs
    following = asyncio.create_task(read(member.tenant, first.run_id))
    await asyncio.wait_for(working.offered.wait(), 5)  # it is told, and need not wait for its next look
    await taken(working)
    assert (await following).text == "one"
    script = ScriptedModel.enqueue(["two"])
    second = await start(member, "2?", agent=slug, conversation_id=first.conversation_id, background=True, max_tokens=9)
    await taken(working)
    told = await read(member.tenant, second.run_id)
    assert told.kinds == ["run.started", "text.delta", "message.completed", "run.completed"]
    assert script.request is not None
    assert [(m["role"], m["content"]) for m in script.request.messages] == [
        ("system", "Be brief."), ("user", "1?"), ("assistant", "one"), ("user", "2?"),
    ]  # fmt: skip
    assert (script.request.max_tokens, script.request.parameters) == (9, {"temperature": 0.5})
    assert ledger.messages(first.conversation_id)[-1] == ("assistant", "two", "complete")
    assert ledger.rows("SELECT 1 FROM chat_runtask") == []
    assert not ledger.left_behind()


async def test_two_workers_take_each_once(host: Host, working: Host, actor: Any, ledger: Ledger) -> None:
    member = actor("member")
    runs = [await start(member, background=True) for _ in range(6)]
    async with another(worker=True) as rival:
        took = await asyncio.gather(worker.take(working), worker.take(rival), worker.take(working))
        assert sum(took) == 6
        for run in runs:
            await read(member.tenant, run.run_id)
    assert ledger.value("SELECT count(*) FROM usage_usagerecord") == 6
    assert not ledger.left_behind()


async def test_background_runs_wait_behind_caps_too(host: Host, working: Host, actor: Any, ledger: Ledger) -> None:
    caps(ledger, 1)
    member, gate = actor("member"), asyncio.Event()
    ScriptedModel.enqueue(["a", gate])
    running = await start(member)
    background = await start(member, background=True)
    await taken(working)
    assert (await read(member.tenant, background.run_id, limit=1)).kinds == ["run.queued"]
    assert ledger.run(background.run_id)["status"] == "queued"
    gate.set()
    await read(member.tenant, running.run_id)
    assert (await read(member.tenant, background.run_id)).kinds[-1] == "run.completed"
    assert not ledger.left_behind()


async def test_stopped_before_and_after_a_worker_has_it(host: Host, working: Host, actor: Any, ledger: Ledger) -> None:
    member = actor("member")
    run = await start(member, background=True)
    await turns.cancel_turn(member, run.run_id)
    assert (await read(member.tenant, run.run_id)).kinds == ["run.started", "message.completed", "run.cancelled"]
    assert not ledger.left_behind()
    await taken(working, 0)
    ScriptedModel.enqueue(["a", asyncio.Event()])
    run = await start(member, background=True)
    await taken(working)
    await read(member.tenant, run.run_id, limit=2)
    await turns.cancel_turn(member, run.run_id)
    told = await read(member.tenant, run.run_id)
    assert (told.text, told.kinds[-1]) == ("a", "run.cancelled")
    assert not ledger.left_behind()


async def test_what_has_changed_since_it_was_asked(
    host: Host, working: Host, actor: Any, agents: Any, ledger: Ledger
) -> None:
    """Its version stays that of then; a person who is gone, and a tenant that is suspended, run nothing any more."""
    member, slug = actor("member"), agents("demo")
    kept = await start(member, agent=slug, background=True)
    ledger.rows("UPDATE agents_agent SET archived_at = now() WHERE slug = %s", slug)
    await taken(working)
    assert (await read(member.tenant, kept.run_id)).kinds[-1] == "run.completed"
    gone, suspended = await start(member, background=True), await start(actor("owner"), background=True)
    ledger.rows("UPDATE accounts_user SET is_active = false WHERE id = %s", member.user_id)
    ledger.rows("UPDATE usage_reservation SET host = 'elsewhere' WHERE run_id = %s", suspended.run_id)
    await taken(working)
    assert (await read(member.tenant, gone.run_id)).end["code"] == "permission_denied"
    ledger.rows("UPDATE usage_reservation SET host = 'worker' WHERE run_id = %s", suspended.run_id)
    ledger.rows("UPDATE tenants_tenant SET status = 'suspended' WHERE slug = 'acme'")
    await taken(working)
    assert (await read(member.tenant, suspended.run_id)).end["code"] == "tenant_suspended"
    assert not ledger.left_behind()


async def test_a_key_that_is_gone_runs_nothing_any_more(
    host: Host, working: Host, acme: Any, api_key: Any, ledger: Ledger
) -> None:
    runs = []
    for column in ("revoked_at", "expires_at", ""):
        caller = await keys.actor_of_token(api_key(name=f"of {column}"), acme)
        runs.append(await start(caller, background=True))
        if column:
            ledger.rows(f"UPDATE accounts_apikey SET {column} = now() - interval '1 hour' WHERE id = %s", caller.key_id)
    await taken(working, 3)
    told = [await read(acme, run.run_id) for run in runs]
    assert [one.end.get("code") for one in told] == ["permission_denied", "permission_denied", None]
    assert not ledger.left_behind()


@pytest.mark.exhaustive
async def test_taken_again_after_a_death(host: Host, working: Host, actor: Any, ledger: Ledger) -> None:
    """A72, T12: who died before the model was asked has begun nothing: another worker does it, once. After: it ends."""
    caps(ledger, 1)
    member, gate = actor("member"), asyncio.Event()
    ScriptedModel.enqueue(["a", gate])
    running = await start(member)
    await read(member.tenant, running.run_id, limit=2)
    waits = await start(member)  # in this process
    background = await start(member, background=True)
    async with another(worker=True) as doomed:
        await taken(doomed)
        await read(member.tenant, background.run_id, limit=1)
    await eventually(lambda: ledger.value("SELECT count(*) FROM chat_runtask") == 2)
    for run in (running, waits):
        die(host, run.run_id)
    ledger.rows(EXPIRE)
    assert await recovery.sweep(working) == 1
    assert (await read(member.tenant, running.run_id)).end["code"] == "run_interrupted"
    await taken(working, 2)
    for run in (waits, background):
        told = await read(member.tenant, run.run_id)
        assert (told.numbers, told.kinds[-1]) == (list(range(1, len(told.events) + 1)), "run.completed")
        assert told.kinds.count("run.started") == 1
    assert ledger.value("SELECT count(*) FROM usage_usagerecord") == 3
    assert not ledger.left_behind()


async def test_a_process_that_stops_leaves_what_waits_to_workers(
    host: Host, working: Host, actor: Any, ledger: Ledger
) -> None:
    """A73: who waits is not interrupted. Its follower sees one log, from the place in the queue to the end."""
    caps(ledger, 1)
    member, gate = actor("member"), asyncio.Event()
    ScriptedModel.enqueue(["a", gate])
    running = await start(member)
    waits = await start(member)
    following = asyncio.create_task(read(member.tenant, waits.run_id))
    await read(member.tenant, waits.run_id, limit=1)
    await eventually(lambda: ledger.rows("SELECT 1 FROM chat_runtask"))
    await host.drain(0.01)
    assert (await read(member.tenant, running.run_id)).end["code"] == "run_interrupted"
    await taken(working)
    told = await following
    assert (told.kinds[0], told.kinds[-1]) == ("run.queued", "run.completed")
    assert told.numbers == list(range(1, len(told.events) + 1))
    assert not ledger.left_behind()


async def test_every_run_goes_to_workers(
    host: Host, working: Host, actor: Any, monkeypatch: pytest.MonkeyPatch, ledger: Ledger
) -> None:
    """RUN_HOST=worker. A worker that begins one itself keeps it."""
    monkeypatch.setattr(settings, "RUN_HOST", "worker")
    member = actor("member")
    started = await start(member)
    assert (started.status, host.runs) == ("running", {})
    await taken(working)
    assert (await read(member.tenant, started.run_id)).kinds[-1] == "run.completed"
    host.worker = True
    assert (await start(member)).log is not None
    await eventually(lambda: not host.runs)
    assert not ledger.left_behind()


async def test_over_http_and_the_socket(site: Any, api_key: Any, ledger: Ledger) -> None:
    client = site.client("acme", token=api_key())
    body = {"agent": "assistant", "message": "hi", "background": True}
    async with client.post("/api/v1/runs", json=body) as response:
        assert response.status == 202
        run = (await response.json())["run"]
    assert run["status"] == "queued"
    async with client.get(f"/api/v1/runs/{run['id']}") as response:
        shown = await response.json()
    assert (shown["status"], shown["background"], shown["finished_at"]) == ("queued", True, None)
    async with another(worker=True) as working:
        await taken(working)
        async with client.get(f"/api/v1/runs/{run['id']}/events") as response:
            assert b"run.completed" in await response.read()
        async with opened(client) as socket:
            await socket.send_json({"type": "turn.start", "ref": 1} | body)
            accepted = await socket.receive_json(timeout=5)
            await taken(working)
            kinds = [accepted["type"]]
            while kinds[-1] != "run.completed":
                kinds.append((await socket.receive_json(timeout=5))["type"])
            assert kinds[:2] == ["turn.accepted", "run.started"]
    async with client.post("/api/v1/runs", json=body | {"background": 1}) as response:
        assert (response.status, (await response.json())["error"]["details"]) == (400, {"param": "background"})
    assert not ledger.left_behind()
