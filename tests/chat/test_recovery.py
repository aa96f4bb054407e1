"""Runs whose process is gone: ended once, with what had been said, and with their tokens given back (A72, P43)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from chat import finish, recovery, turns
from chat import host as hosts
from chat.host import Host
from chat.transports import responses_request
from core.errors import PaasError
from llm.deltas import UsageReport
from llm.providers.scripted import ScriptedModel
from tests.chat.ledger import Ledger, eventually
from tests.chat.talk import Told, ask, read, start
from tests.chat.test_services_away import stopped

EXPIRE = "UPDATE usage_reservation SET lease_until = now() - interval '1 second' WHERE state = 'held'"


@pytest.fixture
async def survivor(db: Any) -> AsyncIterator[Host]:
    """The host that sweeps. Its own heartbeat is out of the way: it must not renew what a test lets die."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hosts, "HEARTBEAT_SECONDS", 3600.0)
        async with hosts.opened(drain_seconds=1) as opened:
            yield opened


def die(host: Host, run_id: uuid.UUID) -> Any:
    """What a SIGKILL does to a run of `host`: nothing is written any more, by anybody."""
    live = host.runs.pop(run_id)
    live.stop_code = "moved"  # the task ends without a word
    if live.work is not None:
        live.work.cancel()
    live.log.moved = True
    live.log._wake()
    return live


async def spoken(actor: Any, host: Host, *words: str, **fields: Any) -> Any:
    """A run that has said `words` and waits for more."""
    ScriptedModel.enqueue([*words, asyncio.Event()])
    started = await start(actor, **fields)
    await read(actor.tenant, started.run_id, limit=1 + len(words))
    return started


async def end_of(survivor: Host, actor: Any, ledger: Ledger, run_id: uuid.UUID) -> Told:
    ledger.rows(EXPIRE)
    assert await recovery.sweep(survivor) == 1
    told = await read(actor.tenant, run_id)
    assert told.numbers == list(range(1, len(told.events) + 1))
    assert not ledger.left_behind()
    return told


async def test_a_dead_run_ends_with_what_it_said(survivor: Host, actor: Any, ledger: Ledger) -> None:
    member = actor("member")
    started = await spoken(member, survivor, "a", "b", "c", message="x" * 300)
    die(survivor, started.run_id)
    told = await end_of(survivor, member, ledger, started.run_id)
    assert told.kinds == ["run.started", *["text.delta"] * 3, "message.completed", "run.failed"]
    assert (told.end["code"], told.end["retryable"]) == ("run_interrupted", True)
    assert ledger.messages(started.conversation_id)[-1] == ("assistant", "abc", "failed")
    (record,) = ledger.usage(started.run_id)
    assert (record["input_tokens"], record["output_tokens"], record["counted"]) == (104, 3, True)
    assert told.end["usage"]["output_tokens"] == 3
    assert ledger.quota()["used"] == 107
    run = ledger.run(started.run_id)
    assert (run["status"], run["error_code"], run["last_seq"]) == ("failed", "run_interrupted", 6)


async def test_a_living_run_is_left_alone(survivor: Host, actor: Any, ledger: Ledger) -> None:
    started = await spoken(actor("member"), survivor, "a")
    assert await recovery.sweep(survivor) == 0
    assert ledger.reservation(started.run_id)["fence"] == 1


async def test_several_sweepers_end_it_once(survivor: Host, actor: Any, ledger: Ledger) -> None:
    member = actor("member")
    runs = [await spoken(member, survivor, "a") for _ in range(12)]
    for run in runs:
        die(survivor, run.run_id)
    ledger.rows(EXPIRE)
    assert sum(await asyncio.gather(*(recovery.sweep(survivor) for _ in range(5)))) == 12
    assert await recovery.sweep(survivor) == 0
    assert ledger.value("SELECT count(*) FROM usage_usagerecord") == 12
    assert ledger.value("SELECT count(*) FROM chat_message WHERE role = 'assistant'") == 12
    assert not ledger.left_behind()


async def test_killed_before_it_said_anything(
    survivor: Host, actor: Any, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the commit of its start and the first word: whatever follows it still gets a whole log."""
    monkeypatch.setattr(Host, "execute", lambda *args: None)
    member = actor("member")
    started = await start(member)
    told = await end_of(survivor, member, ledger, started.run_id)
    assert told.kinds == ["run.started", "message.completed", "run.failed"]
    assert told.events[0][1][1] == {
        "agent": {"slug": "assistant", "name": "Assistant"},
        "model": "demo",
        "conversation_id": str(started.conversation_id),
    }
    assert ledger.usage(started.run_id) == []
    assert ledger.quota()["used"] == 0


async def test_killed_between_the_answer_and_its_end(
    survivor: Host, actor: Any, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vendor has reported, but nobody wrote it down: our count is billed, once."""
    never = asyncio.Event()

    async def hang(*args: Any) -> bool:
        return await never.wait()

    member = actor("member")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finish, "finish", hang)
        ScriptedModel.enqueue(["a", "b", UsageReport(500, 400, 0, 0)])
        started = await start(member)
        await read(member.tenant, started.run_id, limit=3)
        await asyncio.sleep(0)
    die(survivor, started.run_id)
    told = await end_of(survivor, member, ledger, started.run_id)
    assert (told.text, told.end["code"]) == ("ab", "run_interrupted")
    assert [row["output_tokens"] for row in ledger.usage(started.run_id)] == [2]
    never.set()


