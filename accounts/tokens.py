"""JSON Web Tokens: an access token of 15 minutes, and a chain of refresh tokens of which only the newest is good.

Both are bound to one tenant: `aud` is its id, `iss` its origin. They are signed with HS256 and a key of their own, and
a header that says anything else (`none`, another algorithm, `kid`, `jku`) is refused before it is looked at (A12).

A refresh token is used up by one UPDATE that compares and swaps (P34). Its successor's id follows from the token that
was used, so a client whose answer got lost may ask again for ten seconds and gets the same successor, and of any number
that ask at once none gets another one. Whoever comes later with a used token ends the whole family: one of the two who
hold it has stolen it.

Whether the family, the person and the membership still stand is remembered for two seconds, which is therefore how
long a revocation takes at most (P35).
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import jwt
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenError
from rest_framework_simplejwt.tokens import Token

from accounts import audit, selectors
from accounts.actors import Actor, TokenSession
from accounts.models import Membership, RefreshFamily, User
from core import clock
from core.crypto import derived_key
from core.errors import PaasError
from core.remembered import Remembered
from tenants import client, resolve, scope
from tenants.scope import TenantRef
from tenants.selectors import tenant_by_id

ACCESS = timedelta(minutes=15)
REFRESH = timedelta(days=7)
FAMILY = timedelta(days=30)  # after this the password is asked for again, however often was refreshed
GRACE = timedelta(seconds=10)
TTL_SECONDS = 2.0
HEADER = {"alg": "HS256", "typ": "JWT"}
LONGEST = 4096

_known: Remembered[tuple[uuid.UUID, uuid.UUID, uuid.UUID, int], Actor | None] = Remembered(TTL_SECONDS)


class Signing(TokenBackend):
    """Signs with one key, and reads what former keys signed too."""

    def __init__(self, secret: str, former: Sequence[str]) -> None:
        super().__init__("HS256", signing_key=derived_key(secret, "accounts.tokens: sign").hex())
        self._former = [Signing(one, []) for one in former]

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:
        try:
            return super().decode(token, verify)
        except TokenBackendError:
            for one in self._former:
                with suppress(TokenBackendError):
                    return one.decode(token, verify)
            raise


@cache
def backend() -> TokenBackend:
    """What signs and reads tokens: one algorithm, and keys for nothing else."""
    return Signing(settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS)


class TenantToken(Token):
    """A token of ours, signed with the key of this module."""

    def get_token_backend(self) -> TokenBackend:
        return backend()


class AccessToken(TenantToken):
    token_type = "access"  # noqa: S105
    lifetime = ACCESS


class RefreshToken(TenantToken):
    token_type = "refresh"  # noqa: S105
    lifetime = REFRESH


@dataclass(frozen=True, slots=True)
class Pair:
    """What a client gets: both tokens as text."""

    access: str
    refresh: str


def is_token(text: str) -> bool:
    """Whether this looks like a JSON Web Token (an API key has no dots)."""
    return text.count(".") == 2


def claims_of(text: str, kind: type[TenantToken]) -> dict[str, Any]:
    """The claims of a token of ours that is of this kind and has not expired. Raises token_invalid."""
    try:
        if len(text) > LONGEST or jwt.get_unverified_header(text) != HEADER:
            raise PaasError("token_invalid")
        claims: dict[str, Any] = kind(text).payload  # type: ignore[arg-type]  # reads text, whatever its annotation says
    except (TokenError, jwt.PyJWTError):
        raise PaasError("token_invalid") from None
    return claims


def belongs(claims: dict[str, Any], tenant: TenantRef) -> bool:
    """Whether the token was made for this tenant at this address."""
    bound = (claims.get("aud"), claims.get("tenant_id"), claims.get("iss"))
    return bound == (str(tenant.id), str(tenant.id), resolve.tenant_url(tenant.slug))


def stray_refused(claims: dict[str, Any]) -> PaasError:
    """The answer to a good token at a door that is not its tenant's, with a row in that door's log (A11)."""
    audit.record("token.refused", actor=audit.NOBODY, target=str(claims.get("sub", "")), reason="foreign")
    return PaasError("token_invalid")


# --- access --------------------------------------------------------------------------------------------


async def actor_of_access(token: str, tenant: TenantRef | None) -> Actor:
    """The Actor of an access token on its tenant's host; None is the platform host, where there is none.

    Raises token_invalid or database_unavailable.
    """
    claims = claims_of(token, AccessToken)
    if tenant is None or not belongs(claims, tenant):
        with scope.use(scope.binding_for(tenant) if tenant else scope.PLATFORM):
            raise await scope.run_bound(stray_refused, claims)
    session = TokenSession(uuid.UUID(claims["sid"]), int(claims["token_version"]), int(claims["exp"]))
    user_id = uuid.UUID(claims["sub"])
    found = await _known.get(
        (tenant.id, session.family_id, user_id, session.version),
        lambda: scope.run_in_tenant(tenant, _standing, user_id, session),
    )
    if found is None:
        raise PaasError("token_invalid")
    return replace(found, token=session)


def actor_of_session(user_id: uuid.UUID, session: TokenSession) -> Actor | None:
    """The Actor behind an access token that was seen before, while it is good. Bound to the tenant."""
    if session.until <= clock.now().timestamp():
        return None
    found = _standing(user_id, session)
    return replace(found, token=session) if found else None


def forget_all() -> None:
    """Empty the memory (between tests)."""
    _known.clear()


def _standing(user_id: uuid.UUID, session: TokenSession) -> Actor | None:
    """The person as they are now, when family, version and membership still stand.

    Who was removed and is asked back has another membership, and signs in anew.
    """
    same = Q(membership_id=F("user__memberships__id"))
    older = Q(membership_id=None, created_at__gte=F("user__memberships__created_at"))
    alive = RefreshFamily.objects.filter(
        same | older,
        pk=session.family_id,
        user_id=user_id,
        revoked_at=None,
        expires_at__gt=clock.now(),
        user__token_version=session.version,
        user__memberships__tenant_id=scope.current_tenant().id,
    )
    return selectors.actor_of_user(user_id) if alive.exists() else None


# --- refresh -------------------------------------------------------------------------------------------


def family_begin(*, actor: Actor, method: str) -> Pair:
    """A new family for `actor`, with an audit row. Bound to the tenant.

    method: what proved who it is, such as `password+totp`.
    """
    now, here, user_id = clock.now(), client.current(), _user_id(actor)
    with transaction.atomic():
        User.objects.filter(pk=user_id).update(last_login=now)
        family = RefreshFamily.objects.create(
            tenant_id=actor.tenant.id,
            user_id=user_id,
            membership_id=Membership.objects.values_list("id", flat=True).get(
                user_id=user_id, tenant_id=actor.tenant.id
            ),
            jti=uuid.uuid4(),
            issued_at=now,
            expires_at=now + FAMILY,
            address=here.address or None,
            user_agent=here.user_agent,
        )
        audit.record("session.created", actor=actor.label, target=str(family.pk), method=f"token:{method}")
    return _pair(family, actor)


def family_rotate(*, refresh: str) -> Pair:
    """The next pair for a refresh token, once. Raises token_invalid and what resolve.admitted raises."""
    with _bound_to(claims_of(refresh, RefreshToken)) as claims:
        actor = _holder(claims)
        return _pair(_swapped(uuid.UUID(claims["sid"]), uuid.UUID(claims["jti"]), actor), actor)


def family_end(*, token: str) -> None:
    """End the sign-in that an access or refresh token belongs to; its access tokens die within two seconds.

    Raises token_invalid.
    """
    try:
        claims = claims_of(token, AccessToken)
    except PaasError:
        claims = claims_of(token, RefreshToken)
    with _bound_to(claims), transaction.atomic():
        family = RefreshFamily.objects.filter(pk=claims["sid"], user_id=claims["sub"], revoked_at=None)
        if family.update(revoked_at=clock.now()):
            audit.record("session.ended", actor=f"user:{claims['sub']}", target=claims["sid"])


@contextmanager
def _bound_to(claims: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Work for the token's own tenant: the host's, or on the platform host the one that the token names."""
    tenant = scope.current_binding().tenant
    if tenant is None:
        with scope.platform():
            tenant = resolve.admitted(tenant_by_id(uuid.UUID(str(claims.get("aud")))))
    if not belongs(claims, tenant):
        raise stray_refused(claims)
    with scope.bind(tenant):
        yield claims


