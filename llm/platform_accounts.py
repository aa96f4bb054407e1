"""The operator's own accounts with model vendors, which tenants of some plans use, and never read or change.

They are in a shared table that no tenant's role has any right on (tenants.models.PlatformProvider). In a tenant's
schema a row of the same id stands for each, without key and address (`of_platform`), so that versions of agents point
to it as to any account; it is made when the tenant looks at its accounts. What may be asked, whose key it is and what
it costs is read from the platform's table each time a spec is made, which is remembered for two seconds like any spec.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.contrib.postgres.expressions import ArraySubquery
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import ProtectedError

from accounts import audit
from core import crypto
from core.errors import PaasError
from llm.models import ProviderAccount
from llm.registry import ProviderRef
from tenants import scope
from tenants.models import Plan, PlatformProvider, Tenant

SET = ("base_url", "models", "allowed_models", "plans", "enabled")
MIRRORED = ("name", "kind", "models", "allowed_models")


# --- for the bound tenant ------------------------------------------------------------------------------


def accounts_in_plan() -> list[PlatformProvider]:
    """Those that the bound tenant's plan may use, by name."""
    plan = Tenant.objects.filter(pk=scope.current_tenant().id).values("plan_id")
    with scope.platform():
        return list(PlatformProvider.objects.filter(enabled=True, plans__contains=ArraySubquery(plan)))


def mirrored() -> list[ProviderAccount]:
    """The bound tenant's accounts by name, after its rows for the platform's were made what they are; one that is no
    longer in its plan goes, unless versions of agents point to it (asking it is then refused)."""
    wanted = {one.pk: one for one in accounts_in_plan()}
    accounts = list(ProviderAccount.objects.order_by("name"))
    known = {one.pk: one for one in accounts if one.of_platform}
    names = {one.name for one in accounts if not one.of_platform}
    rows = [_row(one, names) for one in wanted.values()]
    changed = [row for row in rows if row.pk not in known or _told(known[row.pk]) != _told(row)]
    if not changed and known.keys() <= wanted.keys():
        return accounts
    ProviderAccount.objects.bulk_create(
        changed, update_conflicts=True, unique_fields=["id"], update_fields=[*MIRRORED, "updated_at"]
    )
    for gone in known.keys() - wanted.keys():
        try:
            with transaction.atomic():
                known[gone].delete()
        except ProtectedError:
            continue
    return list(ProviderAccount.objects.order_by("name"))


def _row(account: PlatformProvider, taken: set[str]) -> ProviderAccount:
    # The tenant's own account of that name was there first.
    name = f"{account.name[:49]} (platform)" if account.name in taken else account.name
    fields = {field: getattr(account, field) for field in MIRRORED} | {"name": name}
    return ProviderAccount(pk=account.pk, of_platform=True, **fields)


def _told(row: ProviderAccount) -> tuple[Any, ...]:
    return tuple(getattr(row, field) for field in MIRRORED)


def ref_of(account_id: uuid.UUID, model: str) -> ProviderRef:
    """The account as a value, key in the clear, to ask this model for the bound tenant.

    Raises provider_not_in_plan, when the account is gone or switched off too, and model_not_found.
    """
    found = next((one for one in accounts_in_plan() if one.pk == account_id), None)
    if found is None:
        raise PaasError("provider_not_in_plan")
    if found.allowed_models and model not in found.allowed_models:
        raise PaasError("model_not_found", "The platform does not offer this model any more. Choose another one.")
    return ProviderRef(
        id=found.pk,
        kind=found.kind,
        base_url=found.base_url,
        api_key=_opened(found.sealed_key),
        allow_private=True,  # the operator's own address
        updated_at=found.updated_at,
    )


def models_of(account: ProviderAccount) -> dict[str, Any]:
    """What an account says of its models, prices among it: of one of the platform's, as it is now."""
    if not account.of_platform:
        return account.models or {}
    with scope.platform():
        found = PlatformProvider.objects.filter(pk=account.pk).values_list("models", flat=True).first()
    return found or {}


# --- for the operator, bound to the platform -----------------------------------------------------------


def platform_account_set(*, name: str, kind: str, actor: str, api_key: str | None = None, **fields: Any) -> str:
    """Create or change the account with this name: "created", "updated" or "unchanged".

    fields: those of SET; what is not given stays. api_key: None is the one there is. Raises ValidationError by field.
    """
    account = PlatformProvider.objects.filter(name=name).first()
    created = account is None
    if account is None:
        account = PlatformProvider(name=name, kind=kind)
    elif account.kind != kind:
        raise ValidationError({"kind": "An account keeps its kind. Make another one."})
    given = {field: value for field, value in fields.items() if value is not None}
    changed = sorted(field for field, value in given.items() if getattr(account, field) != value)
    for field in changed:
        setattr(account, field, given[field])
    if api_key is not None and api_key.strip() != _opened(account.sealed_key):
        account.sealed_key = crypto.wrap(settings.FIELD_KEYS, api_key.strip()) if api_key.strip() else ""
        changed.append("api_key")
    _check(account)
    if not created and not changed:
        return "unchanged"
    what = "created" if created else "updated"
    with transaction.atomic():
        account.save()
        audit.record(f"platform_provider.{what}", actor=actor, target=str(account.pk), name=name, changed=changed)
    return what


def platform_account_delete(account: PlatformProvider, *, actor: str) -> None:
    """Remove an account with its key; agents that use it are refused from then on."""
    with transaction.atomic():
        audit.record("platform_provider.deleted", actor=actor, target=str(account.pk), name=account.name)
        account.delete()


def _check(account: PlatformProvider) -> None:
    """As a tenant's account is checked, and that the plans are there."""
    like = ProviderAccount(
        **{field: getattr(account, field) for field in (*MIRRORED, "base_url")}, api_key=_opened(account.sealed_key)
    )
    # Encrypting and comparing names are the tenant's row's; here nothing is stored.
    like.clean_fields(exclude=["id", "api_key"])
    like.clean()
    unknown = set(account.plans) - set(Plan.objects.values_list("slug", flat=True))
    if unknown:
        raise ValidationError({"plans": f"There is no plan {', '.join(sorted(unknown))}."})


def _opened(sealed: str) -> str:
    return crypto.unwrap(settings.FIELD_KEYS, sealed) if sealed else ""
