"""The official openai SDK for Python. (Plain answers, keys and errors: tests/chat/test_openai.py.)"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel

from bench.answers import token_text
from bench.embeddings import vector_of
from tests.lazy import Lazy
from tests.sdk.asking import ASKED, PICTURE, TOOL

openai = Lazy("openai")


@pytest.fixture
async def client(base: str, api_key: Any) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(base_url=base, api_key=api_key(), max_retries=2) as made:
        yield made


MESSAGES: list[Any] = [{"role": "user", "content": ASKED}]


async def test_it_calls_tools_and_goes_on(client: Any, agent: Any, vendor: Any) -> None:
    model, tools = agent("tools-lookup"), [TOOL]
    whole = await client.chat.completions.create(model=model, messages=MESSAGES, tools=tools, tool_choice="auto")  # type: ignore[call-overload]
    choice = whole.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    (call,) = choice.message.tool_calls
    assert (call.function.name, call.function.arguments) == ("lookup", ASKED)
    assert whole.usage.completion_tokens == 2  # pieces of the call
    async with client.chat.completions.stream(model=model, messages=MESSAGES, tools=tools) as stream:  # type: ignore[arg-type]
        pieces = [
            event.arguments_delta async for event in stream if event.type == "tool_calls.function.arguments.delta"
        ]
        final = (await stream.get_final_completion()).choices[0]
    assert len(pieces) == 2
    assert "".join(pieces) == ASKED
    assert final.finish_reason == "tool_calls"
    assert final.message.tool_calls is not None
    assert final.message.tool_calls[0].function.arguments == ASKED
    went_on = [*MESSAGES, choice.message, {"role": "tool", "tool_call_id": call.id, "content": "cold"}]
    answer = await client.chat.completions.create(model=model, messages=went_on, tools=tools)  # type: ignore[arg-type]
    assert answer.choices[0].message.content == "The tool lookup said: cold"
    assert [message["role"] for message in vendor.stats.bodies[-1]["messages"]] == ["user", "assistant", "tool"]
    assert vendor.stats.bodies[-1]["tools"] == [TOOL]


class City(BaseModel):
    city: str


async def test_it_gets_json_by_a_schema(client: Any, able: Any, agent: Any, vendor: Any) -> None:
    found = await client.chat.completions.parse(model=able("echo"), messages=MESSAGES, response_format=City)
    assert found.choices[0].message.parsed == City(city="Oslo")
    assert vendor.stats.bodies[-1]["response_format"]["json_schema"]["schema"]["required"] == ["city"]
    with pytest.raises(openai.BadRequestError) as error:
        await client.chat.completions.parse(model=agent("echo"), messages=MESSAGES, response_format=City)
    assert (error.value.code, error.value.param) == ("unsupported_parameter", "response_format")


async def test_it_shows_pictures(client: Any, able: Any, vendor: Any) -> None:
    parts: Any = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PICTURE}}]
    answer = await client.chat.completions.create(model=able("echo"), messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == "What is it?"
    assert vendor.stats.bodies[-1]["messages"][-1]["content"] == parts


async def test_it_embeds(client: Any, embedder: None) -> None:
    """The SDK asks for base64 by itself, and decodes it."""
    found = await client.embeddings.create(model="vectors/embed-4", input=["a", "b"])
    assert [row.embedding for row in found.data] == [vector_of("a", 4), vector_of("b", 4)]
    assert found.usage.total_tokens == 2
    assert (await client.models.retrieve("vectors/embed-4")).owned_by == "acme"


async def test_it_tries_again_when_that_helps_and_only_then(
    client: Any, agent: Any, busy_once: None, vendor: Any
) -> None:
    answer = await client.chat.completions.create(model="assistant", messages=MESSAGES)
    assert answer.choices[0].message.content == "ok"
    with pytest.raises(openai.InternalServerError) as error:
        await client.chat.completions.create(model=agent("fault-401"), messages=MESSAGES)
    assert error.value.code == "provider_auth_failed"
    assert vendor.stats.requests == 1


async def test_it_comes_back_to_an_answer_with_a_key(client: Any, agent: Any, vendor: Any) -> None:
    """A broken answer is asked for again under its key: the same answer from its beginning, and the vendor asked once."""
    asked: Any = {"model": agent("bench-0-5-20"), "messages": MESSAGES, "extra_headers": {"Idempotency-Key": "mine"}}
    stream = await client.chat.completions.create(stream=True, **asked)
    first = await anext(aiter(stream))
    await stream.close()
    again = [chunk async for chunk in await client.chat.completions.create(stream=True, **asked)]
    assert {chunk.id for chunk in again} == {first.id}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in again if chunk.choices) == "".join(token_text(20))
    assert vendor.stats.requests == 1
