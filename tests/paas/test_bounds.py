"""Requests that would cost too much are refused or bounded, and a pool that is used up is said at once (A42, A44, A75)."""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection
from psycopg_pool import PoolTimeout

from tenants import scope
from tenants.db import aio
from tests.chat.talk import ask
from tests.conftest import in_thread

MOST_SECONDS = 3.0  # one is what is promised, on a machine that does nothing else meanwhile
DEEP = b'{"a":' * 100_000
NESTED = b'{"message": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


async def said(request: Any) -> tuple[int, float, dict[str, Any]]:
    """(status, seconds, body or {}) of a request."""
    began = time.monotonic()
    async with request as answer:
        body = await answer.json() if answer.content_type == "application/json" else {}
        return answer.status, time.monotonic() - began, body


async def test_bodies_and_parameters_without_end(site: Any, api_key: Callable[..., str]) -> None:
    """A42: 4xx within a second, with a code, at the streaming doors and at Django's."""
    client = site.client("acme", token=api_key())
    kind = {"Content-Type": "application/json"}
    paths = ("/v1/chat/completions", "/api/v1/runs", "/api/v1/keys", "/api/v1/invitations", "/api/auth/login")
    for path in paths:
        for body in (DEEP, NESTED):
            status, seconds, found = await said(client.post(path, data=body, headers=kind))
            assert 400 <= status < 500, (path, status)
            assert found["error"], path
            assert seconds < MOST_SECONDS, path
    many = "&".join(f"p{number}=1" for number in range(10_000))
    for request in (
        client.get(f"/api/v1/conversations?{many}"),
        client.get(f"/api/v1/conversations?limit={'9' * 5000}"),
        client.post("/login/", data=many, headers={"Content-Type": "application/x-www-form-urlencoded"}),
        client.post("/api/auth/login", data=io.BytesIO(b'{"email": "' + b"a" * 5_000_000 + b'"}'), headers=kind),
    ):
        status, seconds, _ = await said(request)
        assert 400 <= status < 500, (request, status)
        assert seconds < MOST_SECONDS


async def test_searches_and_pages_are_bounded(site: Any) -> None:
    """A44: a page has a size, a place beyond the end is empty, and wildcards and patterns are text."""
    client = await site.signed_in("owner")
    patterns = ("%" * 200, "_%" * 100, "(a+)+$", "\\", "a" * 200)
    for path in (
        "/api/v1/members?text=",
        "/api/v1/audit?actor=",
        "/settings/members/?text=",
        "/settings/audit/?actor=",
    ):
        for pattern in patterns:
            status, seconds, _ = await said(client.get(path + quote(pattern)))
            assert status in (200, 400), (path, pattern, status)
            assert seconds < MOST_SECONDS
    for query in ("limit=1000000000", "limit=-1", "cursor=x", "cursor=" + "9" * 40):
        for path in ("/api/v1/conversations", "/api/v1/members", "/api/v1/audit"):
            status, seconds, _ = await said(client.get(f"{path}?{query}"))
            assert status == 400, (path, query)
            assert seconds < MOST_SECONDS
    for page in ("1000000000", "-1", "x", "9" * 40):
        status, seconds, _ = await said(client.get(f"/settings/members/?page={page}&cursor={page}"))
        assert status in (200, 400, 404), page
        assert seconds < MOST_SECONDS


async def test_statements_have_a_time(host: Any, acme: Any) -> None:
    """A44: on both roads to the database, also for a connection that was somebody else's before."""
    assert settings.STATEMENT_TIMEOUT_MS == 5_000

    def shown() -> str:
        with scope.bind(acme), connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
        connection.close()
        with scope.bind(acme), connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('statement_timeout')")
            return str(cursor.fetchone()[0])

    assert in_thread(shown) == "5s"
    assert await aio.database().fetch_one(acme, "SELECT current_setting('statement_timeout')", []) == ("5s",)


@contextlib.contextmanager
def used_up() -> Iterator[None]:
    """Every connection of Django's pool is taken."""
    pool = connection.pool  # type: ignore[attr-defined]  # PostgreSQL's wrapper has it
    taken: list[Any] = []
    try:
        with contextlib.suppress(PoolTimeout):
            while len(taken) < pool.max_size:
                taken.append(pool.getconn(timeout=0.1))
        yield
    finally:
        for one in taken:
            pool.putconn(one)


@contextlib.asynccontextmanager
async def hot_used_up() -> AsyncIterator[None]:
    """Every connection of the hot pool is taken."""
    pool = aio.database()._pool
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(pool.max_size):
            await stack.enter_async_context(pool.connection())
        yield


async def test_a_pool_that_is_used_up(site: Any, api_key: Callable[..., str], actor: Any) -> None:
    """A75: 503 with Retry-After in time, on pages, API and doors; what runs goes on; and well by itself afterwards."""
    client = site.client("acme", token=api_key())
    await ask(actor("member"))
    turn = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}
    assert (await said(client.get("/api/v1/conversations")))[0] == 200
    async with hot_used_up():
        with used_up():
            requests = [
                client.get("/api/v1/conversations"),
                client.get("/login/"),
                client.post("/v1/chat/completions", json=turn),
                client.post("/api/v1/runs", json={"message": "hi"}),
            ]
            assert aio.WAIT_SECONDS <= 3, "each waits for so long for a connection, all of them at the same time"
            async with asyncio.timeout(3 * aio.WAIT_SECONDS):
                answers = await asyncio.gather(*(refused(request) for request in requests))
    assert answers[0] == answers[2] == answers[3] == (503, True)
    assert answers[1] in ((503, True), (200, False))  # a page that asks nothing of the database is there all the same
    assert (await said(client.get("/api/v1/conversations")))[0] == 200
    assert (await said(client.post("/v1/chat/completions", json=turn)))[0] == 200


async def refused(request: Any) -> tuple[int, bool]:
    async with request as answer:
        return answer.status, "Retry-After" in answer.headers


pytestmark = pytest.mark.usefixtures("db")
