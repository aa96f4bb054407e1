"""`GET /api/v1/knowledge/{slug}/events`: how far the documents of a base are, live, as server-sent events.

A stream begins with what is worked on, so a client that comes back has missed nothing and `Last-Event-ID` is not
needed. It looks into PostgreSQL, where all workers write, and asks each time who is asking and what they may see.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from accounts.actors import Actor
from chat import host, http
from chat.http import HttpRequest
from core.errors import PaasError
from knowledge.progress import Watch
from tenants import scope

EVENTS_PATH = re.compile(r"/api/v1/knowledge/([^/]+)/events")
BUSY_SECONDS, IDLE_SECONDS = 1.0, 2.0  # between two looks; revocation counts within 5 (P36)
MOST_STREAMS = 8  # of one person or key in this process

_open: Counter[tuple[str, str]] = Counter()


async def door(request: HttpRequest) -> None:
    """The stream: `documents` events, and `end` when who watches may not any more."""
    match = EVENTS_PATH.fullmatch(request.path)
    if request.tenant is None or match is None:
        raise PaasError("not_found")
    if request.method != "GET":
        raise PaasError("method_not_allowed", "Use GET here.")
    actor = await request.actor()
    await request.admit(actor, "stream")
    watch = Watch(match[1])
    first = await scope.run_in_tenant(actor.tenant, watch.look, actor)
    with _place(actor):
        await request.stream(_events(request, watch, first))


@contextmanager
def _place(actor: Actor) -> Iterator[None]:
    who = (actor.tenant.slug, actor.label)
    if _open[who] >= MOST_STREAMS:
        raise PaasError("too_many_connections", retry_after=5)
    _open[who] += 1
    try:
        yield
    finally:
        _open[who] -= 1
        if not _open[who]:
            del _open[who]


async def _events(request: HttpRequest, watch: Watch, first: Any) -> AsyncGenerator[bytes, None]:
    said, number = first, 0
    while True:
        if said is not None:
            number += 1
            yield _event("documents", said, number)
        await asyncio.sleep(BUSY_SECONDS if watch.busy else IDLE_SECONDS)
        if host.current().stopping:
            return
        try:
            actor = await request.actor()
            said = await scope.run_in_tenant(actor.tenant, watch.look, actor)
        except PaasError as error:
            said = None
            if error.status in (401, 403, 404):
                yield _event("end", {"code": error.code, "message": error.message}, number + 1)
                return


def _event(name: str, data: dict[str, Any], number: int) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, name.encode(), orjson.dumps(data))


async def serve(request: HttpRequest) -> None:
    """The door with its error shape."""
    await http.serve(request, door, http.native_shape)
