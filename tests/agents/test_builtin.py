"""Agents written in Python: within their tokens, alone with their errors, and rows that appear when they are used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from agents import access, builtin_specs, registry
from agents.access import agent_for
from agents.counts import counted
from agents.models import Agent, AgentVersion
from agents.runtime.python import AgentFailure, PythonClient
from agents.runtime.spec import Turn
from agents.services import agent_set
from chat.host import Host
from core import clock
from core.errors import PaasError
from llm.deltas import Delta, Finish, ModelRequest, TextDelta, UsageReport
from llm.selectors import provider_named
from tenants import scope
from tests.chat.talk import ask, read, start
from tests.chat.test_recovery import die, end_of, survivor  # noqa: F401  # the fixture
from tests.conftest import Platform, in_thread
from usage.models import UsageRecord


async def said_by(answer: Any, most: int = 100) -> list[Delta]:
    messages = [{"role": "user", "content": "123456"}]
    client = PythonClient(answer, Turn(messages, most, {}))
    return await client.complete(ModelRequest(model="x", messages=messages, max_tokens=most))


async def test_an_agent_says_no_more_than_its_tokens() -> None:
    """Output is held before it is said (T7): Python is cut where a model would be, between two characters."""
    ended = []

    async def talker(turn: Turn) -> AsyncGenerator[Delta, None]:
        try:
            while True:
                yield TextDelta("ab值")
        finally:
            ended.append(True)

    said = await said_by(talker, most=4)
    assert "".join(one.text for one in said if isinstance(one, TextDelta)) == "ab值ab值ab"
    assert said[-2:] == [Finish("length"), UsageReport(6, 4, 0, 0)]
    assert ended == [True], "and it is told to end"


async def test_only_what_is_meant_for_the_caller_reaches_them() -> None:
    async def fails(turn: Turn) -> AsyncGenerator[Delta, None]:
        yield TextDelta("a")
        raise AgentFailure("Say it more clearly.") if turn.max_output_tokens == 1000 else KeyError("a secret")

    for most, message in ((1000, "Say it more clearly."), (100, "The agent has failed.")):
        with pytest.raises(PaasError) as found:
            await said_by(fails, most)
        assert found.value.code == "agent_failed"
        assert found.value.message.startswith(message)
        assert "secret" not in found.value.message


async def test_its_row_is_made_once_when_it_is_first_used(db: Platform, actor: Any) -> None:
    def count() -> tuple[int, int, int]:
        with scope.bind(db.acme):
            rows = Agent.objects.filter(slug="echo_agent")
            return rows.count(), AgentVersion.objects.filter(agent__in=rows).count(), counted()["agents"]

    _, _, own = in_thread(count)
    specs = await asyncio.gather(
        *(scope.run_in_tenant(db.acme, builtin_specs.builtin_spec, "echo_agent") for _ in range(6))
    )
    assert len({spec.version_id for spec in specs if spec}) == 1
    assert in_thread(count) == (1, 1, own), "and it takes no place of the plan's"


async def test_another_release_says_it_with_another_version(db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(slug: str) -> Any:
        with scope.bind(db.acme):
            spec = builtin_specs.builtin_spec(slug)
            assert spec is not None
            return spec, Agent.objects.select_related("current").get(slug=slug)

    before, _ = in_thread(lambda: look("chat_basic"))
    old = registry.builtin("chat_basic")
    assert old is not None
    changed = registry.BuiltinAgent(old.slug, "New", old.description, old.module, old.class_name, None, "Be kind.")
    monkeypatch.setitem(registry._agents, "chat_basic", changed)
    after, row = in_thread(lambda: look("chat_basic"))
    assert (after.instructions, row.name, row.current.number) == ("Be kind.", "New", 2)
    assert after.version_id != before.version_id
    assert in_thread(lambda: look("chat_basic"))[0].version_id == after.version_id


async def test_none_of_them_is_ever_the_default(db: Platform, actor: Any) -> None:
    """Without an agent of its own a tenant has none to begin with; the built-in ones are asked for by name."""
    member = actor("member")
    assert (await agent_for(member, "counter_agent")).slug == "counter_agent"

    def archive() -> None:
        with scope.bind(db.acme):
            Agent.objects.filter(kind="").update(archived_at=clock.now())
        access.forget_all()

    in_thread(archive)
    with pytest.raises(PaasError) as found:
        await agent_for(member, "")
    assert found.value.code == "agent_not_found"


async def test_an_archived_agent_of_the_tenants_own_hides_the_built_in_one(db: Platform, actor: Any) -> None:
    def make() -> None:
        with scope.bind(db.acme):
            provider: Any = provider_named("scripted")
            agent_set(slug="echo_agent", provider=provider, model="demo", actor="test")
            Agent.objects.filter(slug="echo_agent").update(archived_at=clock.now())
        access.forget_all()

    in_thread(make)
    with pytest.raises(PaasError) as found:
        await agent_for(actor("member"), "echo_agent")
    assert found.value.code == "agent_not_found"


async def test_by_any_door(host: Any, actor: Any) -> None:
    """A conversation with one over the engine's usual path: history, log, usage."""
    member = actor("member")
    first = await ask(member, "x", agent="counter_agent")
    assert first.started is not None
    again = await ask(member, "y", agent="counter_agent", conversation_id=first.started.conversation_id)
    assert [one[1]["content"] for _, one in again.events if one[0] == "message.completed"] == ["Count: 2"]
    assert again.end["usage"]["cost"] == "0"


async def test_a_dead_run_of_one_is_ended_at_no_cost(
    survivor: Host,
    actor: Any,
    db: Platform,
    ledger: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A72: its version names no provider; what is charged is what was asked when it began."""
    gate = asyncio.Event()

    async def waits(turn: Turn) -> AsyncGenerator[Delta, None]:
        yield TextDelta("said")
        await gate.wait()

    echo = registry.builtin("echo_agent")
    assert echo is not None
    monkeypatch.setitem(
        registry._agents,
        "echo_agent",
        registry.BuiltinAgent(echo.slug, echo.name, echo.description, echo.module, echo.class_name, waits),
    )
    access.forget_all()
    member = actor("member")
    started = await start(member, agent="echo_agent")
    await read(member.tenant, started.run_id, limit=2)
    die(survivor, started.run_id)
    told = await end_of(survivor, member, ledger, started.run_id)
    assert (told.end["code"], told.end["usage"]["cost"]) == ("run_interrupted", "0")

    def costs() -> Any:
        with scope.bind(db.acme):
            return UsageRecord.objects.get(run_id=started.run_id).cost

    assert in_thread(costs) == 0
