from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from typing import Any

import pytest

from core.errors import PaasError
from llm.client import WireClient
from llm.deltas import ModelRequest
from llm.providers.zhipu import BASE_URL, adapted, signed_token
from llm.registry import ProviderRef, client_for
from tests.contracts.provider import KEY, HttpProviderContract, request_for
from tests.llm.raw_vendor import RawVendor, event_stream, json_reply

ID, SECRET = "0123456789abcdef0123456789abcdef", "s3cr3ts3cr3tABCD"


def account(key: str = KEY, **more: Any) -> ProviderRef:
    return ProviderRef(uuid.uuid4(), "zhipu", api_key=key, **more)


class TestZhipu(HttpProviderContract):
    def client(self) -> WireClient:
        client = client_for(account(base_url=self.vendor.zhipu_url, allow_private=True))
        assert isinstance(client, WireClient)
        return client

    async def test_usage_is_not_asked_for(self) -> None:
        await self.case("echo").batches()
        assert "stream_options" not in self.vendor.stats.bodies[-1]


# Bodies as Zhipu's documentation shows them; the codes are its business codes.
ERRORS = [
    (401, "1000", "身份验证失败", "provider_auth_failed"),
    (401, "1002", "Authorization Token非法,请确认Authorization Token正确传递", "provider_auth_failed"),
    (429, "1113", "您的账户已欠费,请充值后重试", "provider_request_rejected"),
    (400, "1210", "API 调用参数有误,请检查文档", "provider_request_rejected"),
    (400, "1211", "模型不存在,请检查模型代码", "model_not_found"),
    (400, "1261", "Prompt 超长", "context_too_long"),
    (400, "1301", "系统检测到输入或生成内容可能包含不安全或敏感内容", "provider_request_rejected"),
    (429, "1302", "您当前使用该 API 的并发数过高", "provider_rate_limited"),
    (429, "1303", "您当前使用该 API 的频率过高", "provider_rate_limited"),
    (429, "1305", "当前 API 请求过多,请稍后重试", "provider_rate_limited"),
    (500, "500", "内部错误", "provider_unavailable"),
]


@pytest.mark.parametrize("where", ["status", "document", "stream"])
@pytest.mark.parametrize(("status", "number", "sentence", "code"), ERRORS)
async def test_a_business_code_means_the_same_wherever_it_comes(
    status: int,
    number: str,
    sentence: str,
    code: str,
    where: str,
    closing_wire: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llm.wire.BACK_OFF", 0.0)
    body = json.dumps({"error": {"code": number, "message": sentence}}, ensure_ascii=False).encode()
    replies = {
        "status": json_reply(status, body),
        "document": json_reply(200, body),
        "stream": event_stream(b"data: " + body + b"\n\n"),
    }
    async with RawVendor(replies[where]) as vendor:
        client = client_for(account(base_url=vendor.base_url, allow_private=True))
        with pytest.raises(PaasError) as error:
            _ = [batch async for batch in client.stream(request_for("glm-4.6"))]
    assert error.value.code == code
    assert sentence in error.value.message


def test_the_vendors_address_is_the_default() -> None:
    client = client_for(account())
    assert isinstance(client, WireClient)
    assert client.endpoint.base_url == BASE_URL
    assert not client.endpoint.allow_private


def test_a_key_is_needed() -> None:
    with pytest.raises(PaasError) as error:
        client_for(account(""))
    assert error.value.code == "provider_not_configured"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (True, {"type": "enabled"}),
        (False, {"type": "disabled"}),
        ("disabled", {"type": "disabled"}),
        ({"type": "enabled", "clear_thinking": False}, {"type": "enabled", "clear_thinking": False}),
    ],
)
def test_thinking_in_every_form(given: Any, sent: dict[str, Any]) -> None:
    request = adapted(request_for("glm-4.6", parameters={"thinking": given, "temperature": 0.3}))
    assert request.parameters == {"thinking": sent, "temperature": 0.3}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "lookup"}}])
def test_a_tool_choice_that_zhipu_does_not_know_is_left_out(choice: Any) -> None:
    assert adapted(request_for("glm-4.6", parameters={"tool_choice": choice})).parameters == {}
    assert adapted(request_for("glm-4.6", parameters={"tool_choice": "auto"})).parameters == {"tool_choice": "auto"}


@pytest.mark.parametrize(
    ("key", "signed"), [(f"{ID}.{SECRET}", False), ("one-long-key", False), (f"jwt:{ID}.{SECRET}", True)]
)
async def test_both_forms_of_key(key: str, signed: bool, closing_wire: None) -> None:
    async with RawVendor(json_reply(200, b'{"choices": [{"message": {"content": "hi"}}]}')) as vendor:
        client = client_for(account(key, base_url=vendor.base_url, allow_private=True))
        await client.complete(request_for("glm-4.6"))
    sent = vendor.heads[0].decode()
    if signed:
        assert SECRET not in sent
        assert SECRET not in repr(client)
        assert "Authorization: Bearer eyJ" in sent
    else:
        assert f"Authorization: Bearer {key}\r\n" in sent


@pytest.mark.parametrize("key", ["jwt:", "jwt:only-an-id", "jwt:.secret", "jwt:id."])
def test_a_signing_key_without_both_halves(key: str) -> None:
    with pytest.raises(PaasError) as error:
        client_for(account(key))
    assert error.value.code == "provider_not_configured"


def test_the_signed_token_is_the_one_that_zhipu_documents() -> None:
    token = signed_token(ID, SECRET, 1_760_000_000.5)
    header, payload, signature = token.split(".")
    assert json.loads(_decoded(header)) == {"alg": "HS256", "sign_type": "SIGN"}
    assert json.loads(_decoded(payload)) == {
        "api_key": ID,
        "timestamp": 1_760_000_000_500,
        "exp": 1_760_000_180_500,
    }
    expected = hmac.new(SECRET.encode(), f"{header}.{payload}".encode(), hashlib.sha256).digest()
    assert _decoded(signature) == expected


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_pictures_go_bare_and_no_tools_where_none_may_be_called() -> None:
    url = {"url": "data:image/png;base64,AAAA", "detail": "low"}
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": url}]
    asked = ModelRequest(
        "glm-4.5v", [{"role": "user", "content": parts}], parameters={"tool_choice": "none"}, tools=[{}]
    )
    sent = adapted(asked)
    assert sent.messages[0]["content"][1]["image_url"] == {"url": "AAAA", "detail": "low"}
    assert (sent.tools, sent.parameters) == (None, {})
    assert url["url"].startswith("data:")  # the caller's own stays
