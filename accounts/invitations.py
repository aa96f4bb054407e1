"""An e-mail address is asked into a tenant: the link in the letter proves the mailbox, and works once.

Only the HMAC of the link's token is stored. It is looked up among the bound tenant's rows, so it is worth nothing on
another tenant's host; it lets in the address that it was sent to and nobody else (A15). Who asks to invite learns
nothing about whether the address has an account somewhere, and the letter is the same (A18).
"""

from __future__ import annotations

import secrets
import uuid
from datetime import timedelta

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator, validate_email
from django.db import IntegrityError, transaction
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from accounts import audit, mail, members, sign_in
from accounts.actors import Actor
from accounts.codes import digest
from accounts.key_rights import RELATED, chain_of
from accounts.models import ApiKey, Invitation, Membership, Role, User
from accounts.policies import ADMIN_MEMBERS
from core import clock
from core.errors import PaasError
from tenants import client, ratelimit, resolve, scope
from tenants.scope import TenantRef

VALID_FOR = timedelta(days=7)
HOUR = 3600.0
PER_TENANT, PER_MAILBOX = 60, 5  # letters an hour
PER_PARTY = ratelimit.Limit("invitation", rate=60, period=60.0)  # looks at a link, from one address
ANSWERS = ratelimit.Limit("invitation-answer", rate=30, period=600.0)  # answers to one, from one address


# --- by who invites ------------------------------------------------------------------------------------


def invitation_create(*, actor: Actor, email: str, role: str) -> Invitation:
    """Ask an address in, with a letter that has the link. Counts as a place of the plan while it is open.

    Raises ValidationError for the address (none; a member; asked already), validation_failed (role),
    permission_denied, plan_limit_reached, rate_limited, redis_unavailable (the limits fail closed).
    """
    actor.require(ADMIN_MEMBERS)
    address, wanted = _address(email), members.role_named(role)
    members.require_grant(actor, wanted)
    _check_rate(address)
    token = secrets.token_urlsafe(32)
    with members.changing() as tenant:
        actor = members.present(actor)
        members.require_grant(actor, wanted)
        if Membership.objects.filter(tenant_id=tenant.id, user__email=address).exists():
            raise ValidationError({"email": [_("This person is a member already.")]})
        if members.open_invitations(tenant).filter(email=address).exists():
            raise ValidationError({"email": [_("This address was invited already. Send the invitation again.")]})
        members.check_place()
        now = clock.now()
        # One that was never answered gives way.
        Invitation.objects.filter(tenant_id=tenant.id, email=address, accepted_at=None, revoked_at=None).update(
            revoked_at=now
        )
        invitation = Invitation.objects.create(
            tenant_id=tenant.id,
            email=address,
            role=wanted,
            digest=digest(token),
            invited_by_id=actor.user_id or _maker(tenant, actor),
            expires_at=now + VALID_FOR,
        )
        audit.record(
            "invitation.created", actor=actor.label, target=str(invitation.id), email=address, role=str(wanted)
        )
        _send(tenant, invitation, token, actor)
    return invitation


def invitation_resend(*, actor: Actor, invitation_id: uuid.UUID) -> Invitation:
    """Another letter with another link, good for seven days from now; the former link is void.

    Raises not_found, permission_denied, rate_limited, redis_unavailable; plan_limit_reached for one that had expired
    when its place is taken.
    """
    actor.require(ADMIN_MEMBERS)
    _check_rate(_waiting(scope.current_tenant(), invitation_id).email)
    token = secrets.token_urlsafe(32)
    with members.changing() as tenant:
        actor = members.present(actor)
        invitation = _waiting(tenant, invitation_id)
        members.require_grant(actor, invitation.role)
        if invitation.expires_at <= clock.now():
            members.check_place()
        now = clock.now()
        invitation.digest, invitation.sent_at, invitation.expires_at = digest(token), now, now + VALID_FOR
        invitation.save(update_fields=["digest", "sent_at", "expires_at"])
        audit.record("invitation.sent", actor=actor.label, target=str(invitation.id), email=invitation.email)
        _send(tenant, invitation, token, actor)
    return invitation


def invitation_revoke(*, actor: Actor, invitation_id: uuid.UUID) -> None:
    """Take an invitation back: its link is void, its place is free. Raises not_found, permission_denied."""
    actor.require(ADMIN_MEMBERS)
    with members.changing() as tenant:
        actor = members.present(actor)
        actor.require(ADMIN_MEMBERS)
        invitation = _waiting(tenant, invitation_id)
        invitation.revoked_at = clock.now()
        invitation.save(update_fields=["revoked_at"])
        audit.record("invitation.revoked", actor=actor.label, target=str(invitation.id), email=invitation.email)


def _maker(tenant: TenantRef, actor: Actor) -> uuid.UUID | None:
    """Who made the key, or the nearest one above it that somebody made: with them the invitation goes."""
    assert actor.key_id is not None
    key = ApiKey.objects.select_related(*RELATED).filter(tenant_id=tenant.id, pk=actor.key_id).first()
    return next((one.created_by_id for one in chain_of(key) or () if one.created_by_id), None) if key else None


