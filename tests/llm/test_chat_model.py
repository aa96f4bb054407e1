"""LangChain's face: alone, and driven by create_agent against the stand-in vendor."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from bench.answers import token_text
from bench.vendor import Vendor
from core.errors import PaasError
from llm.deltas import Delta, Finish, TextDelta, ToolCallDelta, UsageReport
from llm.providers.scripted import ScriptedModel
from llm.registry import ModelClient, ProviderRef, client_for
from tests.contracts.provider import KEY, TOOL_ARGUMENTS, eventually
from tests.lazy import Lazy

chat_model, agents = Lazy("llm.chat_model"), Lazy("langchain.agents")
messages, tools = Lazy("langchain_core.messages"), Lazy("langchain_core.tools")
caches, settings = Lazy("langchain_core.caches"), Lazy("langchain_core.globals")

SCRIPTED = client_for(ProviderRef(uuid.uuid4(), "scripted"))


@pytest.fixture(autouse=True)
def _no_script_left() -> Iterator[None]:
    ScriptedModel.reset()
    yield
    ScriptedModel.reset()


@pytest.fixture
def client(vendor: Vendor) -> ModelClient:
    return client_for(ProviderRef(uuid.uuid4(), "openai_compatible", vendor.base_url, KEY, allow_private=True))


async def lookup(city: str, days: int = 1) -> str:
    """The weather of a city."""
    return f"{days} days of sun in {city}"


async def test_ainvoke_streams_to_the_sink_token_by_token(client: ModelClient, vendor: Vendor) -> None:
    batches: list[list[Delta]] = []
    model = chat_model.WireChatModel(client=client, model="bench-20-20-6", on_deltas=batches.append)
    message = await model.ainvoke("hi")
    assert message.content == "".join(token_text(6))
    assert vendor.stats.bodies[-1]["stream"] is True
    # A batch is a network read: the vendor's tokens are 20 ms apart, so they cannot all be one.
    assert len(batches) >= 4
    assert [delta.text for batch in batches for delta in batch if type(delta) is TextDelta] == list(token_text(6))


async def test_the_sink_has_each_delta_before_the_next_is_asked_for() -> None:
    gate, seen = asyncio.Event(), list[str]()
    ScriptedModel.enqueue(["a", gate, "b"])
    model = chat_model.WireChatModel(client=SCRIPTED, model="m", on_deltas=lambda deltas: seen.extend(map(str, deltas)))
    call = asyncio.create_task(model.ainvoke("hi"))
    await eventually(lambda: len(seen) == 1)
    assert not call.done()
    gate.set()
    assert (await call).content == "ab"


async def test_a_message_with_everything() -> None:
    ScriptedModel.enqueue([*_reasoned("thought"), "answer", UsageReport(9, 4, 8, 3)])
    message = await chat_model.WireChatModel(client=SCRIPTED, model="m").ainvoke("hi")
    assert isinstance(message, messages.AIMessage)
    assert message.content == "answer"
    assert message.additional_kwargs == {"reasoning_content": "thought"}
    assert message.response_metadata["finish_reason"] == "stop"
    assert message.usage_metadata == {
        "input_tokens": 9,
        "output_tokens": 4,
        "total_tokens": 13,
        "input_token_details": {"cache_read": 8},
        "output_token_details": {"reasoning": 3},
    }


async def test_astream_adds_up_to_the_same_message() -> None:
    script = [
        *_reasoned("thought"),
        *_call(0, "c1"),
        "answer",
        *_call(1, "c2"),
        UsageReport(9, 4, 0, 0),
        UsageReport(9, 5, 0, 0),
    ]
    for _ in range(2):
        ScriptedModel.enqueue([list(script)])
    model = chat_model.WireChatModel(client=SCRIPTED, model="m")
    whole = await model.ainvoke("hi")
    total: Any = None
    async for chunk in model.astream("hi"):
        assert isinstance(chunk, messages.AIMessageChunk)
        total = chunk if total is None else total + chunk
    assert isinstance(whole, messages.AIMessage)
    assert (total.content, total.additional_kwargs) == (whole.content, whole.additional_kwargs)
    assert total.tool_calls == whole.tool_calls
    assert total.usage_metadata == whole.usage_metadata
    assert [call["id"] for call in whole.tool_calls] == ["c1", "c2"]
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] == 5


async def test_an_agent_calls_a_tool_and_answers(client: ModelClient, vendor: Vendor) -> None:
    seen: list[Delta] = []
    model = chat_model.WireChatModel(client=client, model="tools-lookup", on_deltas=seen.extend)
    agent = agents.create_agent(model, [tools.tool(lookup)], system_prompt="Be brief.")
    result = await agent.ainvoke({"messages": [messages.HumanMessage(TOOL_ARGUMENTS)]})
    kinds = [message.type for message in result["messages"]]
    assert kinds == ["human", "ai", "tool", "ai"]
    assert result["messages"][-1].content == "The tool lookup said: 3 days of sun in Hangzhou"
    first, second = vendor.stats.bodies
    assert first["messages"][0] == {"role": "system", "content": "Be brief."}
    assert first["tools"][0]["function"]["name"] == "lookup"
    asked, answered = second["messages"][-2:]
    assert asked["tool_calls"][0]["function"]["name"] == "lookup"
    assert answered == {
        "role": "tool",
        "content": "3 days of sun in Hangzhou",
        "tool_call_id": asked["tool_calls"][0]["id"],
    }
    # The sink saw both calls of the model: the fragments of the call, and the words of the answer.
    assert sum(type(delta) is ToolCallDelta for delta in seen) > 1
    assert "".join(delta.text for delta in seen if type(delta) is TextDelta) == result["messages"][-1].content
    assert [delta.reason for delta in seen if isinstance(delta, Finish)] == ["tool_calls", "stop"]


async def test_an_agent_with_structured_output() -> None:
    class Weather(BaseModel):
        """The weather."""

        city: str

    ScriptedModel.enqueue([ToolCallDelta(0, "c1", "Weather", '{"city": "Hangzhou"}')])
    agent = agents.create_agent(chat_model.WireChatModel(client=SCRIPTED, model="m"), [], response_format=Weather)
    result = await agent.ainvoke({"messages": [messages.HumanMessage("hi")]})
    assert result["structured_response"] == Weather(city="Hangzhou")


async def test_cancelling_an_agent_stops_the_vendor(client: ModelClient, vendor: Vendor) -> None:
    seen: list[Delta] = []
    agent = agents.create_agent(
        chat_model.WireChatModel(client=client, model="fault-stall-3", on_deltas=seen.extend), []
    )
    run = asyncio.create_task(agent.ainvoke({"messages": [messages.HumanMessage("hi")]}))
    await eventually(lambda: len(seen) == 3)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await eventually(lambda: vendor.stats.records[-1].state == "cancelled", 1.0)


async def test_a_sink_that_fails_ends_the_call_and_the_stream() -> None:
    def refuse(deltas: list[Delta]) -> None:
        raise RuntimeError("the run is over")

    script = ScriptedModel.enqueue(["a", asyncio.Event()])
    with pytest.raises(RuntimeError, match="the run is over"):
        await chat_model.WireChatModel(client=SCRIPTED, model="m", on_deltas=refuse).ainvoke("hi")
    assert script.closed


@pytest.mark.parametrize("model", ["fault-401", "fault-cut-2"])
async def test_errors_come_through_as_they_are(client: ModelClient, model: str) -> None:
    agent = agents.create_agent(chat_model.WireChatModel(client=client, model=model), [])
    with pytest.raises(PaasError) as error:
        await agent.ainvoke({"messages": [messages.HumanMessage("hi")]})
    assert error.value.code in ("provider_auth_failed", "provider_stream_cut")


# --- what the vendor is sent ----------------------------------------------------------------------


async def test_parameters_of_the_model_and_of_the_call() -> None:
    script = ScriptedModel.enqueue(["a"])
    model = chat_model.WireChatModel(
        client=SCRIPTED, model="m", max_tokens=10, parameters={"temperature": 0.1, "top_p": 0.5}
    )
    await model.ainvoke("hi", stop=["END"], temperature=0.9, max_tokens=20, ls_structured_output_format={})
    assert script.request is not None
    assert script.request.max_tokens == 20
    assert script.request.parameters == {"temperature": 0.9, "top_p": 0.5, "stop": ["END"]}
    assert script.request.tools is None


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, None),
        ("auto", "auto"),
        ("any", "required"),
        (True, "required"),
        ("lookup", {"type": "function", "function": {"name": "lookup"}}),
        ({"type": "x"}, {"type": "x"}),
    ],
)
async def test_tools_and_their_choice(choice: Any, sent: Any) -> None:
    script = ScriptedModel.enqueue(["a"])
    await (
        chat_model.WireChatModel(client=SCRIPTED, model="m")
        .bind_tools([tools.tool(lookup)], tool_choice=choice)
        .ainvoke("hi")
    )
    assert script.request is not None
    assert script.request.tools is not None
    assert script.request.tools[0]["function"]["parameters"]["required"] == ["city"]
    assert script.request.parameters.get("tool_choice") == sent


def test_messages_in_openais_shape() -> None:
    call = {"name": "lookup", "args": {"city": "杭州"}, "id": "c1", "type": "tool_call"}
    invalid = {"name": "lookup", "args": "{oops", "id": "c2", "error": "no", "type": "invalid_tool_call"}
    thought = {"reasoning_content": "thought"}
    assert chat_model.openai_messages(
        [
            messages.SystemMessage("s"),
            messages.HumanMessage("h"),
            messages.HumanMessage(
                [
                    {"type": "text", "text": "t"},
                    {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
                ]
            ),
            messages.AIMessage("a", additional_kwargs=thought),
            messages.AIMessage("", tool_calls=[call], invalid_tool_calls=[invalid], additional_kwargs=thought),
            messages.ToolMessage("r", tool_call_id="c1"),
        ]
    ) == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "h"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "t"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            ],
        },
        {"role": "assistant", "content": "a"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "lookup", "arguments": '{"city":"杭州"}'},
                },
                {"id": "c2", "type": "function", "function": {"name": "lookup", "arguments": "{oops"}},
            ],
            "reasoning_content": "thought",
        },
        {"role": "tool", "content": "r", "tool_call_id": "c1"},
    ]


@pytest.mark.parametrize("arguments", ["{broken", "[1]", "5"])
async def test_arguments_that_are_no_object_are_an_invalid_call(arguments: str) -> None:
    ScriptedModel.enqueue([ToolCallDelta(0, "c1", "lookup", arguments)])
    message = await chat_model.WireChatModel(client=SCRIPTED, model="m").ainvoke("hi")
    assert isinstance(message, messages.AIMessage)
    assert message.tool_calls == []
    assert message.invalid_tool_calls[0]["args"] == arguments


async def test_empty_arguments_are_an_empty_object() -> None:
    ScriptedModel.enqueue([ToolCallDelta(0, "c1", "lookup", "")])
    message = await chat_model.WireChatModel(client=SCRIPTED, model="m").ainvoke("hi")
    assert isinstance(message, messages.AIMessage)
    assert message.tool_calls[0]["args"] == {}


# --- apart from everybody -------------------------------------------------------------------------


async def test_no_cache_of_langchain_mixes_tenants() -> None:
    settings.set_llm_cache(caches.InMemoryCache())
    try:
        model = chat_model.WireChatModel(client=SCRIPTED, model="m")
        for answer in ("first", "second"):
            ScriptedModel.enqueue([answer])
            assert (await model.ainvoke("the same question")).content == answer
    finally:
        settings.set_llm_cache(None)


def test_it_is_async_only() -> None:
    with pytest.raises(NotImplementedError):
        chat_model.WireChatModel(client=SCRIPTED, model="m").invoke("hi")


def test_counting_fetches_nothing() -> None:
    assert chat_model.WireChatModel(client=SCRIPTED, model="m").get_num_tokens("abcd") == 2


async def test_the_key_is_not_in_the_models_repr_or_dump(client: ModelClient) -> None:
    model = chat_model.WireChatModel(client=client, model="m", on_deltas=print)
    assert KEY not in repr(model) + str(model.model_dump()) + str(model.to_json())


def _reasoned(text: str) -> list[Any]:
    from llm.deltas import ReasoningDelta

    return [ReasoningDelta(text)]


def _call(index: int, call_id: str) -> list[Any]:
    return [ToolCallDelta(index, call_id, "lookup", '{"city"'), ToolCallDelta(index, None, None, ': "X"}')]
