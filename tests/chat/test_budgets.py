"""What a turn asks of the database: one statement to start, one to end, none for a token or a known caller."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db.backends.utils import CursorWrapper

from accounts import keys
from agents import access
from chat import host as hosts
from llm.providers.scripted import ScriptedModel
from tenants import resolve
from tenants.db import aio
from tests.chat.doors import OpenAIDoor
from tests.chat.ledger import eventually
from tests.chat.talk import ask, read, start


@dataclass
class Counted:
    hot: list[str] = field(default_factory=list)
    orm: list[str] = field(default_factory=list)

    def clear(self) -> None:
        self.hot.clear()
        self.orm.clear()

    @property
    def functions(self) -> list[str]:
        names = ("start_turn", "finish_turn", "store_segments", "usage_heartbeat", "take_expired")
        return [next((name for name in names if name in sql), sql) for sql in self.hot]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    """Every statement of the hot pool and of the ORM, whatever thread it runs in."""
    found = Counted()
    for name in ("fetch_one", "fetch_platform"):
        real = getattr(aio.Database, name)

        def hot(database: Any, *args: Any, _real: Any = real) -> Any:
            found.hot.append(args[-2])
            return _real(database, *args)

        monkeypatch.setattr(aio.Database, name, hot)
    execute = CursorWrapper.execute

    def orm(cursor: Any, sql: Any, params: Any = None) -> Any:
        found.orm.append(str(sql))
        return execute(cursor, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", orm)
    monkeypatch.setattr(hosts, "CHECKPOINT_SECONDS", 3600.0)
    monkeypatch.setattr(hosts, "HEARTBEAT_SECONDS", 3600.0)
    yield found


@pytest.fixture(autouse=True)
def remembered_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered for two seconds would run out in the middle of a slow test."""
    for memory in (resolve._hosts, keys._known, access._known):
        monkeypatch.setattr(memory, "seconds", 3600.0)


async def test_a_turn_is_two_statements(counted: Counted, host: Any, actor: Any) -> None:
    member = actor("member")
    first = await ask(member)
    counted.clear()
    told = await ask(member)
    assert (counted.functions, counted.orm) == (["start_turn", "finish_turn"], [])
    counted.clear()
    await ask(member, conversation_id=told.conversation_id)
    await ask(member, retry=True, conversation_id=first.conversation_id)
    await ask(member, messages=[{"role": "user", "content": "hi"}])
    assert (counted.functions, counted.orm) == (["start_turn", "finish_turn"] * 3, [])


async def test_a_turn_that_leaves_the_agent_to_its_conversation_costs_one_more(
    counted: Counted, host: Any, actor: Any
) -> None:
    member = actor("member")
    told = await ask(member)
    counted.clear()
    await ask(member, agent="", conversation_id=told.conversation_id)
    assert counted.functions == ["start_turn", "finish_turn"]
    assert len(counted.orm) == 1, counted.orm


@pytest.mark.parametrize("tokens", [1, 200, 2000])
async def test_a_token_costs_nothing(counted: Counted, host: Any, actor: Any, tokens: int) -> None:
    member = actor("member")
    await ask(member)
    ScriptedModel.enqueue([f"{number} " for number in range(tokens)])
    counted.clear()
    told = await ask(member)
    assert len(told.events) == tokens + 3
    assert (counted.functions, counted.orm) == (["start_turn", "finish_turn"], [])


async def test_following_here_costs_nothing(counted: Counted, host: Any, actor: Any) -> None:
    member, gate = actor("member"), asyncio.Event()
    ScriptedModel.enqueue(["a", gate])
    started = await start(member)
    await read(member.tenant, started.run_id, limit=2)
    counted.clear()
    readers = [asyncio.create_task(read(member.tenant, started.run_id, after)) for after in (0, 1, 2)]
    await asyncio.sleep(0.05)
    assert (counted.hot, counted.orm) == ([], [])
    gate.set()
    await asyncio.gather(*readers)
    assert (counted.functions, counted.orm) == (["finish_turn"], [])


async def test_a_call_with_a_known_key_is_the_turn_alone(counted: Counted, site: Any, api_key: Any) -> None:
    """Host, key and agent are remembered; over the socket it is still two statements."""
    door = OpenAIDoor(site, api_key())
    await door.complete("assistant")
    counted.clear()
    for _ in range(5):
        await door.complete("assistant")
        assert (await door.whole("assistant")).end == "completed"
    assert (counted.functions, counted.orm) == (["start_turn", "finish_turn"] * 10, [])


async def test_what_a_session_costs(counted: Counted, site: Any) -> None:
    """A person's request: their session, themselves, their membership; listed, so that a fourth is seen."""
    client = await site.signed_in("member")
    async with client.post("/api/v1/runs", json={"message": "hi"}) as response:
        assert response.status == 202
    await eventually(lambda: not hosts.current().runs)
    counted.clear()
    async with client.post("/api/v1/runs", json={"message": "hi"}) as response:
        assert response.status == 202
    await eventually(lambda: not hosts.current().runs)
    tables = [sql.rsplit('FROM "', 1)[1].split('"', 1)[0] for sql in counted.orm if 'FROM "' in sql]
    assert [table for table in tables if table.startswith("accounts_")] == tables
    assert len(tables) <= 4, counted.orm
    assert counted.functions == ["start_turn", "finish_turn"]


async def test_one_heartbeat_for_all_runs(counted: Counted, host: Any, actor: Any) -> None:
    member, gate = actor("member"), asyncio.Event()
    runs = []
    for _ in range(20):
        ScriptedModel.enqueue(["a", gate])
        runs.append(await start(member))
    counted.clear()
    await host._heartbeat()
    assert counted.functions == ["usage_heartbeat"]
    gate.set()
    for run in runs:
        await read(member.tenant, run.run_id)