def _holder(claims: dict[str, Any]) -> Actor:
    """Who holds this refresh token, while they may (P35)."""
    session = TokenSession(uuid.UUID(claims["sid"]), int(claims["token_version"]), int(claims["exp"]))
    actor = _standing(uuid.UUID(claims["sub"]), session)
    if actor is None:
        raise PaasError("token_invalid")
    actor.require_factor()
    return actor


def _swapped(family_id: uuid.UUID, used: uuid.UUID, actor: Actor) -> RefreshFamily:
    """The family with the successor of `used` in its place. Raises token_invalid; a replay ends the family."""
    now, successor, user_id = clock.now(), successor_of(family_id, used), _user_id(actor)
    good = RefreshFamily.objects.filter(pk=family_id, user_id=user_id, jti=used, revoked_at=None, expires_at__gt=now)
    swapped = good.update(jti=successor, previous_jti=used, issued_at=now)
    family = RefreshFamily.objects.filter(pk=family_id, user_id=user_id, revoked_at=None, expires_at__gt=now).first()
    if family is None:
        raise PaasError("token_invalid")
    if swapped:
        # Whoever asked at the same moment may have used the successor already: this answer is to the first request.
        family.jti, family.issued_at = successor, now
        return family
    if family.previous_jti == used and family.jti == successor and now - family.issued_at <= GRACE:
        return family
    with transaction.atomic():
        RefreshFamily.objects.filter(pk=family_id).update(revoked_at=now)
        audit.record("token.reused", actor=actor.label, target=str(family_id))
    raise PaasError("token_invalid")


