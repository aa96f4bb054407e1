"""Makes the platform what a declaration says: create or update, never delete; one transaction per tenant."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit, keys, services
from accounts.models import ApiKey, Membership
from agents.models import Agent
from agents.services import agent_set
from core.errors import PaasError
from knowledge.bases import base_set
from llm.platform_accounts import platform_account_set
from llm.selectors import provider_named
from llm.services import provider_create, provider_update
from paas.declaration import Declaration, TenantDeclaration, moment
from tenants import provisioning, resolve, scope
from tenants.models import Plan, Tenant
from tenants.scope import TenantRef
from usage.limits import Place, limit_known, limit_set

ACTOR = "command:apply"
KEY_LIMITS = ("agents", "models", "networks", "tokens_per_month", "expires_at")


class ApplyError(Exception):
    """A tenant could not be made as declared; nothing of it was changed."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that was looked at. what: "created", "updated" or "unchanged". secret: shown this once."""

    tenant: str
    kind: str
    name: str
    what: str
    secret: str = ""

    def view(self) -> dict[str, str]:
        """As JSON."""
        shown = {"tenant": self.tenant, "kind": self.kind, "name": self.name, "change": self.what}
        return shown | ({"token": self.secret} if self.secret else {})


class _DryRun(Exception):
    """Rolls a transaction back."""


def apply(declaration: Declaration, *, dry_run: bool) -> Iterator[list[Change]]:
    """Apply it; yields what each transaction changed, after it was committed. Raises ApplyError."""
    if declaration.operators:
        yield _in_transaction("operators", lambda: _operators(declaration.operators), dry_run)
    if declaration.platform_providers:
        yield _in_transaction("platform", lambda: _platform_providers(declaration.platform_providers), dry_run)
    for tenant in declaration.tenants:
        yield _in_transaction(tenant.slug, lambda wanted=tenant: _tenant(wanted), dry_run)


def _in_transaction(name: str, work: Any, dry_run: bool) -> list[Change]:
    changes: list[Change] = []
    try:
        with scope.platform(), transaction.atomic():
            changes = list(work())
            if dry_run:
                raise _DryRun
    except _DryRun:
        return [replace(change, secret="") for change in changes]  # that key will never exist
    except ValidationError as error:
        raise ApplyError(f"{name}: {' '.join(error.messages)}") from None
    except PaasError as error:  # more people or agents than the plan allows, no owner left
        raise ApplyError(f"{name}: {error.message}") from None
    finally:
        resolve.forget_all()
    return changes


def _operators(operators: list[dict[str, Any]]) -> Iterator[Change]:
    for entry in operators:
        what = services.operator_set(email=entry["email"], password=entry.get("password"), actor=ACTOR)
        yield Change("", "operator", entry["email"], what)


def _platform_providers(accounts: list[dict[str, Any]]) -> Iterator[Change]:
    for entry in accounts:
        yield Change("", "platform_provider", entry["name"], platform_account_set(actor=ACTOR, **entry))


def _tenant(wanted: TenantDeclaration) -> Iterator[Change]:
    tenant, what = _row(wanted)
    yield Change(wanted.slug, "tenant", wanted.slug, what)
    # New owners first: a declaration may hand a tenant over.
    for entry in sorted(wanted.members, key=lambda member: member["role"] != "owner"):
        what = services.member_set(
            tenant=tenant,
            email=entry["email"],
            role=entry["role"],
            password=entry.get("password"),
            name=entry.get("name", ""),
            actor=ACTOR,
        )
        yield Change(wanted.slug, "member", entry["email"], what)
    with scope.bind(tenant.ref()):
        for entry in wanted.providers:
            yield Change(wanted.slug, "provider", entry["name"], _provider(entry))
        for entry in wanted.knowledge:
            fields = {name: value for name, value in entry.items() if name != "slug"}
            what = base_set(actor=ACTOR, slug=entry["slug"], fields=fields)
            yield Change(wanted.slug, "knowledge", entry["slug"], what)
        for entry in wanted.agents:
            yield Change(wanted.slug, "agent", entry["slug"], _agent(entry))
        for entry in wanted.api_keys:
            what, secret = _key(entry)
            yield Change(wanted.slug, "api_key", entry["name"], what, secret)
    for entry in wanted.limits:
        yield Change(wanted.slug, "limit", _limit_name(entry), _limit(tenant.ref(), entry))


def _row(wanted: TenantDeclaration) -> tuple[Tenant, str]:
    tenant = Tenant.objects.select_related("plan").filter(slug=wanted.slug).first()
    plan = wanted.plan or (tenant.plan_id if tenant else "free")
    if not Plan.objects.filter(slug=plan).exists():
        raise ValidationError(f"There is no plan {plan!r}.")
    if tenant is None:
        tenant = provisioning.tenant_create(slug=wanted.slug, name=wanted.name or wanted.slug, plan=plan)
        what = "created"
    else:
        name = wanted.name or tenant.name
        if (tenant.name, tenant.plan_id) == (name, plan):
            return tenant, "unchanged"
        provisioning.tenant_update(tenant=tenant, name=name, plan=Plan.objects.get(slug=plan))
        what = "updated"
    with scope.bind(tenant.ref()):
        audit.record(f"tenant.{what}", actor=ACTOR, target=wanted.slug, plan=plan)
    return tenant, what