async def test_killed_after_the_end_was_committed(survivor: Host, actor: Any, ledger: Ledger, services: Any) -> None:
    """Redis never heard of the end; PostgreSQL has it, and there is nothing to recover."""
    member = actor("member")
    ScriptedModel.enqueue(["a", UsageReport(5, 1, 0, 0)])
    whole = await ask(member)
    with Redis.from_url(services.redis.url) as redis:
        key = f"t:{member.tenant.id.hex}:run:{whole.run_id.hex}"
        last = redis.xrevrange(key, count=1)[0]
        redis.xdel(key, last[0])
    ledger.rows("UPDATE usage_reservation SET lease_until = now() - interval '1 hour'")
    assert await recovery.sweep(survivor) == 0
    await eventually(lambda: not survivor.runs)
    assert (await read(member.tenant, whole.run_id)).events == whole.events


async def test_a_stop_that_was_asked_of_a_dead_process(survivor: Host, actor: Any, ledger: Ledger) -> None:
    from chat.turns import cancel_turn

    member = actor("member")
    started = await spoken(member, survivor, "a")
    die(survivor, started.run_id)
    await cancel_turn(member, started.run_id)
    told = await end_of(survivor, member, ledger, started.run_id)
    assert told.kinds[-2:] == ["message.completed", "run.cancelled"]
    assert ledger.messages(started.conversation_id)[-1] == ("assistant", "a", "stopped")


@pytest.mark.parametrize("kept", ["redis", "postgresql", "both", "none"])
async def test_what_is_left_of_the_log(survivor: Host, actor: Any, ledger: Ledger, services: Any, kept: str) -> None:
    """A71: everything that Redis or PostgreSQL has, in one piece."""
    member = actor("member")
    started = await spoken(member, survivor, "a", "b")
    live = survivor.runs[started.run_id].log
    if kept in ("postgresql", "both"):
        await survivor._checkpoint([live])
    live.append([("text.delta", {"text": "c"})])
    await survivor.writer.flush()
    die(survivor, started.run_id)
    if kept in ("postgresql", "none"):
        with Redis.from_url(services.redis.url) as redis:
            redis.flushall()
    told = await end_of(survivor, member, ledger, started.run_id)
    assert told.text == {"redis": "abc", "postgresql": "ab", "both": "abc", "none": ""}[kept]
    assert told.kinds[0] == "run.started"
    assert len(ledger.usage(started.run_id)) == (kept != "none")


@pytest.mark.fault
async def test_a_redis_that_hangs_for_a_moment_is_waited_for(
    survivor: Host, actor: Any, ledger: Ledger, services: Any
) -> None:
    """What somebody saw and PostgreSQL has not yet is in Redis only, so that nothing is ended without it."""
    member = actor("member")
    started = await spoken(member, survivor, "a", "b", "c")
    die(survivor, started.run_id)
    ledger.rows(EXPIRE)
    survivor.relay.client.patience = 0.1
    with stopped(services.redis.pid):
        sweeping = asyncio.create_task(recovery.sweep(survivor))
        for _often_enough in range(8):
            with pytest.raises(RedisError):
                await survivor.relay.ping()
        assert not sweeping.done()
    assert await sweeping == 1
    assert (await read(member.tenant, started.run_id)).text == "abc"


async def test_a_hole_in_redis_ends_the_log_before_it(
    survivor: Host, actor: Any, ledger: Ledger, services: Any
) -> None:
    """What nobody can connect is not told; who had seen further is sent to fetch the conversation again."""
    member = actor("member")
    started = await spoken(member, survivor, "a")
    live = survivor.runs[started.run_id].log
    for text in "bc":
        live.append([("text.delta", {"text": text})])
        await survivor.writer.flush()
    die(survivor, started.run_id)
    with Redis.from_url(services.redis.url) as redis:
        redis.xdel(f"t:{member.tenant.id.hex}:run:{started.run_id.hex}", "3-0")
    told = await end_of(survivor, member, ledger, started.run_id)
    assert told.text == "a"
    for after in range(len(told.events)):
        assert (await read(member.tenant, started.run_id, after)).events == told.events[after:]
    with pytest.raises(PaasError) as error:
        await read(member.tenant, started.run_id, 5)
    assert error.value.code == "stream_gone"


async def test_the_conversation_goes_on(survivor: Host, actor: Any, ledger: Ledger) -> None:
    member = actor("member")
    started = await spoken(member, survivor, "half")
    die(survivor, started.run_id)
    await end_of(survivor, member, ledger, started.run_id)
    ScriptedModel.enqueue(["whole"])
    again = await ask(member, retry=True, conversation_id=started.conversation_id)
    assert again.text == "whole"
    assert ledger.messages(started.conversation_id) == [("user", "hi", "complete"), ("assistant", "whole", "complete")]


