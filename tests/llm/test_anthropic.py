"""Anthropic's Messages wire: the contract of every provider, and what is its own."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from core.errors import PaasError
from llm.anthropic import MESSAGES, MessageParser, body_of, usage_report
from llm.client import WireClient
from llm.deltas import Finish, ModelRequest, TextDelta, ToolCallDelta, UsageReport
from llm.embeddings import EmbeddingRequest
from llm.registry import ProviderRef, client_for
from tests.contracts.provider import KEY, LOOKUP, HttpProviderContract


class TestAnthropic(HttpProviderContract):
    counts_reasoning = False

    def client(self) -> WireClient:
        url = self.vendor.anthropic_url.removesuffix("/v1")  # as Anthropic's own clients take it
        client = client_for(ProviderRef(uuid.uuid4(), "anthropic", url, KEY, allow_private=True))
        assert isinstance(client, WireClient)
        return client

    async def test_it_has_no_embeddings(self) -> None:
        with pytest.raises(PaasError) as error:
            await self.client().embed(EmbeddingRequest("m", ["a"]))
        assert error.value.code == "model_not_found"


def sent(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return body_of(ModelRequest("claude", list(messages), **more), True)


def test_a_conversation_with_tools_and_pictures_in_their_shape() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": '{"a": 1}'}}
    other = {"id": "c2", "type": "function", "function": {"name": "lookup", "arguments": "{broken"}}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = sent(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "look"}, picture]},
        {"role": "assistant", "content": None, "tool_calls": [call, other]},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": ""},
        {"role": "user", "content": "and?"},
        max_tokens=5000,
        parameters={
            "thinking": True,
            "temperature": 1.7,
            "top_p": 0.5,
            "seed": 1,
            "stop": "END",
            "tool_choice": "required",
        },
        tools=[LOOKUP],
    )
    assert body["system"] == "Be brief."
    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "c1", "name": "lookup", "input": {"a": 1}},
                {"type": "tool_use", "id": "c2", "name": "lookup", "input": {"unreadable": "{broken"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "one"}]},
                {"type": "tool_result", "tool_use_id": "c2", "content": []},
                {"type": "text", "text": "and?"},
            ],
        },
    ]
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2500}
    assert body["tool_choice"] == {"type": "auto"}  # who thinks cannot be made to call a tool
    assert body["stop_sequences"] == ["END"]
    assert body["tools"] == [{"name": "lookup", "description": "", "input_schema": {"type": "object"}}]
    assert {"temperature", "top_p", "seed"}.isdisjoint(body)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"temperature": 1.7, "top_p": 0.5}, {"temperature": 1}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"thinking": "disabled"}, {}),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 9}},
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        ),
        ({"tool_choice": {"function": {"name": "lookup"}}}, {"tool_choice": {"type": "tool", "name": "lookup"}}),
        (
            {"tool_choice": "required", "parallel_tool_calls": False},
            {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
        ),
    ],
)
def test_parameters_in_their_words(given: dict[str, Any], expected: dict[str, Any]) -> None:
    body = sent({"role": "user", "content": "a"}, parameters=given, tools=[LOOKUP])
    own = {"model", "max_tokens", "messages", "stream", "tools"}
    assert {name: value for name, value in body.items() if name not in own} == expected


def test_thinking_is_left_out_where_it_would_be_refused() -> None:
    asked = {"role": "user", "content": "a"}
    assert "thinking" not in sent(asked, max_tokens=1024, parameters={"thinking": True})
    told = {"role": "tool", "tool_call_id": "c", "content": "b"}
    assert "thinking" not in sent(asked, told, max_tokens=9000, parameters={"thinking": True})


def test_what_was_read_from_the_cache_is_input_too() -> None:
    usage = {"input_tokens": 3, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 100, "output_tokens": 7}
    assert usage_report(usage) == UsageReport(123, 7, 20, 0)
    assert usage_report(usage | {"output_tokens": -1}) is None
    assert usage_report({}) is None


def test_tool_calls_are_numbered_among_themselves_and_a_cut_answer_reports_nothing() -> None:
    parser = MessageParser(MESSAGES)
    block = b'data: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
    deltas = parser.feed(
        b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":5,"output_tokens":1}}}\n\n'
        + block % (0, b'{"type":"text","text":"a"}')
        + block % (1, b'{"type":"tool_use","id":"t1","name":"x","input":{}}')
        + b'data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}}\n\n'
        + block % (2, b'{"type":"tool_use","id":"t2","name":"y","input":{"b":1}}')
    )
    assert deltas == [
        TextDelta("a"),
        ToolCallDelta(0, "t1", "x", ""),
        ToolCallDelta(0, None, None, "{}"),
        ToolCallDelta(1, "t2", "y", '{"b":1}'),
    ]
    last = parser.feed(
        b'data: {"type":"message_delta","delta":{"stop_reason":"refusal"},"usage":{"output_tokens":9}}\n\n'
        b'data: {"type":"message_stop"}\n\n'
    )
    assert last == [Finish("content_filter"), UsageReport(5, 9, 0, 0)]
    assert parser.done
