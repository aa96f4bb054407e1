"""The vendors with an address of their own."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from core.errors import PaasError
from llm.client import WireClient
from llm.providers.vendors import qwen_request
from llm.registry import ProviderRef, client_for
from tests.contracts.provider import KEY, HttpProviderContract, request_for

ADDRESSES = {
    "openai": "https://api.openai.com/v1",
    "deepseek": "https://api.deepseek.com",
    "qwen": "https://dashscope.aliyuncs.com/compatible-mode/v1",
    "moonshot": "https://api.moonshot.cn/v1",
}


class TestQwen(HttpProviderContract):
    """One of them, through the contract: they share all code, and Qwen's is adapted."""

    def client(self) -> WireClient:
        client = client_for(ProviderRef(uuid.uuid4(), "qwen", self.vendor.base_url, KEY, allow_private=True))
        assert isinstance(client, WireClient)
        return client


@pytest.mark.parametrize(("kind", "address"), ADDRESSES.items())
def test_a_key_is_enough(kind: str, address: str) -> None:
    client: Any = client_for(ProviderRef(uuid.uuid4(), kind, api_key=KEY))
    assert (client.endpoint.base_url, client.endpoint.api_key) == (address, KEY)
    assert not client.endpoint.allow_private
    with pytest.raises(PaasError) as error:
        client_for(ProviderRef(uuid.uuid4(), kind))
    assert error.value.code == "provider_not_configured"


@pytest.mark.parametrize(("given", "on"), [(True, True), ("disabled", False), ({"type": "enabled"}, True)])
def test_thinking_in_qwens_words(given: Any, on: bool) -> None:
    sent = qwen_request(request_for("qwen3-max", parameters={"thinking": given, "top_p": 0.5})).parameters
    assert sent == {"enable_thinking": on, "top_p": 0.5}
