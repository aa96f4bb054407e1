"""The two layers that bind a request: ASGI outside, Django's middleware where there is no such layer."""

from __future__ import annotations

import asyncio
import json
from io import BytesIO
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse

from core.errors import PaasError
from tenants import resolve, scope
from tenants.asgi import TenantBinding
from tenants.middleware import TenantMiddleware
from tests.conftest import Platform


def http_scope(*hosts: bytes, path: str = "/", kind: str = "http") -> dict[str, Any]:
    return {"type": kind, "path": path, "headers": [(b"host", host) for host in hosts]}


class Inside:
    """An application that notes what it runs under."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    async def __call__(self, connection: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0)
        tenant = scope.current_binding().tenant
        given = connection["paas.tenant"]
        assert given == tenant
        self.seen.append((tenant.slug if tenant else "platform", connection["paas.host"]))


async def sent(app: Any, connection: dict[str, Any]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    await app(connection, receive, send)
    return messages


async def test_a_host_is_bound_for_the_application_and_not_after(platform: Platform) -> None:
    inside = Inside()
    bound = TenantBinding(inside)
    for host in (b"acme.localhost", b"GLOBEX.localhost:8000", b"localhost", b"127.0.0.1:8000"):
        await sent(bound, http_scope(host))
        assert not scope.is_bound()
    assert inside.seen == [
        ("acme", "acme.localhost"), ("globex", "globex.localhost"), ("platform", "localhost"), ("platform", "127.0.0.1")
    ]  # fmt: skip


async def test_many_at_once_are_each_bound_to_their_own(platform: Platform) -> None:
    inside = Inside()
    hosts = [b"acme.localhost", b"globex.localhost", b"localhost"] * 20
    await asyncio.gather(*(sent(TenantBinding(inside), http_scope(host)) for host in hosts))
    assert {(slug, host) for slug, host in inside.seen} == {
        ("acme", "acme.localhost"), ("globex", "globex.localhost"), ("platform", "localhost")
    }  # fmt: skip
    assert len(inside.seen) == 60


@pytest.mark.parametrize("hosts", [(), (b"acme.localhost", b"acme.localhost"), (b"\xff",), (b"nobody.localhost",)])
async def test_no_tenant_no_application(platform: Platform, hosts: tuple[bytes, ...]) -> None:
    inside = Inside()
    start, body = await sent(TenantBinding(inside), http_scope(*hosts, path="/api/v1/me"))
    assert inside.seen == []
    assert start["status"] == 404
    assert json.loads(body["body"])["error"]["code"] == "tenant_not_found"


async def test_refusals_speak_the_doors_own_language(platform: Platform) -> None:
    bound = TenantBinding(Inside())
    _, body = await sent(bound, http_scope(b"nobody.localhost", path="/v1/models"))
    assert json.loads(body["body"])["error"]["type"]
    page = http_scope(b"nobody.localhost", path="/chat/")
    page["headers"].append((b"accept", b"text/html,*/*"))
    start, body = await sent(bound, page)
    assert dict(start["headers"])[b"content-type"].startswith(b"text/html")
    assert b"tenant_not_found" in body["body"]
    accepted, closed = await sent(bound, http_scope(b"nobody.localhost", path="/ws/chat/", kind="websocket"))
    assert (accepted["type"], closed["code"]) == ("websocket.accept", 4404)


async def test_a_look_up_that_fails_is_said_and_not_passed_over(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(host: str) -> Any:
        raise PaasError("database_unavailable", retry_after=1)

    monkeypatch.setattr(resolve, "tenant_of_host", away)
    inside = Inside()
    start, _ = await sent(TenantBinding(inside), http_scope(b"acme.localhost"))
    assert (start["status"], inside.seen) == (503, [])
    assert dict(start["headers"])[b"retry-after"] == b"1"


async def test_an_unexpected_error_of_the_look_up_is_an_error_too(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(host: str) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(resolve, "tenant_of_host", broken)
    inside = Inside()
    start, _ = await sent(TenantBinding(inside), http_scope(b"acme.localhost"))
    assert (start["status"], inside.seen) == (500, [])


# --- Django's middleware -----------------------------------------------------------------------------


async def through_middleware(host: str, **extra: Any) -> tuple[Any, list[Any]]:
    seen: list[Any] = []

    async def view(request: Any) -> HttpResponse:
        seen.append((scope.bound_or_none(), request.tenant, getattr(request, "urlconf", None)))
        return HttpResponse("ok")

    connection = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", host.encode())], **extra}
    request: Any = ASGIRequest(connection, BytesIO())
    middleware: Any = TenantMiddleware(view)
    return await middleware(request), seen


async def test_the_middleware_binds_where_nothing_else_has(platform: Platform) -> None:
    _, [(binding, tenant, urls)] = await through_middleware("acme.localhost")
    assert (binding.tenant.id, tenant.id, urls) == (platform.acme.id, platform.acme.id, "paas.urls_tenant")
    _, [(binding, tenant, urls)] = await through_middleware("localhost")
    assert (binding, tenant, urls) == (scope.PLATFORM, None, None)
    assert not scope.is_bound()


async def test_the_middleware_takes_what_the_outer_layer_has_bound(platform: Platform) -> None:
    with scope.bind(platform.globex):
        _, [(binding, tenant, _)] = await through_middleware("acme.localhost", **{"paas.tenant": platform.globex})
    assert (binding.tenant.id, tenant.id) == (platform.globex.id, platform.globex.id)


async def test_the_middleware_believes_no_scope_that_nothing_has_bound(platform: Platform) -> None:
    _, [(binding, _, _)] = await through_middleware("acme.localhost", **{"paas.tenant": platform.globex})
    assert binding.tenant.id == platform.acme.id


async def test_the_middleware_refuses_what_is_no_tenant(platform: Platform) -> None:
    response, seen = await through_middleware("nobody.localhost")
    assert (response.status_code, seen) == (404, [])
    assert json.loads(response.content)["error"]["code"] == "tenant_not_found"
