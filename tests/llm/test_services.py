"""Writes of provider accounts, on the real database: who may set which address, where a key may go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from accounts.models import AuditEvent
from core.errors import PaasError
from llm.models import ProviderAccount
from llm.selectors import provider_named, provider_ref, providers
from llm.services import provider_create, provider_delete, provider_update
from tenants import scope

KEY = "sk-service-0123456789"
PUBLIC, PRIVATE = "https://api.example.com/v1", "http://127.0.0.1:9900/v1"


@pytest.fixture(autouse=True)
def _in_acme(acme: Any) -> Iterator[None]:
    """Bound to acme, and the accounts of this test gone afterwards."""
    with scope.bind(acme):
        before = {one.id for one in providers()}
        yield
        ProviderAccount.objects.exclude(id__in=before).delete()


def made(**fields: Any) -> ProviderAccount:
    """An account that a tenant made."""
    return provider_create(
        **{
            "actor": "user:1",
            "name": "vendor",
            "kind": "openai_compatible",
            "base_url": PUBLIC,
            "api_key": KEY,
        }
        | fields
    )


def audited(action: str) -> list[dict[str, Any]]:
    """Of the account `vendor`; the cast's own provider has its rows too."""
    return list(AuditEvent.objects.filter(action=action, data__name="vendor").values_list("data", flat=True))


def test_what_is_stored_comes_back_and_the_key_is_sealed(acme: Any) -> None:
    account = made(name="  vendor ", api_key=f" {KEY}\n", models={"m": {"context_tokens": 9}})
    found = provider_named("vendor")
    assert found is not None
    assert (found.id, found.api_key, found.models) == (account.id, KEY, {"m": {"context_tokens": 9}})
    ref = provider_ref(found, "m")
    assert (ref.base_url, ref.api_key, ref.allow_private, ref.updated_at) == (
        PUBLIC,
        KEY,
        False,
        found.updated_at,
    )
    raw = ProviderAccount.objects.raw("SELECT id, api_key AS sealed FROM llm_provideraccount WHERE name = 'vendor'")
    assert KEY not in raw[0].sealed  # type: ignore[attr-defined]
    assert audited("provider.created") == [{"name": "vendor", "kind": "openai_compatible"}]


def test_a_name_is_taken_once() -> None:
    made()
    with pytest.raises(ValidationError) as error:
        made()
    assert "name" in error.value.message_dict
    assert made(name="other").name == "other"


@pytest.mark.parametrize("url", [PRIVATE, "http://169.254.169.254/latest", "https://api.example.com:8443/v1"])
def test_a_tenant_cannot_set_an_address_that_is_not_public(url: str) -> None:
    with pytest.raises(ValidationError) as error:
        made(base_url=url)
    assert "base_url" in error.value.message_dict
    assert provider_named("vendor") is None


def test_the_operator_allows_a_private_host_to_tenants(set_setting: Callable[..., None]) -> None:
    set_setting(EGRESS_ALLOW=["127.0.0.1:9900"])
    assert not made(base_url=PRIVATE).allow_private


def test_the_operator_sets_a_private_address_and_the_tenant_keeps_it() -> None:
    account = made(base_url=PRIVATE, by_operator=True)
    assert account.allow_private
    assert provider_update(account, actor="user:1", name="renamed") == ["name"]
    assert account.allow_private


@pytest.mark.parametrize("url", ["http://127.0.0.1:9900/other", "http://127.0.0.1:9901/v1"])
def test_a_tenant_cannot_move_the_operators_address_to_another_private_one(url: str) -> None:
    account = made(base_url=PRIVATE, by_operator=True)
    with pytest.raises(ValidationError) as error:
        provider_update(account, actor="user:1", base_url=url, api_key="sk-new-key")
    assert "base_url" in error.value.message_dict
    account.refresh_from_db()
    assert (account.base_url, account.allow_private) == (PRIVATE, True)


def test_a_tenant_that_changes_the_address_makes_the_account_its_own() -> None:
    account = made(base_url=PRIVATE, by_operator=True)
    changed = provider_update(account, actor="user:1", base_url=PUBLIC, api_key="sk-new-key")
    assert changed == ["api_key", "base_url", "allow_private"]
    account.refresh_from_db()
    assert not account.allow_private


def test_the_operator_may_stand_by_an_address_that_is_there_already(set_setting: Callable[..., None]) -> None:
    set_setting(EGRESS_ALLOW=["127.0.0.1:9900"])
    account = made(base_url=PRIVATE)
    assert provider_update(account, actor="op", by_operator=True, base_url=PRIVATE) == ["allow_private"]
    assert provider_update(account, actor="op", by_operator=True, base_url=PRIVATE) == []


def test_a_key_is_not_sent_to_a_host_that_it_was_not_entered_for() -> None:
    account = made()
    for url in ("https://evil.example.com/v1", "http://api.example.com/v1"):
        with pytest.raises(ValidationError) as error:
            provider_update(account, actor="user:1", base_url=url)
        assert "api_key" in error.value.message_dict
    account.refresh_from_db()
    with pytest.raises(ValidationError):
        provider_update(account, actor="user:1", kind="anthropic")
    account.refresh_from_db()
    assert (account.base_url, account.api_key) == (PUBLIC, KEY)
    assert provider_update(account, actor="user:1", base_url="https://api.example.com/v2") == ["base_url"]
    assert provider_update(account, actor="user:1", base_url="https://b.example.com", api_key="sk-other-key")


def test_an_update_tells_what_changed_and_is_silent_when_nothing_did() -> None:
    account = made()
    same = {"name": "vendor", "base_url": PUBLIC, "api_key": KEY, "models": {}, "enabled": True}
    assert provider_update(account, actor="user:1", **same) == []  # type: ignore[arg-type]
    assert audited("provider.updated") == []
    account.updated_at = before = account.updated_at - timedelta(seconds=1)  # clocks of virtual machines stand still
    assert provider_update(account, actor="user:1", enabled=False, models={"m": {}}) == ["enabled", "models"]
    assert account.updated_at > before
    assert audited("provider.updated") == [{"name": "vendor", "changed": ["enabled", "models"]}]
    assert KEY not in str(list(AuditEvent.objects.values_list("data", flat=True)))


def test_an_account_that_is_switched_off_is_not_used() -> None:
    with pytest.raises(PaasError) as error:
        provider_ref(made(enabled=False), "m")
    assert error.value.code == "provider_not_configured"


def test_deleted_with_its_key() -> None:
    provider_delete(made(), actor="user:1")
    assert provider_named("vendor") is None
    assert audited("provider.deleted") == [{"name": "vendor"}]


def test_another_tenant_sees_nothing_of_it(globex: Any) -> None:
    made()
    with scope.bind(globex):
        assert provider_named("vendor") is None
