"""Reads of provider accounts, for the bound tenant."""

from __future__ import annotations

import uuid

from core.errors import PaasError
from llm import platform_accounts
from llm.models import ProviderAccount
from llm.registry import ProviderRef


def providers() -> list[ProviderAccount]:
    """All accounts of the tenant, by name, those of the platform that its plan may use among them."""
    return platform_accounts.mirrored()


def provider_named(name: str) -> ProviderAccount | None:
    """The account with this name, or None."""
    return next((one for one in providers() if one.name == name), None)


def provider_by_id(provider_id: uuid.UUID) -> ProviderAccount:
    """The account with this id. Raises not_found."""
    account = next((one for one in providers() if one.pk == provider_id), None)
    if account is None:
        raise PaasError("not_found")
    return account


def provider_ref(account: ProviderAccount, model: str) -> ProviderRef:
    """The account as a value for llm.registry.client_for, key in the clear, to ask this model.

    Raises PaasError provider_not_configured for an account that is switched off: no call is made with it. For one of
    the platform's provider_not_in_plan, and model_not_found.
    """
    if account.of_platform:
        return platform_accounts.ref_of(account.pk, model)
    if not account.enabled:
        raise PaasError("provider_not_configured", f"The model provider {account.name!r} is switched off.")
    return ProviderRef(
        id=account.id,
        kind=account.kind,
        base_url=account.base_url,
        api_key=account.api_key or "",
        allow_private=account.allow_private,
        updated_at=account.updated_at,
    )
