"""Which tenant a request reaches, over raw sockets against the real server (P63, P61, P18)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp

from tenants import resolve, scope
from tenants.models import Tenant
from tests.conftest import Platform, in_thread
from tests.site import Site


async def raw(site: Site, request: str) -> tuple[int, str]:
    """(status, body) of a request sent byte by byte as written; 0 when the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(request.replace("\n", "\r\n").encode("latin-1"))
    async with asyncio.timeout(5):
        answer = (await reader.read()).decode("latin-1")
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return (int(head.split(" ")[1]) if head else 0), body


def get(host: str, path: str = "/api/v1/me", token: str = "", more: str = "") -> str:
    credential = f"Authorization: Bearer {token}\n" if token else ""
    return f"GET {path} HTTP/1.1\nHost: {host}\n{credential}{more}Connection: close\n\n"


def code(body: str) -> str:
    return str(json.loads(body)["error"]["code"])


async def test_names_of_one_tenant(site: Site, api_key: Any) -> None:
    token = api_key("acme")
    for host in (
        "acme.localhost",
        "ACME.LOCALHOST",
        f"acme.localhost:{site.port}",
        "acme.localhost:1",
        "AcMe.LocalHost",
    ):
        status, body = await raw(site, get(host, token=token))
        assert (status, json.loads(body)["tenant"]["slug"]) == (200, "acme"), host


NOBODY = [
    "nobody.localhost",
    "acme.localhost.",
    "acme_.localhost",
    "_acme.localhost",
    "[::1]",
    "[::1]:8000",
    "acme.localhost.evil.example",
    "evil.example",
    "acme..localhost",
    "acme.localhost:x",
    "acme.localhost/globex",
    "acme.localhost@globex.localhost",
    "acme.localhost, globex.localhost",
    "xn--acme.localhost",
    "t_template.localhost",
    "",
]


async def test_names_of_nobody(site: Site, api_key: Any) -> None:
    token = api_key("acme")
    for host in NOBODY:
        status, body = await raw(site, get(host, token=token))
        assert status in (400, 404), host
        assert status == 400 or code(body) == "tenant_not_found", host


async def test_two_host_headers_are_none(site: Site) -> None:
    for first, second in (("acme", "globex"), ("acme", "acme")):
        request = get(f"{first}.localhost")
        status, body = await raw(site, request.replace("Connection", f"Host: {second}.localhost\nConnection"))
        assert status in (400, 404), body


async def test_no_host_header_is_none(site: Site) -> None:
    for version in ("1.0", "1.1"):
        status, _ = await raw(site, f"GET /api/v1/me HTTP/{version}\nConnection: close\n\n")
        assert status in (400, 404)


async def test_an_absolute_address_does_not_change_the_host(site: Site, api_key: Any) -> None:
    """The Host header alone decides, here and for everything behind; the two are never mixed."""
    token = api_key("acme")
    for target in ("http://globex.localhost/api/v1/me", "http://evil.example/api/v1/me"):
        status, body = await raw(site, get("acme.localhost", target, token))
        assert status in (200, 400, 404)
        if status == 200:
            assert json.loads(body)["tenant"]["slug"] == "acme"
    status, body = await raw(site, get("globex.localhost", "http://acme.localhost/api/v1/me", token))
    assert status in (400, 401, 404), "acme's key is no key of globex's host"


async def test_no_other_header_changes_the_host(site: Site, api_key: Any) -> None:
    token = api_key("acme")
    for header in (
        "X-Forwarded-Host: globex.localhost",
        "X-Host: globex.localhost",
        "Forwarded: host=globex.localhost",
        "X-Original-URL: http://globex.localhost/",
        "X-Tenant: globex",
    ):
        status, body = await raw(site, get("acme.localhost", token=token, more=f"{header}\n"))
        assert (status, json.loads(body)["tenant"]["slug"]) == (200, "acme"), header


