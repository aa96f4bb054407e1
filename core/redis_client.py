"""The client for Redis on the event loop."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from core import tracing

# Commands of a turn: its rate, its lock, what other processes are told. Not what is read again and again.
TOLD = frozenset({"SET", "EVALSHA", "PUBLISH"})

# What a connection tells of its library: nothing. To ask for the version takes 5 ms each time, and to tell it two
# round trips more.
NAMELESS = None


class Client(redis.asyncio.Redis):
    """Gives every command `patience` seconds in all, connecting and trying again included, then raises TimeoutError.

    redis-py's own limit (`socket_timeout`) waits with `asyncio.wait_for`, which costs a task per command and may lose
    a cancellation (core/cancelling.py), so it stays off.
    """

    patience = 1.0

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        if args[0] in TOLD:
            with tracing.child(f"redis {args[0]}", {"db.system.name": "redis", "db.operation.name": args[0]}, "client"):
                return await self._answered(*args, **options)
        return await self._answered(*args, **options)

    async def _answered(self, *args: Any, **options: Any) -> Any:
        try:
            async with asyncio.timeout(self.patience):
                return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except TimeoutError:
            raise RedisTimeoutError(f"Redis did not answer within {self.patience} s.") from None


def client(url: str, *, patience: float, **options: Any) -> Client:
    """A client with connections of its own."""
    made: Any = Client.from_url(
        url, socket_timeout=None, socket_connect_timeout=patience, driver_info=NAMELESS, **options
    )
    made.connection_pool.connection_class = mortal(made.connection_pool.connection_class)
    made.patience = patience
    return made  # type: ignore[no-any-return]


@cache
def mortal(kind: type[Any]) -> type[Any]:
    """A kind of redis-py's connections, which says of one that is gone what redis-py says of it, on every event loop.

    uvloop raises RuntimeError where asyncio raises ConnectionResetError; unmended, each connection that was cut failed
    somebody's request as an error of ours.
    """

    class Mortal(kind):  # type: ignore[misc]
        async def send_packed_command(self, *args: Any, **options: Any) -> None:
            try:
                await super().send_packed_command(*args, **options)
            except RuntimeError as error:
                raise RedisConnectionError(str(error)) from error

    return Mortal
