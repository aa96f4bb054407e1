"""langchain-openai: its chat model and its embeddings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest
from pydantic import BaseModel, Field

from bench.answers import token_text
from bench.embeddings import vector_of
from tests.chat.ledger import eventually
from tests.sdk.asking import ASKED, PICTURE


class Lookup(BaseModel):
    """Looks a city up."""

    city: str = Field(description="its name")


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    """Connections of one test: LangChain's own live as long as the process, and a test's event loop does not."""
    async with httpx2.AsyncClient() as client:
        yield client


@pytest.fixture
def chat(base: str, api_key: Any, http: httpx2.AsyncClient) -> Any:
    from langchain_openai import ChatOpenAI

    token = api_key()
    plain = {"base_url": base, "api_key": token, "max_retries": 0, "http_async_client": http}
    return lambda model, **more: ChatOpenAI(model=model, **plain | more)


async def test_it_streams_and_completes(chat: Any, agent: Any) -> None:
    model = chat(agent("bench-0-0-6"), stream_usage=True)
    chunks = [chunk async for chunk in model.astream("hello")]
    assert "".join(chunk.content for chunk in chunks) == "".join(token_text(6))
    usage = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert [(one["input_tokens"], one["output_tokens"]) for one in usage] == [(10, 6)]
    whole = await model.ainvoke("hello")
    assert (whole.content, whole.response_metadata["finish_reason"]) == ("".join(token_text(6)), "stop")
    assert whole.usage_metadata["total_tokens"] == 16
    first, again = [await model.ainvoke("hello", extra_headers={"Idempotency-Key": "mine"}) for _ in range(2)]
    assert again.response_metadata["id"] == first.response_metadata["id"]  # it comes back to an answer


async def test_it_calls_tools_and_goes_on(chat: Any, agent: Any) -> None:
    from langchain_core.messages import HumanMessage, ToolMessage

    model = chat(agent("tools-Lookup")).bind_tools([Lookup])
    asked = await model.ainvoke(ASKED)
    assert [(call["name"], call["args"]) for call in asked.tool_calls] == [("Lookup", {"city": "Oslo"})]
    streamed: Any = None
    async for chunk in model.astream(ASKED):
        streamed = chunk if streamed is None else streamed + chunk
    assert streamed.tool_calls[0]["args"] == {"city": "Oslo"}
    call = asked.tool_calls[0]
    answer = await model.ainvoke([HumanMessage(ASKED), asked, ToolMessage("cold", tool_call_id=call["id"])])
    assert answer.content == "The tool Lookup said: cold"


async def test_it_gets_json_by_a_schema_and_shows_pictures(chat: Any, able: Any, vendor: Any) -> None:
    from langchain_core.messages import HumanMessage

    model = chat(able("echo"))
    assert await model.with_structured_output(Lookup).ainvoke(ASKED) == Lookup(city="Oslo")
    assert vendor.stats.bodies[-1]["response_format"]["type"] == "json_schema"
    picture = {"type": "image_url", "image_url": {"url": PICTURE}}
    answer = await model.ainvoke([HumanMessage([{"type": "text", "text": "What?"}, picture])])
    assert answer.content == "What?"
    assert vendor.stats.bodies[-1]["messages"][-1]["content"][1] == picture


async def test_it_embeds(base: str, api_key: Any, embedder: None, http: httpx2.AsyncClient) -> None:
    from langchain_openai import OpenAIEmbeddings

    # Without the check it sends texts; with it, tokens of OpenAI's vocabulary, which it would fetch from the network.
    connection: Any = {"base_url": base, "api_key": api_key(), "http_async_client": http}
    model = OpenAIEmbeddings(model="vectors/embed-4", check_embedding_ctx_length=False, **connection)
    assert await model.aembed_documents(["a", "b"]) == [vector_of("a", 4), vector_of("b", 4)]


async def test_its_errors_are_the_sdks(chat: Any, agent: Any, busy_once: None) -> None:
    assert (await chat("assistant", max_retries=2).ainvoke("hello")).content == "ok"
    for model, error in (("nobody", openai.NotFoundError), (agent("fault-500"), openai.InternalServerError)):
        with pytest.raises(error):
            await chat(model).ainvoke("hello")
    with pytest.raises(openai.RateLimitError):
        [chunk async for chunk in chat(agent("fault-429-9")).astream("hello")]
    with pytest.raises(openai.AuthenticationError):
        await chat("assistant", api_key="ak_" + "x" * 40).ainvoke("hello")


async def test_a_stream_that_breaks_and_one_that_is_left(chat: Any, agent: Any, vendor: Any, ledger: Any) -> None:
    seen = ""
    with pytest.raises(openai.APIError) as error:
        async for chunk in chat(agent("fault-cut-2")).astream("hello"):
            seen += chunk.content
    assert (seen, error.value.code) == ("t0 t1 ", "provider_stream_cut")
    stream = chat(agent("fault-stall-2")).astream("hello")
    while not (await anext(stream)).content:
        pass
    await stream.aclose()
    await eventually(lambda: vendor.stats.document()["cancelled"] == 1 and not ledger.left_behind())
