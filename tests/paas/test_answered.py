"""What a request has made goes with its answer, and not when the garbage collector looks (T13)."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler

from paas.answered import Answered
from tests.site import Site

SCOPE = {"type": "http", "method": "GET", "path": "/x", "query_string": b"", "headers": []}


def kept() -> int:
    """Exceptions that wait for the collector, each with the frames of a request."""
    return sum(type(one) is RequestAborted for one in gc.get_objects())


async def test_an_answered_request_leaves_nothing_to_collect(site: Site) -> None:
    client = site.client("acme")
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            async with client.get("/login/") as answer:
                assert answer.status == 200
        assert kept() == 0
    finally:
        gc.enable()


async def test_who_leaves_before_the_answer_is_seen_to_leave() -> None:
    """Django ends the view."""
    told: list[str] = []

    class Handler(ASGIHandler):
        def load_middleware(self, is_async: bool = False) -> None:
            pass

        async def get_response_async(self, request: Any) -> Any:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told.append(request.path)
                raise

    messages = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        await asyncio.sleep(0)
        return messages.pop(0)

    async def send(message: Any) -> None:
        raise AssertionError(message)

    async with asyncio.timeout(5):
        await Answered(Handler())(SCOPE, receive, send)
    assert told == ["/x"]
