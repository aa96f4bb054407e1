"""Following a run from memory, from Redis and from PostgreSQL: the same events, wherever one starts."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis
from redis.exceptions import ConnectionError as RedisAway

from chat import follow as following
from chat import host as hosts
from chat.follow import follow
from core.errors import PaasError
from llm.providers.scripted import ScriptedModel
from tests.chat.ledger import eventually
from tests.chat.talk import Told, ask, read, start

WORDS = [f"w{number} " for number in range(30)]


async def in_another_process(work: Callable[[], Awaitable[Any]]) -> Any:
    """`work()` with a host, an event loop and a thread of its own: it shares nothing but the services."""

    async def main() -> Any:
        async with hosts.opened(drain_seconds=1):
            return await work()

    return await asyncio.to_thread(asyncio.run, main())


async def gone(tenant: Any, run_id: Any, after: int) -> str:
    with pytest.raises(PaasError) as error:
        await read(tenant, run_id, after)
    return error.value.code


async def finished(host: Any, actor: Any) -> Told:
    """A run that has ended and left this process's memory."""
    ScriptedModel.enqueue(WORDS)
    told = await ask(actor("member"))
    await eventually(lambda: not host.runs)
    return told


async def test_resume_after_every_position(host: Any, actor: Any, acme: Any) -> None:
    """A29, T9: the rest, without gap and without duplicate, from memory, Redis and PostgreSQL."""
    gate, tail = asyncio.Event(), asyncio.Event()
    ScriptedModel.enqueue([*WORDS, gate, "end", tail])
    started = await start(actor("member"))
    shown = len(WORDS) + 1
    whole = await read(acme, started.run_id, limit=shown)
    from_memory = [await read(acme, started.run_id, after, limit=shown - after) for after in range(shown)]
    gate.set()
    tail.set()
    end = await read(acme, started.run_id, shown)
    whole.events += end.events
    assert whole.numbers == list(range(1, len(whole.events) + 1))
    for after, told in enumerate(from_memory):
        assert told.events == whole.events[after:shown]
    await eventually(lambda: not host.runs)
    for after in range(len(whole.events)):
        assert (await read(acme, started.run_id, after)).events == whole.events[after:], f"from redis after {after}"


async def test_resume_from_postgresql_alone(
    host: Any, actor: Any, acme: Any, services: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "CHECKPOINT_EVENTS", 5)
    monkeypatch.setattr(hosts, "CHECKPOINT_SECONDS", 0.02)
    gates = [asyncio.Event() for _ in range(3)]
    ScriptedModel.enqueue([*WORDS[:10], gates[0], *WORDS[10:20], gates[1], *WORDS[20:], gates[2]])
    started = await start(actor("member"))
    for gate, upto in zip(gates, (11, 21, 31), strict=True):
        await eventually(lambda upto=upto: host.runs[started.run_id].log.stored >= upto)
        gate.set()
    whole = await read(acme, started.run_id)
    await eventually(lambda: not host.runs)
    with Redis.from_url(services.redis.url) as redis:
        redis.flushall()
    for after in range(len(whole.events)):
        assert (await read(acme, started.run_id, after)).events == whole.events[after:]


@pytest.mark.parametrize("store", ["memory", "redis", "postgresql"])
async def test_positions_at_and_beyond_the_end(host: Any, actor: Any, acme: Any, services: Any, store: str) -> None:
    if store == "memory":
        gate = asyncio.Event()
        ScriptedModel.enqueue(["a", gate])
        started = await start(actor("member"))
        await read(acme, started.run_id, limit=2)
        assert await gone(acme, started.run_id, 3) == "stream_gone"
        waiting = asyncio.create_task(read(acme, started.run_id, 2))
        gate.set()
        assert (await waiting).kinds == ["message.completed", "run.completed"]
        return
    told = await finished(host, actor)
    if store == "postgresql":
        with Redis.from_url(services.redis.url) as redis:
            redis.flushall()
    last = len(told.events)
    assert (await read(acme, told.run_id, last)).events == []
    for after in (last + 1, last + 1000, 999_999_999):
        assert await gone(acme, told.run_id, after) == "stream_gone"


