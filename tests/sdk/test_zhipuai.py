"""The zhipuai SDK. It is synchronous, so it works in a thread beside the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bench.answers import token_text
from bench.embeddings import vector_of
from tests.chat.ledger import eventually
from tests.lazy import Lazy
from tests.sdk.asking import ASKED, PICTURE, TOOL

zhipuai = Lazy("zhipuai")

MESSAGES = [{"role": "user", "content": ASKED}]


@pytest.fixture
def client(base: str, api_key: Any) -> Iterator[Any]:
    made = zhipuai.ZhipuAI(api_key=api_key(), base_url=base, max_retries=2)
    yield made
    made.close()


async def beside(work: Callable[[], Any]) -> Any:
    return await asyncio.wait_for(asyncio.to_thread(work), 20)


async def test_it_streams_and_completes(client: Any, agent: Any) -> None:
    model = agent("reasoning-4")
    usage = {"stream_options": {"include_usage": True}}
    chunks = await beside(
        lambda: list(client.chat.completions.create(model=model, messages=MESSAGES, stream=True, extra_body=usage))
    )
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (10, 8)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "".join(token_text(4))
    assert "".join(delta.reasoning_content or "" for delta in deltas) == "r0 r1 r2 r3 "
    key = {"Idempotency-Key": "mine"}
    asked = {"model": model, "messages": MESSAGES, "extra_headers": key}
    first, again = [await beside(lambda: client.chat.completions.create(**asked)) for _ in range(2)]
    assert (again.id, again.choices[0].message.content) == (
        first.id,
        "".join(token_text(4)),
    )  # it comes back to an answer
    whole = await beside(
        lambda: client.chat.completions.create(
            model=model, messages=MESSAGES, request_id="mine", user_id="somebody", do_sample=True, temperature=0.5
        )
    )
    assert whole.choices[0].message.content == "".join(token_text(4))
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (10, 8)


async def test_it_calls_tools_and_goes_on(client: Any, agent: Any) -> None:
    model = agent("tools-lookup")

    def talk() -> tuple[str, str]:
        pieces = ""
        for chunk in client.chat.completions.create(model=model, messages=MESSAGES, tools=[TOOL], stream=True):
            for piece in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
                pieces += piece.function.arguments
        whole = client.chat.completions.create(model=model, messages=MESSAGES, tools=[TOOL], tool_choice="auto")
        assert whole.choices[0].finish_reason == "tool_calls"
        message = whole.choices[0].message
        answered = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "cold"}
        went_on = client.chat.completions.create(model=model, messages=[*MESSAGES, message.model_dump(), answered])
        return pieces, went_on.choices[0].message.content

    assert await beside(talk) == (ASKED, "The tool lookup said: cold")


async def test_it_asks_for_json_shows_pictures_and_embeds(client: Any, able: Any, vendor: Any, embedder: None) -> None:
    model = able("echo")
    parts = [{"type": "text", "text": ASKED}, {"type": "image_url", "image_url": {"url": PICTURE}}]
    answer = await beside(
        lambda: client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": parts}], response_format={"type": "json_object"}
        )
    )
    assert answer.choices[0].message.content == ASKED
    assert vendor.stats.bodies[-1]["response_format"] == {"type": "json_object"}
    # The SDK sends the base64 text alone; vendors are given a data URL.
    assert vendor.stats.bodies[-1]["messages"][-1]["content"][1]["image_url"] == {"url": PICTURE}
    found = await beside(lambda: client.embeddings.create(model="vectors/embed-4", input=["a", "b"]))
    assert [row.embedding for row in found.data] == [vector_of("a", 4), vector_of("b", 4)]


@pytest.mark.exhaustive
async def test_it_knows_our_errors(client: Any, base: str, agent: Any, busy_once: None) -> None:
    answer = await beside(lambda: client.chat.completions.create(model="assistant", messages=MESSAGES))
    assert answer.choices[0].message.content == "ok"  # it had tried again
    stranger = zhipuai.ZhipuAI(api_key="ak_" + "x" * 40, base_url=base)
    with stranger, pytest.raises(zhipuai.APIAuthenticationError):
        await beside(lambda: stranger.chat.completions.create(model="assistant", messages=MESSAGES))
    once = zhipuai.ZhipuAI(api_key=client.api_key, base_url=base, max_retries=0)
    for model, error, status in (
        ("nobody", zhipuai.APIStatusError, 404),
        (agent("fault-400"), zhipuai.APIRequestFailedError, 400),
        (agent("fault-429-9"), zhipuai.APIReachLimitError, 429),
        (agent("fault-500"), zhipuai.APIStatusError, 502),
    ):
        with pytest.raises(error) as found:
            await beside(lambda model=model: once.chat.completions.create(model=model, messages=MESSAGES, stream=True))
        assert found.value.status_code == status
    once.close()


@pytest.mark.exhaustive
async def test_a_stream_that_breaks_and_one_that_is_left(client: Any, agent: Any, vendor: Any, ledger: Any) -> None:
    cut, stalls, seen = agent("fault-cut-2"), agent("fault-stall-2"), []

    def read() -> None:
        for chunk in client.chat.completions.create(model=cut, messages=MESSAGES, stream=True):
            seen.append(chunk.choices[0].delta.content or "")

    with pytest.raises(zhipuai.core.APIResponseError) as error:
        await beside(read)
    assert ("".join(seen), error.value.json_data["code"]) == ("t0 t1 ", "provider_stream_cut")

    def leave() -> None:
        stream = client.chat.completions.create(model=stalls, messages=MESSAGES, stream=True)
        assert any(chunk.choices[0].delta.content for chunk in stream)
        stream.response.close()

    await beside(leave)
    await eventually(lambda: vendor.stats.document()["cancelled"] == 1 and not ledger.left_behind())
