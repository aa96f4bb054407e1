"""When keys were last used: noted in memory, written down once a minute for all keys of the process together."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import structlog
from django.db.models import Case, DateTimeField, Q, Value, When
from django.db.models.functions import Greatest

from accounts.models import ApiKey
from core import cancelling, clock
from tenants import scope

log = structlog.get_logger(__name__)

EVERY_SECONDS = 60.0
MOST_AT_ONCE = 500

_used: dict[uuid.UUID, datetime] = {}


def note(key_id: uuid.UUID) -> None:
    """The key is being used."""
    _used[key_id] = clock.now()


async def write() -> None:
    """Write down what was noted since the last time. What cannot be written now is tried again with the next."""
    taken = dict(_used)
    _used.clear()
    try:
        await scope.run_in_platform(_write, taken)
    except Exception as error:
        for key_id, moment in taken.items():
            _used.setdefault(key_id, moment)
        log.warning("the last use of keys could not be written yet", error=str(error), keys=len(taken))


@asynccontextmanager
async def writing() -> AsyncIterator[None]:
    """Write once a minute while the block runs, and at its end."""
    task = asyncio.create_task(_every_minute())
    try:
        yield
    finally:
        await cancelling.ended([task])
        await write()


async def _every_minute() -> None:
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        await write()


def _write(used: dict[uuid.UUID, datetime]) -> None:
    """One statement for up to MOST_AT_ONCE keys. Another process may have seen a key later."""
    rows = sorted(used.items())
    for start in range(0, len(rows), MOST_AT_ONCE):
        part = dict(rows[start : start + MOST_AT_ONCE])
        moments = [When(pk=key_id, then=Value(moment)) for key_id, moment in part.items()]
        # GREATEST of PostgreSQL passes over NULL.
        latest = Greatest("last_used_at", Case(*moments, output_field=DateTimeField()))
        ApiKey.objects.filter(Q(pk__in=part)).update(last_used_at=latest)
