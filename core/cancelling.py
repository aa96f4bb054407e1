"""Ending tasks for certain.

In Python 3.11 `asyncio.wait_for` loses a cancellation that comes as it ends (bpo-37658, mended in 3.12), and libraries
wait with it: psycopg for every answer. A loop that is cancelled in such a moment would go on for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

AGAIN_SECONDS = 0.5


def cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel those that still run, and again after a while what has not ended by then."""
    left = [task for task in tasks if not task.done()]
    for task in left:
        task.cancel()
    if left:
        asyncio.get_running_loop().call_later(AGAIN_SECONDS, cancel, left)


async def ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel those that still run and wait until all are over; their results are of no interest any more."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # so that nobody is told that it was not looked at
