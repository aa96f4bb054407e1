from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from core.errors import PaasError
from llm.client import WireClient
from llm.registry import ProviderRef, client_for
from llm.wire import Endpoint
from tests.contracts.provider import KEY, HttpProviderContract, request_for
from tests.llm.raw_vendor import RawVendor, json_reply

SetSetting = Callable[..., None]


def account(**more: object) -> ProviderRef:
    return ProviderRef(uuid.uuid4(), "local", **more)  # type: ignore[arg-type]


class TestLocal(HttpProviderContract):
    unreachable = "model_starting"

    def client(self) -> WireClient:
        client = client_for(account(base_url=self.vendor.base_url, api_key=KEY, allow_private=True))
        assert isinstance(client, WireClient)
        return client


async def test_the_address_comes_from_the_settings(set_setting: SetSetting, closing_wire: None) -> None:
    body = b'{"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}'
    async with RawVendor(json_reply(200, body)) as vendor:
        set_setting(LOCAL_MODEL_URL=vendor.base_url)
        client = client_for(account())
        deltas = await client.complete(request_for("smollm2"))
    assert deltas[0] == ("hi",)


def test_the_settings_address_may_be_private_and_an_own_one_may_not(set_setting: SetSetting) -> None:
    set_setting(LOCAL_MODEL_URL="http://127.0.0.1:8081/v1")
    assert _endpoint(account()).allow_private
    assert not _endpoint(account(base_url="http://127.0.0.1:8081/v1")).allow_private


def test_a_platform_without_a_local_model(set_setting: SetSetting) -> None:
    set_setting(LOCAL_MODEL_URL="")
    with pytest.raises(PaasError) as error:
        client_for(account())
    assert error.value.code == "provider_not_configured"


async def test_a_server_that_is_not_up_yet(set_setting: SetSetting, unused_tcp_port: int, closing_wire: None) -> None:
    set_setting(LOCAL_MODEL_URL=f"http://127.0.0.1:{unused_tcp_port}/v1")
    with pytest.raises(PaasError) as error:
        await client_for(account()).complete(request_for("smollm2"))
    assert error.value.code == "model_starting"
    assert error.value.headers() == {"Retry-After": "2"}


async def test_a_server_that_is_loading(set_setting: SetSetting, closing_wire: None) -> None:
    loading = b'{"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}'
    async with RawVendor(json_reply(503, loading)) as vendor:
        set_setting(LOCAL_MODEL_URL=vendor.base_url)
        with pytest.raises(PaasError) as error:
            await client_for(account()).complete(request_for("smollm2"))
    assert error.value.code == "model_starting"
    assert error.value.headers() == {"Retry-After": "2"}


async def test_a_prompt_that_does_not_fit(set_setting: SetSetting, closing_wire: None) -> None:
    too_long = (
        b'{"error": {"code": 400, "type": "exceed_context_size_error", "n_ctx": 4096,'
        b' "message": "the request exceeds the available context size. try increasing the context size"}}'
    )
    async with RawVendor(json_reply(400, too_long)) as vendor:
        set_setting(LOCAL_MODEL_URL=vendor.base_url)
        with pytest.raises(PaasError) as error:
            await client_for(account()).complete(request_for("smollm2"))
    assert error.value.code == "context_too_long"


def _endpoint(ref: ProviderRef) -> Endpoint:
    client = client_for(ref)
    assert isinstance(client, WireClient)
    return client.endpoint
