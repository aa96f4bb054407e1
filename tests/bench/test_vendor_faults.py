"""Each fault of the stand-in vendor is the fault that its name says, and no other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
import pytest_asyncio

from bench.answers import HUGE_LINE_BYTES, token_text
from bench.vendor import Vendor

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def vendor() -> AsyncIterator[Vendor]:
    async with Vendor() as running:
        yield running


Ask = Callable[..., Awaitable[aiohttp.ClientResponse]]


@pytest_asyncio.fixture
async def ask(vendor: Vendor) -> AsyncIterator[Ask]:
    """`await ask(model, stream=True)`: the vendor's response, closed at the end of the test."""
    answers: list[aiohttp.ClientResponse] = []

    async def send(model: str, stream: bool = True) -> aiohttp.ClientResponse:
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": stream}
        if stream:
            body["stream_options"] = {"include_usage": True}
        answers.append(await session.post(vendor.base_url + "/chat/completions", json=body))
        return answers[-1]

    async with aiohttp.ClientSession(read_bufsize=2**24) as session:
        yield send
        for answer in answers:
            answer.close()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "status", "retry_after"),
    [("fault-400", 400, None), ("fault-401", 401, None), ("fault-500", 500, None),
     ("fault-429", 429, "2"), ("fault-429-30", 429, "30")],
)  # fmt: skip
async def test_refusals(
    vendor: Vendor,
    ask: Ask,
    model: str,
    status: int,
    retry_after: str | None,
    stream: bool,
) -> None:
    answer = await ask(model, stream)
    assert answer.status == status
    assert answer.headers.get("Retry-After") == retry_after
    assert (await answer.json())["error"]["message"]
    assert vendor.stats.records[0].state == "refused"


async def test_503_twice_and_then_an_answer(vendor: Vendor, ask: Ask) -> None:
    statuses = [(await ask("fault-503-twice", stream=False)).status for _ in range(6)]
    assert statuses == [503, 503, 200, 503, 503, 200]
    assert (await ask("fault-503-twice-other")).status == 503


@pytest.mark.parametrize("tokens", [0, 3, 40])
async def test_cut(vendor: Vendor, ask: Ask, tokens: int) -> None:
    answer = await ask(f"fault-cut-{tokens}")
    got = b"" if tokens == 0 else await answer.content.readuntil(b"t%d " % (tokens - 1))
    with pytest.raises(aiohttp.ClientPayloadError):
        await answer.content.readuntil(b"[DONE]")
    assert got.count(b'"content":"t') == tokens
    record = vendor.stats.records[0]
    assert (record.state, record.tokens) == ("cut", tokens)


async def test_cut_of_a_whole_answer(vendor: Vendor, ask: Ask) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        await (await ask("fault-cut-3", stream=False)).read()


@pytest.mark.parametrize("stream", [False, True])
async def test_hang(vendor: Vendor, ask: Ask, stream: bool) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ask("fault-hang", stream), 0.2)
    record = vendor.stats.records[0]
    async with asyncio.timeout(5):
        while record.state == "open":
            await asyncio.sleep(0.001)
    assert (record.state, record.tokens) == ("cancelled", 0)


async def test_stall(vendor: Vendor, ask: Ask) -> None:
    answer = await ask("fault-stall-3")
    got = await asyncio.wait_for(answer.content.readuntil(b"t2 "), 5)
    assert got.count(b'"content":"t') == 3
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(answer.content.readuntil(b"[DONE]"), 0.2)
    assert vendor.stats.document()["open_streams"] == 1
    answer.close()


async def test_an_error_in_the_middle(vendor: Vendor, ask: Ask) -> None:
    text = await (await ask("fault-error-2")).text()
    assert text.count('"content":"t') == 2
    assert "error" in json.loads(text.split("data: ")[-1])
    assert vendor.stats.records[0].state == "error"
    assert (await ask("fault-error-2", stream=False)).status == 500


@pytest.mark.parametrize("stream", [False, True])
async def test_garbage(vendor: Vendor, ask: Ask, stream: bool) -> None:
    answer = await ask("fault-garbage", stream)
    assert answer.status == 200
    lines = [line.removeprefix(b"data: ") for line in (await answer.read()).splitlines() if line]
    for line in lines[:-1] if stream else lines:
        with pytest.raises(ValueError, match=r"Expecting|decode"):
            json.loads(line)
    assert vendor.stats.records[0].tokens == 0 or not stream


async def test_a_page_instead_of_an_answer(vendor: Vendor, ask: Ask) -> None:
    answer = await ask("fault-html")
    assert (answer.status, answer.content_type) == (200, "text/html")
    assert "<html>" in await answer.text()


async def test_no_word_about_usage(vendor: Vendor, ask: Ask) -> None:
    text = await (await ask("fault-nousage-4")).text()
    assert text.count('"content":"t') == 4
    assert "prompt_tokens" not in text
    assert text.endswith("data: [DONE]\n\n")
    assert "usage" not in await (await ask("fault-nousage-4", stream=False)).json()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_slow_head_is_slow_and_then_right(vendor: Vendor, ask: Ask, stream: bool) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    answer = await ask("fault-slowhead-300", stream)
    assert loop.time() - began > 0.25
    text = await answer.text()
    assert token_text(5)[-1] in text
    assert not stream or text.endswith("data: [DONE]\n\n")


async def test_a_huge_line(vendor: Vendor, ask: Ask) -> None:
    lines = (await (await ask("fault-hugeline")).read()).splitlines()
    assert max(len(line) for line in lines) > HUGE_LINE_BYTES
    assert max(len(line) for line in (await (await ask("fault-hugeline-1000")).read()).splitlines()) < 2000