def _address(email: str) -> str:
    address = email.strip().lower()
    try:
        if len(address) > 254:
            raise ValidationError(EmailValidator.message)
        validate_email(address)
    except ValidationError as error:
        raise ValidationError({"email": error.messages}) from None
    return address


def _check_rate(address: str) -> None:
    ratelimit.check(
        ratelimit.Limit("invitations", PER_TENANT, HOUR),
        ratelimit.Limit(f"invitation-mail:{digest(address).hex()}", PER_MAILBOX, HOUR),
        fail_closed=True,
    )


def _waiting(tenant: TenantRef, invitation_id: uuid.UUID) -> Invitation:
    found = Invitation.objects.filter(pk=invitation_id, tenant_id=tenant.id, accepted_at=None, revoked_at=None).first()
    if found is None:
        raise PaasError("not_found")
    return found


def _send(tenant: TenantRef, invitation: Invitation, token: str, actor: Actor) -> None:
    """The letter speaks the language of who invites."""
    inviter = User.objects.filter(pk=actor.user_id).first() if actor.user_id else None
    mail.send(
        "invitation",
        to=invitation.email,
        language=(inviter.language if inviter else "") or get_language() or "",
        workspace=mail.plain_name(tenant.name, tenant.slug),
        inviter=actor.email,
        url=f"{resolve.tenant_url(tenant.slug)}/invitations/{token}/",
    )


# --- by who is invited ---------------------------------------------------------------------------------


def check_looks() -> None:
    """Raises rate_limited for an address that looks at too many links."""
    ratelimit.check(_of_party(PER_PARTY))


def _of_party(limit: ratelimit.Limit) -> ratelimit.Limit:
    party = client.network_of(client.current().address)
    return ratelimit.Limit(f"{limit.subject}:{party}", limit.rate, limit.period)


def invitation_of(token: str) -> Invitation:
    """The open invitation behind a link of the bound tenant. Raises link_invalid."""
    found = members.open_invitations(scope.current_tenant()).filter(digest=digest(token)).first()
    if found is None:
        raise PaasError("link_invalid")
    return found


def is_known(invitation: Invitation) -> bool:
    """Whether the address has an account. Only for who has the link."""
    with scope.platform():
        return User.objects.filter(email=invitation.email).exists()


def invitation_accept_new(*, token: str, name: str, password: str) -> User:
    """Make the person and their membership. Raises link_invalid, ValidationError (password), plan_limit_reached,
    rate_limited, redis_unavailable.

    link_invalid also when the address has become somebody's meanwhile: then that person signs in.
    """
    ratelimit.check(_of_party(ANSWERS), fail_closed=True)
    invitation = invitation_of(token)
    user = User(email=invitation.email, name=name, language=get_language() or "")
    validate_password(password, user)
    user.set_password(password)  # slow: before anything is locked
    with members.changing() as tenant:
        claimed = _claim(tenant, token)
        try:
            with transaction.atomic():
                user.save(force_insert=True)
        except IntegrityError:
            raise PaasError("link_invalid") from None
        _join(claimed, user)
        with scope.platform():
            audit.record("person.created", actor=f"user:{user.id}", target=str(user.id), by="invitation")
    return user


def person_proven(*, token: str, password: str, device: str = "") -> User:
    """The person whose address was invited, by their password; device as for `sign_in.person_with_password`.

    Raises link_invalid, invalid_credentials, rate_limited, redis_unavailable.
    """
    invitation = invitation_of(token)
    with scope.platform():  # no member here yet: on this host nobody knows them
        return sign_in.person_with_password(email=invitation.email, password=password, device=device)


def invitation_accept_known(*, token: str, user: User) -> None:
    """Make the person, who has proven who they are, a member. Raises link_invalid, plan_limit_reached."""
    with members.changing() as tenant:
        claimed = _claim(tenant, token)
        # As the row is now: the address may have changed since they signed in.
        if not User.objects.filter(pk=user.pk, email=claimed.email, is_active=True).exists():
            raise PaasError("link_invalid")
        _join(claimed, user)


def _claim(tenant: TenantRef, token: str) -> Invitation:
    """The invitation, behind the lock: of two who accept at once the second finds none."""
    found = members.open_invitations(tenant).filter(digest=digest(token)).first()
    if found is None:
        raise PaasError("link_invalid")
    return found


def _join(invitation: Invitation, user: User) -> None:
    members.member_join(user=user, role=Role(invitation.role), by="invitation")
    invitation.accepted_at = clock.now()
    invitation.save(update_fields=["accepted_at"])
    audit.record(
        "invitation.accepted",
        actor=f"user:{user.pk}",
        target=str(invitation.pk),
        email=invitation.email,
        role=invitation.role,
    )
