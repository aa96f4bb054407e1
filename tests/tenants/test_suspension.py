"""A21: a tenant that is suspended stops within five seconds everywhere, without a word to the processes; others go on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from accounts import tenant_life
from llm.providers.scripted import ScriptedModel
from tenants import jobs, resolve
from tenants.models import Tenant
from tests.conftest import Platform
from tests.site import Site
from tests.tenants import life

WITHIN = 5.0


async def becomes(wanted: int, ask: Callable[[], Awaitable[int]], since: float) -> None:
    """The answer turns into `wanted` before the time is over."""
    while (status := await ask()) != wanted:
        assert time.monotonic() - since < WITHIN, f"still {status}"
        await asyncio.sleep(0.05)


async def test_everything_stops_within_five_seconds(
    db: Platform, site: Site, api_key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another process sees it: the row changes, and nobody empties what this one remembers."""
    done: list[str] = []

    async def work() -> None:
        done.append("done")

    person, program = await site.signed_in("member"), site.client("acme", token=api_key("acme"))
    other = site.client("globex", token=api_key("globex"))
    gate = asyncio.Event()
    ScriptedModel.enqueue(["a", gate, "b"])

    async def status(client: Any, path: str) -> int:
        async with client.get(path, allow_redirects=False) as answer:
            return int(answer.status)

    async with person.post("/api/v1/runs", json={"agent": "assistant", "message": "hi"}) as answer:
        assert answer.status == 202
        run = (await answer.json())["run"]["id"]
    socket = await program.ws_connect("/ws/chat/")
    assert (await socket.receive_json())["type"] == "ready"
    stream = await person.get(f"/api/v1/runs/{run}/events")
    assert stream.status == 200
    for client, path in ((person, "/chat/"), (person, "/api/v1/me"), (program, "/v1/models")):
        assert await status(client, path) == 200
    await jobs.run_for_tenant(work, str(db.acme.id), {})
    assert done == ["done"]

    monkeypatch.setattr(resolve, "forget_all", lambda: None)
    await asyncio.to_thread(_suspend, db)
    since = time.monotonic()
    try:
        async with asyncio.timeout(WITHIN):
            await asyncio.gather(
                *(
                    becomes(403, lambda client=client, path=path: status(client, path), since)
                    for client, path in ((person, "/chat/"), (person, "/api/v1/me"), (program, "/v1/models"))
                ),
                _closed(socket),
                _cut(stream),
            )
        await jobs.run_for_tenant(work, str(db.acme.id), {})
        assert done == ["done"], "its jobs are skipped"
        assert await status(other, "/v1/models") == 200, "others notice nothing"
    finally:
        gate.set()
        monkeypatch.undo()
        await asyncio.to_thread(_resume, db)
    assert await status(person, "/api/v1/me") == 200
    async with person.get(f"/api/v1/runs/{run}/events") as answer:
        assert "run.completed" in await answer.text(), "the answer that was being written is kept"


async def _closed(socket: Any) -> None:
    while not socket.closed:
        await socket.receive()
    assert socket.close_code == 4403


async def _cut(stream: aiohttp.ClientResponse) -> None:
    with contextlib.suppress(aiohttp.ClientPayloadError):  # a stream that is cut has no proper end
        await stream.read()


def _suspend(db: Platform) -> None:
    _act(tenant_life.tenant_suspend, db)


def _resume(db: Platform) -> None:
    _act(tenant_life.tenant_resume, db)


def _act(act: Callable[..., bool], db: Platform) -> None:
    from django.db import connections

    try:
        assert act(tenant=life.fresh(Tenant(id=db.acme.id)), actor="operator:test")
    finally:
        connections.close_all()
