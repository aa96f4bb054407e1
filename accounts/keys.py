"""API keys: made, changed, revoked, and recognised.

A recognised key is remembered in the process for one second, which is therefore also how long a revocation takes at
most; open sockets and streams ask again every 0.75 s (`RECHECK_SECONDS`), so they end within two.
"""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, TypedDict, Unpack

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit, imported_keys, key_limits, key_use, rates
from accounts.actors import Actor
from accounts.key_limits import MAX_DEPTH, Limits
from accounts.key_rights import RELATED, below, chain_of, limits_of, present_rights
from accounts.models import ApiKey
from core import clock
from core.crypto import token_digest
from core.errors import PaasError
from core.remembered import Remembered
from tenants import client, resolve, scope
from tenants import limits as tenant_limits
from tenants.scope import TenantRef

TTL_SECONDS = 1.0
RECHECK_SECONDS = 0.75
TOKEN = re.compile(r"^ak_[A-Za-z0-9_\-]{12,120}\Z")

NAME_TAKEN = "There is a key with this name already."

_known: Remembered[tuple[uuid.UUID | None, bytes], Actor | None] = Remembered(TTL_SECONDS)


class OtherLimits(TypedDict, total=False):
    """Beside scopes; see accounts.key_limits.Limits. What is not given is no limit."""

    agents: Iterable[str]
    models: Iterable[str]
    networks: Iterable[str]
    tokens_per_month: int | None
    expires_at: datetime | None


class Changes(OtherLimits, total=False):
    """What `key_update` may change. What is not given stays."""

    name: str
    scopes: Iterable[str]


class TooWide(PaasError):
    """A key is to get more than the key above it has. `fields`: field -> sentence."""

    def __init__(self, fields: dict[str, str]) -> None:
        self.fields = fields
        super().__init__("permission_denied", " ".join(fields.values()), details={"fields": fields})


def new_token() -> str:
    """`ak_` and 256 random bits, url-safe."""
    return f"ak_{secrets.token_urlsafe(32)}"


def digest(token: str) -> bytes:
    """What is stored in the token's place."""
    return token_digest(settings.API_KEY_PEPPER, token)


# --- writing --------------------------------------------------------------------------------------
def key_create(
    *,
    name: str,
    scopes: Iterable[str],
    actor: str,
    token: str | None = None,
    created_by: uuid.UUID | None = None,
    parent: ApiKey | None = None,
    **limits: Unpack[OtherLimits],
) -> tuple[ApiKey, str]:
    """A key of the bound tenant and its token, which cannot be read again. Raises ValidationError, TooWide.

    created_by: the id of the person whose key it is: it works while they are an active member, and never does more
    than they may. None: of nobody, such as one of `manage.py apply`, or of the key above it. parent: the key that it
    narrows.
    """
    token = token or new_token()
    if not TOKEN.match(token):
        raise ValidationError("A token starts with ak_ and has 12 to 120 letters, digits, - or _ after that.")
    own = _limits(Limits(), {**limits, "scopes": scopes})
    key = ApiKey(
        tenant_id=scope.current_tenant().id,
        name=name.strip(),
        digest=digest(token),
        hint=token[:8],
        parent=parent,
        created_by_id=created_by,
    )
    with transaction.atomic():
        _check(own, parent)
        _store(key, own)
        _check_row(key)
        key.save(force_insert=True)
        above = {"parent": str(parent.pk)} if parent else {}
        audit.record("api_key.created", actor=actor, target=str(key.id), name=key.name, **_shown(own), **above)
    return key, token


def key_update(*, key: ApiKey, actor: str, **changes: Unpack[Changes]) -> bool:
    """Change what a key is called or may do; false when it is so already. Raises ValidationError, TooWide, not_found.

    The key is read again, locked: of two changes at once none undoes what the other narrowed.
    """
    with transaction.atomic():
        locked = ApiKey.objects.select_for_update().filter(revoked_at=None)
        if key.parent_id is not None:  # first the parent, as whoever makes a child of it does
            locked.filter(pk=key.parent_id).first()
        found = locked.filter(pk=key.pk).first()
        if found is None:
            raise PaasError("not_found")
        key = found
        own, name = _limits(limits_of(key), dict(changes)), changes.get("name", key.name).strip()
        if name == key.name and _alike(own, limits_of(key)):
            return False
        key.name = name
        _check(own, key.parent)
        _store(key, own)
        _check_row(key)
        fields = ["name", "scopes", "allowed_agents", "allowed_models", "allowed_networks"]
        key.save(update_fields=[*fields, "tokens_per_month", "expires_at"])
        audit.record("api_key.updated", actor=actor, target=str(key.pk), name=key.name, **_shown(own))
    return True


