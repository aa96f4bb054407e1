"""What a person does with their own account: name and language, password, e-mail address, sessions.

A tenant's role may change little of a person and sees no session of other hosts, so what concerns the account as a
whole is done as the platform, on the rows of this one person.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils.translation import gettext_lazy as _

from accounts import audit, codes, devices, impersonation, mail, sessions
from accounts.models import OneTimeCode, RefreshFamily, Session, User
from accounts.sessions import SessionStore
from core import clock
from core.errors import PaasError
from tenants import ratelimit, resolve, scope
from tenants.ratelimit import Limit

EMAIL_PURPOSE = "email"
EMAIL_SECONDS = 24 * 3600
PER_PERSON = (10, 900.0)  # tries at the present password
MAILS_PER_PERSON, MAILS_PER_MAILBOX = (5, 3600.0), (3, 3600.0)


def person_of(user_id: Any) -> User:
    """The whole account."""
    with scope.platform():
        return User.objects.get(pk=user_id)


def person_update(*, user_id: Any, actor: str, **changes: str | bool) -> None:
    """Set `name`, `language` and `approval_mails` of a person, those that are given. Raises ValidationError."""
    if not changes.keys() <= {"name", "language", "approval_mails"}:
        raise TypeError(f"Not a person's to change here: {sorted(changes)}")
    with scope.platform():
        user = User.objects.get(pk=user_id)
        for field, value in changes.items():
            setattr(user, field, value.strip() if isinstance(value, str) else value)
        user.clean_fields(exclude=[field.name for field in User._meta.fields if field.name not in changes])
    with transaction.atomic():
        with scope.platform():
            user.save(update_fields=list(changes))
        audit.record("person.updated", actor=actor, target=str(user_id), fields=sorted(changes))


# --- password ----------------------------------------------------------------------------------------


def password_check(user: User, password: str) -> None:
    """Raises ValidationError unless this is the person's present password, rate_limited, redis_unavailable.

    A session that somebody left open is no place to try passwords without end.
    """
    with scope.platform():
        limit = Limit(f"own-password:{user.pk}", *PER_PERSON)
        ratelimit.check(limit, fail_closed=True)
        scope.release()
        if "\x00" in password or not user.check_password(password):
            raise ValidationError(_("This is not your present password."), code="wrong_password")
        ratelimit.give_back(limit)


def password_change(*, request: Any, user: User, current: str, new: str, actor: str) -> None:
    """Set a new password; this session stays, under a new key, and all other sessions and tokens end.

    Raises ValidationError with fields `current` and `new`, rate_limited, redis_unavailable.
    """
    try:
        password_check(user, current)
    except ValidationError as error:
        raise ValidationError({"current": error}) from None
    try:
        validate_password(new, user)
    except ValidationError as error:
        raise ValidationError({"new": error}) from None
    user.set_password(new)  # slow: before anything is locked
    with transaction.atomic():
        password_store(user)
        user.refresh_from_db()
        update_session_auth_hash(request, user)
        request.session.save()
        with scope.platform():
            kept = request.session.session_key
            Session.objects.filter(user_id=user.pk).exclude(session_key=kept).delete()
        audit.record("password.changed", actor=actor)
        mail.send("password_changed", to=user.email, language=user.language)


def password_store(user: User) -> None:
    """Write the hash that was set, and end all tokens; sessions end by what they were sealed with."""
    with scope.platform():
        User.objects.filter(pk=user.pk).update(password=user.password, token_version=F("token_version") + 1)
        RefreshFamily.objects.filter(user_id=user.pk, revoked_at=None).update(revoked_at=clock.now())
        OneTimeCode.objects.filter(user_id=user.pk, purpose__in=("password", "handover", EMAIL_PURPOSE)).delete()


# --- e-mail address ----------------------------------------------------------------------------------


def email_change_request(*, user: User, email: str, password: str) -> None:
    """Send a link to the new address, and word of it to the old one. The same whether the new one is somebody's (A18).

    Raises ValidationError with fields `email` and `password`, rate_limited, redis_unavailable.
    """
    address = email.strip().lower()
    if address == user.email:
        raise ValidationError({"email": _("This is your address already.")})
    try:
        password_check(user, password)
    except ValidationError as error:
        raise ValidationError({"password": error}) from None
    tenant = scope.current_binding().tenant
    with scope.platform():
        ratelimit.check(
            Limit(f"email-change:{user.pk}", *MAILS_PER_PERSON),
            Limit(f"email-change-mail:{codes.digest(address).hex()}", *MAILS_PER_MAILBOX),
            fail_closed=True,
        )
        taken = User.objects.filter(email=address).exists()
    with transaction.atomic():
        codes.revoke(EMAIL_PURPOSE, user)
        if taken:
            mail.send("email_taken", to=address, language=user.language)
        else:
            code = codes.issue(
                EMAIL_PURPOSE,
                seconds=EMAIL_SECONDS,
                user=user,
                tenant_id=tenant.id if tenant else None,
                email=address,
            )
            mail.send("email_change", to=address, language=user.language, url=f"{profile_url()}email/{code}/")
        mail.send("email_change_asked", to=user.email, language=user.language, email=address)
        audit.record("person.email_change_asked", actor=f"user:{user.pk}")


def profile_url() -> str:
    """The address of the profile on the host at hand."""
    tenant = scope.current_binding().tenant
    return f"{resolve.tenant_url(tenant.slug)}/profile/" if tenant else f"{resolve.platform_url()}/accounts/profile/"


def email_change_of(code: str, user_id: Any) -> str:
    """The address that this link gives to this person on this host. Raises link_invalid (A15)."""
    found = codes.peek(EMAIL_PURPOSE, code)
    tenant = scope.current_binding().tenant
    if (found.tenant_id, str(found.user_id)) != (tenant.id if tenant else None, str(user_id)):
        raise PaasError("link_invalid")
    return str(found.data["email"])


def email_change(*, code: str, user_id: Any) -> str:
    """Give the person the address that the link proves; returns it. Raises link_invalid, already_exists."""
    address = email_change_of(code, user_id)
    user = person_of(user_id)
    before = user.email
    try:
        with transaction.atomic():
            codes.redeem(EMAIL_PURPOSE, code)
            with scope.platform():
                User.objects.filter(pk=user_id).update(email=address)
            codes.revoke("password", user)  # a link that lies in the former mailbox
            # The address of somebody else is not repeated in the log of a tenant: it is this person's alone.
            audit.record("person.email_changed", actor=f"user:{user_id}", target=str(user_id))
            mail.send("email_changed", to=before, language=user.language, email=address)
    except IntegrityError:
        raise PaasError("already_exists") from None
    return address


# --- sessions ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """A session as lists show it. operator: one of somebody who acts as this person."""

    id: uuid.UUID
    device: str
    address: str
    created_at: datetime
    last_seen_at: datetime
    current: bool
    operator: bool

    def view(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "id": str(self.id),
            "device": self.device,
            "address": self.address,
            "created_at": self.created_at.isoformat(),
            "last_seen_at": self.last_seen_at.isoformat(),
            "current": self.current,
            "operator": self.operator,
        }


def sessions_of(user_id: Any, current_key: str | None) -> tuple[list[Line], int]:
    """The person's sessions on the host at hand, the present one first, and how many there are elsewhere."""
    here = _tenant_id()
    with scope.platform():
        everywhere = list(_live(user_id).order_by("-last_seen_at"))
    lines = [
        Line(
            row.public_id,
            devices.name_of(row.user_agent),
            row.address or "",
            row.created_at,
            row.last_seen_at,
            row.session_key == current_key,
            impersonation.IN_SESSION in SessionStore().decode(row.session_data),
        )
        for row in everywhere
        if row.tenant_id == here
    ]
    return sorted(lines, key=lambda line: not line.current), len(everywhere) - len(lines)


def session_end(*, user_id: Any, session_id: uuid.UUID, actor: str) -> None:
    """End one of the person's sessions on the host at hand. Raises not_found."""
    with transaction.atomic():
        row = _sessions(user_id).filter(public_id=session_id).first()
        if row is None:
            raise PaasError("not_found")
        key = row.session_key
        row.delete()
        audit.record("session.revoked", actor=actor, target=str(session_id))
    sessions.forget([key])


def sign_out_everywhere(*, user_id: Any, actor: str) -> None:
    """End every session, token, ticket and open connection of the person, on every host, this one's too (A13)."""
    with transaction.atomic():
        sessions.end_everything(user_id)
        audit.record("session.all_ended", actor=actor, target=str(user_id))


def _sessions(user_id: Any) -> Any:
    """Those on the host at hand."""
    return _live(user_id).filter(tenant_id=_tenant_id())


def _live(user_id: Any) -> Any:
    return Session.objects.filter(user_id=user_id, expire_date__gt=clock.now())


def _tenant_id() -> uuid.UUID | None:
    tenant = scope.current_binding().tenant
    return tenant.id if tenant else None
