"""Real web processes, killed with SIGKILL in the middle of streams; the clients go on elsewhere (A71, A72, T8, T9)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest

from chat import host as hosts
from chat import recovery
from tests.chat.doors import OpenAIDoor, SocketDoor, SseDoor
from tests.chat.ledger import Ledger, eventually
from tests.chat.sockets import close_of
from tests.contracts.transport import Door, Stream
from tests.site import Loopback, Site

pytestmark = [pytest.mark.fault, pytest.mark.exhaustive]
ROOT = Path(__file__).parents[2]
FINISHING = (
    "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%%finish_turn%%' AND state = 'active' AND pid <> pg_backend_pid()"
)
SHORT_LEASE = """
import django; django.setup()
from chat import host, turns
host.LEASE_SECONDS, host.HEARTBEAT_SECONDS = 2, 0.5
turns.LEASE_SECONDS = host.LEASE_SECONDS
from launch.web import main
main()
"""
EXPIRE = "UPDATE usage_reservation SET lease_until = now() - interval '1 second' WHERE state = 'held'"


class Process:
    """A web process of its own, as the supervisor starts it, on the same PostgreSQL and Redis."""

    def __init__(self, *command: str) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.stack = AsyncExitStack()
        self._listener.set_inheritable(True)
        descriptor = self._listener.fileno()
        self.process = subprocess.Popen(
            [sys.executable, *(command or ("-m", "launch.web")), "--fd", str(descriptor)],
            cwd=ROOT,
            pass_fds=[descriptor],
            env=os.environ | {"DATABASE_LOGIN": "app"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def url(self, slug: str = "") -> str:
        return f"http://{f'{slug}.' if slug else ''}localhost:{self.port}"

    def client(self, slug: str = "", *, token: str = "") -> aiohttp.ClientSession:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connector = aiohttp.TCPConnector(resolver=Loopback(), force_close=True)
        session = aiohttp.ClientSession(self.url(slug), connector=connector, headers=headers)
        self.stack.push_async_callback(session.close)
        return session

    async def __aenter__(self) -> Self:
        self._listener.close()
        probe = self.client()
        deadline = time.monotonic() + 60
        while True:
            try:
                async with probe.get("/readyz") as response:
                    if response.status == 200:
                        return self
            except aiohttp.ClientError:
                pass
            assert self.process.poll() is None, "the process ended"
            assert time.monotonic() < deadline, "the process is not ready"
            await asyncio.sleep(0.02)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    async def __aexit__(self, *error: object) -> None:
        await self.stack.aclose()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


@pytest.fixture
async def victims(site: Site, agent: Any) -> AsyncIterator[Callable[..., Any]]:
    """`await victims(3)`: so many processes, started side by side."""
    async with AsyncExitStack() as stack:

        async def begin(count: int, *command: str) -> list[Process]:
            started = [Process(*command) for _ in range(count)]
            return list(await asyncio.gather(*(stack.enter_async_context(process) for process in started)))

        yield begin


async def until_cut(stream: Stream) -> bytes:
    """Everything that the client got before the connection broke."""
    with contextlib.suppress(Exception):
        await stream.rest()
    await stream.leave()
    return b"".join(stream.answer.raw)


async def begin(door: Door, slug: str, pieces: int) -> Stream:
    stream = await door.ask(slug)
    await stream.until(lambda answer: len(answer.pieces) >= pieces)
    return stream


async def test_killed_in_the_middle_of_streams(
    victims: Any, site: Site, api_key: Any, agent: Any, ledger: Ledger, vendor: Any
) -> None:
    """A71: what a client saw is a prefix of what it gets from another process, to the byte, with one end."""
    token, slug = api_key(), agent("bench-5-8-3000")
    seen: dict[Any, bytes] = {}
    reconnected: dict[Any, asyncio.Task[Any]] = {}
    doors = [SocketDoor(site, token), SseDoor(site, token)]
    (victim,) = await victims(1)  # bench.chaos kills a hundred
    there = [SocketDoor(victim, token), SseDoor(victim, token)]
    streams = await asyncio.gather(*(begin(there[number % 2], slug, 5 + 20 * number) for number in range(6)))
    readers = [asyncio.create_task(until_cut(stream)) for stream in streams]
    victim.kill()
    for stream, got in zip(streams, await asyncio.gather(*readers), strict=True):
        seen[stream.run_id] = got
        # Half of them come back before anybody has noticed the death.
        if len(seen) % 2:
            door = doors[len(seen) // 2 % 2]
            reconnected[stream.run_id] = asyncio.create_task(whole_of(door, stream.run_id))
    assert ledger.left_behind()["running"] == 6
    ledger.rows(EXPIRE)
    assert await recovery.sweep(hosts.current()) == 6
    assert not ledger.left_behind()
    for run_id, prefix in seen.items():
        door = doors[prefix.startswith(b"id: ")]
        again = b"".join((await whole_of(door, run_id)).raw)
        assert again.startswith(prefix), "a client saw what nobody knows any more"
        count = prefix.count(b"\n\n" if door is doors[1] else b"\n")
        rest = await (await door.resume(run_id, count)).rest()
        assert prefix + b"".join(rest.raw) == again
        assert (rest.end, rest.ends, rest.code) == ("failed", 1, "run_interrupted")
        (record,) = ledger.usage(run_id)
        assert record["output_tokens"] == again.count(b'"text.delta"') >= prefix.count(b'"text.delta"')
    for answer in await asyncio.gather(*reconnected.values()):
        assert (answer.end, answer.ends, answer.code) == ("failed", 1, "run_interrupted")
    # T8: nothing is billed twice or over, and of each call at most what the vendor sent in the last moment is not.
    emitted = sum(answer["tokens"] for answer in vendor.stats.document()["answers"])
    billed = ledger.value("SELECT sum(output_tokens)::int FROM usage_usagerecord")
    assert 0 <= emitted - billed <= 64 * 6
    assert ledger.quota()["used"] == ledger.value(
        "SELECT sum(input_tokens + output_tokens)::int FROM usage_usagerecord"
    )


async def whole_of(door: Door, run_id: Any) -> Any:
    return await (await door.resume(run_id, 0)).rest()


async def test_killed_before_and_after_the_vendors_answer(
    victims: Any, site: Site, api_key: Any, agent: Any, ledger: Ledger, vendor: Any
) -> None:
    """A72: settled once, whatever the moment; nothing held, the conversation free."""
    token = api_key()
    (victim,) = await victims(1)
    door, openai_door = SseDoor(victim, token), OpenAIDoor(victim, token)
    silent = await door.ask(agent("fault-hang"))
    await silent.step()
    whole = asyncio.create_task(openai_door.complete(agent("bench-60000-0-5")))
    ended = await (await door.ask(agent("bench-0-0-20"))).rest()
    assert ended.end == "completed"
    # One whose answer is complete, while PostgreSQL cannot write its end down.
    slug = agent("bench-0-2-20")
    with ledger.connection.transaction():
        ledger.rows("LOCK TABLE usage_usagerecord IN ACCESS EXCLUSIVE MODE")
        complete = await begin(door, slug, 20)
        await eventually(lambda: vendor.stats.requests == 4)
        victim.kill()
    for stream in (silent, complete):
        await stream.leave()
    whole.cancel()
    await asyncio.gather(whole, return_exceptions=True)
    runs = ledger.rows("SELECT id FROM chat_run")
    assert len(runs) == 4
    # The server may still finish the statement that the dead process had sent; then there is one less to end.
    await eventually(lambda: not ledger.rows(FINISHING))
    ledger.rows(EXPIRE)
    assert await recovery.sweep(hosts.current()) in (2, 3)
    assert await recovery.sweep(hosts.current()) == 0
    assert not ledger.left_behind()
    statuses = {row["id"]: row["status"] for row in ledger.rows("SELECT id, status FROM chat_run")}
    assert statuses[complete.run_id] in ("completed", "failed")
    assert sorted(statuses.values())[-2:] == ["failed", "failed"]
    bills = {row["run_id"]: row["output_tokens"] for row in ledger.rows("SELECT * FROM usage_usagerecord")}
    assert bills[complete.run_id] == 20
    assert len(bills) == 2, "a call that was never answered was billed"
    here = SseDoor(site, token)
    for run_id in statuses:
        answer = await whole_of(here, run_id)
        assert answer.ends == 1


async def test_sigterm_drains(victims: Any, site: Site, api_key: Any, agent: Any, ledger: Ledger) -> None:
    """A73: fifty open streams end as if nothing was; nothing new begins; sockets are sent elsewhere once they are done."""
    token, slug = api_key(), agent("bench-0-20-60")
    (victim,) = await victims(1)
    doors = [SseDoor(victim, token), SocketDoor(victim, token), OpenAIDoor(victim, token)]
    async with asyncio.timeout(60):
        streams = await asyncio.gather(*(begin(doors[number % 3], slug, 1) for number in range(50)))
    idle = await doors[1].open()  # type: ignore[attr-defined]
    reading = [asyncio.create_task(stream.rest()) for stream in streams]
    victim.process.send_signal(signal.SIGTERM)
    assert await close_of(idle) == (1012, "server_stopping")
    assert victim.process.poll() is None, "its runs were not waited for"
    _, late = await asyncio.wait(reading, timeout=60)
    assert not late, [
        (type(streams[reading.index(task)]).__name__, streams[reading.index(task)].answer) for task in late
    ]
    for answer in await asyncio.gather(*reading):
        assert (answer.end, answer.ends, len(answer.pieces)) == ("completed", 1, 60)
    code = await asyncio.to_thread(victim.process.wait, 30)
    assert code in (0, -signal.SIGTERM)
    assert not ledger.left_behind()
    rows = ledger.rows("SELECT status, count(*) AS n FROM chat_run GROUP BY status")
    assert rows == [{"status": "completed", "n": 50}]


async def test_a_process_that_was_stopped_and_wakes_up(
    victims: Any, site: Site, api_key: Any, agent: Any, ledger: Ledger
) -> None:
    """P46: SIGSTOP past its lease, its run ended elsewhere, SIGCONT: it writes and shows nothing any more."""
    token, slug = api_key(), agent("bench-0-5-4000")
    (victim,) = await victims(1, "-c", SHORT_LEASE)
    stream = await begin(SseDoor(victim, token), slug, 20)
    os.kill(victim.process.pid, signal.SIGSTOP)
    try:
        await eventually(lambda: ledger.rows("SELECT 1 FROM usage_reservation WHERE lease_until < now()"))
        assert await recovery.sweep(hosts.current()) == 1
        here = SseDoor(site, token)
        whole = b"".join((await whole_of(here, stream.run_id)).raw)
        before = ledger.usage(stream.run_id)
    finally:
        os.kill(victim.process.pid, signal.SIGCONT)
    # Its next heartbeat tells it; its follower then goes where the run's end is.
    got = await asyncio.wait_for(until_cut(stream), 20)
    assert got == whole
    assert b"".join((await whole_of(here, stream.run_id)).raw) == whole
    assert ledger.usage(stream.run_id) == before
    assert not ledger.left_behind()
