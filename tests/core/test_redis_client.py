"""What becomes of a command whose connection is gone."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from core.redis_client import client


async def test_a_closed_connection_is_no_fault_of_ours(services: Any) -> None:
    """T10: uvloop says of one that was cut a moment ago that its handle is closed, by a RuntimeError."""
    redis = client(services.redis.url, patience=2.0)
    await redis.ping()
    (connection,) = redis.connection_pool._available_connections

    def closed(data: Any) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    connection._writer.writelines = closed
    with pytest.raises(RedisConnectionError, match="closed"):
        await redis.ping()
    assert await redis.ping(), "the next one has a connection of its own"
    await redis.aclose()
