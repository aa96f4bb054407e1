"""Writes of provider accounts, for the bound tenant, each with its audit row.

Who sets an address decides what it may be: the operator's (`by_operator`) may be private, a tenant's must
be public (core.egress). A tenant that changes the address of an operator's account makes it its own.
"""

from __future__ import annotations

from copy import copy
from typing import Any, TypedDict, Unpack
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext

from accounts import audit
from core.errors import PaasError
from llm.catalog import answers
from llm.models import ProviderAccount
from llm.probe import SMALLEST, Probe, provider_probe
from llm.selectors import provider_ref
from tenants import ratelimit
from tenants.egress import address_problem

TESTS = ratelimit.Limit("provider-test", rate=10, period=60)
"""Calls with a key that is only tried: enough for a person, too few to try keys that are not one's own."""


class ProviderFields(TypedDict, total=False):
    """What can be set of an account; see ProviderAccount."""

    name: str
    kind: str
    base_url: str
    api_key: str
    models: dict[str, Any]
    allowed_models: list[str]
    enabled: bool


def provider_create(*, actor: str, by_operator: bool = False, **fields: Unpack[ProviderFields]) -> ProviderAccount:
    """A new account. Raises ValidationError, by field; a name that is taken is one."""
    account = ProviderAccount(**_tidied(fields))
    account.allow_private = by_operator and bool(account.base_url)
    _check(account)
    with transaction.atomic():
        account.save(force_insert=True)
        audit.record("provider.created", actor=actor, target=str(account.id), name=account.name, kind=account.kind)
    return account


def provider_update(
    account: ProviderAccount, *, actor: str, by_operator: bool = False, **fields: Unpack[ProviderFields]
) -> list[str]:
    """Change an account; returns the names of the fields that changed, in order, and writes only then.

    A key belongs to the host that it was entered for: who changes the host enters the key again, so that a
    key which one person stored cannot be sent to an address that another chooses. Raises ValidationError.
    """
    _check_own(account)
    given = _tidied(fields)
    changed = sorted(name for name, value in given.items() if getattr(account, name) != value)
    if _moved(account, given) and account.api_key and "api_key" not in given:
        raise ValidationError({"api_key": gettext("The address changed, so enter the API key again.")})
    if "base_url" in changed:
        given["allow_private"] = by_operator and bool(given["base_url"])
    elif by_operator and given.get("base_url"):
        given["allow_private"] = True  # the operator stands by an address that the tenant had set
    if given.get("allow_private", account.allow_private) != account.allow_private:
        changed.append("allow_private")
    if not changed:
        return []
    for name in changed:
        setattr(account, name, given[name])
    _check(account)
    with transaction.atomic():
        account.save(update_fields=[*changed, "updated_at"])
        audit.record("provider.updated", actor=actor, target=str(account.id), name=account.name, changed=changed)
    return changed


def provider_test(
    *, actor: str, account: ProviderAccount | None = None, model: str = "", **fields: Unpack[ProviderFields]
) -> Probe:
    """Make the smallest true call with an account as it would be with `fields`; nothing of it is stored.

    A stored key goes to no other host than its own, as in provider_update. model: the least the kind has, when none
    is named. Raises ValidationError, and rate_limited above TESTS.
    """
    _check_own(account)
    given = _tidied(fields)
    tried = ProviderAccount(name="test", **{"kind": "", **given})
    if account is not None:
        tried = copy(account)
        if _moved(account, given) and account.api_key and not given.get("api_key"):
            raise ValidationError({"api_key": gettext("The address changed, so enter the API key again.")})
        tried.allow_private &= given.get("base_url", account.base_url) == account.base_url
        for name, value in given.items():
            if name != "api_key" or value:
                setattr(tried, name, value)
    tried.clean_fields(exclude=["id", "name"])
    tried.clean()
    _check_address(tried)
    own = [name for name, entry in (tried.models or {}).items() if answers(entry)]
    model = model.strip() or next(iter(own), "") or SMALLEST.get(tried.kind, "")
    if not model:
        raise ValidationError({"model": gettext("Name a model of this vendor to test with.")})
    ratelimit.check(TESTS)
    tried.enabled = True
    found = provider_probe(provider_ref(tried, model), model)
    audit.record(
        "provider.tested",
        actor=actor,
        target=str(account.id) if account else "",
        kind=tried.kind,
        model=model,
        result=found.code or "ok",
    )
    return found


def provider_delete(account: ProviderAccount, *, actor: str) -> None:
    """Delete an account and its key. Raises django.db.models.ProtectedError while agents use it."""
    _check_own(account)
    with transaction.atomic():
        audit.record("provider.deleted", actor=actor, target=str(account.id), name=account.name)
        account.delete()


def _check_own(account: ProviderAccount | None) -> None:
    """Raises permission_denied for one of the platform's: nobody here may move it, nor spend its key on tests."""
    if account is not None and account.of_platform:
        raise PaasError(
            "permission_denied", gettext("This account is the platform's, so only its operator changes it.")
        )


def _tidied(fields: ProviderFields) -> dict[str, Any]:
    """The fields without the spaces and line ends that copying brings."""
    return {name: value.strip() if isinstance(value, str) else value for name, value in fields.items()}


def _check(account: ProviderAccount) -> None:
    account.full_clean()
    _check_address(account)


def _check_address(account: ProviderAccount) -> None:
    if account.allow_private or not account.base_url:
        return
    if problem := address_problem(account.base_url):
        raise ValidationError({"base_url": problem})


def _moved(account: ProviderAccount, given: dict[str, Any]) -> bool:
    """Whether a key would go to another host: another address, or another vendor's own."""
    return _origin(given.get("base_url", account.base_url)) != _origin(account.base_url) or (
        given.get("kind", account.kind) != account.kind
    )


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    try:
        return parts.scheme, parts.hostname, parts.port
    except ValueError:
        return parts.scheme, parts.hostname, -1
