"""MCP servers that are connected by OAuth (P51): the way there and back, states, tokens, and servers that mean no good."""

from __future__ import annotations

import asyncio
import html
import re
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from django.conf import settings
from yarl import URL

from agents.mcp import connections, discovery, oauth_wire, tokens
from agents.mcp.tools import tool_specs
from agents.models import McpConnection, McpServer
from agents.tools.spec import ToolContext
from core.errors import PaasError
from tenants import scope
from tenants.models import Domain
from tests.accounts.visitors import events
from tests.agents.authority import Answer, Authority
from tests.agents.test_mcp import answering, endless, silent
from tests.conftest import forget_caches, in_thread
from tests.site import session_cookies

RESOURCE, SERVER = "/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server"


@pytest.fixture
async def authority(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Authority]:
    async with Authority() as running:
        monkeypatch.setattr(settings, "EGRESS_ALLOW", [f"127.0.0.1:{running.port}"])
        yield running


@pytest.fixture
async def door(site: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The site, at the addresses that it tells others."""
    monkeypatch.setattr(settings, "PUBLIC_PORT", str(site.port))
    return site


def made(db: Any, authority: Authority, **fields: Any) -> McpServer:
    def make() -> McpServer:
        with scope.bind(db.acme):
            return McpServer.objects.create(name="mine", url=authority.resource, **fields)

    return in_thread(make)  # type: ignore[no-any-return]


def connected(db: Any, authority: Authority) -> McpServer:
    """A server whose access token has ended, and whose refresh token is good."""
    server = made(db, authority)
    authority.refresh.add("refresh-0")
    authority.clients["c"] = "s"

    def make() -> None:
        with scope.bind(db.acme):
            McpConnection.objects.create(
                server=server, issuer=authority.url, resource=authority.resource, client_id="c", client_secret="s",
                client_method="client_secret_basic", access_token="access-0", refresh_token="refresh-0",
                expires_at="2001-01-01T00:00:00Z", connected_at="2001-01-01T00:00:00Z", redirect_uri="x",
                server_data={"token": f"{authority.url}/token", "revocation": f"{authority.url}/revoke"},
            )  # fmt: skip

    in_thread(make)
    return server


def row(db: Any) -> Any:
    def read() -> Any:
        with scope.bind(db.acme):
            return McpConnection.objects.first()

    return in_thread(read)


async def begun(client: Any, server_id: Any, **body: str) -> Any:
    async with client.post(f"/api/v1/mcp-servers/{server_id}/connection", json=body) as answer:
        return answer.status, await answer.json()


async def opened(client: Any, address: str) -> tuple[int, str]:
    """Status, and the page's code (`connected` for the page that says so)."""
    async with client.get(address, allow_redirects=False) as answer:
        text = await answer.text()
        if 'data-testid="connected"' in text:
            return answer.status, "connected"
        return answer.status, text.split("<code>")[1].split("</code>")[0] if "<code>" in text else ""


async def person(site: Any, name: str = "admin", slug: str = "acme") -> Any:
    client = await site.signed_in(name, slug)
    client.headers["X-CSRFToken"] = site.csrf(client, slug)
    return client


async def test_its_page_leads_on_and_takes_it_back(db: Any, door: Any, authority: Authority) -> None:
    client, server = await person(door), made(db, authority)
    place = f"/settings/mcp/{server.pk}/"
    form = {"csrfmiddlewaretoken": client.headers["X-CSRFToken"]}
    async with client.get(place) as answer:
        assert connections.CALLBACK in await answer.text()
    async with client.post(f"{place}connect/", data=form) as answer:
        (address,) = re.findall(r'href="([^"]+)" data-testid="go"', await answer.text())
    async with client.get(authority.approve(html.unescape(address))) as answer:
        assert f'href="{place}"' in await answer.text()
    async with client.get(place) as answer:
        assert f"Connected through {authority.url}." in await answer.text()
    async with client.post(f"{place}disconnect/", data=form) as answer:
        assert "is not connected any more" in await answer.text()
    assert row(db) is None


async def test_from_a_domain_of_the_workspaces_own(db: Any, door: Any, authority: Authority) -> None:
    """The answer comes back to the host at which the person is signed in; no other host's name is believed."""
    origin = f"http://chat.acme.example:{door.port}"
    cookies = await asyncio.to_thread(session_cookies, "acme", "admin@acme.test")
    client = door.client("acme", cookie_jar=aiohttp.CookieJar())
    client._base_url = URL(origin)
    client.cookie_jar.update_cookies(cookies, URL(origin))
    client.headers.update({"X-CSRFToken": cookies["csrftoken"], "Origin": origin})
    server = made(db, authority)

    def domain(add: bool) -> None:
        with scope.platform():
            if add:
                Domain.objects.create(domain="chat.acme.example", tenant_id=db.acme.id)
            else:
                Domain.objects.filter(domain="chat.acme.example").delete()

    in_thread(lambda: domain(True))
    try:
        async with client.get(f"/settings/mcp/{server.pk}/") as answer:
            assert f"<code>{origin}{connections.CALLBACK}</code>" in await answer.text()
        status, told = await begun(client, server.pk)
        assert (status, told["redirect_uri"]) == (200, f"{origin}{connections.CALLBACK}")
        assert await opened(client, authority.approve(told["authorization_url"])) == (200, "connected")
    finally:
        in_thread(lambda: domain(False))
        forget_caches()
    here = await person(door)
    async with here.get(f"/api/v1/mcp-servers/{server.pk}") as answer:
        assert (await answer.json())["redirect_uri"] == f"{door.url('acme')}{connections.CALLBACK}"


async def test_from_the_button_to_a_tool_and_back(db: Any, door: Any, actor: Any, authority: Authority) -> None:
    """Registered, agreed to, called with a token that is for this server alone, renewed, taken back."""
    client, server = await person(door), made(db, authority)
    status, told = await begun(client, server.pk)
    assert status == 200, told
    assert told["redirect_uri"] == (f"{door.url('acme')}{connections.CALLBACK}")
    assert (
        f"resource={authority.url.replace(':', '%3A').replace('/', '%2F')}%2Fmcp&scope=read+write"
        in (told["authorization_url"])
    )
    assert await opened(client, authority.approve(told["authorization_url"])) == (200, "connected")
    async with client.post(f"/api/v1/mcp-servers/{server.pk}/refresh") as answer:
        seen = await answer.json()
        (tool,) = seen["tools"]
    view = seen["connection"]
    assert (view["state"], view["issuer"], view["renewable"]) == ("connected", authority.url, True)
    approval = {"tools": [{"name": "look", "hash": tool["hash"], "effect": "read"}]}
    async with client.post(f"/api/v1/mcp-servers/{server.pk}/approve", json=approval) as answer:
        assert answer.status == 200

    (spec,) = await scope.run_in_tenant(db.acme, tool_specs)
    context = ToolContext(db.acme, actor("member"), uuid.uuid4(), "assistant")
    assert (await spec.call(context, {})).text == "seen [secret]", "P52"
    authority.access.clear()  # the server wants no token that it gave before
    assert (await spec.call(context, {})).text == "seen [secret]"
    assert authority.asked["/token"] == 2, "one for the code, one renewal"
    held = row(db)
    assert {held.access_token, held.refresh_token} == authority.access | authority.refresh
    assert sealed(db, held.pk).isdisjoint(authority.access | authority.refresh | {held.client_secret})

    async with client.delete(f"/api/v1/mcp-servers/{server.pk}/connection") as answer:
        assert await answer.json() == {"revoked": True}
    assert set(authority.revoked) == {held.access_token, held.refresh_token}
    assert row(db) is None
    said = [
        event.data
        for name in ("connecting", "connected", "disconnected")
        for event in events(f"mcp_server.{name}", db.acme)
    ]
    assert len(said) == 3
    assert not any(secret in str(said) for secret in (held.access_token, held.refresh_token, held.client_secret))


def sealed(db: Any, key: uuid.UUID) -> set[str]:
    """What stands in the table itself."""
    from django.db import connection

    def read() -> set[str]:
        with scope.bind(db.acme), connection.cursor() as cursor:
            cursor.execute(
                "SELECT access_token, refresh_token, client_secret FROM agents_mcpconnection WHERE id = %s", [key]
            )
            return set(cursor.fetchone())

    return in_thread(read)  # type: ignore[no-any-return]


async def test_an_answer_is_for_who_began_once(db: Any, door: Any, api_key: Any, authority: Authority) -> None:
    """A19: another person's, another session's, another tenant's, a used, a made-up state: no code is exchanged."""
    admin, server = await person(door), made(db, authority)
    strangers = [await person(door, "owner"), await person(door), await person(door, "rival", "globex")]
    for client in strangers:
        _, told = await begun(admin, server.pk)
        address = authority.approve(told["authorization_url"])
        there = address.replace("acme.", "globex.") if client is strangers[2] else address
        assert await opened(client, there) == (404, "connection_state")
        assert await opened(admin, address) == (404, "connection_state"), "a state is used up by whoever brings it"
    assert await opened(admin, f"{connections.CALLBACK}?state=made-up&code=x") == (404, "connection_state")
    member = await person(door, "member")
    assert (await opened(member, authority.approve(told["authorization_url"])))[0] == 403
    async with door.client("acme").get(address, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"][:12]) == (302, "/login/?next")
    assert authority.asked["/token"] == 0

    _, told = await begun(admin, server.pk)
    cancelled = authority.approve(told["authorization_url"], code="", error="access_denied")
    assert await opened(admin, cancelled) == (403, "connection_cancelled")
    for issuer in ("https://elsewhere.example", ""):
        _, told = await begun(admin, server.pk)
        address = authority.approve(told["authorization_url"], iss=issuer)
        assert await opened(admin, address) == (502, "provider_bad_response"), "RFC 9207"
    assert authority.asked["/token"] == 0
    assert authority.asked["/register"] == 1, "a client that was registered is used again"
    key = door.client("acme", token=api_key())
    assert (await begun(key, server.pk))[1]["error"]["code"] == "permission_denied"


async def test_a_client_of_ones_own_is_for_its_authorization_server(db: Any, door: Any, authority: Authority) -> None:
    """P52: where the MCP server names another one later, a secret that was entered is not sent there."""
    admin, server = await person(door), made(db, authority)
    authority.told[SERVER] = {"registration_endpoint": None}
    status, told = await begun(admin, server.pk)
    assert (status, list(told["error"]["details"]["fields"])) == (400, ["client_id"])
    own = {"client_id": "by-hand", "client_secret": "hand/secret:\u00fc", "scope": 'read  read"x'}
    _, told = await begun(admin, server.pk, **own)
    assert told["authorization_url"].endswith("&scope=read")
    assert await opened(admin, authority.approve(told["authorization_url"])) == (200, "connected")
    before = row(db)
    assert (await begun(admin, server.pk))[0] == 200
    assert row(db).access_token == before.access_token != "", "to begin again takes nothing away"

    async with Authority() as other:
        settings.EGRESS_ALLOW.append(f"127.0.0.1:{other.port}")
        authority.told[RESOURCE] = {"authorization_servers": [other.url]}
        status, told = await begun(admin, server.pk)
        assert (status, list(told["error"]["details"]["fields"])) == (400, ["client_id"])
        assert row(db).access_token == before.access_token
        _, told = await begun(admin, server.pk, client_id="theirs")
        assert (row(db).access_token, row(db).client_secret) == ("", ""), "what was for the other one is gone"
    async with admin.patch(f"/api/v1/mcp-servers/{server.pk}", json={"url": f"{authority.url}/other"}) as answer:
        assert (await answer.json())["connection"] is None


def doc(path: str, **changed: Any) -> Callable[[Authority], None]:
    return lambda authority: authority.told.update({path: changed})


def instead(path: str, answer: Any) -> Callable[[Authority], None]:
    return lambda authority: authority.instead.update({path: _adapted(answer)})


def _adapted(answer: Any) -> Answer:
    async def serve(request: web.Request) -> web.StreamResponse:
        return await answer(request, {})  # type: ignore[no-any-return]

    return serve


CANARY = "http://127.0.0.1:{canary}"
LITERAL = ("https://10.0.0.1", "https://169.254.169.254", "https://2130706433", CANARY)
PRIVATE = (*LITERAL, "https://localhost")
FORBIDDEN, BAD = "provider_address_forbidden", "provider_bad_response"
MEANT_ILL: list[tuple[Callable[[Authority], None], str]] = [
    *((doc(RESOURCE, authorization_servers=[f"{one}/x"]), FORBIDDEN) for one in PRIVATE),
    *((doc(SERVER, token_endpoint=f"{one}/token"), FORBIDDEN) for one in LITERAL),
    *((doc(SERVER, registration_endpoint=f"{one}/r"), FORBIDDEN) for one in PRIVATE),
    *((doc(SERVER, revocation_endpoint=f"{one}/r"), FORBIDDEN) for one in LITERAL),
    (doc(SERVER, authorization_endpoint="javascript:alert(1)"), FORBIDDEN),
    (doc(SERVER, authorization_endpoint="http://plain.example/authorize"), FORBIDDEN),
    (doc(SERVER, authorization_endpoint="https://a@plain.example/"), FORBIDDEN),
    (doc(SERVER, token_endpoint="https://x.example/#token"), BAD),
    (doc(SERVER, token_endpoint="https://x.example/\r\nX: y"), BAD),
    (doc(SERVER, token_endpoint=None), BAD),
    (doc(SERVER, issuer="https://elsewhere.example"), BAD),
    (doc(SERVER, issuer=7), BAD),
    (doc(SERVER, code_challenge_methods_supported=None), BAD),
    (doc(SERVER, code_challenge_methods_supported=["plain"]), BAD),
    (doc(SERVER, token_endpoint_auth_methods_supported=["private_key_jwt"]), BAD),
    (doc(RESOURCE, resource="https://elsewhere.example/mcp"), BAD),
    (doc(RESOURCE, resource="http://127.0.0.1/mcp"), BAD),
    (doc(RESOURCE, authorization_servers=[]), BAD),
    (instead(SERVER, answering(302, Location=f"{CANARY}/")), BAD),
    (instead(SERVER, answering(200, "<html>")), BAD),
    (instead(SERVER, answering(200, "[" * 100_000)), BAD),
    (instead(SERVER, answering(200, '{"a": "' + "x" * oauth_wire.MOST_BYTES + '"}')), BAD),
    (instead(SERVER, endless), BAD),
    (instead(SERVER, silent), "provider_timeout"),
    (instead("/register", answering(400, '{"error": "no"}')), "provider_request_rejected"),
    (instead("/register", answering(201, '{"client_id": "a\\r\\nb"}')), BAD),
    (instead("/register", answering(201, '{"client_id": "a", "token_endpoint_auth_method": "tls"}')), BAD),
    (instead("/register", answering(302, Location=f"{CANARY}/")), "provider_request_rejected"),
]


async def refusal(authority: Authority) -> str:
    """Why there is no way out; "" where there is one."""
    try:
        await connections._planned(authority.resource, None, "us", "http://back/", connections.Wish())
    except PaasError as error:
        return error.code
    return ""


async def test_servers_that_mean_no_good_lead_nowhere(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """P51, A53, A54: whatever the documents say, nothing but the allowed address is dialled, and a sentence says why."""
    reached: list[Any] = []
    canary = await asyncio.start_server(lambda reader, writer: reached.append(writer.close()), "127.0.0.1", 0)
    port = str(canary.sockets[0].getsockname()[1])
    async with canary:
        for number, (spoil, code) in enumerate(MEANT_ILL):
            authority.told.clear()
            authority.instead.clear()
            monkeypatch.setattr(oauth_wire, "SECONDS", 0.3 if code == "provider_timeout" else 10)
            spoil(authority)
            authority.told = eval(repr(authority.told).replace("{canary}", port))
            assert await refusal(authority) == code, number
    assert reached == []
    authority.told.clear()
    authority.instead.clear()
    plan = await connections._planned(authority.resource, None, "us", "http://back/", connections.Wish())
    assert (plan.scope, plan.client.method, plan.resource) == ("read write", "client_secret_basic", authority.resource)


async def test_documents_stand_where_the_specifications_say(authority: Authority) -> None:
    found = list(discovery._server_addresses("https://a.example/realm/"))
    assert found == [
        "https://a.example/.well-known/oauth-authorization-server/realm",
        "https://a.example/.well-known/openid-configuration/realm",
        "https://a.example/realm/.well-known/openid-configuration",
    ]
    assert discovery.same_issuer("https://a.example", "https://a.example/")
    assert not discovery.same_issuer("https://a.example/x", "https://a.example/x/")
    told = 'Bearer error="x", scope="a b", resource_metadata=https://a.example/m'
    assert discovery._parameter(told, "resource_metadata") == "https://a.example/m"
    assert (discovery._parameter(told, "scope"), discovery._parameter(told, "cope")) == ("a b", None)
    for path in (RESOURCE, "/.well-known/oauth-protected-resource"):
        authority.instead[path] = _adapted(answering(404))
    assert (await discovery.resource_of(authority.resource, "")).issuer == authority.url, "as of 2025-03-26"


async def test_one_renews_and_the_others_wait(db: Any, authority: Authority) -> None:
    """T6: eight ask at once; the refresh token, good once, is spent once. Whoever is stopped loses nothing."""
    server = connected(db, authority)
    asked = [asyncio.create_task(tokens.token_for(db.acme, server.pk, authority.resource)) for _ in range(8)]
    found = await asyncio.gather(*asked)
    assert (set(found), authority.asked["/token"], authority.reused) == (authority.access, 1, 0)
    assert await tokens.token_for(db.acme, server.pk, authority.resource) == found[0]
    again = await asyncio.gather(
        *(tokens.token_for(db.acme, server.pk, authority.resource, spent=found[0]) for _ in range(4))
    )
    assert (len(set(again)), again[0] in authority.access, authority.asked["/token"]) == (1, True, 2)

    gate, right = asyncio.Event(), authority._token

    async def slow(request: web.Request) -> web.StreamResponse:
        await gate.wait()
        return await right(request)

    authority.instead["/token"] = slow
    stopped = asyncio.create_task(tokens.token_for(db.acme, server.pk, authority.resource, spent=again[0]))
    while authority.asked["/token"] < 3:
        await asyncio.sleep(0)
    stopped.cancel()
    gate.set()
    await asyncio.gather(*tokens._renewing)
    assert (
        await tokens.token_for(db.acme, server.pk, authority.resource, spent=again[0])
        == row(db).access_token
        != again[0]
    )
    assert (authority.asked["/token"], authority.reused) == (3, 0)


async def test_what_becomes_of_a_renewal_that_fails(db: Any, authority: Authority) -> None:
    server = connected(db, authority)
    authority.instead["/token"] = _adapted(answering(503))
    for _ in range(2):  # the claim is given back, so the second one asks again
        with pytest.raises(PaasError) as error:
            await tokens.token_for(db.acme, server.pk, authority.resource)
        assert error.value.code == "provider_unavailable"
    assert (authority.asked["/token"], row(db).refresh_token) == (2, "refresh-0")
    authority.instead.clear()
    authority.refresh.clear()
    for _ in range(2):
        with pytest.raises(PaasError, match="connect the MCP server again"):
            await tokens.token_for(db.acme, server.pk, authority.resource)
    assert (authority.asked["/token"], authority.reused, row(db).refresh_token) == (3, 1, ""), "refused once is enough"
    assert len(events("mcp_server.connection_lost", db.acme)) == 1


async def test_a_claim_whose_process_died_lapses(
    db: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = connected(db, authority)

    def claim(until: str) -> None:
        with scope.bind(db.acme):
            McpConnection.objects.update(refreshing_until=until)

    in_thread(lambda: claim("2999-01-01T00:00:00Z"))
    monkeypatch.setattr(tokens, "WAIT_SECONDS", 0.3)
    with pytest.raises(PaasError) as error:
        await tokens.token_for(db.acme, server.pk, authority.resource)
    assert (error.value.code, authority.asked["/token"]) == ("provider_timeout", 0)
    in_thread(lambda: claim("2001-01-01T00:00:00Z"))
    assert await tokens.token_for(db.acme, server.pk, authority.resource) in authority.access


async def test_another_tenant_and_another_address_get_no_token(db: Any, authority: Authority) -> None:
    """T4, P51: tokens are per tenant and server, and for the address for which somebody agreed."""
    server = connected(db, authority)
    for tenant, url in ((db.globex, authority.resource), (db.acme, "https://elsewhere.example/mcp")):
        with pytest.raises(PaasError) as error:
            await tokens.token_for(tenant, server.pk, url)
        assert (error.value.code, authority.asked["/token"]) == ("provider_auth_failed", 0)
