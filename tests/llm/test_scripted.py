from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest

from bench.answers import token_text
from core.errors import PaasError
from llm.answer import Answer
from llm.deltas import Delta, Finish, ReasoningDelta, TextDelta, ToolCallDelta, UsageReport
from llm.providers.scripted import ScriptedModel, Step
from llm.registry import ProviderRef, client_for
from tests.contracts.provider import TOOL_ARGUMENTS, Case, ProviderContract, request_for

MODEL = client_for(ProviderRef(uuid.uuid4(), "scripted"))


@pytest.fixture(autouse=True)
def _no_script_left() -> Iterator[None]:
    ScriptedModel.reset()
    yield
    ScriptedModel.reset()


class TestScripted(ProviderContract):
    def case(self, behaviour: str, text: str = "hello", **more: Any) -> Case:
        script = ScriptedModel.enqueue(_steps(behaviour, text, more.get("max_tokens")))
        return Case(MODEL, request_for(behaviour, text, **more), lambda: script.closed)


def _steps(behaviour: str, text: str, limit: int | None) -> list[Step]:
    """The behaviours of the contract as scripts."""
    if behaviour == "echo":
        return [text]
    if behaviour == "tools-lookup":
        return [
            ToolCallDelta(0, "call_1", "lookup", TOOL_ARGUMENTS[:9]),
            ToolCallDelta(0, None, None, TOOL_ARGUMENTS[9:]),
        ]
    match = re.fullmatch(r"(bench-0-0|reasoning|fault-stall|fault-cut)-(\d+)", behaviour)
    assert match, behaviour
    kind, count = match[1], int(match[2])
    words: list[Step] = list(token_text(min(count, limit or count)))
    endings: dict[str, list[Step]] = {
        "fault-stall": [asyncio.Event()],
        "fault-cut": [PaasError("provider_stream_cut")],
    }
    if limit is not None and limit < count:
        return [*words, Finish("length")]
    if kind == "reasoning":
        return [*(ReasoningDelta(f"r{index} ") for index in range(count)), *words]
    return words + endings.get(kind, [])


async def test_without_a_script_the_demo_answer_repeats_itself() -> None:
    answers = [Answer(await MODEL.complete(request_for("demo", "What is this?"))) for _ in range(2)]
    assert answers[0].text == answers[1].text
    assert "“What is this?”" in answers[0].text
    assert answers[0].finish_reason == "stop"
    streamed = [batch async for batch in MODEL.stream(request_for("demo", "What is this?"))]
    assert len(streamed) > 20
    assert Answer(delta for batch in streamed for delta in batch).text == answers[0].text


async def test_the_demo_answer_keeps_to_max_tokens() -> None:
    answer = Answer(await MODEL.complete(request_for("demo", max_tokens=3)))
    assert (answer.text, answer.finish_reason) == ("You wrote: “hello”\n\n", "length")


async def test_scripts_are_taken_in_order_and_see_their_request() -> None:
    first, second = ScriptedModel.enqueue(["one"]), ScriptedModel.enqueue(["two"])
    texts = [Answer(await MODEL.complete(request_for("m", question))).text for question in ("a", "b")]
    assert texts == ["one", "two"]
    assert first.request is not None
    assert second.request is not None
    assert (first.request.messages[0]["content"], second.request.messages[0]["content"]) == ("a", "b")


async def test_an_event_holds_the_answer_where_it_stands() -> None:
    gate = asyncio.Event()
    script = ScriptedModel.enqueue(["before", gate, "after"])
    async with aclosing(MODEL.stream(request_for("m"))) as batches:
        assert await anext(batches) == [TextDelta("before")]
        waiting = asyncio.ensure_future(anext(batches))
        await asyncio.sleep(0)
        assert not waiting.done()
        gate.set()
        assert await waiting == [TextDelta("after")]
        assert not script.closed
    await asyncio.wait_for(script.wait_closed(), 1)


async def test_a_list_is_one_network_read_and_what_is_given_is_not_added() -> None:
    batch: list[Delta] = [TextDelta("a"), ReasoningDelta("b"), Finish("length"), UsageReport(1, 2, 0, 1)]
    ScriptedModel.enqueue([batch])
    assert [batch async for batch in MODEL.stream(request_for("m"))] == [batch]


async def test_any_exception_can_be_scripted() -> None:
    ScriptedModel.enqueue(["a", RuntimeError("scripted")])
    with pytest.raises(RuntimeError, match="scripted"):
        await MODEL.complete(request_for("m"))
