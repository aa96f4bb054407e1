"""One turn of an agent without tools: deltas in, events and a transcript out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.runtime import engine
from agents.runtime.events import DATA_TYPES, REASONING_DELTA, TERMINAL, TEXT_DELTA
from agents.runtime.spec import Transcript, Turn
from core.errors import PaasError
from core.ids import uuid7
from llm.deltas import Delta, Finish, ModelRequest, ReasoningDelta, TextDelta, ToolCallDelta, UsageReport
from llm.providers.scripted import ScriptedModel
from llm.registry import ProviderRef, client_for

TURN = Turn(messages=[{"role": "user", "content": "?"}], max_output_tokens=100, parameters={"temperature": 0})


async def run(*steps: Any, stream: bool = True) -> tuple[Transcript, list[Any]]:
    script = ScriptedModel.enqueue(steps)
    transcript, events = Transcript(), []
    turn = Turn(TURN.messages, TURN.max_output_tokens, TURN.parameters, stream)
    try:
        await engine.run(client_for(ProviderRef(uuid7(), "scripted")), "m", turn, transcript, events.extend)
    finally:
        assert script.closed
    assert script.request is not None
    assert (script.request.model, script.request.max_tokens, script.request.parameters) == (
        "m",
        100,
        {"temperature": 0},
    )
    return transcript, events


@pytest.mark.parametrize("stream", [True, False])
async def test_deltas_become_events_and_a_transcript(stream: bool) -> None:
    transcript, events = await run(
        ReasoningDelta("hm"),
        "a",
        [TextDelta("b"), TextDelta("c")],
        Finish("length"),
        UsageReport(9, 4, 2, 1),
        stream=stream,
    )
    assert events == [
        (REASONING_DELTA, {"text": "hm"}), (TEXT_DELTA, {"text": "a"}), (TEXT_DELTA, {"text": "b"}), (TEXT_DELTA, {"text": "c"}),
    ]  # fmt: skip
    assert (transcript.content, transcript.reasoning, transcript.finish_reason) == ("abc", ["hm"], "length")
    assert (transcript.input_tokens, transcript.output_tokens, transcript.deltas, transcript.reported) == (
        9,
        4,
        4,
        True,
    )
    assert (transcript.cached_tokens, transcript.reasoning_tokens) == (2, 1)


async def test_a_finish_that_nobody_gave_is_a_stop() -> None:
    class Mute:
        async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
            yield [TextDelta("a")]

    transcript = Transcript()
    await engine.run(Mute(), "m", TURN, transcript, lambda events: None)  # type: ignore[arg-type]
    assert (transcript.finish_reason, transcript.reported) == ("stop", False)


async def test_an_error_leaves_what_had_come() -> None:
    ScriptedModel.enqueue(["a", "b", PaasError("provider_stream_cut")])
    transcript, events = Transcript(), []
    with pytest.raises(PaasError):
        await engine.run(client_for(ProviderRef(uuid7(), "scripted")), "m", TURN, transcript, events.extend)
    assert (transcript.content, transcript.deltas, len(events)) == ("ab", 2, 2)


async def test_cancelling_closes_the_call() -> None:
    script = ScriptedModel.enqueue(["a", asyncio.Event()])
    transcript, came = Transcript(), asyncio.Event()
    task = asyncio.create_task(
        engine.run(client_for(ProviderRef(uuid7(), "scripted")), "m", TURN, transcript, lambda events: came.set())
    )
    await came.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert script.closed
    assert transcript.content == "a"


async def test_a_tool_that_nobody_offered() -> None:
    with pytest.raises(PaasError) as error:
        await run(ToolCallDelta(0, "c", "rm", "{}"))
    assert error.value.code == "provider_bad_response"


@given(st.lists(st.one_of(st.text(), st.text().map(ReasoningDelta)), max_size=20))
def test_nothing_is_lost_and_no_nul_gets_through(pieces: list[Any]) -> None:
    transcript, events = Transcript(), []
    transcript.absorb([TextDelta(piece) if isinstance(piece, str) else piece for piece in pieces], events.extend)
    said = "".join(piece for piece in pieces if type(piece) is str)
    assert transcript.content == said.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    assert [data["text"] for kind, data in events if kind == TEXT_DELTA] == transcript.text
    assert [data["text"] for kind, data in events if kind == REASONING_DELTA] == transcript.reasoning
    assert transcript.deltas == len(events) == len(pieces)
    assert not any("\x00" in data["text"] for _, data in events)


def test_the_vocabulary() -> None:
    """Names are permanent: adding is free, these stay."""
    assert set(DATA_TYPES) >= {
        "run.started", "text.delta", "reasoning.delta", "tool.started", "tool.finished", "message.completed",
        "run.completed", "run.failed", "run.cancelled",
    }  # fmt: skip
    assert {"run.completed", "run.failed", "run.cancelled"} == TERMINAL


TOOL = {"type": "function", "function": {"name": "lookup"}}


async def hand_out(*steps: Any, stream: bool = True) -> tuple[Transcript, list[Any], ModelRequest]:
    script = ScriptedModel.enqueue(steps)
    transcript, events = Transcript(), []
    turn = Turn(TURN.messages, 100, {"tool_choice": "auto"}, stream, client_tools=(TOOL,))
    await engine.run(client_for(ProviderRef(uuid7(), "scripted")), "m", turn, transcript, events.extend)
    assert script.request is not None
    return transcript, events, script.request


@pytest.mark.parametrize("stream", [True, False])
async def test_the_callers_tools_are_offered_and_their_calls_handed_out(stream: bool) -> None:
    transcript, events, request = await hand_out(
        "Well. ",
        [ToolCallDelta(0, "c1", "lookup", '{"q":'), ToolCallDelta(5, None, "lookup", "")],  # numbered oddly, without an id
        [ToolCallDelta(0, None, None, '"\x00"}'), ToolCallDelta(5, None, None, "{}")],
        Finish("stop"),  # as some vendors say
        stream=stream,
    )  # fmt: skip
    made = transcript.calls[5].id
    assert events == [
        ("text.delta", {"text": "Well. "}),
        ("tool.delta", {"index": 0, "call_id": "c1", "name": "lookup", "arguments": '{"q":'}),
        ("tool.delta", {"index": 1, "call_id": made, "name": "lookup", "arguments": ""}),
        ("tool.delta", {"index": 0, "arguments": '"\N{REPLACEMENT CHARACTER}"}'}),
        ("tool.delta", {"index": 1, "arguments": "{}"}),
        ("tool.called", {"index": 0, "call_id": "c1", "name": "lookup", "arguments": '{"q":"\N{REPLACEMENT CHARACTER}"}'}),
        ("tool.called", {"index": 1, "call_id": made, "name": "lookup", "arguments": "{}"}),
    ]  # fmt: skip
    assert made.startswith("call_")
    assert (transcript.finish_reason, transcript.deltas) == ("tool_calls", 5)
    assert (request.tools, request.parameters) == ([TOOL], {"tool_choice": "auto"})


async def test_a_call_that_was_cut_short_is_no_whole_call() -> None:
    script: list[Any] = [ToolCallDelta(0, "c1", "lookup", '{"q"'), PaasError("provider_stream_cut")]
    ScriptedModel.enqueue(script)
    transcript, events = Transcript(), []
    with pytest.raises(PaasError):
        await engine.run(
            client_for(ProviderRef(uuid7(), "scripted")), "m", Turn([], 9, {}, client_tools=(TOOL,)), transcript, events.extend
        )  # fmt: skip
    assert ([kind for kind, _ in events], transcript.deltas) == (["tool.delta"], 1)
    with pytest.raises(PaasError, match="without naming"):
        await hand_out(ToolCallDelta(0, "c1", None, "{}"))
