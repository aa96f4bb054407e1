"""The wire against bytes that a real vendor would not send on request: retries, reuse, closing, limits."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import orjson
import pytest

from bench.vendor import Vendor
from core.errors import PaasError
from llm import quirks, wire
from llm.wire import Delta, Finish, TextDelta
from tests.contracts.provider import eventually, request_for
from tests.llm.calls import HELLO, STREAM, ask, endpoint, failure, read
from tests.llm.raw_vendor import (
    DONE,
    STOP,
    RawVendor,
    Reply,
    chunked_stream,
    event,
    event_stream,
    head,
    json_reply,
)

CLOSED = Reply(ends=True)
RESET = Reply(cuts=True)

pytestmark = pytest.mark.usefixtures("closing_wire")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm.wire.BACK_OFF", 0.001)


# --- repeating ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        CLOSED,
        RESET,
        *(json_reply(status, b"{}") for status in (408, 409, 425, 500, 502, 503, 504, 529)),
        json_reply(429, b"{}", "Retry-After: 0"),
        json_reply(429, b"{}", "retry-after-ms: 5"),
        json_reply(503, b"{}", "Retry-After: 0.01"),
    ],
)
async def test_a_fault_before_the_first_byte_that_may_pass_is_repeated(reply: Reply) -> None:
    for answer, call in ((STREAM, read), (HELLO, ask)):
        async with RawVendor(reply, reply, answer) as vendor:
            assert await call(vendor.base_url) in ("hello", [TextDelta("hello"), Finish("stop")])
            assert len(vendor.bodies) == 3


async def test_it_is_repeated_twice_and_no_more() -> None:
    error, vendor = await failure(json_reply(503, b'{"error": {"message": "overloaded"}}'))
    assert error.code == "provider_unavailable"
    assert "overloaded" in error.message
    assert len(vendor.bodies) == 3


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (json_reply(429, b"{}"), "provider_rate_limited"),
        (json_reply(429, b"{}", "Retry-After: 3"), "provider_rate_limited"),
        (json_reply(429, b"{}", "Retry-After: Wed, 21 Oct 2065 07:28:00 GMT"), "provider_rate_limited"),
        (json_reply(503, b"{}", "Retry-After: 30"), "provider_unavailable"),
        (json_reply(400, b"{}"), "provider_request_rejected"),
        (json_reply(401, b"{}"), "provider_auth_failed"),
        (json_reply(403, b"{}"), "provider_auth_failed"),
        (json_reply(402, b"{}"), "provider_request_rejected"),
        (json_reply(404, b"{}"), "provider_request_rejected"),
        (json_reply(404, b'{"error": {"code": "model_not_found"}}'), "model_not_found"),
        (json_reply(422, b'{"detail": [{"loc": ["body"], "msg": "no"}]}'), "provider_request_rejected"),
        (json_reply(201, b"{}"), "provider_request_rejected"),
    ],
)
async def test_what_would_not_pass_is_asked_once(reply: Reply, code: str) -> None:
    error, vendor = await failure(reply)
    assert error.code == code
    assert len(vendor.bodies) == 1


async def test_the_waits_that_a_vendor_asks_for_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm.faults.SHORT_WAIT", 0.05)
    started = time.monotonic()
    error, vendor = await failure(json_reply(429, b"{}", "Retry-After: 0.04"))
    assert error.retry_after == 0.04
    assert len(vendor.bodies) == 2
    assert time.monotonic() - started < 5


async def test_no_attempt_begins_after_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm.wire.RETRY_BUDGET", 0.0)
    _, vendor = await failure(json_reply(500, b"{}"))
    assert len(vendor.bodies) == 1


async def test_an_answer_that_began_is_never_asked_for_again() -> None:
    begun = chunked_stream(event(content="a"), last=False)
    error, vendor = await failure(Reply(begun.data, ends=True))
    assert error.code == "provider_stream_cut"
    assert len(vendor.bodies) == 1


async def test_a_head_without_a_body_counts_as_not_begun() -> None:
    only_head = Reply(head(200, "Content-Length: 100"), ends=True)
    async with RawVendor(only_head, HELLO) as vendor:
        assert await ask(vendor.base_url) == "hello"


async def test_a_kept_connection_that_the_vendor_gave_up_is_replaced_unseen() -> None:
    async with RawVendor(HELLO, CLOSED, HELLO) as vendor:
        assert await ask(vendor.base_url) == "hello"
        assert await ask(vendor.base_url) == "hello"
        assert vendor.connections == 2


# --- what an endpoint does not accept -------------------------------------------------------------


def rejection(sentence: str) -> Reply:
    return json_reply(400, orjson.dumps({"error": {"message": sentence}}))


@pytest.mark.parametrize(
    "sentence", ["Unrecognized request argument supplied: stream_options", "Extra inputs are not permitted"]
)
async def test_usage_is_not_asked_for_where_that_is_rejected(sentence: str) -> None:
    async with RawVendor(rejection(sentence), STREAM) as vendor:
        for _ in range(2):
            assert (await read(vendor.base_url))[0] == TextDelta("hello")
    assert ["stream_options" in body for body in vendor.bodies] == [True, False, False]


async def test_a_rejection_for_another_reason_teaches_nothing() -> None:
    async with RawVendor(rejection("unknown field"), rejection("temperature is too high"), STREAM) as vendor:
        with pytest.raises(PaasError) as error:
            await read(vendor.base_url)
        assert "temperature is too high" in error.value.message
        await read(vendor.base_url)
    assert "stream_options" in vendor.bodies[2]


async def test_max_tokens_under_its_new_name() -> None:
    sentence = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
    async with RawVendor(rejection(sentence), STREAM) as vendor:
        for _ in range(2):
            await read(vendor.base_url, request_for("gpt-5", max_tokens=9))
    assert vendor.bodies[0]["max_tokens"] == 9
    assert [body.get("max_completion_tokens") for body in vendor.bodies] == [None, 9, 9]
    assert all("stream_options" in body for body in vendor.bodies)


def test_what_was_found_out_is_bounded() -> None:
    for number in range(1500):
        quirks.remember("http://x", str(number), frozenset({quirks.NO_USAGE_OPTION}))
    assert quirks.known("http://x", "0") == frozenset()
    assert quirks.known("http://x", "1499") == {quirks.NO_USAGE_OPTION}
    quirks.forget()


# --- the ends of a stream -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        STREAM,
        chunked_stream(event(content="hello"), STOP),  # no [DONE]
        event_stream(event(content="hello") + STOP + DONE),
        event_stream(event(content="hello") + STOP.rstrip()),
        Reply(chunked_stream(event(content="hello"), STOP, last=False).data, ends=True),  # cut behind the reason
    ],
)
async def test_every_proper_end(reply: Reply) -> None:
    async with RawVendor(reply) as vendor:
        deltas = await read(vendor.base_url)
    assert [repr(delta) for delta in deltas] == ["TextDelta(text='hello')", "Finish(reason='stop')"]


@pytest.mark.parametrize(
    "reply",
    [
        chunked_stream(event(content="hello")),
        event_stream(event(content="hello")),
        event_stream(b""),
        Reply(chunked_stream(event(content="hello"), last=False).data, ends=True),
    ],
)
async def test_an_end_before_the_answer_has_one(reply: Reply) -> None:
    error, _ = await failure(reply)
    assert error.code == "provider_stream_cut"


async def test_what_came_while_nobody_was_reading_is_handed_out_before_the_fault() -> None:
    """The second token and the cut arrive while the consumer is busy with the first."""
    gate = asyncio.Event()
    first, second = (
        chunked_stream(event(content="a"), last=False).data,
        chunked_stream(event(content="b"), last=False),
    )
    rest = second.data.split(b"\r\n\r\n", 1)[1]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(first)
        await gate.wait()
        writer.write(rest)
        writer.close()
        await writer.wait_closed()
        gone.set()

    async def consume(url: str) -> None:
        async for batch in wire.stream(endpoint(url), request_for("m")):
            seen.extend(batch)
            gate.set()
            await gone.wait()
            await asyncio.sleep(0.05)  # until the end of the connection is here too

    gone, seen = asyncio.Event(), list[Delta]()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        with pytest.raises(PaasError) as error:
            await consume(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert [repr(delta) for delta in seen] == ["TextDelta(text='a')", "TextDelta(text='b')"]
    assert error.value.code == "provider_stream_cut"


async def test_broken_chunks() -> None:
    error, _ = await failure(Reply(chunked_stream(event(content="hello"), last=False).data + b"zz\r\n"))
    assert error.code == "provider_bad_response"


async def test_done_without_the_end_of_the_response_does_not_hold_the_answer_up() -> None:
    async with RawVendor(chunked_stream(event(content="hello"), STOP, DONE, last=False)) as vendor:
        started = time.monotonic()
        assert len(await read(vendor.base_url)) == 2
        assert time.monotonic() - started < 5
        await eventually(lambda: vendor.closed == 1)


async def test_an_end_in_a_packet_of_its_own_still_keeps_the_connection(vendor: Vendor) -> None:
    for _ in range(3):
        await read(vendor.base_url, request_for("bench-0-0-40"))
    assert vendor.stats.connections == 1


async def test_a_vendor_that_does_not_stream() -> None:
    async with RawVendor(HELLO) as vendor:
        assert [type(delta) for delta in await read(vendor.base_url)] == [TextDelta, Finish]


# --- leaving --------------------------------------------------------------------------------------


async def test_leaving_closes_the_connection_without_reading_the_rest() -> None:
    endless = Reply(chunked_stream(*[event(content="x" * 1000)] * 2000, last=False).data)
    async with RawVendor(endless) as vendor:
        async with aclosing(wire.stream(endpoint(vendor.base_url), request_for("m"))) as batches:
            await anext(batches)
            started = time.monotonic()
        assert time.monotonic() - started < 2
        await eventually(lambda: vendor.closed == 1)


async def test_cancelled_before_the_first_byte() -> None:
    async with RawVendor(Reply(hold=asyncio.Event())) as vendor:
        task = asyncio.create_task(read(vendor.base_url))
        await eventually(lambda: len(vendor.bodies) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: vendor.connections - vendor.closed <= 1)
    assert len(vendor.bodies) == 1


async def test_closing_and_calling_again() -> None:
    async with RawVendor(HELLO) as vendor:
        assert await ask(vendor.base_url) == "hello"
        await wire.close()
        assert await ask(vendor.base_url) == "hello"
        assert vendor.connections == 2


# --- time -----------------------------------------------------------------------------------------


async def test_a_reader_that_takes_its_time_is_no_silent_vendor() -> None:
    """The idle limit counts the vendor's pauses, not the consumer's, which are three times as long here."""
    async with RawVendor(STREAM) as vendor:
        seen: list[Delta] = []
        async for batch in wire.stream(endpoint(vendor.base_url, idle_timeout=0.1), request_for("m")):
            seen += batch
            await asyncio.sleep(0.3)
    assert seen[-1] == Finish("stop")


async def test_many_short_pauses_are_no_long_one(vendor: Vendor) -> None:
    deltas = await read(vendor.base_url, request_for("bench-50-50-8"), idle_timeout=0.25)
    assert len(deltas) == 8 + 2


async def test_a_connection_that_is_not_accepted_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """192.0.2.1 is TEST-NET-1: nobody answers there; a machine without a route says so at once."""
    with pytest.raises(PaasError) as error:
        await ask("http://192.0.2.1/v1", connect_timeout=0.2)
    assert error.value.code in ("provider_timeout", "provider_unavailable")


async def test_a_document_that_never_ends_is_cut_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm.wire.DOCUMENT_BYTES", 100_000)
    error, _ = await failure(Reply(head(200, "Content-Length: 900000") + b" " * 200_000), streamed=False)
    assert error.code == "provider_bad_response"


async def test_an_error_body_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm.wire.ERROR_BODY_SECONDS", 0.2)
    for body in (b"x" * 500_000, b""):
        error, _ = await failure(Reply(head(401, "Content-Length: 900000") + body))
        assert error.code == "provider_auth_failed"
        assert len(error.message) < 500
