"""System checks with ids: misconfiguration is found at start, with a hint, not by a customer."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import Fernet
from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register


@register()
def no_app_in_both_lists(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """tenants.E001: a table of the same name in `public` and in a tenant's schema hides a lost binding (P6)."""
    both = sorted(set(settings.SHARED_APPS) & set(settings.TENANT_APPS))
    if not both:
        return []
    return [
        Error(
            f"Apps are both shared and tenant: {', '.join(both)}.",
            hint="Keep each in one list.",
            id="tenants.E001",
        )
    ]


@register()
def shared_tables_have_other_names(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """tenants.E002: the same, by table name."""

    def tables(labels: list[str]) -> set[str]:
        names = {label.rsplit(".", 1)[-1] for label in labels}
        return {
            model._meta.db_table
            for config in apps.get_app_configs()
            if config.name in labels or config.label in names
            for model in config.get_models(include_auto_created=True)
        }

    both = sorted(tables(settings.SHARED_APPS) & tables(settings.TENANT_APPS))
    return [Error(f"Tables are both shared and tenant: {', '.join(both)}.", id="tenants.E002")] if both else []


@register()
def field_keys_are_keys(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """tenants.E003: FIELD_KEYS opens and seals the tenants' data keys."""
    for position, key in enumerate(settings.FIELD_KEYS, 1):
        try:
            Fernet(key)
        except ValueError:
            return [
                Error(
                    f"Key {position} of FIELD_KEYS is not a Fernet key.",
                    hint="Make one: python -c 'from core.crypto import new_key; print(new_key())'",
                    id="tenants.E003",
                )
            ]
    return [] if settings.FIELD_KEYS else [Error("FIELD_KEYS is empty.", id="tenants.E003")]


@register(deploy=True)
def secrets_are_long(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """tenants.W001: API_KEY_PEPPER guards every API key's digest."""
    if len(settings.API_KEY_PEPPER) >= 32:
        return []
    return [Warning("API_KEY_PEPPER is shorter than 32 characters.", id="tenants.W001")]
