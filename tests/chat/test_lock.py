"""P46: one run at a time in a conversation, whatever becomes of the lock in Redis."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from redis import Redis

from chat import recovery
from chat.host import Host
from chat.lock import lock_key
from core.errors import PaasError
from llm.providers.scripted import ScriptedModel
from tests.chat.hosts import another, at
from tests.chat.ledger import Ledger, eventually
from tests.chat.talk import ask, read, start

EXPIRE = "UPDATE usage_reservation SET lease_until = now() - interval '1 second' WHERE state = 'held'"


@pytest.fixture
def redis(services: Any) -> Any:
    with Redis.from_url(services.redis.url, decode_responses=True) as client:
        yield client


class Scene:
    """A conversation that is being answered until `gate` is set."""

    def __init__(self, host: Host, actor: Any, ledger: Ledger) -> None:
        self.host, self.member, self.ledger = host, actor("member"), ledger
        self.gate = asyncio.Event()

    async def begin(self) -> Any:
        self.conversation: uuid.UUID = (await ask(self.member)).conversation_id
        self.key = lock_key(self.member.tenant, self.member.user_id, self.conversation)
        ScriptedModel.enqueue(["a", self.gate, "b"])
        self.run = await start(self.member, "again", conversation_id=self.conversation)
        await read(self.member.tenant, self.run.run_id, limit=2)
        return self.run

    async def second(self) -> str:
        """What becomes of a second turn in it."""
        try:
            return str((await start(self.member, "too", conversation_id=self.conversation)).status)
        except PaasError as error:
            return error.code


@pytest.fixture
def scene(host: Host, actor: Any, ledger: Ledger) -> Scene:
    return Scene(host, actor, ledger)


async def test_refused_by_any_process_without_the_database(
    scene: Scene, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await scene.begin()
    assert redis.get(scene.key) == f"{run.run_id} 1"
    async with another() as there:
        with monkeypatch.context() as patch:
            patch.setattr("chat.turns._start", None)  # whoever asks PostgreSQL breaks
            for host in (scene.host, there):
                with at(host):
                    assert await scene.second() == "run_in_progress"
    scene.gate.set()
    await read(scene.member.tenant, run.run_id)
    assert redis.get(scene.key) is None, "whoever has read the end may go on"
    assert await scene.second() == "running"
    await eventually(lambda: not scene.host.runs)


async def test_flushed(scene: Scene, redis: Redis) -> None:
    """The lock is gone, PostgreSQL refuses; what was taken in the meantime is given back; the heartbeat makes it anew."""
    run = await scene.begin()
    redis.flushall()
    assert await scene.second() == "run_in_progress"
    assert redis.get(scene.key) is None
    await scene.host._heartbeat()
    assert redis.get(scene.key) == f"{run.run_id} 1"
    scene.gate.set()
    told = await read(scene.member.tenant, run.run_id)
    assert (told.text, told.kinds[-1]) == ("ab", "run.completed")
    assert scene.ledger.value("SELECT count(*) FROM chat_run") == 2
    assert not scene.ledger.left_behind()


async def test_away(scene: Scene, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Redis away, and while older locks may be wrong, PostgreSQL alone decides."""
    await scene.begin()
    scene.host.locks.distrust()
    assert await scene.second() == "run_in_progress"
    scene.gate.set()
    await read(scene.member.tenant, scene.run.run_id)
    redis.set(scene.key, f"{uuid.uuid4()} 1")  # what an outage may have left
    assert await scene.second() == "running"
    await eventually(lambda: not scene.host.runs)


async def test_a_holder_that_was_stopped(scene: Scene, redis: Redis) -> None:
    """Its lock has run out, its run was ended, another turn goes on: awake again, it writes, renews and frees nothing."""
    run = await scene.begin()
    sleeper = scene.host.runs.pop(run.run_id)  # no heartbeat for it any more
    sleeper.log.lease_until = 0
    redis.delete(scene.key)
    scene.ledger.rows(EXPIRE)
    assert await recovery.sweep(scene.host) == 1
    gate = asyncio.Event()
    ScriptedModel.enqueue(["c", gate])
    next_run = await start(scene.member, "next", conversation_id=scene.conversation)
    assert redis.get(scene.key) == f"{next_run.run_id} 1"
    before = scene.ledger.messages(scene.conversation), scene.ledger.segments(run.run_id)
    scene.host.runs[run.run_id] = sleeper
    scene.gate.set()  # it ends, and tries to write its end
    await eventually(lambda: sleeper.log.moved)
    await scene.host.writer.flush()
    assert redis.get(scene.key) == f"{next_run.run_id} 1"
    assert (scene.ledger.messages(scene.conversation), scene.ledger.segments(run.run_id)) == before
    assert await scene.second() == "run_in_progress"
    gate.set()
    await read(scene.member.tenant, next_run.run_id)
    assert not scene.ledger.left_behind()


async def test_a_lock_tells_nobody_else_anything(scene: Scene, actor: Any) -> None:
    """A28: a colleague who knows the conversation's id is told what everybody is told of an id that never was."""
    await scene.begin()
    with pytest.raises(PaasError) as refused:
        await start(actor("owner"), "hi", conversation_id=scene.conversation)
    assert refused.value.code == "not_found"
    assert await scene.host.locks.take(
        lock_key(scene.member.tenant, actor("owner").user_id, scene.conversation), uuid.uuid4()
    )
    scene.gate.set()
    await eventually(lambda: not scene.host.runs)


async def test_a_refused_turn_holds_nothing(scene: Scene, redis: Redis) -> None:
    await scene.begin()
    scene.gate.set()
    await read(scene.member.tenant, scene.run.run_id)
    scene.ledger.allow(1)
    assert await scene.second() == "quota_exceeded"
    assert redis.get(scene.key) is None
