"""Tools built of HTTP requests: what is sent, to whom, and what becomes of a secret (A53, A55, A58, P52)."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from django.conf import settings

from agents.tools.http import HttpTool, built, request
from core.errors import PaasError
from tests.agents.test_web import Server, server  # noqa: F401 - a fixture
from tests.chat.conftest import agents  # noqa: F401 - a fixture
from tests.core.test_egress import FORBIDDEN_ADDRESSES, FORBIDDEN_URLS

PARAMETERS = (
    {"name": "issue", "in": "path"},
    {"name": "q", "in": "query"},
    {"name": "X-Trace", "in": "header"},
    {"name": "body", "in": "body", "type": "object"},
)


def tool(url: str = "https://api.test/issues/{issue}?v=1", **more: Any) -> HttpTool:
    return HttpTool("t", "", more.pop("method", "POST"), url, more.pop("parameters", PARAMETERS), **more)


def test_where_values_go() -> None:
    url, headers, body = built(tool(), {"issue": "a/../b?c#d", "q": "x&y=z\r\n", "X-Trace": "1", "body": {"a": 1}})
    assert str(url.with_query(None)) == "https://api.test/issues/a%2F..%2Fb%3Fc%23d"
    assert dict(url.query) == {"v": "1", "q": "x&y=z\r\n"}
    assert "\r" not in url.raw_query_string
    assert (headers, body) == ({"X-Trace": "1"}, {"body": {"a": 1}})
    for bad in ({"issue": ".."}, {"issue": "."}, {"issue": ""}, {"issue": "1", "X-Trace": "a\r\nHost: x"}):
        with pytest.raises(PaasError):
            built(tool(), bad)


def test_a_secret_is_for_its_host_alone() -> None:
    secret = {"headers": {"Authorization": "Bearer {{secret}}"}, "secret": "canary", "secret_host": "api.test"}
    assert built(tool(**secret), {"issue": "1"})[1] == {"Authorization": "Bearer canary"}
    with pytest.raises(PaasError, match="another host"):
        built(tool("https://evil.test/{issue}", **secret), {"issue": "1"})
    assert "canary" not in repr(tool(**secret))


async def test_asking(server: Server) -> None:
    async def echo(request: web.Request) -> web.Response:
        said = {"data": [{"auth": request.headers["Authorization"], "id": request.path}]}
        return web.json_response(said, status=418 if request.path.endswith("9") else 200)

    server.answer_with = echo
    secret = {"headers": {"Authorization": "Bearer {{secret}}"}, "secret": "canary", "secret_host": "127.0.0.1"}
    whole = tool(server.url + "/{issue}", **secret)
    assert (await request(whole, {"issue": "7"})).text == '{"data":[{"auth":"Bearer [secret]","id":"/7"}]}'.replace(
        ":", ": "
    ).replace(",", ", ")
    assert (
        await request(tool(server.url + "/{issue}", result_path="data.0.id", **secret), {"issue": "7"})
    ).text == "/7"
    failed = await request(whole, {"issue": "9"})
    assert failed.is_error
    assert "418" in failed.text
    assert "canary" not in failed.text
    with pytest.raises(PaasError, match="has no"):
        await request(tool(server.url + "/{issue}", result_path="x.y", **secret), {"issue": "7"})


async def test_no_form_of_an_address_that_is_not_public_is_asked(server: Server) -> None:
    hosts = [f"[{one}]" if ":" in one else one for one in FORBIDDEN_ADDRESSES]
    for url in (*FORBIDDEN_URLS, *(f"http://{host}/" for host in hosts)):
        with pytest.raises(PaasError):
            await request(tool(url, parameters=()), {})
    assert server.asked == []


async def test_made_tried_and_switched_on(site: Any, api_key: Any, ledger: Any, server: Server, agents: Any) -> None:
    assert settings.EGRESS_ALLOW
    session = site.client("acme", token=api_key("acme", ["*"]))

    async def call(method: str, path: str = "", **more: Any) -> tuple[int, Any]:
        async with session.request(method, f"/api/v1/tools{path}", **more) as answer:
            return answer.status, await answer.json() if answer.status != 204 else None

    fields: dict[str, Any] = {
        "name": "page", "description": "A page", "url": server.url + "/{what}", "secret": "canary",
        "parameters": [{"name": "what", "in": "path"}], "headers": {"X-Key": "{{secret}}"},
    }  # fmt: skip
    for bad in (
        {"url": "http://127.0.0.2/{what}"}, {"url": "https://{what}/"}, {"name": "a b"}, {"headers": {"Host": "x"}}, {"secret": ""},
        {"parameters": []}, {"parameters": [{"name": "what", "in": "nowhere"}]}, {"x": 1}, {"headers": {"X-Key": "a\nb"}},
    ):  # fmt: skip
        assert (await call("POST", json=fields | bad))[0] == 400, bad
    status, made = await call("POST", json=fields)
    path = f"/{made['tool']['id']}"
    assert (status, made["tool"]["has_secret"], made["tool"]["enabled"]) == (201, True, False)
    _, tried = await call("POST", f"{path}/try", json={"arguments": {"what": "page"}})
    assert (tried["ok"], "397.8" in tried["result"]) == (True, True)
    assert (await call("POST", f"{path}/try", json={"arguments": {}}))[0] == 400
    status, moved = await call("PATCH", path, json={"url": "https://example.com/{what}"})
    assert (status, list(moved["error"]["details"]["fields"])) == (400, ["secret"])
    assert (await call("PATCH", path, json={"enabled": True}))[1]["tool"]["enabled"]
    agents("demo", tools=["page"])
    assert "canary" not in str(ledger.rows("SELECT * FROM agents_tool")) + str(await call("GET", path))
    assert "canary" not in str(ledger.rows("SELECT * FROM public.accounts_auditevent"))
    assert (await call("DELETE", path))[0] == 204
    assert (await call("GET", path))[0] == 404
