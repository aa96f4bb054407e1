"""The load generator counts what came, and notices everything that did not."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio

from bench.client import Connection, Target
from bench.load import SCENARIOS, Scenario, percentile, run
from bench.processes import ROOT
from bench.vendor import Vendor

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def vendor() -> AsyncIterator[Vendor]:
    async with Vendor() as running:
        yield running


async def test_unpaced_counts_every_token(vendor: Vendor) -> None:
    result = await run(Target(vendor.base_url), SCENARIOS["unpaced-8x200"], seconds=0.1)
    assert result.failed == 0
    assert result.requests >= 8
    assert result.chunks == result.tokens == result.requests * 200
    assert result.chunks == sum(record.tokens for record in vendor.stats.records)
    assert result.chunks_per_s == pytest.approx(result.chunks / result.seconds, rel=0.01)


async def test_time_to_first_token_is_the_vendors(vendor: Vendor) -> None:
    scenario = Scenario("paced", "bench-50-5-4", 4, 5, rounds=2)
    result = await run(Target(vendor.base_url), scenario, seconds=0)
    assert (result.requests, result.failed) == (10, 0)
    assert 48 < result.ttft_p50_ms <= result.ttft_p95_ms <= result.ttft_max_ms < 1000
    assert result.total_p50_ms > 63


async def test_whole_answers_on_kept_connections(vendor: Vendor) -> None:
    result = await run(Target(vendor.base_url), SCENARIOS["nonstream"], seconds=0.1)
    assert result.failed == 0
    assert result.requests > 16
    assert vendor.stats.requests == result.requests


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "tokens", "reason"),
    [
        ("bench-0-0-9", 10, "characters of text"),
        ("bench-0-0-11", 10, "characters of text"),
        ("length-10", 10, "finish_reason"),
        ("fault-cut-10", 10, "closed before the end"),
        ("fault-error-10", 10, ""),
        ("fault-garbage", 10, ""),
        ("fault-html", 10, "not a completion"),
        ("fault-429", 10, "status 429"),
        ("fault-500", 10, "status 500"),
        ("no-such-model", 10, "status 404"),
    ],
)
async def test_what_is_wrong_is_counted(vendor: Vendor, model: str, tokens: int, reason: str, stream: bool) -> None:
    scenario = Scenario("wrong", model, tokens, 2, stream=stream, rounds=1)
    result = await run(Target(vendor.base_url), scenario, seconds=0)
    assert (result.requests, result.failed, result.chunks) == (2, 2, 0)
    assert reason in next(iter(result.failures))


async def test_a_key_is_sent(vendor: Vendor) -> None:
    scenario = Scenario("key", "bench-0-0-3", 3, 1, rounds=1)
    async with Vendor(key="sk-right") as locked:
        assert (await run(Target(locked.base_url, "sk-right"), scenario, 0)).failed == 0
        assert (await run(Target(locked.base_url, "sk-wrong"), scenario, 0)).failed == 1


async def test_a_stream_without_its_end_is_wrong() -> None:
    """Everything arrived but [DONE]: a client would wait for ever."""
    chunk = {"choices": [{"delta": {"content": "t0 "}, "finish_reason": "stop"}]}
    data = b"data: " + orjson.dumps(chunk) + b"\n\n"
    for end, problem in ((b"", "did not end"), (b"data: [DONE]\n\n", None)):
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n"
        found = await answered_with(head % len(data + end) + data + end)
        assert found == problem or (problem and problem in (found or ""))


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
async def test_events_may_be_cut_anywhere(newline: bytes) -> None:
    chunks = [
        {"choices": [{"delta": {"content": "t0 "}, "finish_reason": None}]},
        {"choices": [], "usage": {}},
    ]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    lines = [b": comment", *(b"data: " + orjson.dumps(chunk) for chunk in chunks), b"data: [DONE]"]
    body = b"".join(line + newline * 2 for line in lines)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    framed = b"".join(b"1\r\n%b\r\n" % body[at : at + 1] for at in range(len(body)))
    assert await answered_with(head + framed + b"0\r\n\r\n") is None


async def answered_with(response: bytes) -> str | None:
    """The problem that the client sees in a response of which one token is expected."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        await writer.drain()
        await reader.read()
        writer.close()
        closed.set()

    closed = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        target = Target(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        connection = await Connection.open(target)
        outcome = await asyncio.wait_for(connection.ask(target.request("m", stream=True)), 5)
        connection.close()
        await asyncio.wait_for(closed.wait(), 5)
    return outcome.problem("t0 ")


async def test_a_name_below_localhost_is_loopback() -> None:
    target = Target("http://acme.localhost:8000/v1/")
    assert target.address == ("127.0.0.1", 8000)
    assert b"POST /v1/chat/completions HTTP/1.1\r\nHost: acme.localhost:8000\r\n" in target.request("m", True)


async def test_percentiles() -> None:
    assert percentile([], 0.5) == 0.0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile(map(float, range(100)), 0.95) == 95.0


@pytest.mark.parametrize(("scenario", "status"), [("alone", 0), ("nonstream", 1)])
async def test_the_exit_status_tells(scenario: str, status: int) -> None:
    """With a key that is wrong for the second one."""
    async with Vendor(key="right") as vendor:
        argv = [
            "-m",
            "bench.load",
            "--url",
            vendor.base_url,
            "--scenario",
            scenario,
            "--seconds",
            "0",
            "--rounds",
            "1",
        ]
        argv += ["--key", "right" if status == 0 else "wrong"]
        process = await asyncio.create_subprocess_exec(sys.executable, *argv, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
        printed, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == status
    assert orjson.loads(printed)["failed"] == (0 if status == 0 else 16)
