"""T17, A53, A54, A59, A61: whatever address a tenant, a model or a server outside names, nothing of ours is dialled.

Every sink is asked as it is in production, down to the socket; only the names' resolver is the tests', which leads all
of them to loopback, where a canary counts who connects. Its port is among those that are allowed for everybody, so that
not the port is what refuses.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from django.conf import settings

from accounts import oidc_wire
from agents.mcp import oauth_wire, wire
from agents.tools.http import HttpTool
from agents.tools.http import request as ask_tool
from agents.tools.web import fetch_text
from core import egress
from core.errors import PaasError
from llm import sessions
from llm.deltas import ModelRequest
from llm.registry import ProviderRef, client_for
from tests.attack.addresses import LEGITIMATE, NAMES, payloads, spellings
from tests.core.test_egress import Canary, _result

Sink = Callable[[str], Awaitable[Any]]


class ToLoopback(AbstractResolver):
    """Every name leads here."""

    address = "127.0.0.1"

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        return [_result(host, self.address, port)]

    async def close(self) -> None: ...


class ToPublic(ToLoopback):
    address = "93.184.215.14"


@pytest.fixture
async def canary(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Canary]:
    async with Canary() as server:
        monkeypatch.setattr(egress, "ThreadedResolver", ToLoopback)
        monkeypatch.setattr(egress, "PUBLIC_PORTS", {80, 443, server.port})
        monkeypatch.setattr(settings, "EGRESS_ALLOW", ["10.9.9.9", "friend.example:9"])
        yield server
        await sessions.close()


async def mcp_server(url: str) -> None:
    async with wire.opened(wire.Target(url, {}), 5):
        pass


async def http_tool(url: str) -> Any:
    return await ask_tool(HttpTool("t", "", "POST", url, ()), {})


async def model(url: str) -> Any:
    client = client_for(ProviderRef(uuid.uuid4(), "openai_compatible", url, "sk-secret"))
    return await client.complete(ModelRequest("m", [{"role": "user", "content": "x"}], max_tokens=5))


async def sign_in(url: str) -> Any:
    from accounts.identity_providers import Provider

    fields: dict[str, Any] = dict.fromkeys(Provider.__dataclass_fields__, "")
    return await oidc_wire.call(Provider(**fields | {"issuer": url, "tenant_id": uuid.uuid4()}), "GET", url)


async def oauth(url: str) -> Any:
    return await oauth_wire.ask("GET", url)


SINKS: list[Sink] = [fetch_text, http_tool, mcp_server, oauth, model, sign_in]


async def let_through(sink: Sink, urls: list[str]) -> list[str]:
    """Those that were not refused with an error of ours."""
    found = []
    for url in urls:
        try:
            await sink(url)
        except PaasError:
            continue
        except Exception as error:
            found.append(f"{url!r}: {error!r}")
            continue
        found.append(repr(url))
    return found


@pytest.mark.parametrize("sink", SINKS, ids=lambda sink: sink.__name__)
async def test_no_payload_reaches_the_canary(canary: Canary, sink: Sink) -> None:
    urls = payloads(canary.port)
    assert len(set(urls)) >= 300
    assert await let_through(sink, urls) == []
    assert canary.connections == 0


async def test_the_payloads_would_have_reached_it(canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is worth something: without the guard's decisions, dozens of them arrive."""
    monkeypatch.setattr(egress, "check_url", lambda *given, **more: None)
    monkeypatch.setattr(egress, "check_address", lambda *given, **more: None)
    monkeypatch.setattr("tenants.pages.check_url", lambda *given, **more: None)
    six = ("[::ffff:127.0.0.1]", "[::ffff:7f00:1]")
    reachable = [*NAMES[:2], *NAMES[6:10], *six, *(one for one in spellings("127.0.0.1") if "[" not in one)]
    here = [f"http://{host}:{canary.port}/" for host in reachable]
    await let_through(fetch_text, here)
    assert canary.connections >= 12


async def test_redirects_lead_nowhere_either(canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    """A54, A61: from a host that is allowed; its own address at another port is another host."""
    told: list[str] = []

    async def lead_on(request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": told[-1]})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", lead_on)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    start = f"127.0.0.1:{runner.addresses[0][1]}"
    monkeypatch.setattr(settings, "EGRESS_ALLOW", [start])

    async def led(location: str) -> str:
        told.append(location)
        return await fetch_text(f"http://{start}/")

    urls = [url for url in payloads(canary.port) if url.isprintable()]
    assert await let_through(led, [*urls[::7], f"http://127.0.0.1:{canary.port}/"]) == []
    await runner.cleanup()
    assert canary.connections == 0


class Answers(ToLoopback):
    """The next list of addresses for each look-up, whatever is asked."""

    def __init__(self, *lists: list[str]) -> None:
        self.lists = list(lists)

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        return [_result(host, one, port) for one in self.lists.pop(0)]


MANY = [f"93.184.215.{number}" for number in range(1, 50)]


async def test_names_with_many_addresses_and_names_that_change(canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    """A56, A60, P49: one private address among fifty refuses the name; what was public, gone or failing the last time
    helps nothing now."""
    for place in (0, 25, 49):
        monkeypatch.setattr(egress, "ThreadedResolver", lambda: Answers([*MANY[:place], "127.0.0.1", *MANY[place:]]))  # noqa: B023
        for sink in SINKS:
            await sessions.close()
            assert await let_through(sink, [f"https://wild.example:{canary.port}/"]) == []
    for sink in SINKS:
        await sessions.close()
        answers = Answers([], ["10.0.0.1"], ["127.0.0.1"], ["::1"], ["127.0.0.1", *MANY])
        monkeypatch.setattr(egress, "ThreadedResolver", lambda: answers)  # noqa: B023
        assert await let_through(sink, [f"https://changing.example:{canary.port}/"] * 5) == []
        assert answers.lists == [], "each connection asks anew"
    assert canary.connections == 0


@pytest.mark.parametrize("name", ["agents.test", "acme.agents.test", "ACME.agents.test.", "a.b.agents.test"])
async def test_our_own_names_are_not_asked_wherever_they_lead(
    canary: Canary, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A59: behind a balancer our API has a public address; a tool that asked it would act for ever in a circle."""
    monkeypatch.setattr(settings, "BASE_DOMAIN", "agents.test")
    monkeypatch.setattr(egress, "ThreadedResolver", ToPublic)
    for sink in SINKS:
        assert await let_through(sink, [f"https://{name}/v1/models"]) == []
    with pytest.raises(PaasError, match="our own") as error:
        await fetch_text(f"https://{name}/")
    assert "agents.test" not in error.value.message
    monkeypatch.setattr(settings, "EGRESS_ALLOW", [f"{name}:{canary.port}"])
    monkeypatch.setattr(egress, "ThreadedResolver", ToLoopback)
    assert canary.connections == 0
    await let_through(fetch_text, [f"http://{name}:{canary.port}/"])
    assert canary.connections == 1, "unless the operator allows it"


async def test_legitimate_hosts_are_not_refused() -> None:
    assert len(LEGITIMATE) >= 30
    for url in LEGITIMATE:
        egress.check_url(url)
        host = str(egress.URL(url).raw_host)
        if not host[0].isdigit() or host.endswith(".com"):
            await egress.GuardedResolver(resolver=ToPublic()).resolve(host, 443)