async def test_calls_without_a_conversation(survivor: Host, actor: Any, ledger: Ledger) -> None:
    member = actor("member")
    started = await spoken(member, survivor, "a", messages=[{"role": "user", "content": "hi"}])
    die(survivor, started.run_id)
    told = await end_of(survivor, member, ledger, started.run_id)
    assert told.events[-2][1][1] == {"message_id": None, "content": "a", "finish_reason": "error"}
    assert ledger.value("SELECT count(*) FROM chat_message") == 0


async def test_whatever_became_of_its_agent_and_tenant(survivor: Host, actor: Any, agents: Any, ledger: Ledger) -> None:
    member, slug = actor("member"), agents("demo")
    started = await spoken(member, survivor, "a", agent=slug)
    die(survivor, started.run_id)
    ledger.rows("UPDATE agents_agent SET archived_at = now() WHERE slug = %s", slug)
    ledger.rows("UPDATE llm_provideraccount SET enabled = false WHERE name LIKE 'provider-%%'")
    ledger.rows("UPDATE tenants_tenant SET status = 'suspended' WHERE slug = 'acme'")
    try:
        assert (await end_of(survivor, member, ledger, started.run_id)).text == "a"
    finally:
        ledger.rows("UPDATE tenants_tenant SET status = 'active' WHERE slug = 'acme'")


async def test_one_bad_run_does_not_keep_the_others(
    survivor: Host, actor: Any, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = actor("member")
    runs = [await spoken(member, survivor, "a") for _ in range(3)]
    for run in runs:
        die(survivor, run.run_id)
    real = recovery._run_and_model

    def broken(run_id: uuid.UUID) -> Any:
        if run_id == runs[1].run_id:
            raise ValueError("a row that nobody foresaw")
        return real(run_id)

    ledger.rows(EXPIRE)
    with monkeypatch.context() as patch:
        patch.setattr(recovery, "_run_and_model", broken)
        assert await recovery.sweep(survivor) == 2
    assert ledger.left_behind()["held"] == 1
    ledger.rows(EXPIRE)
    assert await recovery.sweep(survivor) == 1
    assert not ledger.left_behind()


async def test_a_process_that_slept_too_long(survivor: Host, actor: Any, ledger: Ledger, services: Any) -> None:
    """P46: stopped for longer than its lease and then awake again, it changes and shows nothing any more."""
    member = actor("member")
    started = await spoken(member, survivor, "a")
    sleeper = survivor.runs[started.run_id]
    sleeper.log.lease_until = asyncio.get_running_loop().time() - 1
    survivor.runs.pop(started.run_id)
    told = await end_of(survivor, member, ledger, started.run_id)
    survivor.runs[started.run_id] = sleeper
    before = ledger.run(started.run_id), ledger.usage(started.run_id), ledger.segments(started.run_id)
    for text in "zombie":
        sleeper.log.append([("text.delta", {"text": text})])
    await survivor.writer.flush()
    await survivor._checkpoint([sleeper.log])
    assert sleeper.log.released == 2
    await survivor._heartbeat()
    await eventually(lambda: not survivor.runs)
    assert sleeper.log.moved
    assert (await read(member.tenant, started.run_id)).events == told.events
    assert (ledger.run(started.run_id), ledger.usage(started.run_id), ledger.segments(started.run_id)) == before
    with Redis.from_url(services.redis.url) as redis:
        last = redis.xrevrange(f"t:{member.tenant.id.hex}:run:{started.run_id.hex}", count=1)[0][0]
    assert last == f"{len(told.events)}-0".encode()


async def test_followers_wait_for_the_sweep_and_then_end(survivor: Host, actor: Any, ledger: Ledger) -> None:
    member = actor("member")
    started = await spoken(member, survivor, "a", "b")
    die(survivor, started.run_id)
    waiting = [asyncio.create_task(read(member.tenant, started.run_id, after)) for after in range(4)]
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in waiting)
    told = await end_of(survivor, member, ledger, started.run_id)
    for after, task in enumerate(waiting):
        assert (await asyncio.wait_for(task, 5)).events == told.events[after:]


async def test_of_a_dead_run_that_was_not_to_be_stored_the_bill_is_left(
    survivor: Host, actor: Any, ledger: Ledger
) -> None:
    """Whoever ends it: what is taken away goes in the transaction that ends the run."""
    ScriptedModel.enqueue(["a", asyncio.Event()])
    member, asked = (
        actor("member"),
        responses_request.parse({"model": "assistant", "input": "x", "store": False, "stream": True}),
    )
    started = await turns.start_turn(member, asked.turn(asked.items))
    await read(member.tenant, started.run_id, limit=2)
    await survivor._checkpoint([survivor.runs[started.run_id].log])
    assert ledger.segments(started.run_id)
    die(survivor, started.run_id)
    ledger.rows(EXPIRE)
    assert await recovery.sweep(survivor) == 1
    assert ledger.segments(started.run_id) == ledger.rows("SELECT * FROM chat_response") == []
    assert (ledger.run(started.run_id)["status"], len(ledger.usage(started.run_id))) == ("failed", 1)
    assert not ledger.left_behind()
