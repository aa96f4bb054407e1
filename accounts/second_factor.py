"""The second factor of a person: an authenticator app (TOTP), passkeys, and recovery codes for when those are lost.

Rows, secrets and the arithmetic are allauth's (allauth.mfa); the rows are the platform's, since a person has their
factors in all tenants alike, so everything here asks under the platform's binding and filters by the person.

A code works once, also for two that send it at the same moment: the row is locked, and the half minute that a code
stands for must be later than the last one that was used (RFC 6238, 5.2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import qrcode
from allauth.core.internal.cryptokit import compare_user_code, normalize_user_code
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal import auth as totp
from django.db import IntegrityError, transaction
from django.utils.safestring import mark_safe
from qrcode.image.svg import SvgPathImage

from accounts import audit, mail
from accounts.models import User
from core import clock
from core.errors import PaasError
from tenants import ratelimit, scope

TOTP, PASSKEY, RECOVERY = Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN, Authenticator.Type.RECOVERY_CODES
FACTORS = (TOTP, PASSKEY)
TRIES, TRIES_SECONDS = 5, 300.0
TOTP_DIGITS = 6
LEAST_REASON = 10


@dataclass(frozen=True, slots=True)
class Passkey:
    """A passkey as its owner sees it."""

    id: int
    name: str
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Factors:
    """What a person has set up. recovery_left: recovery codes that were not used yet."""

    totp: bool = False
    totp_since: datetime | None = None
    recovery_left: int = 0
    passkeys: list[Passkey] = field(default_factory=list)

    @property
    def enrolled(self) -> bool:
        """Whether there is a factor to ask for."""
        return self.totp or bool(self.passkeys)


def rows_of(user: User, *kinds: Any) -> Any:
    """The person's rows of these kinds, oldest first. Used inside `scope.platform()`."""
    found = Authenticator.objects.filter(user_id=user.pk).order_by("pk")
    return found.filter(type__in=kinds) if kinds else found


def is_enrolled(user: User) -> bool:
    """Whether this person has set up a second factor, and so must show it at each sign-in."""
    with scope.platform():
        return bool(rows_of(user, *FACTORS).exists())


def factors_of(user: User) -> Factors:
    """What the person has set up."""
    with scope.platform():
        rows = list(rows_of(user))
    app = next((row for row in rows if row.type == TOTP), None)
    codes = next((row for row in rows if row.type == RECOVERY), None)
    passkeys = [
        Passkey(row.pk, row.data["name"], row.created_at, row.last_used_at) for row in rows if row.type == PASSKEY
    ]
    left = len(RecoveryCodes(codes).get_unused_codes()) if codes else 0
    return Factors(app is not None, app.created_at if app else None, left, passkeys)


# --- to show it ----------------------------------------------------------------------------------------


def throttle(user: User) -> None:
    """Count one try of this person, on whichever host. Raises rate_limited; without Redis redis_unavailable."""
    with scope.platform():
        ratelimit.check(ratelimit.Limit(f"second-factor:{user.pk}", TRIES, TRIES_SECONDS), fail_closed=True)


def code_use(*, user: User, code: str) -> str:
    """Use a code of the person's app or a recovery code up; returns "totp" or "recovery".

    Raises mfa_code_invalid, rate_limited (5 tries in 5 minutes) or redis_unavailable.
    """
    throttle(user)
    given = normalize_user_code(code)
    if len(given) == TOTP_DIGITS and _totp_used(user, given):
        return "totp"
    if len(given) > TOTP_DIGITS and _recovery_used(user, given):
        return "recovery"
    refused(user)
    raise PaasError("mfa_code_invalid")


def refused(user: User) -> None:
    """The audit row of a second factor that was not right."""
    audit.record("mfa.refused", actor=f"user:{user.pk}", target=str(user.pk))


def _counter_of(secret: str, code: str) -> int | None:
    """The half minute that `code` stands for, among those that are near enough to now."""
    for counter in totp.yield_hotp_counters_from_time():
        if compare_user_code(actual=code, expected=totp.format_hotp_value(totp.hotp_value(secret, counter))):
            return int(counter)
    return None


def _totp_used(user: User, code: str) -> bool:
    with scope.platform(), transaction.atomic():
        row = rows_of(user, TOTP).select_for_update().first()
        if row is None:
            return False
        counter = _counter_of(get_adapter().decrypt(row.data["secret"]), code)
        if counter is None or counter <= row.data.get("counter", -1):
            return False
        row.data["counter"], row.last_used_at = counter, clock.now()
        row.save(update_fields=["data", "last_used_at"])
        return True


def _recovery_used(user: User, code: str) -> bool:
    with scope.platform(), transaction.atomic():
        row = rows_of(user, RECOVERY).select_for_update().first()
        if row is None or not RecoveryCodes(row).validate_code(code):
            return False
        Authenticator.objects.filter(pk=row.pk).update(last_used_at=clock.now())
        return True


