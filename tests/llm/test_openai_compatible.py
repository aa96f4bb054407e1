from __future__ import annotations

import uuid

import pytest

from core.errors import PaasError
from llm.client import WireClient
from llm.registry import ProviderRef, client_for
from tests.contracts.provider import KEY, HttpProviderContract, request_for


def account(base_url: str, **more: object) -> ProviderRef:
    return ProviderRef(uuid.uuid4(), "openai_compatible", base_url, KEY, **more)  # type: ignore[arg-type]


class TestOpenAICompatible(HttpProviderContract):
    def client(self) -> WireClient:
        client = client_for(account(self.vendor.base_url, allow_private=True))
        assert isinstance(client, WireClient)
        return client

    async def test_usage_is_asked_for_in_streams_only(self) -> None:
        await self.case("echo").batches()
        await self.case("echo").answer(streamed=False)
        streamed, whole = self.vendor.stats.bodies
        assert streamed["stream_options"] == {"include_usage": True}
        assert whole["stream"] is False
        assert "stream_options" not in whole

    async def test_an_address_set_by_a_tenant_must_be_public(self) -> None:
        client = client_for(account(self.vendor.base_url))
        with pytest.raises(PaasError) as error:
            await client.complete(request_for("echo"))
        assert error.value.code == "provider_address_forbidden"
        assert self.vendor.stats.requests == 0


def test_without_a_base_url() -> None:
    with pytest.raises(PaasError) as error:
        client_for(account(""))
    assert error.value.code == "provider_not_configured"
