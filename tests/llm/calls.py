"""Calls of llm.wire against a RawVendor, as the tests of the wire make them."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import PaasError
from llm import wire
from llm.wire import Delta, Endpoint, ModelRequest, TextDelta
from tests.contracts.provider import KEY, request_for
from tests.llm.raw_vendor import DONE, STOP, RawVendor, Reply, chunked_stream, event, json_reply

HELLO = json_reply(200, b'{"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]}')
STREAM = chunked_stream(event(content="hello"), STOP, DONE)


def endpoint(base_url: str, **more: Any) -> Endpoint:
    return Endpoint(base_url, KEY, allow_private=True, **more)


async def ask(base_url: str, request: ModelRequest | None = None, **more: Any) -> str:
    """The text of a non-streamed answer."""
    deltas = await wire.complete(endpoint(base_url, **more), request or request_for("m"))
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


async def read(base_url: str, request: ModelRequest | None = None, **more: Any) -> list[Delta]:
    """All deltas of a streamed answer."""
    batches = wire.stream(endpoint(base_url, **more), request or request_for("m"))
    return [delta async for batch in batches for delta in batch]


async def failure(*replies: Reply, streamed: bool = True, **more: Any) -> tuple[PaasError, RawVendor]:
    """The error that these replies lead to."""
    async with RawVendor(*replies) as vendor:
        with pytest.raises(PaasError) as error:
            await (read if streamed else ask)(vendor.base_url, **more)
    return error.value, vendor
