"""Redis or PostgreSQL hangs, dies, comes back: streams go on, money stays right, and nobody has to restart us."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connections

from bench.answers import token_text
from chat import follow as following
from chat import host as hosts
from launch.services import RedisService, start_postgres, start_redis
from llm.providers.scripted import ScriptedModel
from tests.chat.doors import OpenAIDoor, SocketDoor, SseDoor
from tests.chat.ledger import eventually
from tests.chat.talk import read, start
from tests.chat.test_follow import in_another_process
from tests.contracts.transport import Refusal
from tests.site import Site

pytestmark = pytest.mark.fault


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process hangs: it accepts and never answers (A45)."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
async def own_redis(db: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, RedisService]]:
    """A Redis that a test may kill; the site or host that is opened after this uses it."""
    found = {"now": start_redis(tmp_path / "redis")}
    monkeypatch.setattr(settings, "REDIS_URL", found["now"].url)
    yield found
    found["now"].stop()


async def test_redis_hangs(
    site: Any, api_key: Any, agent: Any, ledger: Any, services: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T10, A45: on every door, a stream that runs goes on and a new one begins."""
    monkeypatch.setattr("chat.log.REDIS_PAUSE_SECONDS", 0.1)
    token = api_key()
    slug, quick = agent("bench-0-20-60"), agent("bench-0-0-10")
    running = [await door(site, token).ask(slug) for door in (SocketDoor, SseDoor, OpenAIDoor)]
    for stream in running:
        await stream.until(lambda answer: answer.pieces)
    person = await site.signed_in("member")
    cookies = person.cookie_jar.filter_cookies(person._base_url)
    with stopped(services.redis.pid):
        began = time.monotonic()
        fresh = [await door(site, token).whole(quick) for door in (SocketDoor, SseDoor, OpenAIDoor)]
        assert time.monotonic() - began < 10
        assert {answer.text for answer in fresh} == {"".join(token_text(10))}
        for stream in running:
            answer = await stream.rest()
            assert (answer.text, answer.end) == ("".join(token_text(60)), "completed")
        headers, ask = {"X-CSRFToken": cookies["csrftoken"].value}, site.client()
        ticket, ready, healthy = await asyncio.gather(
            person.post("/api/v1/ws-ticket", headers=headers), ask.get("/readyz"), ask.get("/healthz")
        )
        assert (ticket.status, (await ticket.json())["error"]["code"]) == (503, "redis_unavailable")
        assert ticket.headers["Retry-After"]
        assert (ready.status, (await ready.json())["checks"]["redis"] == "ok") == (503, False)
        assert healthy.status == 200
    await eventually(lambda: not ledger.left_behind())
    await eventually(lambda: hosts.current().writer._probing is None)
    assert (await SocketDoor(site, token).whole(quick)).end == "completed"
    async with site.client().get("/readyz") as response:
        assert response.status == 200