async def test_two_followers_see_the_same(host: Any, actor: Any, acme: Any) -> None:
    """A30."""
    gate = asyncio.Event()
    ScriptedModel.enqueue(["a", gate, *WORDS])
    started = await start(actor("member"))
    readers = [asyncio.create_task(read(acme, started.run_id)) for _ in range(5)]
    gate.set()
    told = await asyncio.gather(*readers)
    assert all(other.events == told[0].events for other in told)
    assert told[0].text == "a" + "".join(WORDS)


async def test_a_run_that_nobody_knows(host: Any, acme: Any) -> None:
    assert await gone(acme, uuid.uuid4(), 0) == "not_found"


async def test_a_run_under_another_tenant_is_not_found(host: Any, actor: Any, globex: Any) -> None:
    """A28: also while it lives in this very process."""
    gate = asyncio.Event()
    ScriptedModel.enqueue(["a", gate])
    started = await start(actor("member"))
    await read(actor("member").tenant, started.run_id, limit=2)
    assert await gone(globex, started.run_id, 0) == "not_found"
    gate.set()
    await read(actor("member").tenant, started.run_id)
    assert await gone(globex, started.run_id, 0) == "not_found"


async def test_from_another_process_while_it_runs(host: Any, actor: Any, acme: Any) -> None:
    gates = [asyncio.Event() for _ in range(4)]
    steps: list[Any] = []
    for number, gate in enumerate(gates):
        steps += [*WORDS[number * 5 : number * 5 + 5], gate]
    ScriptedModel.enqueue(steps)
    started = await start(actor("member"))
    here = asyncio.create_task(read(acme, started.run_id))
    there = asyncio.create_task(in_another_process(lambda: read(acme, started.run_id)))
    for gate in gates:
        await asyncio.sleep(0.05)
        gate.set()
    assert (await there).events == (await here).events


