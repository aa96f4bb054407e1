"""A73: a process that is to stop takes nothing new and lets end what it has; the real thing is in test_crash.py."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest
import uvicorn

from chat import host as hosts
from chat.host import Host
from launch.web import Server
from llm.providers.scripted import ScriptedModel
from paas import health
from tests.chat.ledger import Ledger
from tests.chat.sockets import close_of, opened, refused
from tests.chat.talk import read, start


async def test_sockets_go_when_their_runs_have_ended(site: Any, api_key: Any, ledger: Ledger) -> None:
    client, gate = site.client("acme", token=api_key()), asyncio.Event()
    ScriptedModel.enqueue(["a", gate, "b"])
    turn = {"type": "turn.start", "ref": 1, "agent": "assistant", "message": "hi"}
    async with opened(client) as socket, opened(client) as idle:
        await socket.send_json(turn)
        kinds = []
        while kinds[-1:] != ["text.delta"]:
            kinds.append((await socket.receive_json(timeout=5))["type"])
        draining = asyncio.create_task(hosts.current().drain(20))
        assert await close_of(idle) == (1012, "server_stopping")
        assert await refused(client) == (1012, "server_stopping")
        await socket.send_json(turn | {"ref": 2})
        error = await socket.receive_json(timeout=5)
        assert (error["ref"], error["code"], error["retry_after"]) == (2, "server_stopping", 2)
        async with client.post("/api/v1/runs", json={"message": "hi"}) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "2")
        gate.set()
        while kinds[-1] != "run.completed":
            kinds.append((await socket.receive_json(timeout=5))["type"])
        assert await close_of(socket) == (1012, "server_stopping")
        await draining
    assert not ledger.left_behind()


async def test_what_is_left_is_interrupted(host: Host, actor: Any, ledger: Ledger) -> None:
    """After so many seconds, or at once when there is hurry."""
    member = actor("member")
    for seconds, hurry in ((0.05, False), (3600, True)):
        host.stopping = False
        ScriptedModel.enqueue(["a", asyncio.Event()])
        run = await start(member)
        await read(member.tenant, run.run_id, limit=2)
        draining = asyncio.create_task(host.drain(seconds))
        await asyncio.sleep(0)
        if hurry:
            host.hurry.set()
        await asyncio.wait_for(draining, 10)
        told = await read(member.tenant, run.run_id)
        assert (told.text, told.end["code"]) == ("a", "run_interrupted")
    assert not ledger.left_behind()


async def test_it_says_so_before_it_refuses(site: Any, api_key: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A balancer is told by /readyz/process, and what it sends meanwhile is served."""
    monkeypatch.setattr(health, "_stopping", False)
    client = site.client("acme", token=api_key())
    async with client.get("/readyz/process") as before:
        assert (before.status, (await before.json())["status"]) == (200, "ready")
    server = Server(uvicorn.Config("paas.asgi:application"), 60, notice_seconds=3600)
    giving = asyncio.create_task(server._give_notice())
    await asyncio.sleep(0)
    async with client.get("/readyz/process") as after:
        assert (after.status, (await after.json())["checks"]["process"]) == (503, "stopping")
    async with client.get("/readyz") as whole:
        assert whole.status == 503
    async with client.get("/healthz") as alive, client.get("/api/v1/me") as served:
        assert (alive.status, served.status) == (200, 200)
    server._hurry.set()  # a second signal waits no longer
    await asyncio.wait_for(giving, 5)


async def test_a_balancer_stays_while_what_all_share_is_away(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once this process has seen the tables migrated; before that it is sent nothing."""

    async def away() -> None:
        raise health.NotReady("1 to do")

    monkeypatch.setattr(health, "_migrations", away)
    monkeypatch.setattr(health, "_migrated", False)
    async with site.client().get("/readyz/process") as before:
        assert before.status == 503
    monkeypatch.setattr(health, "_migrated", True)
    async with site.client().get("/readyz/process") as later, site.client().get("/readyz") as whole:
        assert (later.status, whole.status) == (200, 503)


async def test_told_twice_the_server_waits_no_longer() -> None:
    server = Server(uvicorn.Config("paas.asgi:application", timeout_graceful_shutdown=10), 60)
    server._loop = asyncio.get_running_loop()
    server.handle_exit(signal.SIGTERM, None)
    await asyncio.sleep(0)
    assert (server.should_exit, server._hurry.is_set()) == (True, False)
    server.handle_exit(signal.SIGTERM, None)
    await asyncio.wait_for(server._hurry.wait(), 5)
    assert (server.config.timeout_graceful_shutdown, server.force_exit) == (1, False)
