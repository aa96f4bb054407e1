"""The streaming doors' own little HTTP: bodies, and clients that leave at awkward moments."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chat.http import ClientGone, HttpRequest, check_origin
from core.errors import PaasError


class Client:
    """One side of an ASGI connection, by hand."""

    def __init__(self, *parts: bytes) -> None:
        self.leaving = asyncio.Event()
        self.sent: list[dict[str, Any]] = []
        self.parts = list(parts)

    async def receive(self) -> dict[str, Any]:
        if self.parts:
            return {"type": "http.request", "body": self.parts.pop(0), "more_body": bool(self.parts)}
        await self.leaving.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def request(self) -> HttpRequest:
        scope = {"method": "POST", "path": "/x", "headers": [], "query_string": b"", "paas.host": "acme.localhost"}
        return HttpRequest(scope, self.receive, self.send, None)


@pytest.mark.parametrize("steps", range(8))
async def test_a_client_that_leaves_as_the_answer_is_ready(steps: int) -> None:
    """Either ClientGone or the answer; never a cancellation that strikes later, somewhere else."""
    client = Client()
    request = client.request()
    gone = False
    try:
        async with request.while_here():
            client.leaving.set()
            for _ in range(steps):
                await asyncio.sleep(0)
    except ClientGone:
        gone = True
    for _ in range(5):
        await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
    await request.close()
    assert gone or steps < 5


async def test_a_real_cancellation_stays_one() -> None:
    """The server stops: that is not the client's leaving."""
    client, inside = Client(), asyncio.Event()

    async def work() -> None:
        async with client.request().while_here():
            inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_body_in_pieces() -> None:
    assert await Client(b'{"a":', b' "\xe4\xbd', b'\xa0"}').request().json(100) == {"a": "你"}


async def test_what_is_too_large_is_read_to_its_end() -> None:
    """A connection that is closed in the middle loses the answer; a proxy makes a 502 of it."""
    client = Client(*[b"x" * 60] * 5)
    with pytest.raises(PaasError, match="over"):
        await client.request().json(100)
    assert client.parts == []


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([b"x" * 60, b"x" * 60], "request_too_large"),
        ([b""], "malformed_json"),
        ([b"{"], "malformed_json"),
        ([b"null"], "malformed_json"),
        ([b'"text"'], "malformed_json"),
        ([b"{'a': 1}"], "malformed_json"),
        ([b'{"a": NaN}'], "malformed_json"),
        ([b"\xff\xfe{}"], "malformed_json"),
        ([b'{"a": 1} x'], "malformed_json"),
    ],
)
async def test_bodies_that_are_none(parts: list[bytes], code: str) -> None:
    with pytest.raises(PaasError) as error:
        await Client(*parts).request().json(100)
    assert error.value.code == code


async def test_a_client_that_leaves_within_its_body() -> None:
    client = Client()
    client.leaving.set()
    with pytest.raises(ClientGone):
        await client.request().json(100)


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://acme.test", "acme.test", True),
        ("https://acme.test", "acme.test", True),
        ("http://ACME.test:80", "acme.test:80", True),
        ("http://acme.test:81", "acme.test:80", False),
        ("http://acme.test", "acme.test:80", False),
        ("http://acme.test.evil.test", "acme.test", False),
        ("http://evil-acme.test", "acme.test", False),
        ("null", "acme.test", False),
        ("", "acme.test", False),
        ("", "", False),
        ("http://", "", False),
        ("ftp://acme.test", "acme.test", False),
        ("acme.test", "acme.test", False),
    ],
)
def test_origins(origin: str, host: str, allowed: bool) -> None:
    headers = {"origin": origin, "host": host}
    if allowed:
        check_origin(headers)
        return
    with pytest.raises(PaasError) as error:
        check_origin(headers)
    assert error.value.code == "origin_forbidden"