def key_rotate(*, key: ApiKey, actor: str) -> str:
    """A new token for the key, which alone is good from now on; the key keeps its id, limits and children.

    Raises not_found for one that was revoked meanwhile.
    """
    token = new_token()
    with transaction.atomic():
        if not ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(digest=digest(token), hint=token[:8]):
            raise PaasError("not_found")
        audit.record("api_key.rotated", actor=actor, target=str(key.pk), name=key.name)
    return token


def key_revoke(*, key: ApiKey, actor: str) -> None:
    """End a key and every key below it; programs that use one are refused within two seconds."""
    with transaction.atomic():
        ended = [key, *below(key)]
        ApiKey.objects.filter(pk__in=[one.pk for one in ended], revoked_at=None).update(revoked_at=clock.now())
        for one in ended:
            above = {} if one is key else {"with": str(key.pk)}
            audit.record("api_key.revoked", actor=actor, target=str(one.pk), name=one.name, **above)


def _limits(now: Limits, given: dict[str, Any]) -> Limits:
    """`now` with what is given; lists without blanks and repetitions, networks in their one usual form."""
    for field in ("scopes", "agents", "models", "networks"):
        if field in given:
            given[field] = tuple(dict.fromkeys(text for each in given[field] if (text := str(each).strip())))
    own = replace(now, **{name: value for name, value in given.items() if name != "name"})
    if wrong := key_limits.mistakes(own):
        raise ValidationError({_COLUMNS.get(field, field): sentence for field, sentence in wrong.items()})
    usual = (_usual(text) for text in own.networks)
    return replace(own, networks=tuple(dict.fromkeys(usual)))


def _alike(one: Limits, other: Limits) -> bool:
    """Whether both say the same, in whatever order."""
    lists = ("scopes", "agents", "models", "networks")
    rest = ("tokens_per_month", "expires_at")
    return all(sorted(getattr(one, field)) == sorted(getattr(other, field)) for field in lists) and all(
        getattr(one, field) == getattr(other, field) for field in rest
    )


def _usual(text: str) -> str:
    network = key_limits.network_of(text)
    return str(network.network_address if network.num_addresses == 1 else network)


_COLUMNS = {"agents": "allowed_agents", "models": "allowed_models", "networks": "allowed_networks"}


def _store(key: ApiKey, own: Limits) -> None:
    key.scopes = list(own.scopes)
    key.allowed_agents, key.allowed_models = list(own.agents), list(own.models)
    key.allowed_networks = list(own.networks)
    key.tokens_per_month, key.expires_at = own.tokens_per_month, own.expires_at


def _check(own: Limits, parent: ApiKey | None) -> None:
    if parent is None:
        return
    # Locked, so that a child is not made of a key that is being revoked or narrowed.
    above = ApiKey.objects.select_for_update(of=("self",)).select_related(*RELATED).get(pk=parent.pk)
    chain = chain_of(above)
    rights = present_rights(chain) if chain else None
    if rights is None:
        raise TooWide({"parent": "The key above is revoked, or its owner has left."})
    if len(chain or ()) >= MAX_DEPTH:
        raise TooWide({"parent": f"Keys are at most {MAX_DEPTH} deep. Make this one under a key further up."})
    if wrong := key_limits.excess(own, rights):
        raise TooWide(wrong)


def _check_row(key: ApiKey) -> None:
    key.clean_fields(exclude=["digest", "created_by", "parent"])
    if ApiKey.objects.filter(name=key.name, tenant_id=key.tenant_id, revoked_at=None).exclude(pk=key.pk).exists():
        raise ValidationError({"name": ValidationError(NAME_TAKEN, code="unique")})


