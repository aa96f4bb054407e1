"""What the wire sends and what it makes of an answer that is none; and that it keeps the key to itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pytest

from core.errors import PaasError
from llm import wire
from llm.deltas import Dialect
from llm.wire import Endpoint, ModelRequest
from tests.contracts.provider import KEY, request_for
from tests.llm.calls import HELLO, STREAM, ask, endpoint, failure, read
from tests.llm.raw_vendor import RawVendor, Reply, event_stream, head, json_reply

pytestmark = pytest.mark.usefixtures("closing_wire")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm.wire.BACK_OFF", 0.001)


# --- what is sent ---------------------------------------------------------------------------------


async def sent(request: ModelRequest, **more: Any) -> tuple[str, dict[str, Any]]:
    """The head and the body of a streamed call."""
    async with RawVendor(STREAM) as vendor:
        await read(vendor.base_url, request, **more)
    return vendor.heads[0].decode(), vendor.bodies[0]


async def test_what_is_sent() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    parameters: Mapping[str, Any] = {
        "temperature": 0,
        "stream": False,
        "n": 5,
        "model": "other",
        "messages": [],
    }
    request = request_for("m", "hi", max_tokens=7, parameters=parameters, tools=[tool])
    top, body = await sent(request, headers={"X-Team": "a"})
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 7,
        "temperature": 0,
        "tools": [tool],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert top.startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    for line in (
        f"Authorization: Bearer {KEY}",
        "Accept-Encoding: identity",
        "Accept: text/event-stream",
        "X-Team: a",
    ):
        assert f"\r\n{line}\r\n" in top
    assert "Cookie" not in top


async def test_what_is_not_asked_for_is_not_sent() -> None:
    _, body = await sent(request_for("m"))
    assert set(body) == {"model", "messages", "stream", "stream_options"}


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", "/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/d?api-version=1", "/d/chat/completions?api-version=1"),
    ],
)
async def test_where_it_is_sent(path: str, asked: str) -> None:
    async with RawVendor(HELLO) as vendor:
        await ask(vendor.base_url.removesuffix("/v1") + path)
    assert vendor.heads[0].decode().startswith(f"POST {asked} HTTP/1.1\r\n")


async def test_a_cookie_is_not_kept() -> None:
    cookie = json_reply(200, HELLO.data.split(b"\r\n\r\n", 1)[1], "Set-Cookie: session=1; Path=/")
    async with RawVendor(cookie) as vendor:
        for _ in range(2):
            await ask(vendor.base_url)
    assert b"Cookie" not in vendor.heads[1]


async def test_a_redirect_is_not_followed() -> None:
    async with RawVendor(HELLO) as elsewhere:
        for status in (301, 302, 307, 308):
            error, _ = await failure(json_reply(status, b"", f"Location: {elsewhere.base_url}/chat/completions"))
            assert error.code == "provider_request_rejected"
            assert "redirects" in error.message
        assert elsewhere.connections == 0


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawVendor(HELLO) as proxy, RawVendor(HELLO) as vendor:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
        monkeypatch.setenv("http_proxy", proxy.base_url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        await ask(vendor.base_url)
        assert (proxy.connections, vendor.connections) == (0, 1)


@pytest.mark.parametrize("url", ["", "ftp://h/v1", "h:80/v1", "http://", "http://[::1/v1", "http://u:p@127.0.0.1/v1"])
async def test_a_base_url_that_is_none(url: str) -> None:
    with pytest.raises(PaasError) as error:
        await ask(url)
    assert error.value.code == "provider_not_configured"


@pytest.mark.parametrize("key", ["sk-a\r\nX-Evil: 1", "sk-a\n", "sk-ключ", "sk-\x00"])
async def test_a_key_that_cannot_be_a_header(key: str) -> None:
    with pytest.raises(PaasError) as error:
        await wire.complete(Endpoint("http://127.0.0.1:9/v1", key, allow_private=True), request_for("m"))
    assert error.value.code == "provider_auth_failed"
    assert key not in error.value.message


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
async def test_text_that_utf8_cannot_hold(text: str) -> None:
    with pytest.raises(PaasError) as error:
        await ask("http://127.0.0.1:9/v1", request_for("m", text))
    assert error.value.code == "validation_failed"


# --- secrets --------------------------------------------------------------------------------------


async def test_a_vendor_that_repeats_the_key() -> None:
    """In an error's body, in an event, in a document: the key is taken out of what people see."""
    body = orjson.dumps({"error": {"message": f"Incorrect API key {KEY} in 'Authorization: Bearer {KEY}'"}})
    for reply in (json_reply(401, body), event_stream(b"data: " + body + b"\n\n"), json_reply(200, body)):
        error, _ = await failure(reply)
        assert KEY not in error.message + repr(error.details)
        assert "[key]" in error.message


async def test_garbage_instead_of_http_does_not_drag_the_headers_along() -> None:
    error, _ = await failure(Reply(b"NOT HTTP AT ALL\r\n\r\n", ends=True))
    assert error.code == "provider_bad_response"
    assert error.__cause__ is None
    assert error.__context__ is None


def test_reprs_hide_the_key_and_the_headers() -> None:
    shown = repr(Endpoint("https://h/v1", KEY, {"X-Key": KEY}))
    assert KEY not in shown
    assert "https://h/v1" in shown


# --- what cannot be read --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        json_reply(200, b"<html></html>"),
        json_reply(200, b""),
        json_reply(200, b"[]"),
        json_reply(200, b'{"choices": 1}'),
        Reply(head(200, "Content-Length: 6", kind="text/html") + b"<html>"),
        Reply(head(200, "Content-Length: 2", "Content-Encoding: gzip") + b"\x1f\x8b"),
        Reply(head(200, "Content-Length: 5", kind="text/event-stream") + b"hello"),
        Reply(head(200, "Content-Length: 9", kind="text/event-stream") + b"garbage!\n"),
    ],
)
async def test_a_200_that_is_no_answer(reply: Reply) -> None:
    error, vendor = await failure(reply)
    assert error.code in ("provider_bad_response", "provider_stream_cut")
    assert len(vendor.bodies) == 1


async def test_a_dialect_names_the_code_for_nobody_there(unused_tcp_port_factory: Callable[[], int]) -> None:
    dialect = Dialect(unreachable="model_starting")
    target = endpoint(f"http://127.0.0.1:{unused_tcp_port_factory()}/v1")
    with pytest.raises(PaasError) as error:
        await wire.complete(target, request_for("m"), dialect)
    assert (error.value.code, error.value.retry_after) == ("model_starting", 2.0)
