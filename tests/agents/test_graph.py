"""An agent with tools: LangChain's graph over our wire, its tokens straight into the run's events."""

from __future__ import annotations

from typing import Any

from agents.runtime import engine
from agents.runtime.spec import Transcript, Turn
from core.ids import uuid7
from llm.deltas import Finish, ToolCallDelta, UsageReport
from llm.providers.scripted import ScriptedModel
from llm.registry import ProviderRef, client_for
from tests.lazy import Lazy

tools = Lazy("langchain_core.tools")


async def add(first: int, second: int) -> int:
    """The sum of two numbers."""
    return first + second


LOOKUP = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object", "properties": {}}}}


async def run(*scripts: list[Any], **more: Any) -> tuple[Transcript, list[Any]]:
    for script in scripts:
        ScriptedModel.enqueue(script)
    transcript, events = Transcript(), []
    turn = Turn(
        messages=[{"role": "user", "content": "2 + 3?"}],
        max_output_tokens=100,
        parameters={},
        tools=(tools.tool(add),),
        **more,
    )
    client = client_for(ProviderRef(id=uuid7(), kind="scripted"))
    await engine.run(client, "demo", turn, transcript, events.extend)
    return transcript, events


CALL = [ToolCallDelta(0, "call-1", "add", '{"first": 2,'), ToolCallDelta(0, None, None, ' "second": 3}')]


async def test_the_tool_runs_and_every_token_is_an_event() -> None:
    transcript, events = await run(
        [*CALL, Finish("tool_calls"), UsageReport(10, 5, 0, 0)],
        ["It ", "is 5.", Finish("stop"), UsageReport(20, 3, 4, 0)],
    )
    assert [kind for kind, _ in events] == ["tool.started", "tool.finished", "text.delta", "text.delta"]
    assert events[0][1] == {"call_id": "call-1", "name": "add", "arguments": {"first": 2, "second": 3}}
    assert events[1][1] == {"call_id": "call-1", "name": "add", "result": "5", "error": None}
    assert transcript.content == "It is 5."
    assert transcript.finish_reason == "stop"
    assert (transcript.input_tokens, transcript.output_tokens, transcript.cached_tokens) == (30, 8, 4)


async def test_an_agent_that_goes_round_in_circles_ends() -> None:
    transcript, events = await run(*[[*CALL, Finish("tool_calls")] for _ in range(40)])
    assert sum(kind == "tool.started" for kind, _ in events) <= 20
    assert transcript.finish_reason == "stop"


async def test_a_tool_of_the_callers_ends_the_turn_and_is_handed_out() -> None:
    """Beside the agent's own: those run here, the caller's do not."""
    transcript, events = await run(
        [*CALL, Finish("tool_calls"), UsageReport(10, 5, 0, 0)],
        [ToolCallDelta(3, "call-2", "lookup", '{"q":'), ToolCallDelta(3, None, None, "1}"), Finish("tool_calls"), UsageReport(20, 3, 0, 0)],
        client_tools=(LOOKUP,),
    )  # fmt: skip
    assert [kind for kind, _ in events] == ["tool.started", "tool.finished", "tool.delta", "tool.delta", "tool.called"]
    assert events[-1][1] == {"index": 0, "call_id": "call-2", "name": "lookup", "arguments": '{"q":1}'}
    assert (transcript.finish_reason, transcript.input_tokens, transcript.output_tokens) == ("tool_calls", 30, 8)