async def test_tokens_reach_another_process_by_hint_and_not_by_looking_again(
    host: Any, actor: Any, acme: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LOOK_AGAIN_SECONDS", 60.0)
    gate, joined = asyncio.Event(), asyncio.Event()
    ScriptedModel.enqueue(["a", gate, "b"])
    started = await start(actor("member"))
    await read(acme, started.run_id, limit=2)
    loop = asyncio.get_running_loop()

    async def follow_there() -> list[Any]:
        found: list[Any] = []
        async for _, events in follow(acme, started.run_id):
            found += events
            loop.call_soon_threadsafe(joined.set)
        return found

    there = asyncio.create_task(in_another_process(follow_there))
    await asyncio.wait_for(joined.wait(), 10)
    gate.set()
    found = await asyncio.wait_for(there, 10)
    assert [kind for kind, _ in found][-1] == "run.completed"


async def test_from_another_process_without_redis(
    host: Any, actor: Any, acme: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only checkpoints, and looking again: slower, and complete."""
    monkeypatch.setattr(following, "LOOK_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(hosts, "CHECKPOINT_SECONDS", 0.1)

    async def away(*args: Any) -> Any:
        raise RedisAway

    monkeypatch.setattr("chat.relay.Relay.write", away)
    monkeypatch.setattr("chat.relay.Relay.read", away)
    monkeypatch.setattr("chat.relay.Relay._subscribe", lambda *args: asyncio.sleep(0))
    gates = [asyncio.Event(), asyncio.Event()]
    ScriptedModel.enqueue([*WORDS[:9], gates[0], *WORDS[9:], gates[1]])
    started = await start(actor("member"))
    here = asyncio.create_task(read(acme, started.run_id))
    there = asyncio.create_task(in_another_process(lambda: read(acme, started.run_id)))
    for gate, stored in zip(gates, (10, 31), strict=True):
        await eventually(lambda stored=stored: host.runs[started.run_id].log.stored == stored)
        gate.set()
    assert (await there).events == (await here).events


async def test_a_gap_in_redis_is_filled_from_postgresql(
    host: Any, actor: Any, acme: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis was away for some of the events: a follower elsewhere gets them all the same."""
    monkeypatch.setattr("chat.log.REDIS_PAUSE_SECONDS", 0.0)
    gates = [asyncio.Event() for _ in range(3)]
    ScriptedModel.enqueue([*WORDS[:5], gates[0], *WORDS[5:10], gates[1], *WORDS[10:15], gates[2]])
    started = await start(actor("member"))
    live = host.runs[started.run_id].log
    await eventually(lambda: live.released == 6)
    write = host.relay.write

    async def away(entries: Any) -> None:
        raise RedisAway

    monkeypatch.setattr(host.relay, "write", away)
    gates[0].set()
    await eventually(lambda: live.released == 11)
    monkeypatch.setattr(host.relay, "write", write)
    await eventually(lambda: host.writer._probing is None)
    gates[1].set()
    await eventually(lambda: live.released == 16)
    gates[2].set()
    whole = await read(acme, started.run_id)
    await eventually(lambda: not host.runs)
    for after in range(len(whole.events)):
        assert (await read(acme, started.run_id, after)).events == whole.events[after:], f"after {after}"


async def test_leaving_costs_nothing(host: Any, actor: Any, acme: Any, ledger: Any) -> None:
    """P29: drop a follower at each of 50 positions; the run neither notices nor costs more."""
    gate = asyncio.Event()
    words = [f"{number} " for number in range(50)]
    ScriptedModel.enqueue([*words, gate])
    started = await start(actor("member"))
    for position in range(1, 51):
        async with aclosing(follow(acme, started.run_id)) as batches:
            seen = 0
            async for _, events in batches:
                seen += len(events)
                if seen >= position:
                    break
    gate.set()
    told = await read(acme, started.run_id)
    assert told.text == "".join(words)
    assert not host.runs[started.run_id].log._waiters if started.run_id in host.runs else True
    assert [row["output_tokens"] for row in ledger.usage(started.run_id)] == [told.end["usage"]["output_tokens"]]


operation = st.one_of(
    st.tuples(st.just("say"), st.integers(1, 4)),
    st.tuples(st.just("join"), st.tuples(st.sampled_from(["here", "elsewhere"]), st.floats(0, 1))),
    st.tuples(st.sampled_from(["flush", "checkpoint", "redis off", "redis on", "turn"]), st.none()),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedule=st.lists(operation, max_size=25))
async def test_any_schedule(host: Any, actor: Any, acme: Any, schedule: list[tuple[str, Any]]) -> None:
    """Whatever happens in whatever order, each follower gets exactly what came after its position."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(following, "LOOK_AGAIN_SECONDS", 0.01)
        patch.setattr("chat.log.REDIS_PAUSE_SECONDS", 0.0)
        await _play(host, actor("member"), acme, schedule, patch)


async def _play(host: Any, member: Any, acme: Any, schedule: list[tuple[str, Any]], patch: Any) -> None:
    gate, off, spoken = asyncio.Event(), False, 0
    ScriptedModel.enqueue([gate])
    started = await start(member)
    live = host.runs[started.run_id].log
    real_write, real_read = host.relay.write, host.relay.read

    async def write(entries: Any) -> None:
        if off:
            raise RedisAway
        await real_write(entries)

    async def look(*args: Any) -> Any:
        if off:
            raise RedisAway
        return await real_read(*args)

    patch.setattr(host.relay, "write", write)
    patch.setattr(host.relay, "read", look)
    followers: list[tuple[str, int, asyncio.Task[list[Any]]]] = []

    async def gather(batches: Any, after: int) -> list[Any]:
        found: list[Any] = []
        async for first, events in batches:
            assert first == after + len(found) + 1, "a gap or a duplicate"
            found += events
        return found

    for what, detail in schedule:
        if what == "say":
            live.append([("text.delta", {"text": f"{spoken + offset}"}) for offset in range(detail)])
            spoken += detail
        elif what == "join":
            where, share = detail
            after = int(live.released * share)
            source = follow if where == "here" else following._follow_elsewhere
            followers.append((where, after, asyncio.create_task(gather(source(acme, started.run_id, after), after))))
        elif what == "flush":
            await host.writer.flush()
        elif what == "checkpoint":
            await host._checkpoint([live])
        elif what == "turn":
            await asyncio.sleep(0.002)
        else:
            off = what == "redis off"
    gate.set()
    everything = [event for _, event in (await read(acme, started.run_id)).events]
    assert sum(kind == "text.delta" for kind, _ in everything) == spoken
    for where, after, task in followers:
        assert await asyncio.wait_for(task, 10) == everything[after:], (where, after)
