"""What is cancelled ends, in whatever moment it is cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.conf import settings
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from core import cancelling
from core.redis_client import client


class Deaf:
    """A loop that misses the first cancellations, as one does that waits with `asyncio.wait_for`."""

    def __init__(self, misses: int) -> None:
        self.left = misses

    async def run(self) -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if self.left == 0:
                    raise
                self.left -= 1


async def fails() -> None:
    raise ValueError


@pytest.mark.parametrize("misses", [0, 1, 3])
async def test_until_it_has_ended(misses: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "AGAIN_SECONDS", 0.01)
    waited = [asyncio.create_task(Deaf(misses).run()), asyncio.create_task(fails())]
    alone = asyncio.create_task(Deaf(misses).run())
    await asyncio.sleep(0)
    cancelling.cancel([alone])
    async with asyncio.timeout(5):
        await cancelling.ended(waited)
        await asyncio.wait([alone])
    assert [task.cancelled() for task in (*waited, alone)] == [True, False, True]
    await cancelling.ended(waited)


async def test_in_any_moment_of_a_command_to_redis(services: Any) -> None:
    redis = client(settings.REDIS_URL, patience=1.0)

    async def ask() -> None:
        while True:
            await redis.ping()

    await redis.ping()
    for moment in range(40):
        asking = asyncio.create_task(ask())
        for _ in range(moment):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking], timeout=1)
        assert asking.cancelled(), moment
    await redis.aclose()


async def test_a_redis_that_says_nothing_is_waited_for_so_long() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    redis = client(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", patience=0.05)
    with pytest.raises(RedisTimeoutError):
        await redis.ping()
    await redis.aclose()
    server.close()
    with pytest.raises(RedisError):
        await redis.ping()
