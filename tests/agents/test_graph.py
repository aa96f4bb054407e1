"""An agent with tools: LangChain's graph over our wire, its tokens straight into the run's events."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
import pytest

from agents.runtime import engine
from agents.runtime.spec import ModelCall, Transcript, Turn
from agents.tools.calculator import CALCULATOR
from agents.tools.spec import BoundTool, RunLimits, ToolContext, ToolResult, ToolSpec
from agents.tools.toolbox import Toolbox
from core.errors import PaasError
from core.ids import uuid7
from llm.deltas import Finish, ModelRequest, ToolCallDelta, UsageReport
from llm.providers.scripted import ScriptedModel
from llm.registry import ProviderRef, client_for

LOOKUP = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object", "properties": {}}}}
DEFAULTS = RunLimits()
ANY = {"type": "object", "properties": {"q": {"type": "string"}}}


def tool(name: str, call: Any, parameters: Any = ANY) -> BoundTool:
    return BoundTool(ToolSpec(name, name, parameters, "read", call))


async def run(
    *scripts: list[Any],
    tools: tuple[BoundTool, ...] = (BoundTool(CALCULATOR),),
    limits: RunLimits = DEFAULTS,
    **more: Any,
) -> tuple[Transcript, list[Any], list[ModelRequest]]:
    made = [ScriptedModel.enqueue(script) for script in scripts]
    transcript, events = Transcript(), []
    turn = Turn(messages=[{"role": "user", "content": "2 + 3?"}], max_output_tokens=100, parameters={}, **more)
    client = client_for(ProviderRef(id=uuid7(), kind="scripted"))

    async def extend(call: ModelCall, wanted: int) -> int:
        return wanted - 1 if call.step and call.step.index else wanted

    context: Any = ToolContext(None, None, uuid7(), "a")  # type: ignore[arg-type]
    try:
        await engine.run(client, "demo", turn, transcript, events.extend, Toolbox(tools, context, limits, extend))
    finally:
        ScriptedModel.reset()
    return transcript, events, [one.request for one in made if one.request is not None]


def calls(*asked: tuple[str, str]) -> list[Any]:
    return [ToolCallDelta(at, f"call-{at}", name, arguments) for at, (name, arguments) in enumerate(asked)]


CALL = [ToolCallDelta(0, "call-1", "calculator", '{"expression":'), ToolCallDelta(0, None, None, ' "2+3"}')]
END = ["Done.", Finish("stop")]


async def test_the_tool_runs_and_every_token_is_an_event() -> None:
    transcript, events, requests = await run(
        ["Well.", *CALL, Finish("tool_calls"), UsageReport(10, 5, 0, 0)],
        ["It ", "is 5.", Finish("stop"), UsageReport(20, 3, 4, 0)],
    )
    assert [kind for kind, _ in events] == ["text.delta", "tool.started", "tool.finished", "text.delta", "text.delta"]
    assert events[1][1] == {
        "call_id": "call-1",
        "name": "calculator",
        "arguments": {"expression": "2+3"},
        "effect": "read",
    }
    assert events[2][1].pop("duration_ms") < 1000
    about = {"call_id": "call-1", "name": "calculator", "effect": "read"}
    assert events[2][1] == about | {"ok": True, "result": "5", "error": None}
    assert transcript.content == "Well.\n\nIt is 5."
    assert transcript.finish_reason == "stop"
    assert [(one.report[:3], one.tool_calls) for one in transcript.model_calls if one.report] == [
        ((10, 5, 0), 1), ((20, 3, 4), 0),
    ]  # fmt: skip
    assert [one.max_tokens for one in requests] == [100, 99]  # what was granted for each
    assert requests[1].messages[-1] == {"role": "tool", "content": "5", "tool_call_id": "call-1"}


async def test_what_a_model_does_wrong_is_told_to_it_and_the_run_goes_on() -> None:
    """Side by side: no call waits for another."""
    both = asyncio.Barrier(2)

    async def meets(context: ToolContext, arguments: Any) -> ToolResult:
        await both.wait()
        return ToolResult("met")

    asked = [
        ("meets", "{}"),
        ("meets", "{}"),
        ("nowhere", "{}"),
        ("meets", '{"q":1}'),
        ("meets", '{"q'),
        ("meets", "[]"),
    ]
    transcript, events, requests = await run([*calls(*asked), Finish("tool_calls")], END, tools=(tool("meets", meets),))
    told = {one["tool_call_id"]: one["content"] for one in requests[1].messages if one["role"] == "tool"}
    assert [told[f"call-{at}"] for at in range(6)] == [
        "met", "met", "There is no tool 'nowhere'. The tools are: meets.",
        "The arguments do not fit: arguments.q must be of the type string.",
        *["The arguments are not a JSON object. Call the tool again with one."] * 2,
    ]  # fmt: skip
    assert [data["ok"] for kind, data in events if kind == "tool.finished"].count(True) == 2
    assert transcript.content == "Done."


async def test_arguments_that_cannot_be_stored_become_ones_that_can() -> None:
    async def says(context: ToolContext, arguments: Any) -> ToolResult:
        return ToolResult(arguments["q"])

    deep = '{"q":' + "[" * 300 + "]" * 300 + "}"
    asked = [("says", '{"q":"a\\u0000 \\\\u0000"}'), ("says", deep), ("s\x00", "{}")]
    _, events, requests = await run([*calls(*asked), Finish("tool_calls")], END, tools=(tool("says", says),))
    told = [one["content"] for one in requests[1].messages if one["role"] == "tool"]
    assert told[0] == "a\N{REPLACEMENT CHARACTER} \\u0000"
    assert "not a JSON object" in told[1]
    orjson.dumps(events)
    assert "\x00" not in str(events)


@pytest.mark.parametrize(
    ("limits", "code", "asked"),
    [(RunLimits(steps=3), "too_many_steps", 3), (RunLimits(tool_calls=4), "too_many_tool_calls", 5)],
)
async def test_an_agent_that_goes_round_in_circles_ends(limits: RunLimits, code: str, asked: int) -> None:
    with pytest.raises(PaasError) as error:
        await run(*[[*CALL, Finish("tool_calls")] for _ in range(asked)], limits=limits)
    assert error.value.code == code


async def test_a_run_has_its_time_and_a_stop_reaches_its_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a second, also a tool that does not want to stop."""
    stopped, entered, loop = [], asyncio.Event(), asyncio.get_running_loop()
    now = loop.time

    async def stubborn(context: ToolContext, arguments: Any) -> ToolResult:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append(1)
            await asyncio.Event().wait()
        raise AssertionError

    script = [*calls(("stubborn", "{}")), Finish("tool_calls")]
    work = asyncio.create_task(run(script, tools=(tool("stubborn", stubborn),), limits=RunLimits(seconds=100)))
    await entered.wait()
    monkeypatch.setattr(loop, "time", lambda: now() + 100)
    loop.call_soon(lambda: None)  # the loop looks at the clock
    with pytest.raises(PaasError) as error:
        await work
    assert (error.value.code, stopped) == ("run_too_long", [1])
    monkeypatch.undo()
    entered.clear()
    work = asyncio.create_task(run(script, tools=(tool("stubborn", stubborn),)))
    await entered.wait()
    begun = time.monotonic()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert time.monotonic() - begun < 5


async def test_a_tool_of_the_callers_ends_the_turn_and_is_handed_out() -> None:
    """Beside the agent's own: those run here, the caller's do not."""
    transcript, events, _ = await run(
        [*CALL, Finish("tool_calls"), UsageReport(10, 5, 0, 0)],
        [ToolCallDelta(3, "call-2", "lookup", '{"q":'), ToolCallDelta(3, None, None, "1}"), Finish("tool_calls"), UsageReport(20, 3, 0, 0)],
        client_tools=(LOOKUP,),
    )  # fmt: skip
    assert [kind for kind, _ in events] == ["tool.started", "tool.finished", "tool.delta", "tool.delta", "tool.called"]
    assert events[-1][1] == {"index": 0, "call_id": "call-2", "name": "lookup", "arguments": '{"q":1}'}
    assert (transcript.finish_reason, len(transcript.model_calls)) == ("tool_calls", 2)
