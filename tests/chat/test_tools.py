"""A run with tools: its events, its books with every call of its model, and where it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from chat.host import Host
from llm.deltas import Finish, ToolCallDelta, UsageReport
from llm.providers.scripted import ScriptedModel
from tests.chat.ledger import Ledger
from tests.chat.talk import ask, read, start
from tests.chat.test_recovery import die, end_of, survivor  # noqa: F401

CALL = [ToolCallDelta(0, "c1", "calculator", '{"expression": "0.17*2340"}'), Finish("tool_calls")]


async def test_every_call_of_the_model_is_an_entry_and_nothing_stays_held(
    survivor: Host, actor: Any, agents: Callable[..., str], ledger: Ledger
) -> None:
    slug = agents("demo", tools=["calculator"])
    ScriptedModel.enqueue(["Let me see.", *CALL, UsageReport(1000, 20, 0, 0)])
    second = ScriptedModel.enqueue(["397.8", Finish("stop"), UsageReport(1200, 5, 100, 0)])
    told = await ask(actor("member"), "17% of 2340?", agent=slug)
    assert told.kinds[:4] == ["run.started", "text.delta", "tool.started", "tool.finished"]
    assert told.events[3][1][1]["result"] == "397.8"
    assert told.numbers == list(range(1, len(told.numbers) + 1))
    usage = told.end["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["cached_tokens"]) == (2200, 25, 100)
    names = ("call", "input_tokens", "output_tokens", "tool_calls", "counted")
    entries = [tuple(one[name] for name in names) for one in ledger.usage(told.run_id)]
    assert entries == [(1, 1000, 20, 1, False), (2, 1200, 5, 0, False)]
    assert ledger.quota()["used"] == 2225
    assert second.request is not None
    assert [tool["function"]["name"] for tool in second.request.tools or []] == ["calculator"]
    assert not ledger.left_behind()


async def test_a_step_that_the_quota_does_not_allow_ends_the_run(
    survivor: Host, actor: Any, agents: Callable[..., str], ledger: Ledger
) -> None:
    """What comes back from a tool is held before the model reads it; a limit of the run's own is one as well."""
    slug = agents("demo", tools=["calculator"], limits={"tokens": 900})
    script = ScriptedModel.enqueue([*CALL, UsageReport(880, 20, 0, 0)])
    told = await ask(actor("member"), "?", agent=slug)
    assert (told.end["code"], told.end["usage"]["output_tokens"], script.closed) == ("run_token_limit", 20, True)
    assert not ledger.left_behind()


async def test_what_a_lost_process_had_used_is_booked(
    survivor: Host, actor: Any, agents: Callable[..., str], ledger: Ledger
) -> None:
    slug, member = agents("demo", tools=["calculator"]), actor("member")
    ScriptedModel.enqueue([*CALL, UsageReport(1000, 20, 0, 0)])
    ScriptedModel.enqueue(["three ", "words ", "said", asyncio.Event()])
    started = await start(member, agent=slug)
    await read(member.tenant, started.run_id, limit=6)
    die(survivor, started.run_id)
    await end_of(survivor, member, ledger, started.run_id)
    assert [(one["call"], one["output_tokens"], one["counted"]) for one in ledger.usage(started.run_id)] == [
        (1, 20, False), (2, 3, True),
    ]  # fmt: skip