def proof_check(*, user: User, proof: str) -> None:
    """Before a factor is changed: the person's password, or a code. Who has neither yet needs none.

    Raises mfa_code_invalid, invalid_credentials, rate_limited, redis_unavailable.
    """
    enrolled = is_enrolled(user)
    if not enrolled and not user.has_usable_password():
        return
    if enrolled and normalize_user_code(proof).isdigit() and len(normalize_user_code(proof)) in (TOTP_DIGITS, 12):
        code_use(user=user, code=proof)
        return
    throttle(user)
    if not (proof and user.has_usable_password() and user.check_password(proof)):
        refused(user)
        raise PaasError("invalid_credentials")


def changed(user: User, action: str, *, actor: str, letter: bool = True, **data: Any) -> None:
    """The audit row of a change of somebody's factors, and a letter to them: they are who would notice a thief."""
    audit.record(action, actor=actor, target=str(user.pk), **data)
    if letter:
        mail.send("second_factor", to=user.email, language=user.language, email=user.email, when=clock.now())


# --- to set it up --------------------------------------------------------------------------------------


def totp_secret() -> str:
    """A new secret for an authenticator app: 160 bits in base32."""
    return str(totp.generate_totp_secret())


def sealed(secret: str) -> str:
    """A secret that waits in a session, encrypted as it will be in its row."""
    return str(get_adapter().encrypt(secret))


def unsealed(text: str) -> str:
    """The secret again."""
    return str(get_adapter().decrypt(text))


def totp_picture(user: User, secret: str) -> tuple[str, str]:
    """The address that an app reads, and its QR code as an SVG element."""
    url = get_adapter().build_totp_url(user, secret)
    picture = qrcode.make(url, image_factory=SvgPathImage).to_string(encoding="unicode")
    return url, mark_safe(picture)  # noqa: S308 - made of numbers only


def totp_add(*, user: User, secret: str, code: str, actor: str) -> None:
    """Set the app up whose first code this is. Raises mfa_code_invalid, already_exists."""
    counter = _counter_of(secret, normalize_user_code(code))
    if counter is None:
        raise PaasError("mfa_code_invalid")
    data = {"secret": get_adapter().encrypt(secret), "counter": counter}
    try:
        with transaction.atomic():
            with scope.platform():
                Authenticator.objects.create(user_id=user.pk, type=TOTP, data=data)
            changed(user, "mfa.totp_added", actor=actor)
    except IntegrityError:
        raise PaasError("already_exists") from None


def recovery_codes_make(*, user: User, actor: str) -> list[str]:
    """Ten new recovery codes, which end the old ones. They are shown once.

    Raises permission_denied for who has no factor.
    """
    if not is_enrolled(user):
        raise PaasError("permission_denied")
    with transaction.atomic():
        with scope.platform():
            before, _ = rows_of(user, RECOVERY).delete()
            codes: list[str] = RecoveryCodes.activate(user).generate_codes()
        # The first ones come with a factor, of which a letter tells already.
        changed(user, "mfa.recovery_codes_made", actor=actor, letter=bool(before))
    return [f"{code[:4]}-{code[4:8]}-{code[8:]}" for code in codes]


def factor_remove(*, user: User, row_id: int | None, actor: str) -> None:
    """Remove a passkey (by its id) or the app (None); with the last factor go the recovery codes.

    Raises not_found.
    """
    with transaction.atomic():
        with scope.platform():
            # Whoever removes two at the same moment takes turns, so that the last one is known to be the last.
            rows = list(rows_of(user).select_for_update())
            wanted = [row for row in rows if (row.type == TOTP if row_id is None else row.pk == row_id)]
            if not wanted or wanted[0].type == RECOVERY:
                raise PaasError("not_found")
            wanted[0].delete()
            if not any(row.type in FACTORS for row in rows if row is not wanted[0]):
                rows_of(user, RECOVERY).delete()
        changed(user, "mfa.removed", actor=actor, kind=str(wanted[0].type))


def factors_reset(*, user: User, operator: User, reason: str) -> int:
    """An operator removes all factors of somebody who lost them; returns how many. Bound to the platform.

    Raises validation_failed (reason) or permission_denied.
    """
    why = " ".join(reason.split())
    if not LEAST_REASON <= len(why) <= 300:
        raise PaasError("validation_failed", f"Give a reason of {LEAST_REASON} to 300 characters.")
    if not (operator.is_active and operator.is_superuser):
        raise PaasError("permission_denied")
    with scope.platform(), transaction.atomic():
        count = rows_of(user).delete()[0]
        changed(user, "mfa.reset", actor=f"operator:{operator.pk}", reason=why, removed=count)
    return int(count)
