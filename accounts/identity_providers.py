"""Who people may sign in with beside their password: the platform's providers and the bound tenant's own."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypedDict, Unpack

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from yarl import URL

from accounts import audit
from accounts.actors import Actor
from accounts.models import IdentityProvider, Role
from accounts.policies import ADMIN_MEMBERS
from core import egress
from core.errors import PaasError
from tenants import resolve, scope
from tenants.egress import egress_policy, is_allow_listed

MOST = 10  # of one tenant
MOST_DOMAINS = 50
LETS_IN = ("issuer", "client_id", "email_domains", "enabled")  # with a join role: what decides who comes in
DOMAIN = re.compile(r"^(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}\Z")
# Nobody becomes an owner because a provider says so.
JOIN_ROLES = (Role.VIEWER, Role.MEMBER, Role.ADMIN)


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider as a value. key: its name in addresses. kind: `oidc`, or `github` (plain OAuth 2).

    tenant_id: whose own it is; None: the platform's. email_domains, join_role: as `IdentityProvider`.
    """

    key: str
    kind: str
    name: str
    issuer: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    tenant_id: uuid.UUID | None = None
    email_domains: tuple[str, ...] = ()
    join_role: str = ""

    @property
    def whose(self) -> str:
        """The last piece of the callback's address, and so what an answer must come back through.

        It differs between parties that do not trust each other: an answer meant for one cannot be led to another
        (RFC 9700 §4.4, mix-up).
        """
        return str(self.tenant_id or self.key)

    @property
    def redirect_uri(self) -> str:
        """What is registered with the provider."""
        return callback_address(self.whose)

    @property
    def method(self) -> str:
        """How audit rows name a sign-in with it."""
        return f"oidc:workspace:{self.name}" if self.tenant_id else f"oidc:{self.key}"

    @property
    def realm(self) -> str:
        """What a subject is unique in: whose provider it is, and the issuer. `SocialAccount.provider` holds it."""
        return realm_of(self.tenant_id, self.issuer)


def callback_address(whose: str) -> str:
    """Where providers send people back to: on the platform host, because it must be one fixed address (P38)."""
    return f"{resolve.platform_url()}/accounts/oidc/callback/{whose}/"


def realm_of(tenant_id: uuid.UUID | None, issuer: str) -> str:
    """See `Provider.realm`; the issuer as a digest, because it may be longer than the column."""
    return f"{realms_of(tenant_id)}{hashlib.sha256(issuer.rstrip('/').encode()).hexdigest()[:40]}"


def realms_of(tenant_id: uuid.UUID | None) -> str:
    """What every realm of this tenant (None: of the platform) begins with."""
    return f"{tenant_id.hex if tenant_id else 'platform'}:"


def platform_providers() -> tuple[Provider, ...]:
    """Those of the environment."""
    return tuple(Provider(**fields) for fields in settings.IDENTITY_PROVIDERS)


def providers_here() -> list[Provider]:
    """What the sign-in page of the present host offers: the platform's, and on a tenant's host its own."""
    tenant = scope.current_binding().tenant
    own = IdentityProvider.objects.filter(tenant_id=tenant.id, enabled=True) if tenant else ()
    return [*platform_providers(), *(value_of(row) for row in own)]


def provider_here(key: str) -> Provider:
    """One of `providers_here`. Raises not_found."""
    for provider in providers_here():
        if provider.key == key:
            return provider
    raise PaasError("not_found")


def value_of(row: IdentityProvider) -> Provider:
    """The row of the bound tenant as a value."""
    return Provider(
        key=str(row.id),
        kind="oidc",
        name=row.name,
        issuer=row.issuer,
        client_id=row.client_id,
        client_secret=row.client_secret,
        tenant_id=row.tenant_id,
        email_domains=tuple(row.email_domains),
        join_role=row.join_role,
    )


# --- a tenant's own: what its administrators do -------------------------------------------------------


class Fields(TypedDict, total=False):
    """What can be set; see IdentityProvider. client_secret: "" keeps the one that is stored."""

    name: str
    issuer: str
    client_id: str
    client_secret: str
    email_domains: list[str]
    join_role: str
    enabled: bool


def own_provider(provider_id: uuid.UUID) -> IdentityProvider:
    """A provider of the bound tenant. Raises not_found."""
    found = IdentityProvider.objects.filter(tenant_id=scope.current_tenant().id, pk=provider_id).first()
    if found is None:
        raise PaasError("not_found")
    return found


def own_providers() -> list[IdentityProvider]:
    """All of the bound tenant's own, by name."""
    return list(IdentityProvider.objects.filter(tenant_id=scope.current_tenant().id))


def provider_create(*, actor: Actor, **fields: Unpack[Fields]) -> IdentityProvider:
    """Add one. Raises ValidationError by field, permission_denied (who joins needs admin:members)."""
    row = IdentityProvider(tenant_id=actor.tenant.id)
    _set(row, fields, actor)
    if IdentityProvider.objects.filter(tenant_id=actor.tenant.id).count() >= MOST:
        raise ValidationError({"name": _("There are %(most)s already. Remove one first.") % {"most": MOST}})
    with _stored():
        row.save(force_insert=True)
        audit.record("identity_provider.created", actor=actor.label, target=str(row.id), **_told(row))
    return row