def _provider(entry: dict[str, Any]) -> str:
    account = provider_named(entry["name"])
    if account is None:
        provider_create(actor=ACTOR, by_operator=True, **entry)
        return "created"
    return "updated" if provider_update(account, actor=ACTOR, by_operator=True, **entry) else "unchanged"


def _agent(entry: dict[str, Any]) -> str:
    named = entry.get("provider")
    account = provider_named(named) if named else None
    if named and account is None:
        raise ValidationError(f"Agent {entry['slug']}: there is no provider {named!r}.")
    return agent_set(slug=entry["slug"], provider=account, model=entry.get("model") or "", actor=ACTOR, fields=entry)


def _key(entry: dict[str, Any]) -> tuple[str, str]:
    """What the entry leaves out of a key that exists stays as it is. Keys of the file are nobody's: they live on."""
    name = entry["name"]
    found = ApiKey.objects.filter(name=name, revoked_at=None).first()
    parent = _parent(entry)
    limits = {field: entry[field] for field in KEY_LIMITS if field in entry}
    if limits.get("expires_at") is not None:
        limits["expires_at"] = moment(limits["expires_at"])
    for field in ("agents", "models", "networks"):
        if limits.get(field, ()) is None:
            limits[field] = []
    token = entry.get("token")
    same_token = token is None or (found is not None and bytes(found.digest) == keys.digest(token))
    if found is not None and same_token and ("parent" not in entry or found.parent == parent):
        changed = keys.key_update(key=found, scopes=entry["scopes"], actor=ACTOR, **limits)
        return "updated" if changed else "unchanged", ""
    if found is not None:
        keys.key_revoke(key=found, actor=ACTOR)
    _, made = keys.key_create(name=name, scopes=entry["scopes"], token=token, actor=ACTOR, parent=parent, **limits)
    return "updated" if found else "created", "" if token else made


SUBJECTS = {"member": "user", "api_key": "key", "agent": "agent"}


def _limit_name(entry: dict[str, Any]) -> str:
    whose = " ".join(entry[name] for name in SUBJECTS if entry.get(name))
    return " ".join(filter(None, (whose, entry["metric"], entry.get("period") or "", entry.get("currency") or "")))


def _limit(tenant: TenantRef, entry: dict[str, Any]) -> str:
    """A limit of the workspace, or of the one member, API key or agent that the entry names."""
    named = [name for name in SUBJECTS if entry.get(name)]
    if len(named) > 1:
        raise ValidationError(f"Limit {_limit_name(entry)}: name a member, an API key or an agent, not several.")
    with scope.bind(tenant):
        level, subject = (SUBJECTS[named[0]], _subject(tenant, named[0], entry)) if named else ("tenant", tenant.id)
    place = Place(tenant, level, subject, entry["metric"], entry.get("period") or "", entry.get("currency") or "")
    try:
        amount = Decimal(str(entry["limit"]))
    except InvalidOperation:
        raise ValidationError(f"Limit {_limit_name(entry)}: {entry['limit']!r} is no number.") from None
    # A workspace's own limits are the platform's to write; those of its people and things are its own.
    with scope.bind(tenant) if named else scope.platform_about(tenant):
        known = limit_known(place)
        changed = limit_set(place=place, amount=amount, actor=ACTOR)
    return "unchanged" if not changed else "updated" if known else "created"


def _subject(tenant: TenantRef, what: str, entry: dict[str, Any]) -> uuid.UUID:
    name = entry[what]
    if what == "member":
        found = Membership.objects.filter(tenant_id=tenant.id, user__email=name.strip().lower()).first()
        id_ = found.user_id if found else None
    elif what == "api_key":
        key = ApiKey.objects.filter(name=name, revoked_at=None).first()
        id_ = key.pk if key else None
    else:
        agent = Agent.objects.filter(slug=name, archived_at=None).first()
        id_ = agent.pk if agent else None
    if id_ is None:
        raise ValidationError(f"Limit {_limit_name(entry)}: there is no {what.replace('_', ' ')} {name!r}.")
    return uuid.UUID(str(id_))


def _parent(entry: dict[str, Any]) -> ApiKey | None:
    if entry.get("parent") is None:
        return None
    found = ApiKey.objects.filter(name=entry["parent"], revoked_at=None).first()
    if found is None:
        raise ValidationError(f"API key {entry['name']}: there is no key {entry['parent']!r} above it.")
    return found
