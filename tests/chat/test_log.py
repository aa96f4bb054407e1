"""The live log of a run: numbers, batches, and nothing shown that Redis does not have."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisAway

from chat.log import Batch, LogWriter, RunLog, RunMoved, decode_events, encode_events
from chat.relay import KEEP_SECONDS, Relay, run_key
from tests.chat.ledger import eventually


class Watched(Relay):
    """A relay on the real Redis that can be held, can fail, and counts its writes."""

    def __init__(self, url: str) -> None:
        super().__init__(url, "test", lambda text: None)
        self.writes: list[list[tuple[int, int]]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.away = False

    async def write(self, entries: Any) -> None:
        await self.open.wait()
        if self.away:
            raise RedisAway
        await super().write(entries)
        if entries:
            self.writes.append([entry[2:4] for entry in entries])


class Bench:
    """One writer and its relay, with the writer's loop running."""

    def __init__(self, url: str, tenant: Any) -> None:
        self.relay = Watched(url)
        self.writer = LogWriter(self.relay)
        self.redis: Redis = Redis.from_url(url)
        self.tenant = tenant
        self.loop_task = asyncio.create_task(self.writer.run())

    def log(self) -> RunLog:
        return RunLog(self.tenant, uuid.uuid4(), 1, self.writer)

    async def stored(self, run: RunLog) -> list[tuple[int, list[Any]]]:
        found = await self.relay.read(self.tenant, run.run_id, 0)
        return [(first, decode_events(events)) for first, events in found]

    async def close(self) -> None:
        self.loop_task.cancel()
        await asyncio.gather(self.loop_task, return_exceptions=True)
        await self.relay.close()
        await self.redis.aclose()


@pytest.fixture
async def bench(services: Any, db: Any) -> AsyncIterator[Bench]:
    found = Bench(services.redis.url, db.acme)
    yield found
    await found.close()


def said(*texts: str) -> list[Any]:
    return [("text.delta", {"text": text}) for text in texts]


async def collect(run: RunLog, after: int = 0) -> list[Batch]:
    return [batch async for batch in run.follow(after)]


async def test_events_are_numbered_and_come_in_order(bench: Bench) -> None:
    run = bench.log()
    reader = asyncio.create_task(collect(run))
    for number in range(100):
        run.append(said(str(number)))
        if number % 7 == 0:
            await asyncio.sleep(0)
    run.hold_end([("run.completed", {})])
    run.release_end()
    batches = await asyncio.wait_for(reader, 5)
    position = 0
    for first, events in batches:
        assert first == position + 1
        position += len(events)
    assert position == 101
    assert [event for _, events in batches for event in events] == run.events


async def test_nothing_is_shown_before_redis_has_it(bench: Bench) -> None:
    """A71: what a client has seen survives this process."""
    run = bench.log()
    bench.relay.open.clear()
    run.append(said("a"))
    reader = asyncio.create_task(anext(run.follow(0)))
    await eventually(lambda: bench.writer._flushing.locked())
    await asyncio.sleep(0)
    assert not reader.done()
    assert run.released == 0
    bench.relay.open.set()
    assert await asyncio.wait_for(reader, 5) == (1, said("a"))
    assert await bench.stored(run) == [(1, said("a"))]


async def test_the_first_token_goes_at_once_and_the_rest_in_batches(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat.log.FLUSH_SECONDS", 60)
    other, run, loop = bench.log(), bench.log(), asyncio.get_running_loop()
    other.append(said("x"))
    await eventually(lambda: other.released == 1)
    run.append([("run.started", {})])
    run.append(said("a"))
    await eventually(lambda: run.released == 2)  # long before the next batch is due
    for text in "bcdef":
        run.append(said(text))
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert run.released == 2
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + 60)
    await eventually(lambda: run.released == 7)
    assert bench.relay.writes == [[(1, 1)], [(1, 2)], [(3, 7)]]


async def test_one_write_carries_all_runs(bench: Bench) -> None:
    runs = [bench.log() for _ in range(20)]
    for run in runs:
        run.append(said("a"))
    await eventually(lambda: all(run.released == 1 for run in runs))
    assert [len(entries) for entries in bench.relay.writes] == [20]


async def test_a_held_end_is_neither_shown_nor_written(bench: Bench) -> None:
    run = bench.log()
    run.append(said("a"))
    run.hold_end([("message.completed", {}), ("run.completed", {})])
    await bench.writer.flush()
    assert (run.released, run.writable) == (1, 1)
    assert await bench.stored(run) == [(1, said("a"))]
    run.hold_end([("message.completed", {}), ("run.failed", {})])  # a second try replaces the first
    run.release_end()
    await bench.writer.flush()
    assert [kind for _, events in await bench.stored(run) for kind, _ in events] == [
        "text.delta", "message.completed", "run.failed",
    ]  # fmt: skip
    assert [kind for _, events in await collect(run) for kind, _ in events][-1] == "run.failed"


