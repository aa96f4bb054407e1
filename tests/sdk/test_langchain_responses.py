"""langchain-openai over responses (`use_responses_api=True`)."""

from __future__ import annotations

from typing import Any

import pytest

from bench.answers import token_text
from llm.deltas import ReasoningDelta
from llm.providers.scripted import ScriptedModel
from tests.sdk.asking import ASKED
from tests.sdk.test_langchain import Lookup


@pytest.fixture
def chat(base: str, api_key: Any) -> Any:
    from langchain_openai import ChatOpenAI

    token = api_key()
    plain = {"base_url": base, "api_key": token, "max_retries": 0, "use_responses_api": True}
    return lambda model, **more: ChatOpenAI(model=model, **plain | more)


async def test_it_streams_and_completes(chat: Any, agent: Any) -> None:
    model = chat(agent("bench-0-0-6"))
    chunks = [chunk async for chunk in model.astream("hello")]
    assert "".join(chunk.text for chunk in chunks) == "".join(token_text(6))
    (usage,) = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert (usage["input_tokens"], usage["output_tokens"]) == (10, 6)
    whole = await model.ainvoke("hello")
    assert (whole.text, whole.response_metadata["status"]) == ("".join(token_text(6)), "completed")


async def test_it_calls_tools_and_goes_on(chat: Any, agent: Any) -> None:
    from langchain_core.messages import HumanMessage, ToolMessage

    model = chat(agent("tools-Lookup")).bind_tools([Lookup])
    streamed: Any = None
    async for chunk in model.astream(ASKED):
        streamed = chunk if streamed is None else streamed + chunk
    for asked in (streamed, await model.ainvoke(ASKED)):
        (call,) = asked.tool_calls
        assert (call["name"], call["args"]) == ("Lookup", {"city": "Oslo"})
        answer = await model.ainvoke([HumanMessage(ASKED), asked, ToolMessage("cold", tool_call_id=call["id"])])
        assert answer.text == "The tool Lookup said: cold"


@pytest.mark.parametrize("by_id", [True, False], ids=["by the id of the response", "by its items"])
async def test_it_goes_on(chat: Any, by_id: bool) -> None:
    from langchain_core.messages import HumanMessage

    model = chat("assistant", use_previous_response_id=by_id)
    ScriptedModel.enqueue([ReasoningDelta("Hm."), "one"])
    first = await model.ainvoke("1")
    script = ScriptedModel.enqueue(["two"])
    assert (await model.ainvoke([HumanMessage("1"), first, HumanMessage("2")])).text == "two"
    assert script.request is not None
    assert [(one["role"], one["content"]) for one in script.request.messages] == [
        ("user", "1"), ("assistant", "one"), ("user", "2"),
    ]  # fmt: skip


async def test_it_gets_json_by_a_schema(chat: Any, able: Any) -> None:
    found = await chat(able("echo")).with_structured_output(Lookup, method="json_schema").ainvoke(ASKED)
    assert found == Lookup(city="Oslo")
