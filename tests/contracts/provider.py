"""What every provider must do, whatever it speaks underneath.

A provider's test module inherits `ProviderContract` (and, when it talks HTTP, `HttpProviderContract`) and
says how to arrange a behaviour: `case(behaviour)` gives a client and a request for which the model behaves
like that. The behaviours are the names of the stand-in vendor's models (bench/answers.py).
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import pytest

from bench.answers import token_text
from bench.vendor import Vendor
from core.errors import PaasError
from llm.answer import Answer
from llm.client import WireClient
from llm.deltas import Delta, Finish, ModelRequest, ReasoningDelta, TextDelta, ToolCallDelta, UsageReport
from llm.registry import ModelClient

KEY = "sk-contract-0123456789abcdef"
LOOKUP = {
    "type": "function",
    "function": {"name": "lookup", "description": "", "parameters": {"type": "object"}},
}
TOOL_ARGUMENTS = '{"city": "Hangzhou", "days": 3}'


@dataclass
class Case:
    """A client, a request, and whether the other side has noticed that the client left."""

    client: ModelClient
    request: ModelRequest
    has_left: Callable[[], bool]

    async def read_into(self, seen: list[Delta]) -> None:
        """Stream the answer into `seen`, which keeps what came when it fails."""
        async for batch in self.client.stream(self.request):
            seen += batch

    async def batches(self) -> list[list[Delta]]:
        """All of the streamed answer."""
        return [batch async for batch in self.client.stream(self.request)]

    async def answer(self, *, streamed: bool) -> Answer:
        """The whole answer."""
        if not streamed:
            return Answer(await self.client.complete(self.request))
        return Answer(delta for batch in await self.batches() for delta in batch)


def request_for(model: str, text: str = "hello", **more: Any) -> ModelRequest:
    """A request with one user message."""
    return ModelRequest(model, [{"role": "user", "content": text}], **more)


async def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until the condition holds; it is the other side's to make it so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        await asyncio.sleep(0.005)


def text_of(deltas: list[Delta]) -> str:
    """The text of some deltas."""
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


both_ways = pytest.mark.parametrize("streamed", [True, False], ids=["stream", "complete"])


class ProviderContract:
    """For every provider."""

    counts_reasoning = True
    """Whether the vendor says how much of the output was reasoning."""

    def case(self, behaviour: str, text: str = "hello", **more: Any) -> Case:
        """A client and a request for which the model behaves as the name says."""
        raise NotImplementedError

    @both_ways
    async def test_text_arrives_whole_and_in_order(self, streamed: bool) -> None:
        answer = await self.case("bench-0-0-50").answer(streamed=streamed)
        assert answer.text == "".join(token_text(50))
        assert answer.finish_reason == "stop"

    async def test_a_stream_is_one_delta_for_each_token(self) -> None:
        deltas = [delta for batch in await self.case("bench-0-0-50").batches() for delta in batch]
        assert [delta.text for delta in deltas if type(delta) is TextDelta] == list(token_text(50))

    async def test_no_batch_is_empty(self) -> None:
        assert all(await self.case("bench-0-0-50").batches())

    @both_ways
    async def test_other_alphabets(self, streamed: bool) -> None:
        text = "你好,世界! 🦊 naïve Ελληνικά عربى"
        answer = await self.case("echo", text).answer(streamed=streamed)
        assert answer.text == text

    @both_ways
    async def test_usage_is_reported(self, streamed: bool) -> None:
        answer = await self.case("bench-0-0-20").answer(streamed=streamed)
        assert isinstance(answer.usage, UsageReport)
        assert answer.usage.input_tokens > 0
        assert answer.usage.output_tokens > 0

    @both_ways
    async def test_reasoning_is_kept_apart_from_text(self, streamed: bool) -> None:
        answer = await self.case("reasoning-10").answer(streamed=streamed)
        assert answer.reasoning == "".join(f"r{index} " for index in range(10))
        assert answer.text == "".join(token_text(10))
        assert answer.usage is not None
        assert (answer.usage.reasoning_tokens > 0) is self.counts_reasoning

    async def test_reasoning_deltas_have_their_own_type_and_come_first(self) -> None:
        deltas = [delta for batch in await self.case("reasoning-3").batches() for delta in batch]
        kinds = [type(delta) for delta in deltas if type(delta) in (ReasoningDelta, TextDelta)]
        assert kinds == [ReasoningDelta] * 3 + [TextDelta] * 3

    @both_ways
    async def test_a_tool_call_is_put_together(self, streamed: bool) -> None:
        answer = await self.case("tools-lookup", TOOL_ARGUMENTS, tools=[LOOKUP]).answer(streamed=streamed)
        (call,) = answer.tool_calls
        assert (call.name, json.loads(call.arguments)) == ("lookup", json.loads(TOOL_ARGUMENTS))
        assert call.id
        assert answer.finish_reason == "tool_calls"

    async def test_tool_call_fragments_name_their_call_once(self) -> None:
        deltas = await self.case("tools-lookup", TOOL_ARGUMENTS, tools=[LOOKUP]).batches()
        calls = [delta for batch in deltas for delta in batch if isinstance(delta, ToolCallDelta)]
        assert {call.index for call in calls} == {0}
        assert [call.name for call in calls if call.name] == ["lookup"]

    @both_ways
    async def test_an_answer_cut_by_max_tokens_says_so(self, streamed: bool) -> None:
        answer = await self.case("bench-0-0-50", max_tokens=3).answer(streamed=streamed)
        assert answer.finish_reason == "length"
        assert answer.text == "".join(token_text(3))

    async def test_closing_the_stream_stops_the_model_at_once(self) -> None:
        case = self.case("fault-stall-3")
        seen: list[Delta] = []
        async with aclosing(case.client.stream(case.request)) as batches:
            async for batch in batches:
                seen += batch
                if len(seen) >= 3:
                    break
        await eventually(case.has_left, 1.0)
        assert text_of(seen) == "".join(token_text(3))

    async def test_cancelling_the_reader_stops_the_model_at_once(self) -> None:
        case = self.case("fault-stall-3")
        three = asyncio.Event()

        async def read() -> None:
            count = 0
            async for batch in case.client.stream(case.request):
                count += len(batch)
                if count >= 3:
                    three.set()

        reader = asyncio.create_task(read())
        await asyncio.wait_for(three.wait(), 5)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await eventually(case.has_left, 1.0)

    async def test_a_broken_stream_hands_out_what_came_and_then_fails(self) -> None:
        case = self.case("fault-cut-5")
        seen: list[Delta] = []
        with pytest.raises(PaasError) as error:
            await case.read_into(seen)
        assert error.value.code == "provider_stream_cut"
        assert text_of(seen) == "".join(token_text(5))
        assert not any(isinstance(delta, Finish) for delta in seen)

    async def test_two_calls_at_once_do_not_mix(self) -> None:
        first, second = self.case("bench-0-0-30"), self.case("bench-0-0-40")
        answers = await asyncio.gather(first.answer(streamed=True), second.answer(streamed=True))
        assert [answer.text for answer in answers] == ["".join(token_text(30)), "".join(token_text(40))]

    async def test_nothing_shows_the_key(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        case = self.case("fault-cut-5")
        with pytest.raises(PaasError) as error:
            await case.batches()
        assert KEY not in repr(case.client) + repr(error.value) + str(error.value.details) + caplog.text
        _assert_nothing_of_aiohttp_behind(error.value)


FAULTS = {
    "fault-401": "provider_auth_failed",
    "fault-400": "context_too_long",
    "fault-429-0": "provider_rate_limited",
    "fault-429-60": "provider_rate_limited",
    "fault-500": "provider_unavailable",
    "fault-html": "provider_bad_response",
    "fault-garbage": "provider_bad_response",
    "no-such-model": "model_not_found",
}


class HttpProviderContract(ProviderContract):
    """For providers that speak chat completions over HTTP. Their module gives the fixture `vendor`."""

    vendor: Vendor

    @pytest.fixture(autouse=True)
    def _with_vendor(self, vendor: Vendor) -> None:
        self.vendor = vendor

    def client(self) -> WireClient:
        """A client of `self.vendor` with the key KEY."""
        raise NotImplementedError

    def case(self, behaviour: str, text: str = "hello", **more: Any) -> Case:
        """The behaviours are the vendor's models."""
        return Case(self.client(), request_for(behaviour, text, **more), self._has_left)

    def impatient(self, **limits: Any) -> WireClient:
        """The client with other limits of time."""
        client = self.client()
        return replace(client, endpoint=replace(client.endpoint, **limits))

    def _has_left(self) -> bool:
        return self.vendor.stats.records[-1].state == "cancelled"

    @pytest.fixture(autouse=True)
    def _no_back_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Retries without waiting: how long they wait is tested in tests/llm/test_wire.py."""
        monkeypatch.setattr("llm.wire.BACK_OFF", 0.0)

    @both_ways
    @pytest.mark.parametrize(("behaviour", "code"), FAULTS.items())
    async def test_each_fault_has_its_code(self, behaviour: str, code: str, streamed: bool) -> None:
        with pytest.raises(PaasError) as error:
            await self.case(behaviour).answer(streamed=streamed)
        assert error.value.code == code
        assert KEY not in repr(error.value) + str(error.value.details)
        _assert_nothing_of_aiohttp_behind(error.value)

    @both_ways
    async def test_a_vendor_that_never_answers(self, streamed: bool) -> None:
        client = self.impatient(first_byte_timeout=0.2)
        await self._times_out(client, "fault-hang", streamed)

    async def test_a_vendor_that_falls_silent(self) -> None:
        await self._times_out(self.impatient(idle_timeout=0.2), "fault-stall-3", streamed=True)

    async def test_a_response_head_that_dribbles(self) -> None:
        await self._times_out(self.impatient(first_byte_timeout=0.3), "fault-slowhead-60000", streamed=True)

    async def _times_out(self, client: WireClient, behaviour: str, streamed: bool) -> None:
        case = Case(client, request_for(behaviour), self._has_left)
        started = time.monotonic()
        with pytest.raises(PaasError) as error:
            await case.answer(streamed=streamed)
        assert error.value.code == "provider_timeout"
        assert time.monotonic() - started < 10
        await eventually(self._has_left)
        assert self.vendor.stats.requests == 1

    async def test_a_line_without_end(self) -> None:
        with pytest.raises(PaasError) as error:
            await self.case("fault-hugeline").batches()
        assert error.value.code == "provider_bad_response"

    async def test_an_error_inside_the_stream(self) -> None:
        case, seen = self.case("fault-error-4"), list[Delta]()
        with pytest.raises(PaasError) as error:
            await case.read_into(seen)
        assert error.value.code == "provider_unavailable"
        assert text_of(seen) == "".join(token_text(4))

    @both_ways
    async def test_a_vendor_that_never_counts(self, streamed: bool) -> None:
        answer = await self.case("fault-nousage-4").answer(streamed=streamed)
        assert answer.usage is None
        assert answer.finish_reason == "stop"

    @both_ways
    async def test_a_passing_fault_is_not_seen(self, streamed: bool) -> None:
        answer = await self.case(f"fault-503-twice-{streamed}").answer(streamed=streamed)
        assert answer.text == "".join(token_text(5))
        assert self.vendor.stats.requests == 3

    async def test_exact_usage(self) -> None:
        answer = await self.case("bench-0-0-20").answer(streamed=True)
        assert answer.usage == UsageReport(10, 20, 0, 0)

    async def test_nobody_listens(self, unused_tcp_port: int) -> None:
        client = self.client()
        endpoint = replace(client.endpoint, base_url=f"http://127.0.0.1:{unused_tcp_port}/v1")
        with pytest.raises(PaasError) as error:
            await Case(replace(client, endpoint=endpoint), request_for("echo"), bool).batches()
        assert error.value.code == self.unreachable
        assert error.value.status in (502, 503)

    unreachable = "provider_unavailable"

    async def test_connections_are_kept_and_every_stream_leaves_none_behind(self) -> None:
        for _ in range(5):
            await self.case("bench-0-0-5").batches()
            await self.case("bench-0-0-5").answer(streamed=False)
        assert self.vendor.stats.connections == 1


def _assert_nothing_of_aiohttp_behind(error: BaseException) -> None:
    """No exception of the HTTP client hangs behind ours: those hold the request's headers."""
    behind = error.__cause__ or error.__context__
    while behind is not None:
        assert not type(behind).__module__.startswith("aiohttp"), repr(behind)
        behind = behind.__cause__ or behind.__context__
