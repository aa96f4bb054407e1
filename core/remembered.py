"""A bounded memory of slow look-ups, good for a few seconds; one look-up at a time for each key."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

clock = time.monotonic


class Remembered(Generic[K, V]):
    """Values by key, each for `seconds` after it was looked up; the `most` recently looked up are kept.

    Negative answers are values too, so a flood of wrong keys costs one look-up each. Callers that ask for
    a key which is being looked up wait for that look-up; one that fails is not remembered.
    """

    def __init__(self, seconds: float, most: int = 10_000) -> None:
        self.seconds = seconds
        self.most = most
        self._known: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._pending: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K, look_up: Callable[[], Awaitable[V]]) -> V:
        """The value of `key`, from memory or by `look_up`."""
        found = self._known.get(key)
        if found is not None and found[0] > clock():
            return found[1]
        task = self._pending.get(key)
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            task = asyncio.ensure_future(self._load(key, look_up))
            self._pending[key] = task
        return await asyncio.shield(task)

    async def _load(self, key: K, look_up: Callable[[], Awaitable[V]]) -> V:
        try:
            value = await look_up()
            self._known[key] = (clock() + self.seconds, value)
            self._known.move_to_end(key)
            while len(self._known) > self.most:
                self._known.popitem(last=False)
            return value
        finally:
            self._pending.pop(key, None)

    def __len__(self) -> int:
        return len(self._known)

    def clear(self) -> None:
        """Forget everything (after an own change, and between tests)."""
        self._known.clear()