async def test_followers_of_a_moved_run_are_sent_away(bench: Bench) -> None:
    run = bench.log()
    run.append(said("a"))
    await eventually(lambda: run.released == 1)
    waiting = asyncio.create_task(collect(run, 1))
    await asyncio.sleep(0)
    run.append(said("b"))
    run.move()
    with pytest.raises(RunMoved):
        await asyncio.wait_for(waiting, 5)
    with pytest.raises(RunMoved):
        await collect(run)
    await bench.writer.flush()
    assert await bench.stored(run) == [(1, said("a"))], "written by a process that had lost the run"


async def test_redis_away_and_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams go on without it (P46); afterwards it is used again."""
    monkeypatch.setattr("chat.log.REDIS_PAUSE_SECONDS", 0.05)
    run = bench.log()
    run.append(said("a"))
    await eventually(lambda: run.released == 1)
    bench.relay.away = True
    run.append(said("b"))
    await eventually(lambda: run.released == 2)
    bench.relay.away = False
    await asyncio.sleep(0.1)

    def back() -> bool:
        run.append(said("c"))
        return len(bench.relay.writes) > 1

    await eventually(back)
    stored = await bench.stored(run)
    assert stored[0] == (1, said("a"))
    assert stored[1][0] > 2


async def test_a_full_redis_is_an_absent_one(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A refused write must not pass for a written one: whoever believes it believes a gap away."""
    await bench.redis.config_set("maxmemory", "1")
    try:
        run = bench.log()
        run.append(said("a"))
        await eventually(lambda: run.released == 1)
        assert bench.relay.writes == []
    finally:
        await bench.redis.config_set("maxmemory", "0")


async def test_what_another_process_wrote_is_left_alone(bench: Bench) -> None:
    """Ids in Redis only grow: a process that lost its run cannot write under its successor's events."""
    run = bench.log()
    await bench.redis.xadd(run_key(run.tenant, run.run_id), {"f": 1, "e": encode_events(said("x", "y"))}, id="2-0")
    run.append(said("a"))
    await eventually(lambda: run.released == 1)
    assert await bench.stored(run) == [(1, said("x", "y"))]


async def test_a_runs_stream_never_stays_for_ever(bench: Bench) -> None:
    """Also not when Redis lost it in the middle (FLUSHALL, a restart)."""
    run = bench.log()
    run.append(said("a"))
    await eventually(lambda: run.released == 1)
    key = run_key(run.tenant, run.run_id)
    assert KEEP_SECONDS - 60 < await bench.redis.ttl(key) <= KEEP_SECONDS
    await bench.redis.flushall()
    run.append(said("b"))
    run.hold_end([("run.completed", {})])
    run.release_end()
    await bench.writer.flush()
    assert KEEP_SECONDS - 60 < await bench.redis.ttl(key) <= KEEP_SECONDS


def test_events_come_back_to_the_byte() -> None:
    events = said('你好 \u2028 "quoted" \\ 🦊', "") + [("tool.started", {"arguments": {"b": 1, "a": [1.5, None]}})]
    assert decode_events(encode_events(events)) == events
    assert encode_events(decode_events(encode_events(events))) == encode_events(events)


async def test_what_no_wire_can_carry_fails_in_its_own_run(bench: Bench) -> None:
    """Not in the writer, which carries the logs of all runs of the process."""
    bad, good = bench.log(), bench.log()
    for data in ({"arguments": {"n": 10**30}}, {"text": "\ud800"}, {"result": object()}):
        with pytest.raises(TypeError):
            bad.append([("tool.started", data)])
    good.append(said("a"))
    bad.append(said("b"))
    await eventually(lambda: good.released == bad.released == 1)


async def test_an_expired_lease_keeps_events_back(bench: Bench) -> None:
    """P46: a process that slept too long shows nothing until it knows that the run is still its own."""
    run, loop = bench.log(), asyncio.get_running_loop()
    run.append(said("a"))
    await eventually(lambda: run.released == 1)
    run.lease_until = loop.time()
    run.append(said("b"))
    await bench.writer.flush()
    assert (run.released, await bench.stored(run)) == (1, [(1, said("a"))])
    run.renew(loop.time() + 10)
    await eventually(lambda: run.released == 2)
    run.lease_until = loop.time()
    run.append(said("c"))
    run.move()
    await bench.writer.flush()
    assert [first for first, _ in await bench.stored(run)] == [1, 2]


async def test_a_redis_that_hangs_holds_streams_up_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A45: one timeout, then the streams go on beside it."""
    tries = 0

    async def hang(*args: Any) -> None:
        nonlocal tries
        tries += 1
        raise RedisAway

    monkeypatch.setattr("chat.log.REDIS_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(bench.relay, "write", hang)
    monkeypatch.setattr(bench.relay, "ping", hang)
    run = bench.log()
    for number in range(5):
        run.append(said(str(number)))
        await eventually(lambda number=number: run.released == number + 1)
    before = tries
    await eventually(lambda: tries > before + 1)
    assert run.released == 5
    monkeypatch.undo()
    await eventually(lambda: bench.writer._probing is None)
    run.append(said("again"))
    await eventually(lambda: bench.relay.writes == [[(6, 6)]])
