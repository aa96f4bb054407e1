"""What a run leaves of its steps, and that it goes on from them without asking or calling anything twice (P48)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from agents.runtime import engine
from agents.runtime.spec import ModelCall, Transcript, Turn
from agents.runtime.trace import MOST_CHARS, MOST_TEXT, Trace
from agents.tools.spec import BoundTool, RunLimits, ToolContext, ToolResult, ToolSpec
from agents.tools.toolbox import UNKNOWN, Toolbox
from core.errors import PaasError
from core.ids import uuid7
from llm.deltas import Finish, ReasoningDelta, ToolCallDelta, UsageReport
from llm.providers.scripted import ScriptedModel

TURN = Turn(messages=[{"role": "user", "content": "?"}], max_output_tokens=100, parameters={})
CONTEXT: Any = ToolContext(None, None, uuid7(), "a")  # type: ignore[arg-type]
ANY = {"type": "object"}


class Counting:
    """A tool that counts its calls."""

    def __init__(self, effect: Any = "write", *, tainted: bool = False) -> None:
        self.calls: list[Any] = []
        self.bound = BoundTool(ToolSpec("count", "Counts.", ANY, effect, self._call, tainted))

    async def _call(self, context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
        self.calls.append(arguments)
        return ToolResult(f"call {len(self.calls)}")


async def run(trace: Trace, tool: Counting, *scripts: list[Any]) -> tuple[Transcript, list[Any]]:
    made = [ScriptedModel.enqueue(script) for script in scripts]
    transcript, events = Transcript(), []
    transcript.follow(trace.at(""))

    async def extend(call: ModelCall, wanted: int) -> int:
        return wanted

    try:
        box = Toolbox((tool.bound,), CONTEXT, RunLimits(), extend)
        await engine.run(ScriptedModel(), "demo", TURN, transcript, events.extend, box)
        assert all(one.closed for one in made)
    finally:
        ScriptedModel.reset()
    return transcript, events


FIRST = [
    ReasoningDelta("Hm. "), "Let me count.", ToolCallDelta(0, "c1", "count", '{"n": 1}'), ToolCallDelta(1, "c1", "count", '{"n": 2}'),
    Finish("tool_calls"), UsageReport(10, 5, 0, 0),
]  # fmt: skip
LAST = ["Done.", Finish("stop"), UsageReport(20, 3, 0, 0)]


async def test_every_step_is_there_and_the_run_goes_on_from_any_of_them() -> None:
    tool, trace = Counting(tainted=True), Trace()
    transcript, events = await run(trace, tool, FIRST, LAST)
    shown = trace.document()
    assert [(one["kind"], one["name"], one["ok"], one["index"]) for one in shown["steps"]] == [
        ("model", "demo", True, 0), ("tool", "count", True, 1), ("tool", "count", True, 2), ("model", "demo", True, 3),
    ]  # fmt: skip
    asked, first, second, answer = shown["steps"]
    ids = [first["call_id"], second["call_id"]]
    assert (first["input"], first["output"], first["effect"], first["tainted"]) == ({"n": 1}, "call 1", "write", True)
    assert asked["output"]["tool_calls"] == [
        {"id": one, "name": "count", "args": {"n": n}} for one, n in zip(ids, (1, 2), strict=True)
    ]
    assert (asked["output"]["text"], asked["output"]["reasoning"], answer["output"]["text"]) == (
        "Let me count.", "Hm. ", "Done.",
    )  # fmt: skip
    assert [data.get("tainted") for kind, data in events if kind == "tool.finished"] == [True, True]
    journal = orjson.loads(orjson.dumps(trace.journal()))
    for upto in (1, 2, 3, 4):  # as it was after so many steps
        again = Trace.from_journal(journal | {"steps": journal["steps"][:upto]})
        before = len(tool.calls)
        went_on, told = await run(again, tool, *([LAST] if upto < 4 else []))
        assert went_on.content == transcript.content == "Let me count.\n\nDone."
        assert (went_on.reasoning, went_on.finish_reason) == (["Hm. "], "stop")
        assert len(tool.calls) - before == max(0, 3 - upto)
        kinds = [kind for kind, _ in told]
        assert kinds == ["tool.started", "tool.finished"] * max(0, 3 - upto) + ["text.delta"] * (upto < 4) or upto == 1
        assert len(went_on.model_calls) == (upto < 4)
        assert [one["output"] for one in again.document()["steps"][:upto]] == [
            one["output"] for one in shown["steps"][:upto]
        ]


async def test_what_was_called_and_has_no_end_is_not_called_again() -> None:
    """Unless it only reads."""
    for effect, calls in (("write", 0), ("egress", 0), ("read", 1)):
        tool, trace = Counting(effect), Trace()
        steps = trace.at("")
        trace.end(
            steps.model("demo", 1),
            {"text": "", "reasoning": "", "tool_calls": [{"id": "c", "name": "count", "args": {}}], "finish_reason": "tool_calls"},
        )  # fmt: skip
        steps.tool("c", "count", {}, effect).sent = True
        again = Trace.from_journal(trace.journal())
        _, told = await run(again, tool, LAST)
        assert len(tool.calls) == calls
        assert [data["error"] for kind, data in told if kind == "tool.finished"] == [None if calls else UNKNOWN]


async def test_an_agent_without_tools_that_somebody_wants_the_steps_of() -> None:
    trace, transcript = Trace(), Transcript()
    transcript.follow(trace.at("0.writer"))
    ScriptedModel.enqueue(LAST)
    await engine.run(ScriptedModel(), "demo", TURN, transcript, lambda _: None)
    again, told = Transcript(), []
    again.follow(Trace.from_journal(trace.journal()).at("0.writer"))
    await engine.run(ScriptedModel(), "demo", TURN, again, told.extend)
    assert (again.content, told) == ("Done.", [])
    ScriptedModel.enqueue([PaasError("provider_timeout")])
    failing = Trace()
    for again_failing in (False, True):
        trace = Trace.from_journal(failing.journal()) if again_failing else failing
        failed = Transcript()
        failed.follow(trace.at(""))
        with pytest.raises(PaasError, match="took too long"):
            await engine.run(ScriptedModel(), "demo", TURN, failed, lambda _: None)


def test_a_trace_that_is_read_has_bounds_and_says_so() -> None:
    trace = Trace()
    steps = trace.at("1.research")
    for number in range(60):
        steps.agent(f"1.research/{number}.checker", "checker", "Checker", "a" * MOST_TEXT * 2)
        step = steps.tool(f"c{number}", "count", {"text": "b" * MOST_TEXT * 2})
        trace.end(step, "c" * 100)
    found = trace.document()
    assert found["cut"] is True
    assert len(orjson.dumps(found)) < MOST_CHARS * 1.2
    first, tool = found["steps"][:2]
    assert (first["path"], first["kind"], first["cut"]) == ("1.research", "agent", True)
    assert tool["input"].endswith("[Cut here: it has 32,011 characters.]")
    assert tool["output"] == "c" * 100
    whole = Trace().document()
    assert whole == {"steps": [], "cut": False}


async def test_answers_in_a_schema_go_on_too() -> None:
    """What did not fit is not asked for again, and what did is the answer; with tools and without."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    turn = replace(TURN, output_schema=schema)

    async def extend(estimate: int, wanted: int) -> int:
        return wanted

    for tools in ((), (Counting().bound,)):
        trace = Trace()
        for again in (False, True, True):
            transcript, events = Transcript(), []
            transcript.follow(trace.at(""), last_only=True)
            for script in [] if again else (["no JSON"], ['{"n": 1}']):
                ScriptedModel.enqueue(script)
            box = Toolbox(tools, CONTEXT, RunLimits(), extend)
            await engine.run(ScriptedModel(), "demo", turn, transcript, events.extend, box)
            assert (transcript.content, bool(events)) == ('{"n": 1}', not again)
            assert len(transcript.model_calls) == (0 if again else 2)
            trace = Trace.from_journal(orjson.loads(orjson.dumps(trace.journal())))
        assert len(trace.steps) == 2