def _user_id(actor: Actor) -> uuid.UUID:
    assert actor.user_id is not None  # keys are no people: they have no refresh tokens
    return actor.user_id


def successor_of(family_id: uuid.UUID, used: uuid.UUID) -> uuid.UUID:
    """The id of the refresh token that follows `used`: nobody else can tell it, and it is always the same."""
    key = derived_key(settings.SECRET_KEY, "accounts.tokens: successor")
    return uuid.UUID(bytes=hmac.digest(key, family_id.bytes + used.bytes, "sha256")[:16])


def _pair(family: RefreshFamily, actor: Actor) -> Pair:
    version = User.objects.values_list("token_version", flat=True).get(pk=_user_id(actor))
    common = {
        "sub": str(actor.user_id),
        "tenant_id": str(actor.tenant.id),
        "aud": str(actor.tenant.id),
        "iss": resolve.tenant_url(actor.tenant.slug),
        "role": actor.role,
        "token_version": version,
        "sid": str(family.pk),
    }
    access, refresh = AccessToken(), RefreshToken()
    _fill(access, common, uuid.uuid4(), clock.now(), min(clock.now() + ACCESS, family.expires_at))
    _fill(refresh, common, family.jti, family.issued_at, min(family.issued_at + REFRESH, family.expires_at))
    return Pair(str(access), str(refresh))


def _fill(token: TenantToken, common: dict[str, Any], jti: uuid.UUID, issued: datetime, until: datetime) -> None:
    for name, value in common.items():
        token[name] = value
    token["jti"], token["iat"], token["exp"] = str(jti), int(issued.timestamp()), int(until.timestamp())