def _shown(own: Limits) -> dict[str, Any]:
    """Limits in an audit row: those that there are."""
    found: dict[str, Any] = {"scopes": list(own.scopes)}
    for field in ("agents", "models", "networks"):
        if values := getattr(own, field):
            found[field] = list(values)
    if own.tokens_per_month is not None:
        found["tokens_per_month"] = own.tokens_per_month
    if own.expires_at is not None:
        found["expires_at"] = own.expires_at.isoformat()
    return found


# --- recognising ----------------------------------------------------------------------------------
async def actor_of_token(token: str, tenant: TenantRef | None) -> Actor:
    """The Actor behind an API key: on a tenant's host of that tenant, on the platform host (None) of its own.

    Raises invalid_api_key, api_key_expired, address_not_allowed, tenant_suspended or database_unavailable; and
    rate_limited for an address that has sent too many wrong ones.
    """
    where = scope.binding_for(tenant) if tenant else scope.PLATFORM
    name = (tenant.id if tenant else None, digest(token))

    async def look_up() -> Actor | None:
        return await scope.run_bound(_lookup, stored)

    own = [name[1]] if TOKEN.match(token) else []
    stored = [*own, imported_keys.digest(token)] if imported_keys.TOKEN.match(token) else own
    with scope.use(where):
        actor = await _known.get(name, look_up) if stored else None
        if actor is None:
            await rates.admit(None, "anonymous")
    return _checked(actor)


def forget_all() -> None:
    """Empty the memory (between tests)."""
    _known.clear()


def _checked(actor: Actor | None) -> Actor:
    if actor is None or actor.key_id is None:
        raise PaasError("invalid_api_key")
    if actor.role == "expired":
        raise PaasError("api_key_expired")
    check_address(actor)
    key_use.note(actor.key_id)
    return actor


def check_address(actor: Actor) -> None:
    """Raise address_not_allowed unless the client of the request at hand comes from where the key may be used."""
    if actor.networks and not key_limits.admits(actor.networks, client.current().address):
        raise PaasError("address_not_allowed")


def _lookup(wanted: list[bytes]) -> Actor | None:
    keys = list(_with_rates().filter(digest__in=wanted, revoked_at=None)[:2])
    if len(keys) != 1:  # the same own token in two tenants names neither on the platform host
        return None
    return _actor(keys[0])


def actor_of_key(key_id: uuid.UUID) -> Actor | None:
    """The Actor of a key that is still good, by its id. Raises address_not_allowed, tenant_suspended."""
    actor = standing_actor(key_id)
    if actor is not None:
        check_address(actor)
    return actor


def standing_actor(key_id: uuid.UUID) -> Actor | None:
    """As `actor_of_key`, for work that goes on when its client is gone: wherever that was. Raises tenant_suspended."""
    key = _with_rates().filter(pk=key_id, revoked_at=None).first()
    actor = _actor(key) if key else None
    return None if actor is None or actor.role == "expired" else actor


def _with_rates() -> Any:
    """Keys, with what they and the keys above them may ask a minute, and their tenant."""
    places = {"rate_0": "pk", "rate_1": "parent_id", "rate_2": "parent__parent_id"}
    return ApiKey.objects.select_related(*RELATED).annotate(
        tenant_rate=tenant_limits.rate_of("tenant", "tenant_id", "tenant_id"),
        **{name: tenant_limits.rate_of("key", "tenant_id", place) for name, place in places.items()},
    )


def _actor(key: Any) -> Actor | None:
    key.tenant.own_rate = key.tenant_rate
    tenant = resolve.admitted(key.tenant.ref())
    chain = chain_of(key)
    rights = present_rights(chain) if chain else None
    if chain is None or rights is None:
        return None
    own_rates = (key.rate_0, key.rate_1, key.rate_2)
    if rights.expires_at is not None and rights.expires_at <= clock.now():
        return Actor(tenant, None, key.id, "expired", frozenset())
    return Actor(
        tenant,
        None,
        key.id,
        "key",
        rights.actions,
        name=key.name,
        agents=rights.agents,
        models=rights.models,
        networks=rights.networks,
        root_key_id=chain[-1].id,
        token_mark=bytes(key.digest)[:6].hex(),
        rates=tuple(
            (f"key:{one.id}", int(rate)) for one, rate in zip(chain, own_rates, strict=False) if rate is not None
        ),
    )
