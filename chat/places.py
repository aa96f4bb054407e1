"""So many at once in this process; who waits gets a place in turn, tenant by tenant."""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict, deque

Place = asyncio.Future[None]


class Places:
    """A number of places. Within a tenant the first to ask is the first to get one."""

    def __init__(self, number: int) -> None:
        self.free = number
        self._waiting: OrderedDict[uuid.UUID, deque[Place]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(len(queue) for queue in self._waiting.values())

    def take(self) -> bool:
        """A place at once, if one is free; nobody waits then."""
        if self.free < 1:
            return False
        self.free -= 1
        return True

    def ask(self, tenant_id: uuid.UUID) -> Place:
        """Stand in line: done once the place is the caller's; cancelled by a caller who wants it no more."""
        place: Place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant_id, deque()).append(place)
        return place

    def give(self) -> None:
        """Give a place back: to the tenant whose turn it is."""
        while self._waiting:
            tenant_id, queue = self._waiting.popitem(last=False)
            place = queue.popleft()
            if queue:
                self._waiting[tenant_id] = queue
            if not place.done():
                place.set_result(None)
                return
        self.free += 1
