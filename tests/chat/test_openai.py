"""OpenAI's wire: its own shapes, and the official SDK unmodified against them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from bench.answers import token_text
from chat import http
from core.errors import PaasError
from llm.deltas import ReasoningDelta, UsageReport
from llm.providers.scripted import ScriptedModel
from tests.chat.doors import OpenAIDoor
from tests.chat.ledger import eventually
from tests.contracts.transport import Refusal, golden
from tests.lazy import Lazy

openai = Lazy("openai")


class Loopback(httpx.AsyncHTTPTransport):
    """Dials this machine for `acme.localhost`, which Python does not resolve by itself."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(host="127.0.0.1")
        return await super().handle_async_request(request)


@asynccontextmanager
async def sdk(site: Any, token: str, slug: str = "") -> AsyncIterator[Any]:
    """The SDK as people use it: a base URL and a key (and a transport that finds the tenant's host)."""
    async with openai.AsyncOpenAI(
        base_url=f"{site.url(slug)}/v1",
        api_key=token,
        max_retries=0,
        http_client=httpx.AsyncClient(transport=Loopback(), timeout=20),
    ) as client:
        yield client


MESSAGES: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]


@pytest.mark.parametrize("slug", ["", "acme"], ids=["platform host", "tenant host"])
async def test_the_sdk_streams_completes_and_lists(site: Any, api_key: Any, agent: Any, slug: str) -> None:
    model = agent("reasoning-8")
    async with sdk(site, api_key(), slug) as client:
        stream = await client.chat.completions.create(
            model=model, messages=MESSAGES, stream=True, stream_options={"include_usage": True}, temperature=0.5
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == "".join(token_text(8))
        assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
        assert chunks[-1].usage is not None
        assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (10, 16)
        assert {chunk.id for chunk in chunks} == {chunks[0].id}
        assert {chunk.model for chunk in chunks} == {model}

        whole = await client.chat.completions.create(model=model, messages=MESSAGES, max_completion_tokens=500)
        assert whole.choices[0].message.content == text
        assert whole.choices[0].message.role == "assistant"
        assert whole.choices[0].message.reasoning_content == "".join(f"r{number} " for number in range(8))  # type: ignore[attr-defined]
        assert whole.usage is not None
        assert whole.usage.total_tokens == 26
        assert whole.usage.completion_tokens_details is not None
        assert whole.usage.completion_tokens_details.reasoning_tokens == 8

        models = [found async for found in await client.models.list()]
        assert {"assistant", model} <= {found.id for found in models}
        one = await client.models.retrieve("assistant")
        assert (one.id, one.owned_by, one.object) == ("assistant", "acme", "model")


async def test_the_sdks_own_streaming_helper(site: Any, api_key: Any, agent: Any) -> None:
    async with (
        sdk(site, api_key()) as client,
        client.chat.completions.stream(model=agent("bench-0-0-30"), messages=MESSAGES) as stream,
    ):
        async for _ in stream:
            pass
        found = await stream.get_final_completion()
    assert found.choices[0].message.content == "".join(token_text(30))


@pytest.mark.parametrize(
    ("model", "error", "status", "code"),
    [
        ("nobody", "NotFoundError", 404, "agent_not_found"),
        ("fault-401", "InternalServerError", 502, "provider_auth_failed"),
        ("fault-429-9", "RateLimitError", 429, "provider_rate_limited"),
        ("fault-500", "InternalServerError", 502, "provider_unavailable"),
        ("fault-400", "BadRequestError", 400, "context_too_long"),
        ("fault-html", "InternalServerError", 502, "provider_bad_response"),
        ("no-such-model", "NotFoundError", 404, "model_not_found"),
    ],
)
async def test_the_sdk_knows_our_errors(
    site: Any,
    api_key: Any,
    agent: Any,
    ledger: Any,
    model: str,
    error: str,
    status: int,
    code: str,
) -> None:
    slug = model if model == "nobody" else agent(model)
    async with sdk(site, api_key()) as client:
        for stream in (True, False):
            with pytest.raises(getattr(openai, error)) as found:
                await client.chat.completions.create(model=slug, messages=MESSAGES, stream=stream)
            assert (found.value.status_code, found.value.code) == (status, code)
            assert found.value.body["message"]  # type: ignore[index]
    assert not ledger.left_behind()


async def test_the_sdk_and_keys(site: Any, api_key: Any) -> None:
    for token in ("sk-foreign", "ak_" + "x" * 40, "ak_short"):
        async with sdk(site, token) as client:
            with pytest.raises(openai.AuthenticationError) as error:
                await client.models.list()
            assert error.value.code == "invalid_api_key"
    async with sdk(site, api_key("globex"), "acme") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()
    async with sdk(site, api_key(scopes=["chat:read"])) as client:
        assert (await client.models.list()).data
        with pytest.raises(openai.PermissionDeniedError) as denied:
            await client.chat.completions.create(model="assistant", messages=MESSAGES)
        assert denied.value.code == "permission_denied"


async def test_the_key_says_which_tenant_on_the_platform_host(site: Any, api_key: Any) -> None:
    for slug in ("acme", "globex"):
        async with sdk(site, api_key(slug)) as client:
            assert {found.owned_by for found in (await client.models.list()).data} == {slug}


async def test_quota_is_a_rate_limit_error_with_the_time(site: Any, api_key: Any, ledger: Any) -> None:
    ledger.allow(5)
    async with sdk(site, api_key()) as client:
        with pytest.raises(openai.RateLimitError) as error:
            await client.chat.completions.create(model="assistant", messages=MESSAGES, stream=True)
    assert (error.value.code, error.value.type) == ("quota_exceeded", "insufficient_quota")
    assert int(error.value.response.headers["Retry-After"]) >= 1
    assert not ledger.left_behind()


async def test_an_error_in_the_middle_raises_in_the_sdk(site: Any, api_key: Any, agent: Any) -> None:
    seen = ""
    async with sdk(site, api_key()) as client:
        stream = await client.chat.completions.create(model=agent("fault-cut-4"), messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError) as error:
            async for chunk in stream:
                seen += chunk.choices[0].delta.content or ""
    assert error.value.code == "provider_stream_cut"
    assert seen == "".join(token_text(4))


async def test_leaving_with_the_sdk_stops_the_vendor(
    site: Any, api_key: Any, agent: Any, vendor: Any, ledger: Any
) -> None:
    async with sdk(site, api_key()) as client:
        stream = await client.chat.completions.create(model=agent("fault-stall-3"), messages=MESSAGES, stream=True)
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        await stream.close()
    await eventually(lambda: vendor.stats.document()["cancelled"] == 1)
    await eventually(lambda: not ledger.left_behind())


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_before_the_first_token(
    site: Any, api_key: Any, agent: Any, vendor: Any, ledger: Any, stream: bool
) -> None:
    door = OpenAIDoor(site, api_key())
    slug = agent("fault-hang")
    ask = door.ask(slug) if stream else door.complete(slug)
    asking = asyncio.create_task(ask)  # type: ignore[arg-type]
    await eventually(lambda: vendor.stats.requests == 1)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await eventually(lambda: vendor.stats.document()["cancelled"] == 1)
    await eventually(lambda: not ledger.left_behind())
    assert ledger.usage(ledger.value("SELECT id FROM chat_run")) == []


async def test_leaving_at_any_moment_is_no_error(
    site: Any, api_key: Any, agent: Any, ledger: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Also at the very end, where the answer is complete and the client goes: nothing is logged as a fault."""
    door, slug = OpenAIDoor(site, api_key()), agent("bench-0-1-20")

    async def leave_after(count: int) -> None:
        stream = await door.ask(slug)
        await stream.until(lambda answer: len(answer.raw) >= count)
        await stream.leave()

    await asyncio.gather(*(leave_after(count) for count in range(1, 26)))
    await eventually(lambda: not ledger.left_behind())
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_vendor_that_thinks_for_long_does_not_leave_the_line_silent(
    site: Any, api_key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A32: after the time that proxies wait, the stream opens and beats; a late refusal is an error in it."""
    monkeypatch.setattr(http, "HEARTBEAT_SECONDS", 0.1)
    door, gate = OpenAIDoor(site, api_key()), asyncio.Event()
    ScriptedModel.enqueue([gate, "late"])
    response = await asyncio.wait_for(
        door.client.post("/v1/chat/completions", json={"model": "assistant", "messages": MESSAGES, "stream": True}), 5
    )
    seen = b""
    while seen.count(b": hb\n\n") < 2:
        seen += await asyncio.wait_for(response.content.readany(), 5)
    gate.set()
    seen += await response.read()
    assert b'"content":"late"' in seen
    assert seen.endswith(b"data: [DONE]\n\n")
    gate.clear()
    ScriptedModel.enqueue([gate, PaasError("provider_timeout")])
    stream = await door.ask("assistant")
    gate.set()
    answer = await stream.rest()
    assert (answer.end, answer.code, answer.ends) == ("failed", "provider_timeout", 1)


async def test_a_whole_answer_to_the_byte(site: Any, api_key: Any) -> None:
    door = OpenAIDoor(site, api_key())
    ScriptedModel.enqueue([ReasoningDelta("Hm."), "你好", " 🦊", UsageReport(11, 7, 3, 2)])
    body = {"model": "assistant", "messages": MESSAGES}
    async with door.client.post("/v1/chat/completions", json=body) as response:
        assert response.headers["Content-Type"] == "application/json"
        assert len(response.headers["X-Request-Id"]) == 32
        golden("openai-whole", await response.read() + b"\n")
    async with door.client.post("/v1/chat/completions", json=body | {"model": "nobody"}) as response:
        golden("openai-refusal", await response.read() + b"\n")
    ScriptedModel.enqueue(["a"])
    async with door.client.post("/v1/chat/completions", json=body | {"stream": True}) as response:
        golden("openai-without-usage", await response.read())


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 7}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}, "messages[0]"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 10**9}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"max_completion_tokens": "9"}, "max_completion_tokens"),
        ({"max_completion_tokens": 5, "max_tokens": -5}, "max_tokens"),
        ({"n": 100}, "n"),
        ({"n": 0}, "n"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 7}, "top_p"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"tools": [{}]}, "tools[0]"),
        ({"stop": 5}, "stop"),
        ({"stop": [1]}, "stop"),
        ({"seed": "a"}, "seed"),
    ],
    ids=str,
)
async def test_what_is_not_valid_is_named(
    site: Any, api_key: Any, ledger: Any, change: dict[str, Any], param: str
) -> None:
    """A38: before anything is held."""
    body = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]} | change
    async with OpenAIDoor(site, api_key()).client.post("/v1/chat/completions", json=body) as response:
        error = (await response.json())["error"]
        assert (response.status, error["code"], error["param"]) == (400, "validation_failed", param)
        assert error["type"] == "invalid_request_error"
        assert error["message"]
    assert ledger.value("SELECT count(*) FROM usage_reservation") == 0


