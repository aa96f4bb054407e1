"""Model providers over the API, and the test of a key against a vendor on a real socket (A66)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from accounts.models import AuditEvent
from bench.vendor import Vendor, vendor_in_thread
from llm.models import ProviderAccount
from tenants import scope
from tests.conftest import Platform, in_thread
from tests.contracts.provider import KEY
from tests.site import Site

PROVIDERS = "/api/v1/providers"
WRONG = "sk-wrong-0123456789abcdef"


@pytest.fixture
def stand_in(db: Platform) -> Iterator[Vendor]:
    """A vendor that demands KEY, reachable for tenants; the accounts made meanwhile are gone afterwards."""
    from django.test import override_settings

    def delete() -> None:
        with scope.bind(db.acme):
            ProviderAccount.objects.filter(name__startswith="api-").delete()

    with vendor_in_thread(key=KEY) as vendor, override_settings(EGRESS_ALLOW=[f"127.0.0.1:{vendor.port}"]):
        yield vendor
    in_thread(delete)


async def call(client: Any, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with client.request(method, path, json=body) as answer:
        text = await answer.text()
        assert KEY not in text
        assert WRONG not in text
        return answer.status, (await answer.json() if text else None)


async def test_an_account_from_its_key_to_its_end(site: Site, db: Platform, stand_in: Vendor) -> None:
    admin = await site.signed_in("admin")
    admin.headers["X-CSRFToken"] = site.csrf(admin, "acme")
    kinds = (await call(admin, "GET", f"{PROVIDERS}/kinds"))[1]["kinds"]
    assert {one["name"] for one in kinds} >= {"Zhipu", "OpenAI", "Anthropic", "DeepSeek", "Qwen", "Moonshot"}

    values = {"kind": "anthropic", "base_url": stand_in.anthropic_url, "api_key": WRONG, "model": "bench-0-0-1"}
    status, said = await call(admin, "POST", f"{PROVIDERS}/test", values)
    assert (status, said["ok"], said["code"]) == (200, False, "provider_auth_failed"), said
    assert "Copy it again" in said["message"]
    status, said = await call(admin, "POST", f"{PROVIDERS}/test", values | {"api_key": KEY})
    assert (status, said["ok"], said["model"], said["message"]) == (200, True, "bench-0-0-1", None)

    status, said = await call(admin, "POST", f"{PROVIDERS}/test", values | {"base_url": "http://10.0.0.1/v1"})
    assert (status, "base_url" in str(said)) == (400, True), "nothing inside our network is dialled"

    stored = {"name": "api-claude", "kind": "anthropic", "base_url": stand_in.anthropic_url, "api_key": KEY}
    status, made = await call(admin, "POST", PROVIDERS, stored)
    assert (status, made["has_api_key"], made["enabled"]) == (201, True, True), made
    assert (await call(admin, "POST", PROVIDERS, stored))[1]["error"]["code"] == "validation_failed"
    one = f"{PROVIDERS}/{made['id']}"
    status, said = await call(admin, "POST", f"{one}/test", {"model": "no-such-model"})
    assert (said["ok"], said["code"]) == (False, "model_not_found")
    status, said = await call(admin, "POST", f"{one}/test", {"model": "echo"})
    assert said["ok"], said
    # A stored key goes nowhere else, and a test stores nothing.
    status, said = await call(admin, "POST", f"{one}/test", {"base_url": "https://elsewhere.example"})
    assert (status, "api_key" in str(said)) == (400, True)
    assert (await call(admin, "GET", one))[1]["base_url"] == stand_in.anthropic_url
    assert (await call(admin, "PATCH", one, {"models": {"mine": {"context_tokens": 5}}}))[0] == 200
    assert (await call(admin, "PATCH", one, {"allowed_models": ["other"]}))[1]["allowed_models"] == ["other"]
    models = {row["model"]: row for row in (await call(admin, "GET", f"{one}/models"))[1]["models"]}
    assert (models["mine"]["own"], models["mine"]["context_tokens"]) == (True, 5)
    assert [models[name]["allowed"] for name in ("mine", "other")] == [False, True]
    assert (await call(admin, "DELETE", one))[0] == 204
    assert (await call(admin, "GET", one))[0] == 404
    used = next(row for row in (await call(admin, "GET", PROVIDERS))[1]["providers"] if row["name"] == "scripted")
    assert (await call(admin, "DELETE", f"{PROVIDERS}/{used['id']}"))[0] == 409
    assert (await call(admin, "POST", f"{PROVIDERS}/{uuid.uuid4()}/test", {}))[0] == 404

    def audited() -> list[Any]:
        with scope.bind(db.acme):
            rows = AuditEvent.objects.filter(action="provider.tested").values_list("data__result", flat=True)
            return list(rows.order_by("seq"))

    assert in_thread(audited)[-4:] == ["provider_auth_failed", "ok", "model_not_found", "ok"]