async def test_a_suspended_tenant_is_refused_at_every_door(db: Platform, site: Site, api_key: Any) -> None:
    def set_status(status: str) -> None:
        def work() -> None:
            with scope.platform():
                Tenant.objects.filter(pk=db.acme.id).update(status=status)

        in_thread(work)
        resolve.forget_all()

    token = api_key("acme")
    set_status("suspended")
    try:
        client = site.client("acme", token=token)
        for path in ("/api/v1/me", "/api/v1/agents", "/api/v1/runs", "/api/v1/nothing"):
            async with client.get(path) as answer:
                assert (answer.status, (await answer.json())["error"]["code"]) == (403, "tenant_suspended")
        async with client.get("/v1/models") as answer:
            assert answer.status == 403
            assert (await answer.json())["error"]["code"] == "tenant_suspended"
        async with client.get("/login/", headers={"Accept": "text/html"}) as answer:
            assert answer.status == 403
            assert answer.content_type == "text/html"
            assert "tenant_suspended" in await answer.text()
        async with client.ws_connect("/ws/chat/", headers={"Origin": site.url("acme")}) as socket:
            message = await socket.receive()
            assert (message.type, socket.close_code) == (aiohttp.WSMsgType.CLOSE, 4403)
        on_platform = site.client(token=token)
        async with on_platform.get("/v1/models") as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (403, "tenant_suspended")
        async with site.client("globex").get("/login/") as answer:
            assert answer.status == 200
    finally:
        set_status("active")


async def test_an_unknown_host_has_no_doors(site: Site) -> None:
    client = site.client("nobody")
    async with client.ws_connect("/ws/chat/", headers={"Origin": site.url("nobody")}) as socket:
        message = await socket.receive()
        assert (message.type, socket.close_code) == (aiohttp.WSMsgType.CLOSE, 4404)
    async with client.get("/admin/") as answer:
        assert answer.status == 404
    async with client.get("/healthz") as answer:
        assert answer.status == 200, "health is the process's, not a tenant's"


async def test_the_console_is_on_the_platforms_host_only(site: Site) -> None:
    for path in ("/admin/", "/admin/login/", "/admin/tenants/tenant/"):
        async with site.client("acme").get(path, allow_redirects=False) as answer:
            assert answer.status == 404
    async with site.client().get("/admin/", allow_redirects=False) as answer:
        assert answer.status == 302


async def test_the_platforms_host_has_no_tenants_pages(site: Site) -> None:
    client = site.client()
    for path in ("/login/", "/chat/", "/api/v1/me", "/api/v1/runs", "/api/v1/conversations"):
        async with client.get(path, allow_redirects=False) as answer:
            assert answer.status == 404, path
    for path in ("/ws/chat/", "/ws/nothing/"):
        async with client.ws_connect(path, headers={"Origin": site.url()}) as socket:
            message = await socket.receive()
            assert (message.type, socket.close_code) == (aiohttp.WSMsgType.CLOSE, 4404)


async def test_cookies_are_the_hosts_own(site: Site) -> None:
    client = site.client("acme")
    async with client.get("/login/") as answer:
        cookies = answer.headers.getall("Set-Cookie")
    assert cookies
    assert not any("domain=" in cookie.lower() for cookie in cookies)


async def test_a_session_of_one_tenant_is_nothing_on_the_others_hosts(site: Site) -> None:
    client = await site.signed_in("owner", "acme")
    jar: Any = client.cookie_jar
    key = next(cookie.value for cookie in jar if cookie.key == "sessionid")
    for slug, path, wanted in (("globex", "/api/v1/me", 401), ("globex", "/chat/", 302), ("", "/admin/", 302)):
        stolen = {"Cookie": f"sessionid={key}"}
        async with site.client(slug).get(path, headers=stolen, allow_redirects=False) as answer:
            assert answer.status == wanted
    async with client.get("/api/v1/me") as answer:
        assert answer.status == 200, "and the theft did not end it"