async def test_redis_dies_and_comes_back(
    own_redis: dict[str, RedisService],
    tmp_path: Path,
    actor: Any,
    acme: Any,
    ledger: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """T10: no run and no record is lost; a reader in another process catches up from PostgreSQL."""
    monkeypatch.setattr("chat.log.REDIS_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(following, "LOOK_AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(hosts, "CHECKPOINT_SECONDS", 0.2)
    gates = [asyncio.Event() for _ in range(4)]
    words = [f"{number} " for number in range(20)]
    steps: list[Any] = []
    for number, gate in enumerate(gates):
        steps += [*words[number * 5 : number * 5 + 5], gate]
    async with hosts.opened(drain_seconds=2) as host:
        ScriptedModel.enqueue(steps)
        started = await start(actor("member"))
        here = asyncio.create_task(read(acme, started.run_id))
        there = asyncio.create_task(in_another_process(lambda: read(acme, started.run_id)))
        live = host.runs[started.run_id].log
        await eventually(lambda: live.released == 6)
        os.kill(own_redis["now"].pid, signal.SIGKILL)
        gates[0].set()
        await eventually(lambda: live.released == 11)
        own_redis["now"].stop()
        own_redis["now"] = start_redis(tmp_path / "redis")
        await eventually(lambda: host.writer._probing is None)
        gates[1].set()
        await eventually(lambda: live.released == 16)
        gates[2].set()
        gates[3].set()
        told, elsewhere = await here, await there
        assert told.text == "".join(words)
        assert elsewhere.events == told.events
        assert len(ledger.usage(started.run_id)) == 1
        assert not ledger.left_behind()
        await eventually(lambda: not host.runs)
        # Hints and commands work again: a stop from another process arrives at once.
        hold = asyncio.Event()
        ScriptedModel.enqueue(["a", hold])
        second = await start(actor("member"))
        await read(acme, second.run_id, limit=2)

        async def stop() -> None:
            from chat.turns import cancel_turn

            await cancel_turn(actor("member"), second.run_id)

        await in_another_process(stop)
        assert (await read(acme, second.run_id)).kinds[-1] == "run.cancelled"


async def test_flushall_under_load(host: Any, actor: Any, acme: Any, services: Any, ledger: Any) -> None:
    """P46: Redis is not the truth."""
    from redis import Redis

    member, gate = actor("member"), asyncio.Event()
    runs = []
    for _ in range(10):
        ScriptedModel.enqueue(["a", "b", gate, "c"])
        runs.append(await start(member))
    for run in runs:
        await read(acme, run.run_id, limit=3)
    with Redis.from_url(services.redis.url) as redis:
        redis.flushall()
    gate.set()
    for run in runs:
        assert (await read(acme, run.run_id)).text == "abc"
    await eventually(lambda: not host.runs)
    for run in runs:
        assert (await read(acme, run.run_id)).text == "abc"
    assert ledger.value("SELECT count(*) FROM usage_usagerecord") == 10
    assert not ledger.left_behind()


async def test_a_stop_without_redis_arrives_with_the_heartbeat(
    host: Any, actor: Any, acme: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chat.turns import cancel_turn

    gate = asyncio.Event()
    ScriptedModel.enqueue(["a", gate])
    started = await start(actor("member"))
    await read(acme, started.run_id, limit=2)
    live = host.runs.pop(started.run_id)  # as seen from a process that does not run it
    monkeypatch.setattr(host.relay, "command", _away)
    await cancel_turn(actor("member"), started.run_id)
    host.runs[started.run_id] = live
    assert not live.stop_code
    await host._heartbeat()
    assert (await read(acme, started.run_id)).kinds[-1] == "run.cancelled"


async def _away(*args: Any) -> None:
    from redis.exceptions import ConnectionError as RedisAway

    raise RedisAway


@pytest.fixture
def cut_off(db: Any) -> Iterator[None]:
    """The thread of the tests holds a connection too, and must not go on with a dead one."""
    yield
    connections.close_all()


async def test_every_database_connection_is_cut(
    cut_off: None, site: Any, api_key: Any, agent: Any, ledger: Any
) -> None:
    """T11: what runs goes on; what comes after may be refused once with a 503, and then no more."""
    token = api_key()
    doors = [SocketDoor(site, token), SseDoor(site, token), OpenAIDoor(site, token)]
    slug, quick = agent("bench-0-20-60"), agent("bench-0-0-10")
    running = [await door.ask(slug) for door in doors]
    for stream in running:
        await stream.until(lambda answer: answer.pieces)
    cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename IN ('paas_app', 'paas_owner')"
    assert ledger.value(cut) > 0
    refusals = 0
    for number in range(12):
        try:
            assert (await doors[number % 3].whole(quick)).end == "completed"
        except Refusal as refusal:
            assert (refusal.code, refusal.status in (None, 503)) == ("database_unavailable", True)
            refusals += 1
    assert refusals <= settings.HOT_POOL_SIZE
    for stream in running:
        answer = await stream.rest()
        assert (answer.text, answer.end) == ("".join(token_text(60)), "completed")
    assert (await doors[0].whole(quick)).end == "completed"
    await eventually(lambda: not ledger.left_behind())


@pytest.fixture
def careful_postgres(services: Any, cut_off: None) -> Iterator[None]:
    """Commits survive a crash of the server (the tests' own does without); and it is up again afterwards."""
    with psycopg.connect(services.postgres.admin_url, autocommit=True) as superuser:
        superuser.execute("ALTER DATABASE paas SET synchronous_commit = on")
    yield
    if services.postgres._process.poll() is not None:
        services.postgres = start_postgres(services.folder / "pg")
    with psycopg.connect(services.postgres.admin_url, autocommit=True) as superuser:
        superuser.execute("ALTER DATABASE paas RESET synchronous_commit")


@pytest.mark.exhaustive
async def test_postgresql_restarts(careful_postgres: None, services: Any, api_key: Any, agent: Any) -> None:
    """T11: an immediate shutdown and a start, under running streams."""
    token = api_key()
    slug = agent("bench-0-25-100")
    async with Site() as site:
        doors = [SocketDoor(site, token), SseDoor(site, token), OpenAIDoor(site, token)]
        running = [await door.ask(slug) for door in doors]
        for stream in running:
            await stream.until(lambda answer: answer.pieces)
        reading = [asyncio.create_task(stream.rest()) for stream in running]
        os.kill(services.postgres.pid, signal.SIGQUIT)
        await asyncio.to_thread(services.postgres.stop)
        refusals = await asyncio.gather(*(refusal_of(door, slug) for door in doors))
        for refusal in refusals:
            assert (refusal.code, refusal.status in (None, 503)) == ("database_unavailable", True)
            assert refusal.retry_after
        services.postgres = start_postgres(services.folder / "pg")  # it lives as long as the thread that starts it
        for answer in await asyncio.gather(*reading):
            assert (answer.text, answer.end) == ("".join(token_text(100)), "completed")
        back = time.monotonic()
        while (refusal := await refusal_of(doors[2], "assistant")) is not None:
            assert refusal.code == "database_unavailable"
            assert time.monotonic() - back < 5
            await asyncio.sleep(0.05)
        for _ in range(5):
            assert await refusal_of(doors[2], "assistant") is None


async def refusal_of(door: Any, slug: str) -> Any:
    try:
        await door.whole(slug)
    except Refusal as refusal:
        return refusal
    return None