async def test_what_other_clients_send_is_taken(site: Any, api_key: Any) -> None:
    door = OpenAIDoor(site, api_key())
    script = ScriptedModel.enqueue(["a"])
    await door.complete(
        "assistant",
        messages=[
            {"role": "developer", "content": "d", "name": "x"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": ""},
            {"role": "user", "content": "c"},
        ],
        stream=None, stop=["x"], seed=7, user="me", metadata={}, tools=[], n=1, top_p=1, store=False,
    )  # fmt: skip
    assert script.request is not None
    assert [message["role"] for message in script.request.messages] == ["system", "user", "assistant", "user"]
    assert script.request.parameters == {"stop": ["x"], "seed": 7, "top_p": 1}


async def test_other_paths_and_methods(site: Any, api_key: Any) -> None:
    client = OpenAIDoor(site, api_key()).client
    for method, path, status, code in (
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("POST", "/v1/completions", 404, "not_found"),
        ("GET", "/v1/embeddings", 405, "method_not_allowed"),
        ("GET", "/v1/models/nobody", 404, "agent_not_found"),
        ("GET", "/v1/models/" + "x" * 3000, 404, "agent_not_found"),
        ("GET", "/v1/models/%00", 404, "agent_not_found"),
    ):
        async with client.request(method, path) as response:
            error = (await response.json())["error"]
            assert (response.status, error["code"]) == (status, code), path
            assert set(error) == {"message", "type", "param", "code"}


async def test_both_ways_to_send_a_key(site: Any, api_key: Callable[..., str]) -> None:
    token = api_key()
    client = site.client("acme")
    for headers in ({"Authorization": f"bearer  {token}"}, {"X-API-Key": token}):
        async with client.get("/v1/models", headers=headers) as response:
            assert response.status == 200
    async with client.get("/v1/models", headers={"Authorization": "Basic eDp5"}) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (401, "not_authenticated")


async def test_a_session_works_on_the_tenants_own_pages_only(site: Any) -> None:
    """CSRF: a cookie alone starts nothing from elsewhere."""
    client = await site.signed_in("member")
    body = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}
    async with client.post("/v1/chat/completions", json=body) as response:
        assert response.status == 200
    for origin in (site.url("globex"), "null", "https://evil.test", ""):
        async with client.post("/v1/chat/completions", json=body, headers={"Origin": origin}) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (403, "origin_forbidden")


async def test_concurrent_calls_keep_apart(site: Any, api_key: Any, agent: Any) -> None:
    door, slug = OpenAIDoor(site, api_key()), agent("echo")
    found = await asyncio.gather(*(door.complete(slug, f"number {number}") for number in range(30)))
    assert [one["choices"][0]["message"]["content"] for one in found] == [f"number {number}" for number in range(30)]
    assert json.dumps(found[0])
    with pytest.raises(Refusal):
        await door.complete("nobody")
