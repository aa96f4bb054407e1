"""Several processes in one: each Host has its own id, pool of leases and connection to Redis, as a process has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from chat import host as hosts
from chat.host import Host
from core import cancelling


@asynccontextmanager
async def another(*, worker: bool = False) -> AsyncIterator[Host]:
    """Another process on the same services, until it dies: what it runs is neither ended nor given away."""
    made = Host(worker=worker)
    loops = made.start()
    try:
        yield made
    finally:
        await cancelling.ended([*loops, *made._tasks])
        await made.queue.close()
        await made.relay.close()


@contextmanager
def at(there: Host) -> Iterator[None]:
    """What the block asks for is asked of that process."""
    loop = asyncio.get_running_loop()
    here: Any = hosts._hosts[loop]
    hosts._hosts[loop] = there
    try:
        yield
    finally:
        hosts._hosts[loop] = here
