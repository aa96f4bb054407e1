"""System checks: a misconfiguration is found at start, by its id."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.test import override_settings

from tenants import checks


def ids(**changed: Any) -> set[str | None]:
    with override_settings(**changed):
        return {found.id for found in run_checks() if (found.id or "").startswith("tenants.")}


def test_the_settings_are_in_order() -> None:
    assert ids() == set()


def test_an_app_in_both_lists() -> None:
    found = ids(SHARED_APPS=[*settings.SHARED_APPS, "chat"])
    assert found == {"tenants.E001", "tenants.E002"}


def test_a_table_in_both_lists() -> None:
    """The same table by another name of the app."""
    assert checks.shared_tables_have_other_names(None) == []
    assert "tenants.E002" in ids(TENANT_APPS=[*settings.TENANT_APPS, "django.contrib.auth"])


@pytest.mark.parametrize("keys", [[], ["short"], ["x" * 44]])
def test_field_keys_that_are_none(keys: list[str]) -> None:
    assert ids(FIELD_KEYS=keys) == {"tenants.E003"}


def test_a_short_pepper_is_warned_of() -> None:
    with override_settings(API_KEY_PEPPER="short"):
        assert [found.id for found in checks.secrets_are_long(None)] == ["tenants.W001"]
    assert checks.secrets_are_long(None) == []
