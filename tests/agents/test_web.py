"""Reading web pages: only public addresses, each one checked, and never more than is good (A53, A54, A57, P49, P50)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from django.conf import settings

from agents.tools import web as reader
from agents.tools.search import FIELD, WEB_SEARCH
from agents.tools.spec import ToolContext
from agents.tools.web import fetch_text
from core.errors import PaasError
from core.ids import uuid7
from tenants.pages import MOST_BYTES
from tests.core.test_egress import FORBIDDEN_ADDRESSES, FORBIDDEN_URLS


class Server:
    """A web server on loopback that the operator allows, or not."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.url = ""
        self.answer_with: Any = None
        self.never = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.answer_with is not None:
            return await self.answer_with(request)
        kind = request.path.strip("/")
        if kind.startswith("to"):
            left = int(kind.removeprefix("to"))
            raise web.HTTPFound(f"/to{left - 1}" if left else "/page")
        if kind == "private":
            raise web.HTTPFound("http://127.0.0.2:80/secret")
        if kind == "file":
            raise web.HTTPFound("file:///etc/passwd")
        if kind == "binary":
            return web.Response(body=b"\x00\xff", content_type="application/octet-stream")
        if kind == "bomb":
            response = web.Response(body=b"a" * (MOST_BYTES * 20), content_type="text/plain")
            response.enable_compression(web.ContentCoding.gzip)
            return response
        if kind == "charset":
            return web.Response(body="é".encode(), headers={"Content-Type": "text/plain; charset=nonsense"})
        if kind == "search":
            return await self.search(request)
        if kind == "gone":
            raise web.HTTPNotFound
        if kind == "slow":
            response = web.StreamResponse()
            response.content_type = "text/plain"
            await response.prepare(request)
            await response.write(b"a")
            await self.never.wait()
            return response
        return web.Response(text="<title>T</title><p>17 % of 2,340 is 397.8", content_type="text/html")

    async def search(self, request: web.Request) -> web.Response:
        """As Tavily answers, or as it does not."""
        body = await request.json()
        self.asked[-1:] = [request.headers["Authorization"], body]
        if body["query"] == "redirect":
            raise web.HTTPTemporaryRedirect("/search")
        if body["query"] in ("401", "429", "500"):
            return web.json_response({"detail": {"error": "Bearer tvly-canary"}}, status=int(body["query"]))
        if body["query"] == "junk":
            return web.Response(body=b"[1")
        return web.json_response({"results": [{"title": "T", "url": "https://x.test/", "content": "C", "score": 1}, 7]})


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    found = Server()
    app = web.Application()
    app.router.add_route("*", r"/{path:[\s\S]*}", found.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    found.url = f"http://127.0.0.1:{port}"
    monkeypatch.setattr(settings, "EGRESS_ALLOW", [f"127.0.0.1:{port}"], raising=False)
    yield found
    found.never.set()
    await runner.cleanup()


async def refused(url: str) -> str:
    with pytest.raises(PaasError) as error:
        await fetch_text(url)
    assert error.value.code == "tool_failed"
    return error.value.message


async def test_what_is_read_and_what_is_not(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await fetch_text(f"{server.url}/page") == "T\n17 % of 2,340 is 397.8"
    assert await fetch_text(f"{server.url}/to2") == "T\n17 % of 2,340 is 397.8"
    assert await fetch_text(f"{server.url}/charset") == "é"
    assert "more than 3 times" in await refused(f"{server.url}/to5")
    assert "may not be called" in await refused(f"{server.url}/private")
    assert "may not be called" in await refused(f"{server.url}/file")
    assert "only text" in await refused(f"{server.url}/binary")
    assert "status 404" in await refused(f"{server.url}/gone")
    long = await fetch_text(f"{server.url}/bomb")
    assert len(long) < MOST_BYTES + 100
    assert long.endswith("[The page is longer; the rest was not read.]")
    monkeypatch.setattr(reader, "MOST_SECONDS", 0.1)
    assert "seconds" in await refused(f"{server.url}/slow")


async def test_no_form_of_an_address_that_is_not_public_is_asked(server: Server) -> None:
    """T17's list at this sink; the connector's own test shows that the canary would have been reached."""
    hosts = [f"[{one}]" if ":" in one else one for one in FORBIDDEN_ADDRESSES]
    urls: list[Any] = [*FORBIDDEN_URLS, *(f"http://{host}/" for host in hosts), *(f"https://{host}/" for host in hosts)]
    for url in urls:
        await refused(url)
    await refused(server.url.replace("127.0.0.1", "127.0.0.2"))
    assert server.asked == []


async def test_a_search_on_tavilys_wire(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "TAVILY_URL", server.url)
    context: Any = ToolContext(None, None, uuid7(), "a", {FIELD: "tvly-canary"})  # type: ignore[arg-type]
    found = await WEB_SEARCH.call(context, {"query": "q", "max_results": 3})
    assert found.text == "T\nhttps://x.test/\nC"
    assert server.asked == [
        "Bearer tvly-canary", {"query": "q", "max_results": 3, "search_depth": "basic"},
    ]  # fmt: skip
    for query, said in (
        ("401", "not accept"),
        ("429", "no more"),
        ("500", "500"),
        ("redirect", "307"),
        ("junk", "read"),
    ):
        with pytest.raises(PaasError, match=said) as error:
            await WEB_SEARCH.call(context, {"query": query})
        assert "canary" not in error.value.message
    assert len(server.asked) == 12  # each once: the key follows no redirect
    bare: Any = ToolContext(None, None, uuid7(), "a")  # type: ignore[arg-type]
    with pytest.raises(PaasError, match="no key"):
        await WEB_SEARCH.call(bare, {"query": "q"})
    monkeypatch.setattr(settings, "EGRESS_ALLOW", [])
    with pytest.raises(PaasError, match="may not be called"):
        await WEB_SEARCH.call(context, {"query": "q"})
