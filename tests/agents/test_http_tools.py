"""Tools built of HTTP requests: what is sent, to whom, and what becomes of a secret (A53, A55, A58, P52)."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import orjson
import pytest
from aiohttp import web
from django.conf import settings

from agents.tools.http import HttpTool, built, request
from core.errors import PaasError
from tenants.pages import MOST_BYTES
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


# What a model may be talked into writing (A55): line ends, other places of an address, escapes of escapes.
HOSTILE = (
    "a\r\nX-Injected: 1", "a\nHost: evil", "a\r\n\r\nGET /admin HTTP/1.1", "%0d%0aX: y", "\u2028x", "\u0085x", "\0", "a\tb",
    "../../admin", "..%2fadmin", "%2e%2e/admin", "..;/admin", "..\\admin", "/admin", "//evil.example/x", "?admin=1", "#x",
    "x?y=1&z=2", "@evil.example", "http://evil.example/", "a b", "a+b", "é", "例", "&amp;", ";a=b", "{other}", "{{secret}}", "%",
)  # fmt: skip


async def test_what_a_model_writes_stays_where_it_was_put(server: Server) -> None:
    """A55: one request arrives, at the path and host that the tool has, and each value comes out as it went in."""
    seen: list[web.Request] = []

    async def keep(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response(await request.json())

    server.answer_with = keep
    whole = tool(server.url + "/issues/{issue}/end?v=1", headers={"X-Key": "k"})
    for value in HOSTILE:
        arguments = {"issue": value, "q": value, "body": {"text": value}}
        said = await request(whole, arguments)
        assert len(seen) == 1, (value, said)
        (arrived,) = seen
        seen.clear()
        parts = arrived.raw_path.partition("?")[0].split("/")
        assert (len(parts), parts[1], parts[3], unquote(parts[2])) == (4, "issues", "end", value), value
        assert (arrived.query["q"], arrived.query["v"], len(arrived.query)) == (value, "1", 2), value
        assert orjson.loads(said.text) == {"body": {"text": value}}
        assert arrived.host == server.url.removeprefix("http://")
        assert not {"X-Injected", "X", "Y"} & set(arrived.headers)
        if not value.isascii() or not value.isprintable():
            with pytest.raises(PaasError, match="no header has"):
                await request(whole, arguments | {"issue": "1", "X-Trace": value})
    for bad in ({"issue": "\ud800"}, {"issue": "1", "q": "\udfff"}, {}, {"issue": None}):
        with pytest.raises(PaasError):
            await request(whole, bad)
    own = tool(server.url + "/{issue}", headers={"x-trace": "mine"})
    with pytest.raises(PaasError, match="tool's own"):
        await request(own, {"issue": "1", "X-Trace": "theirs"})
    assert seen == []


async def test_what_a_service_sends_is_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A57: a bomb is cut, what never ends and what is no text is given up, and a redirect is told, not followed."""
    monkeypatch.setattr("agents.tools.http.MOST_SECONDS", 5.0)
    cut = await request(tool(server.url + "/bomb", parameters=(), method="GET"), {})
    assert len(cut.text) == MOST_BYTES
    with pytest.raises(PaasError, match="not a text"):
        await request(tool(server.url + "/binary", parameters=()), {})
    led = await request(tool(server.url + "/private", parameters=()), {})
    assert (led.is_error, "302" in led.text) == (True, True)

    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        try:
            while True:
                await answer.write(b"a" * 65536)
        except ConnectionResetError:
            return answer

    server.answer_with = endless
    assert len((await request(tool(server.url + "/x", parameters=()), {})).text) == MOST_BYTES
    server.answer_with = None
    monkeypatch.setattr("agents.tools.http.MOST_SECONDS", 0.1)
    with pytest.raises(PaasError, match="took more than"):
        await request(tool(server.url + "/slow", parameters=()), {})


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
        {"parameters": []}, {"parameters": [{"name": "what", "in": "nowhere"}]},
        {"parameters": [{"name": "what", "in": "path"}, {"name": "x-key", "in": "header"}]}, {"x": 1}, {"headers": {"X-Key": "a\nb"}},
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
