"""The unmodified Anthropic SDK against the stand-in vendor: whoever parses what the stand-in says parses Anthropic.

Our own client is tested against the same stand-in (tests/llm/test_anthropic.py), so it would not notice if both were
wrong in the same way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bench.answers import token_text
from bench.vendor import Vendor
from tests.lazy import Lazy

sdk = Lazy("anthropic")
KEY = "sk-ant-stand-in"
ASKED = {"max_tokens": 500, "messages": [{"role": "user", "content": "Hi"}]}
TOOL = {"name": "lookup", "description": "Looks up.", "input_schema": {"type": "object", "properties": {}}}


pytestmark = pytest.mark.exhaustive  # to load this SDK takes longer than to use it


@pytest.fixture
async def client() -> AsyncIterator[Any]:
    async with Vendor(key=KEY) as vendor:
        url = vendor.anthropic_url.removesuffix("/v1")
        async with sdk.AsyncAnthropic(api_key=KEY, base_url=url, max_retries=0) as made:
            yield made


async def test_a_message_and_the_same_in_pieces(client: Any) -> None:
    text = "".join(token_text(4))
    whole = await client.messages.create(model="reasoning-4", **ASKED)
    assert [block.type for block in whole.content] == ["thinking", "text"]
    assert (whole.content[1].text, whole.stop_reason) == (text, "end_turn")
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == (10, 8)
    async with client.messages.stream(model="reasoning-4", **ASKED) as stream:
        pieces = [piece async for piece in stream.text_stream]
        built = await stream.get_final_message()
    assert ("".join(pieces), len(pieces)) == (text, 4)
    assert [block.type for block in built.content] == ["thinking", "text"]
    assert built.content[0].thinking == whole.content[0].thinking
    assert (built.stop_reason, built.usage.input_tokens, built.usage.output_tokens) == ("end_turn", 10, 8)


async def test_calls_of_tools(client: Any) -> None:
    whole = await client.messages.create(model="tools-lookup", tools=[TOOL], **ASKED)
    async with client.messages.stream(model="tools-lookup", tools=[TOOL], **ASKED) as stream:
        built = await stream.get_final_message()
    for message in (whole, built):
        (call,) = [block for block in message.content if block.type == "tool_use"]
        assert (call.name, message.stop_reason) == ("lookup", "tool_use")
        assert isinstance(call.input, dict)
        assert call.id.startswith("toolu_")
    assert whole.content[-1].input == built.content[-1].input
    answered = [
        *ASKED["messages"],  # type: ignore[misc]
        {
            "role": "assistant",
            "content": [block.model_dump(include={"type", "id", "name", "input"}) for block in built.content],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": built.content[-1].id, "content": "found"}]},
    ]
    last = await client.messages.create(model="tools-lookup", tools=[TOOL], max_tokens=50, messages=answered)
    assert (last.content[-1].type, last.stop_reason) == ("text", "end_turn")


@pytest.mark.parametrize(
    ("model", "name", "status"),
    [
        ("fault-400", "BadRequestError", 400),
        ("fault-401", "AuthenticationError", 401),
        ("fault-429", "RateLimitError", 429),
        ("fault-500", "InternalServerError", 500),
        ("fault-503-twice", "OverloadedError", 529),
        ("no-such-model", "NotFoundError", 404),
    ],
)
async def test_refusals_are_the_errors_that_they_are_meant_to_be(
    client: Any, model: str, name: str, status: int
) -> None:
    with pytest.raises(sdk.APIStatusError) as error:
        await client.messages.create(model=model, **ASKED)
    assert (type(error.value).__name__, error.value.status_code) == (name, status)
    assert error.value.body["type"] == "error"
    with pytest.raises(sdk.APIStatusError):
        async with client.messages.stream(model=model, **ASKED) as stream:
            await stream.get_final_message()


async def test_a_wrong_key_and_an_answer_that_is_cut(client: Any) -> None:
    with pytest.raises(sdk.AuthenticationError):
        await client.with_options(api_key="sk-other").messages.create(model="bench-0-0-1", **ASKED)
    short = await client.messages.create(model="bench-0-0-50", **ASKED | {"max_tokens": 3})
    assert (short.stop_reason, short.usage.output_tokens) == ("max_tokens", 3)