def provider_update(*, row: IdentityProvider, actor: Actor, **fields: Unpack[Fields]) -> IdentityProvider:
    """Change one. Raises as `provider_create`, not_found when it is gone meanwhile.

    Another issuer means other people: what was connected through the old one is disconnected, and the secret has to
    be given again, so that nobody can have it sent to a server of theirs.
    """
    issuer = row.issuer
    _set(row, fields, actor)
    if row.issuer.rstrip("/") != issuer.rstrip("/") and row.client_secret and not fields.get("client_secret"):
        raise ValidationError({"client_secret": _("The issuer is another one: give its client secret.")})
    with _stored():
        _lock(row)
        row.save(force_update=True)
        audit.record(
            "identity_provider.updated",
            actor=actor.label,
            target=str(row.id),
            changed=sorted(name for name in fields if name != "client_secret" or fields["client_secret"]),
            **_told(row),
        )
        _forget_unused(actor.tenant.id, issuer)
    return row


def provider_delete(*, row: IdentityProvider, actor: Actor) -> None:
    """Remove one; what was connected through it is disconnected. Raises not_found when it is gone meanwhile."""
    told, pk = _told(row), str(row.id)
    with transaction.atomic():
        _lock(row)
        row.delete()
        audit.record("identity_provider.deleted", actor=actor.label, target=pk, **told)
        _forget_unused(actor.tenant.id, row.issuer)


@contextmanager
def _stored() -> Iterator[None]:
    """A transaction around a write; of two at once that take the same name one is told so."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError:
        raise ValidationError({"name": _("There is one with this name already.")}) from None


def _lock(row: IdentityProvider) -> None:
    if not IdentityProvider.objects.select_for_update().filter(pk=row.pk).exists():
        raise PaasError("not_found")


def _forget_unused(tenant_id: uuid.UUID, issuer: str) -> None:
    """Disconnect everybody of an issuer that the tenant has no provider of any more."""
    from allauth.socialaccount.models import SocialAccount

    realm = realm_of(tenant_id, issuer)
    if any(realm_of(tenant_id, row.issuer) == realm for row in IdentityProvider.objects.filter(tenant_id=tenant_id)):
        return
    with scope.platform():
        SocialAccount.objects.filter(provider=realm).delete()


def _told(row: IdentityProvider) -> dict[str, Any]:
    return {
        "name": row.name,
        "issuer": row.issuer,
        "email_domains": row.email_domains,
        "join_role": row.join_role,
        "enabled": row.enabled,
    }


def _set(row: IdentityProvider, fields: Fields, actor: Actor) -> None:
    join_role, before = row.join_role, [getattr(row, name) for name in LETS_IN]
    values: dict[str, Any] = dict(fields)
    if not values.get("client_secret"):
        values.pop("client_secret", None)
    for name, value in values.items():
        setattr(row, name, value.strip() if isinstance(value, str) else value)
    row.email_domains = _domains(row.email_domains)
    errors = {name: text for name, text in _problems(row).items() if text}
    if errors:
        raise ValidationError(errors)
    row.full_clean(exclude=["tenant"])
    other = row.enabled and before != [getattr(row, name) for name in LETS_IN]
    if row.join_role and (row.join_role != join_role or other):
        actor.require(ADMIN_MEMBERS)  # it lets people in


def _problems(row: IdentityProvider) -> dict[str, str]:
    taken = IdentityProvider.objects.filter(tenant_id=row.tenant_id, name=row.name).exclude(pk=row.pk)
    known = row.join_role in ("", *JOIN_ROLES)
    return {
        "name": _("There is one with this name already.") if row.name and taken.exists() else "",
        "issuer": problem_with_issuer(row.issuer),
        "join_role": "" if known else _("Choose viewer, member or admin, or nothing."),
    }


def _domains(given: list[str]) -> list[str]:
    domains = sorted({str(one).strip().lower().lstrip("@").rstrip(".") for one in given} - {""})
    wrong = [one for one in domains if not DOMAIN.match(one)]
    if wrong or len(domains) > MOST_DOMAINS:
        what = wrong[0][:100] if wrong else str(MOST_DOMAINS + 1)
        raise ValidationError({"email_domains": _("This is not an e-mail domain: %(domain)s") % {"domain": what}})
    return domains


def problem_with_issuer(issuer: str) -> str:
    """Why a tenant may not have this issuer; "" when it may. Names are not looked up here."""
    try:
        url = URL(issuer)
        if url.scheme != "https" and not is_allow_listed(url):
            return _("The issuer must begin with https://.")
        egress.check_url(url, egress_policy())
    except ValueError:
        return _("This is not a web address.")
    except PaasError:
        return _("This address may not be called from here. Use the provider's public address, with https://.")
    if url.query_string or url.fragment or issuer.endswith(("?", "#")):
        return _("The issuer has no ? and no #.")
    return ""
