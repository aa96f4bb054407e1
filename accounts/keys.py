"""API keys: made, revoked, and recognised.

A recognised key is remembered in the process for two seconds, which is therefore also how long a
revocation takes at most.
"""

from __future__ import annotations

import re
import secrets
import uuid
from datetime import datetime

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit
from accounts.actors import Actor
from accounts.models import ApiKey, User
from accounts.policies import actions_of_scopes, unknown_scopes
from core import clock
from core.crypto import token_digest
from core.errors import PaasError
from core.remembered import Remembered
from tenants import resolve, scope
from tenants.scope import TenantRef

TTL_SECONDS = 2.0
TOKEN = re.compile(r"^ak_[A-Za-z0-9_\-]{12,120}\Z")

_known: Remembered[tuple[uuid.UUID | None, bytes], Actor | None] = Remembered(TTL_SECONDS)


def new_token() -> str:
    """`ak_` and 256 random bits, url-safe."""
    return f"ak_{secrets.token_urlsafe(32)}"


def digest(token: str) -> bytes:
    """What is stored in the token's place."""
    return token_digest(settings.API_KEY_PEPPER, token)


def key_create(
    *,
    name: str,
    scopes: list[str],
    actor: str,
    token: str | None = None,
    created_by: User | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """A key of the bound tenant and its token, which cannot be read again. Raises ValidationError."""
    token = token or new_token()
    if not TOKEN.match(token):
        raise ValidationError("A token starts with ak_ and has 12 to 120 letters, digits, - or _ after that.")
    wrong = unknown_scopes(scopes)
    if wrong:
        raise ValidationError(f"Unknown scopes: {', '.join(wrong)}.")
    key = ApiKey(
        tenant_id=scope.current_tenant().id,
        name=name,
        digest=digest(token),
        hint=token[:8],
        scopes=scopes,
        created_by=created_by,
        expires_at=expires_at,
    )
    key.full_clean(exclude=["digest", "created_by"])
    with transaction.atomic():
        key.save(force_insert=True)
        audit.record("api_key.created", actor=actor, target=str(key.id), name=name, scopes=scopes)
    return key, token


def key_update(*, key: ApiKey, scopes: list[str], actor: str) -> None:
    """Change what a key may do. Raises ValidationError."""
    wrong = unknown_scopes(scopes)
    if wrong:
        raise ValidationError(f"Unknown scopes: {', '.join(wrong)}.")
    with transaction.atomic():
        ApiKey.objects.filter(pk=key.pk).update(scopes=scopes)
        audit.record("api_key.updated", actor=actor, target=str(key.pk), name=key.name, scopes=scopes)


def key_revoke(*, key: ApiKey, actor: str) -> None:
    """End a key; programs that use it are refused within two seconds."""
    with transaction.atomic():
        ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=clock.now())
        audit.record("api_key.revoked", actor=actor, target=str(key.pk), name=key.name)


async def actor_of_token(token: str, tenant: TenantRef | None) -> Actor:
    """The Actor behind an API key: on a tenant's host of that tenant, on the platform host (None) of its own.

    Raises invalid_api_key, api_key_expired, tenant_suspended or database_unavailable.
    """
    if not TOKEN.match(token):
        raise PaasError("invalid_api_key")
    name = (tenant.id if tenant else None, digest(token))
    where = scope.binding_for(tenant) if tenant else scope.PLATFORM

    async def look_up() -> Actor | None:
        with scope.use(where):
            return await scope.run_bound(_lookup, name[1])

    return _checked(await _known.get(name, look_up))


def forget_all() -> None:
    """Empty the memory (between tests)."""
    _known.clear()


def _checked(actor: Actor | None) -> Actor:
    if actor is None:
        raise PaasError("invalid_api_key")
    if not actor.actions and actor.role == "expired":
        raise PaasError("api_key_expired")
    return actor


def _lookup(wanted: bytes) -> Actor | None:
    keys = list(ApiKey.objects.select_related("tenant").filter(digest=wanted, revoked_at=None)[:2])
    if len(keys) != 1:  # the same own token in two tenants names neither on the platform host
        return None
    return _actor(keys[0])


def actor_of_key(key_id: uuid.UUID) -> Actor | None:
    """The Actor of a key that is still good, by its id."""
    key = ApiKey.objects.select_related("tenant").filter(pk=key_id, revoked_at=None).first()
    actor = _actor(key) if key else None
    return actor if actor and actor.role != "expired" else None


def _actor(key: ApiKey) -> Actor:
    tenant = resolve.admitted(key.tenant.ref())
    if key.expires_at is not None and key.expires_at <= clock.now():
        return Actor(tenant, None, key.id, "expired", frozenset())
    return Actor(tenant, None, key.id, "key", actions_of_scopes(key.scopes), name=key.name)
