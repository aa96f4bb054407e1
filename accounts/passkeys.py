"""Passkeys (WebAuthn) as a second factor: the ceremony of adding one, and of showing one.

Keys are checked by fido2; rows are allauth's. A page's own origin is what an answer must come from, to the letter, so
one that was made on a sibling's page is worth nothing here. Where the platform has a real domain, a passkey is made for
that domain and so serves a person in all of their tenants.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.db import transaction
from fido2.server import Fido2Server
from fido2.webauthn import (
    AuthenticationResponse,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialUserEntity,
    RegistrationResponse,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from accounts.models import User
from accounts.second_factor import PASSKEY, changed, refused, rows_of, throttle
from core import clock
from core.errors import PaasError
from tenants import scope

IN_SESSION = "passkey"
SECONDS = 300
MOST = 20  # of one person
LONGEST = 16_384
WRONG = (ValueError, TypeError, KeyError, IndexError, AttributeError, struct.error)


def relying_party(host: str) -> str:
    """The domain that passkeys made on `host` are for: the platform's own, unless it is a name without a dot.

    Browsers take no top-level name, such as `localhost`, for its subdomains.
    """
    base: str = settings.BASE_DOMAIN
    return base if "." in base and (host == base or host.endswith(f".{base}")) else host


def _server(request: Any) -> Fido2Server:
    host = request.get_host()
    origin = f"{request.scheme}://{host}"
    party = PublicKeyCredentialRpEntity(id=relying_party(host.partition(":")[0]), name="Agent PaaS")
    return Fido2Server(party, verify_origin=lambda given: given == origin)


def _keys(rows: list[Authenticator]) -> list[Any]:
    return [row.wrap().authenticator_data.credential_data for row in rows]


def _remember(request: Any, user: User, what: str, state: dict[str, Any]) -> None:
    until = clock.now().timestamp() + SECONDS
    state = {name: str(value) if value is not None else None for name, value in state.items()}
    request.session[IN_SESSION] = {"for": what, "user": str(user.pk), "state": state, "until": until}


def _recall(request: Any, user: User, what: str) -> dict[str, Any]:
    """The state of the ceremony, for one answer only. Raises mfa_code_invalid."""
    found = request.session.pop(IN_SESSION, None) or {}
    good = (found.get("for"), found.get("user")) == (what, str(user.pk)) and found["until"] > clock.now().timestamp()
    if not good:
        raise PaasError("mfa_code_invalid")
    state: dict[str, Any] = found["state"]
    return state


@contextmanager
def _checked() -> Iterator[None]:
    """What fido2 says of a bad answer, as an error of ours."""
    try:
        yield
    except WRONG:
        raise PaasError("mfa_code_invalid") from None


def _parsed(credential: str) -> dict[str, Any]:
    with _checked():
        found = orjson.loads(credential) if len(credential) <= LONGEST else None
    if not isinstance(found, dict):
        raise PaasError("mfa_code_invalid")
    return found


def adding_begin(request: Any, user: User) -> dict[str, Any]:
    """What the browser needs to make a passkey (JSON). Raises plan_limit_reached beyond MOST."""
    with scope.platform():
        rows = list(rows_of(user, PASSKEY))
    if len(rows) >= MOST:
        raise PaasError("plan_limit_reached", f"A person has {MOST} passkeys at most. Remove one first.")
    options, state = _server(request).register_begin(
        PublicKeyCredentialUserEntity(id=user.pk.bytes, name=user.email, display_name=user.name or user.email),
        _keys(rows),
        resident_key_requirement=ResidentKeyRequirement.DISCOURAGED,
        user_verification=UserVerificationRequirement.PREFERRED,
    )
    _remember(request, user, "add", state)
    return dict(options)


def adding_finish(request: Any, user: User, *, name: str, credential: str, actor: str) -> None:
    """Keep the passkey that the browser made. Raises mfa_code_invalid."""
    state, given = _recall(request, user, "add"), _parsed(credential)
    with _checked():
        made = _server(request).register_complete(state, RegistrationResponse.from_dict(given))
    data = {"name": name, "credential": given, "sign_count": made.counter}
    with transaction.atomic():
        with scope.platform():
            Authenticator.objects.create(user_id=user.pk, type=PASSKEY, data=data)
        changed(user, "mfa.passkey_added", actor=actor, name=name)


def showing_begin(request: Any, user: User) -> dict[str, Any]:
    """What the browser needs to show one of the person's passkeys (JSON). Raises not_found without one."""
    with scope.platform():
        rows = list(rows_of(user, PASSKEY))
    if not rows:
        raise PaasError("not_found")
    options, state = _server(request).authenticate_begin(
        _keys(rows), user_verification=UserVerificationRequirement.PREFERRED
    )
    _remember(request, user, "show", state)
    return dict(options)


def showing_finish(request: Any, user: User, *, credential: str) -> None:
    """Check the browser's answer. Raises mfa_code_invalid, rate_limited."""
    throttle(user)
    try:
        state, given = _recall(request, user, "show"), _parsed(credential)
        with scope.platform(), transaction.atomic():
            rows = list(rows_of(user, PASSKEY).select_for_update())
            with _checked():
                answer = AuthenticationResponse.from_dict(given)
                shown = _server(request).authenticate_complete(state, _keys(rows), answer)
            row = next(row for row, key in zip(rows, _keys(rows), strict=True) if key == shown)
            _count(row, answer.response.authenticator_data.counter)
    except PaasError as error:
        if error.code == "mfa_code_invalid":
            refused(user)
        raise


def _count(row: Authenticator, count: int) -> None:
    """A key's counter only rises; one that falls back belongs to a copy of it (WebAuthn 6.1.1)."""
    if (count or row.data.get("sign_count", 0)) and count <= row.data.get("sign_count", 0):
        raise PaasError("mfa_code_invalid")
    row.data["sign_count"], row.last_used_at = count, clock.now()
    row.save(update_fields=["data", "last_used_at"])
