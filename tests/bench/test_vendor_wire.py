"""The stand-in vendor answers as vendors do: what others are measured against must be right itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from bench.answers import PROMPT_TOKENS, token_text
from bench.vendor import Vendor, vendor_in_thread

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def vendor() -> AsyncIterator[Vendor]:
    async with Vendor() as running:
        yield running


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(read_bufsize=2**20) as session:
        yield session


def body_of(model: str, text: str = "hi", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


async def events_of(http: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """All events of a stream that must end with [DONE]."""
    async with http.post(url + "/chat/completions", json=body | {"stream": True}) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        blocks = (await answer.text()).split("\n\n")
    assert blocks.pop() == ""
    assert blocks.pop() == "data: [DONE]"
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


def deltas_of(events: list[dict[str, Any]], key: str = "content") -> list[Any]:
    deltas = [event["choices"][0]["delta"] for event in events if event["choices"]]
    return [delta[key] for delta in deltas if delta.get(key)]


async def whole(http: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> dict[str, Any]:
    async with http.post(url + "/chat/completions", json=body) as answer:
        assert answer.status == 200
        document: dict[str, Any] = await answer.json()
        return document


async def test_each_token_is_an_event_of_its_own(vendor: Vendor, http: aiohttp.ClientSession) -> None:
    events = await events_of(http, vendor.base_url, body_of("bench-0-0-200"))
    assert deltas_of(events) == list(token_text(200))
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [event["choices"][0]["finish_reason"] for event in events] == [None] * 201 + ["stop"]
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert {event["model"] for event in events} == {"bench-0-0-200"}
    assert {event["id"] for event in events} == {vendor.stats.records[0].id}
    assert not any("usage" in event for event in events)


async def test_openai_reports_usage_last_and_only_when_asked(vendor: Vendor, http: aiohttp.ClientSession) -> None:
    asked = body_of("bench-0-0-3", stream_options={"include_usage": True})
    events = await events_of(http, vendor.base_url, asked)
    assert [event["usage"] for event in events[:-1]] == [None] * 5
    assert events[-1]["choices"] == []
    usage = events[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (PROMPT_TOKENS, 3)
    assert usage["total_tokens"] == PROMPT_TOKENS + 3


async def test_zhipu_reports_usage_in_the_last_chunk(vendor: Vendor, http: aiohttp.ClientSession) -> None:
    events = await events_of(http, vendor.zhipu_url, body_of("bench-0-0-3"))
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    assert events[-1]["usage"]["completion_tokens"] == 3


async def test_whole_answers_hold_the_same(vendor: Vendor, http: aiohttp.ClientSession) -> None:
    answer = await whole(http, vendor.base_url, body_of("bench-0-0-200"))
    assert answer["choices"][0]["message"]["content"] == "".join(token_text(200))
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == 200
    assert answer["id"] == vendor.stats.records[0].id


@pytest.mark.parametrize("stream", [False, True])
async def test_a_limit_cuts_the_answer(vendor: Vendor, http: aiohttp.ClientSession, stream: bool) -> None:
    body = body_of("bench-0-0-200", max_tokens=7)
    if stream:
        events = await events_of(http, vendor.base_url, body)
        assert deltas_of(events) == list(token_text(7))
        reason = events[-1]["choices"][0]["finish_reason"]
    else:
        reason = (await whole(http, vendor.base_url, body))["choices"][0]["finish_reason"]
    assert reason == "length"
    assert vendor.stats.records[0].tokens == 7


async def test_a_paced_stream_keeps_its_times(vendor: Vendor, http: aiohttp.ClientSession) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    events = await events_of(http, vendor.base_url, body_of("bench-60-10-10"))
    assert deltas_of(events) == list(token_text(10))
    assert 0.148 < loop.time() - began < 2


async def test_a_stream_stops_when_its_client_leaves(vendor: Vendor, http: aiohttp.ClientSession) -> None:
    answer = await http.post(vendor.base_url + "/chat/completions", json=body_of("bench-0-10-500", stream=True))
    await answer.content.readuntil(b"t2 ")
    answer.close()
    record = vendor.stats.records[0]
    async with asyncio.timeout(5):
        while record.state == "open":
            await asyncio.sleep(0.001)
    assert record.state == "cancelled"
    emitted = record.tokens
    assert 3 <= emitted < 500
    await events_of(http, vendor.base_url, body_of("bench-0-10-5"))  # time for more to come, if any did
    assert record.tokens == emitted
    assert vendor.stats.document()["cancelled"] == 1
    assert vendor.stats.document()["open_streams"] == 0


@pytest.mark.exhaustive
async def test_many_tokens_wait_for_a_slow_reader(vendor: Vendor, http: aiohttp.ClientSession) -> None:
    body = body_of("bench-0-0-100000", stream=True)
    async with http.post(vendor.base_url + "/chat/completions", json=body) as answer:
        await answer.content.readexactly(1)
        record = vendor.stats.records[0]
        emitted = -1
        async with asyncio.timeout(10):
            while record.tokens > emitted:  # until the socket takes no more
                emitted = record.tokens
                await asyncio.sleep(0.05)
        assert 0 < emitted < 100_000
        rest = await answer.content.read()
    assert rest.endswith(b"data: [DONE]\n\n")
    assert record.tokens == 100_000


async def test_a_tool_call_comes_in_pieces_then_an_answer(vendor: Vendor, http: aiohttp.ClientSession) -> None:
    arguments = '{"city": "Berlin", "days": 3}'
    events = await events_of(http, vendor.base_url, body_of("tools-weather", arguments))
    pieces = [pieces[0] for pieces in deltas_of(events, "tool_calls")]
    assert len(pieces) > 1
    assert pieces[0]["function"]["name"] == "weather"
    assert pieces[0]["id"].startswith("call_")
    assert not any("id" in piece for piece in pieces[1:])
    assert "".join(piece["function"]["arguments"] for piece in pieces) == arguments
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"
    body = body_of("tools-weather", arguments)
    body["messages"] += [{"role": "tool", "tool_call_id": pieces[0]["id"], "content": "sunny"}]
    assert "".join(deltas_of(await events_of(http, vendor.base_url, body))) == "The tool weather said: sunny"
    message = (await whole(http, vendor.base_url, body_of("tools-weather", arguments)))["choices"][0]["message"]
    assert message["tool_calls"][0]["function"] == {"name": "weather", "arguments": arguments}


async def test_reasoning_comes_first_and_is_counted(vendor: Vendor, http: aiohttp.ClientSession) -> None:
    events = await events_of(http, vendor.zhipu_url, body_of("reasoning-4"))
    assert deltas_of(events, "reasoning_content") == ["r0 ", "r1 ", "r2 ", "r3 "]
    assert deltas_of(events) == list(token_text(4))
    usage = events[-1]["usage"]
    assert usage["completion_tokens"] == 8
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 4


@pytest.mark.parametrize("text", ["two words", "  spaces  kept \n", "你好 世界", "one", ""])
async def test_echo_gives_back_every_character(vendor: Vendor, http: aiohttp.ClientSession, text: str) -> None:
    assert "".join(deltas_of(await events_of(http, vendor.base_url, body_of("echo", text)))) == text


async def test_input_is_counted_in_bytes(vendor: Vendor, http: aiohttp.ClientSession) -> None:
    messages = [
        {"role": "system", "content": "abc"},
        {"role": "user", "content": [{"type": "text", "text": "你"}, {"type": "image_url", "image_url": {}}]},
    ]
    answer = await whole(http, vendor.base_url, {"model": "count-input", "messages": messages})
    assert answer["usage"]["prompt_tokens"] == 6


async def test_a_key_is_demanded_when_there_is_one(http: aiohttp.ClientSession) -> None:
    async with Vendor(key="sk-right") as vendor:
        for key, status in (("sk-wrong", 401), ("sk-right", 200)):
            headers = {"Authorization": f"Bearer {key}"}
            url = vendor.base_url
            async with http.post(url + "/chat/completions", json=body_of("echo"), headers=headers) as answer:
                assert answer.status == status
            async with http.get(url + "/models", headers=headers) as answer:
                assert answer.status == status
        assert [record.state for record in vendor.stats.records] == ["refused", "done"]


async def test_what_was_asked_can_be_read_and_forgotten(vendor: Vendor, http: aiohttp.ClientSession) -> None:
    headers = {"X-Request-Id": "r-1"}
    body = body_of("bench-0-0-4", stream=True, temperature=0.5)
    async with http.post(vendor.base_url + "/chat/completions", json=body, headers=headers) as answer:
        await answer.read()
    origin = vendor.base_url.removesuffix("/v1")
    async with http.get(origin + "/_stats") as answer:
        stats = await answer.json()
    assert (stats["requests"], stats["tokens"], stats["open_streams"]) == (1, 4, 0)
    assert stats["answers"][0]["request_id"] == "r-1"
    assert vendor.stats.bodies[-1]["temperature"] == 0.5
    async with http.post(origin + "/_reset") as answer:
        assert answer.status == 200
    assert vendor.stats.document()["requests"] == 0


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/chat/completions", b"", 405),
        ("POST", "/v1/chat/completions", b"{", 400),
        ("POST", "/v1/chat/completions", b"[]", 400),
        ("POST", "/v1/chat/completions", b'{"model": "echo"}', 400),
        ("POST", "/v1/chat/completions", b'{"model": "gpt-4o", "messages": []}', 404),
        ("GET", "/v1/nothing", b"", 404),
        ("GET", "/health", b"", 200),
    ],
)
async def test_other_requests(
    vendor: Vendor, http: aiohttp.ClientSession, method: str, path: str, body: bytes, status: int
) -> None:
    async with http.request(method, f"http://127.0.0.1:{vendor.port}{path}", data=body) as answer:
        assert answer.status == status
        assert status == 200 or "message" in (await answer.json())["error"]


async def test_pipelined_requests_are_answered_in_order(vendor: Vendor) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", vendor.port)
    for model in ("bench-20-0-1", "echo"):
        body = json.dumps(body_of(model, "second")).encode()
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    first, second = b'"content":"t0 "', b'"content":"second"'
    got = await asyncio.wait_for(reader.readuntil(second), 5)
    assert 0 < got.index(first) < got.index(second)
    writer.write(b"nonsense\r\n\r\n")
    assert b"400 Bad Request" in await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()


async def test_a_vendor_in_a_thread_of_its_own(http: aiohttp.ClientSession) -> None:
    with vendor_in_thread() as vendor:
        assert "".join(deltas_of(await events_of(http, vendor.base_url, body_of("echo", "a b")))) == "a b"
