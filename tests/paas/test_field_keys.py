"""Rotation of FIELD_KEYS: afterwards the old key is needed by nothing, and what is lost is said (P61)."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import decrypt, encrypt
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections

from accounts import mail
from accounts.models import AuditEvent, User
from core import crypto
from llm.models import ProviderAccount
from paas import field_keys
from tenants import fields, scope
from tenants.models import PlatformProvider, Tenant
from tests.conftest import Platform

SECRET = "sk-0123456789-of-a-vendor"


@pytest.fixture(autouse=True)
def _own_connection(db: Platform) -> Iterator[None]:
    yield
    fields._data_key.cache_clear()
    connections.close_all()


def rotate(**options: Any) -> dict[str, dict[str, int]]:
    output = io.StringIO()
    call_command("rotate_field_keys", json=True, stdout=output, **options)
    return {one.pop("place"): one for one in json.loads(output.getvalue())}


def furnish(db: Platform) -> None:
    with scope.bind(db.acme):
        ProviderAccount.objects.create(name="vendor", kind="openai", api_key=SECRET)
    with scope.platform():
        PlatformProvider.objects.create(name="ours", kind="openai", sealed_key=crypto.wrap(settings.FIELD_KEYS, SECRET))
        owner = User.objects.get(email="owner@acme.test")
        Authenticator.objects.create(user=owner, type="totp", data={"secret": encrypt("TOTP")})
        codes = {"seed": encrypt("seed"), "used_mask": 3, "migrated_codes": [encrypt("one"), encrypt("two")]}
        Authenticator.objects.create(user=owner, type="recovery_codes", data=codes)
        mail.send("email_changed", to="x@y.test")


def test_after_it_the_old_key_is_needed_by_nothing(db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    furnish(db)
    old, new = settings.FIELD_KEYS[0], crypto.new_key()
    monkeypatch.setattr(settings, "FIELD_KEYS", [new, old])
    with pytest.raises(CommandError, match="need an older key"):
        rotate(check=True)
    counts = rotate()
    assert {place: count["moved"] for place, count in counts.items()} == {
        "data keys of tenants": 2, "model accounts of the platform": 1, "second factors": 4, "letters that wait": 1,
        "secrets under data keys": 0,
    }  # fmt: skip
    monkeypatch.setattr(settings, "FIELD_KEYS", [new])
    fields._data_key.cache_clear()
    assert sum(count["lost"] + count["older"] for count in rotate(check=True).values()) == 0
    with scope.platform():
        acme = Tenant.objects.get(slug="acme").ref()
        assert crypto.unwrap([new], PlatformProvider.objects.get().sealed_key) == SECRET
        data = Authenticator.objects.get(type="recovery_codes").data
        assert [decrypt(text) for text in (data["seed"], *data["migrated_codes"])] == ["seed", "one", "two"]
        assert data["used_mask"] == 3
        told = AuditEvent.objects.filter(action="field_keys.rotated").values_list("target", "data__moved")
        assert dict(told)["second factors"] == 4
        assert sum(moved for _, moved in told) == 8
    with scope.bind(acme):
        assert ProviderAccount.objects.get(name="vendor").api_key == SECRET


def test_a_value_that_changed_meanwhile_is_left_to_the_next_run(db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    furnish(db)
    old, new = settings.FIELD_KEYS[0], crypto.new_key()
    monkeypatch.setattr(settings, "FIELD_KEYS", [new, old])
    rewrap = crypto.rewrap

    def slow(keys: Any, wrapped: str) -> str:
        PlatformProvider.objects.update(sealed_key=crypto.wrap([old], "another"))
        return rewrap(keys, wrapped)

    monkeypatch.setattr(crypto, "rewrap", slow)
    with pytest.raises(CommandError, match="1 secrets need an older key"):
        rotate()
    monkeypatch.setattr(crypto, "rewrap", rewrap)
    rotate()
    with scope.platform():
        assert crypto.unwrap([new], PlatformProvider.objects.get().sealed_key) == "another"


def test_what_no_key_opens_is_said(db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "FIELD_KEYS", [crypto.new_key()])
    with pytest.raises(CommandError, match="open with no key of FIELD_KEYS"):
        rotate()


def test_every_sealed_column_is_known() -> None:
    """A new column under FIELD_KEYS belongs into PLACES; those under a data key are found by their field."""
    found = {f"{model._meta.label}.{column}" for model, column in field_keys.encrypted_columns()}
    assert found == {
        "accounts.IdentityProvider.client_secret", "agents.McpConnection.access_token",
        "agents.McpConnection.client_secret", "agents.McpConnection.refresh_token", "agents.McpServer.secret",
        "agents.Tool.secret", "agents.ToolSetting.api_key", "llm.ProviderAccount.api_key",
    }  # fmt: skip
