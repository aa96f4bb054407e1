"""Too many turns begin at once: they wait for a place in turn, or are told to come again, at every door (T15, T16)."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from chat import turns
from tenants import gate
from tests.chat.ledger import Ledger, eventually
from tests.conftest import Platform

ASKED = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}


class Full:
    """The process's gate with one place, which is taken until `free`."""

    def __init__(self, whose: Any) -> None:
        self.whose, self.gate, self._place = whose, gate.of_process, AsyncExitStack()

    async def fill(self) -> None:
        await self._place.enter_async_context(self.gate.place(self.whose))

    async def free(self) -> None:
        await self._place.aclose()

    async def waiting(self, count: int = 1) -> None:
        await eventually(lambda: self.gate.load()[1] == count)


@pytest.fixture
async def full(db: Platform, monkeypatch: pytest.MonkeyPatch) -> Any:
    from paas import asgi

    one = gate.Gate(gate.of_process.patience, at_once=1, share=1)
    monkeypatch.setattr(gate, "PLACE_SECONDS", 60.0)
    monkeypatch.setattr(gate, "of_process", one)
    monkeypatch.setattr(asgi.gated, "gate", one)
    found = Full(db.acme.id)
    yield found
    await found.free()


async def asks(session: Any, path: str = "/v1/chat/completions", body: Any = None) -> tuple[int, Any, Any]:
    async with session.post(path, json=body or ASKED) as answer:
        return answer.status, answer.headers, await answer.json()


async def test_a_turn_waits_until_there_is_a_place(site: Any, api_key: Any, full: Full) -> None:
    program = site.client("acme", token=api_key())
    await full.fill()
    asked = asyncio.create_task(asks(program))
    await full.waiting()
    async with program.get("/v1/models") as answer:
        assert answer.status == 200, "what begins no turn goes on"
    assert not asked.done()
    await full.free()
    status, _, found = await asked
    assert (status, found["object"]) == (200, "chat.completion")
    assert full.gate.load() == (0, 0), "its place was given up when it had begun, not when it ended"


async def test_programs_are_told_to_come_again_and_people_wait(
    site: Any,
    api_key: Any,
    full: Full,
    ledger: Ledger,
    rates_asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program, person = site.client("acme", token=api_key()), await site.signed_in("member")
    await full.fill()
    monkeypatch.setattr(full.gate, "patience", 0.02)
    monkeypatch.setattr(gate, "LONGEST_WAIT", 1_000)
    monkeypatch.setattr(full.gate, "_takes", 1.0)
    mine = asyncio.create_task(asks(person, "/api/v1/runs", {"agent": "assistant", "message": "hello"}))
    await full.waiting()
    await asyncio.sleep(0.03)  # now the queue has stood for longer than programs wait
    for _ in range(3):
        status, headers, found = await asks(program)
        assert (status, headers["Retry-After"]) == (429, "1")
        assert found["error"]["code"] == "too_many_connections"
        assert "x-should-retry" not in headers, "OpenAI's clients come again by themselves"
    assert rates_asked == ["turn", "turn"], "the person's, the first; then in front of everything, by its words"
    status, headers, found = await asks(program, "/api/v1/runs", {"agent": "assistant", "message": "hello"})
    assert (status, headers["Retry-After"], found["error"]["code"]) == (429, "1", "too_many_connections")
    assert not mine.done()
    await full.free()
    assert (await mine)[0] == 202
    await eventually(lambda: ledger.value("SELECT count(*) FROM usage_reservation WHERE state = 'held'") == 0)
    assert ledger.value("SELECT count(*) FROM chat_run") == 1, "who was refused has left nothing behind"


async def test_a_tenant_is_alone_also_where_its_key_comes_to_the_platform(
    site: Any, api_key: Any, db: Platform
) -> None:
    """Whose host it is says nothing there, and nobody is held back for others who are not there."""
    gate.of_process._asked.clear()
    for slug in ("", "acme"):
        assert (await asks(site.client(slug, token=api_key(name=f"key {slug}"))))[0] == 200
    assert list(gate.of_process._asked) == [db.acme.id]


async def test_a_worker_does_not_wait(host: Any, actor: Any, full: Full, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes no more runs than it can carry."""
    owner = actor("owner")
    await full.fill()
    monkeypatch.setattr(host, "worker", True)
    async with asyncio.timeout(10):
        started = await turns.start_turn(owner, turns.TurnRequest("schedule", "assistant", "hello", background=True))
    assert started.conversation_id
