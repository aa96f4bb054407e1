"""Whom a provider's word stands for: from a verified identity to a person, and what may be connected to whom.

An identity is known by whose provider it is, the issuer and the subject; its e-mail address decides nothing about who
it is (P38). An address connects nobody to anything by itself (A20): whoever is known here connects an identity
themselves, signed in, with their password. A tenant's provider vouches on that tenant's host only. What it says about
an address is the tenant's word, not the platform's: `mailbox_proven` undoes it when the owner of the mailbox appears.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import Q

from accounts import audit, members, sessions
from accounts.identity_providers import Provider, realms_of
from accounts.models import Invitation, Membership, Role, User
from core import clock
from core.errors import PaasError
from tenants import scope

LONGEST_UID = 191  # SocialAccount.uid


@dataclass(frozen=True, slots=True)
class Identity:
    """What a provider says about somebody who signed in there. email: in lower case, "" when it says none."""

    subject: str
    email: str = ""
    email_verified: bool = False
    name: str = ""

    def as_data(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @property
    def uid(self) -> str:
        """The subject as it is stored: itself, or its digest when it is longer than the column."""
        if len(self.subject) <= LONGEST_UID:
            return self.subject
        return f"sha256:{hashlib.sha256(self.subject.encode()).hexdigest()}"


# --- who it is -----------------------------------------------------------------------------------------


def person_entering(provider: Provider, identity: Identity) -> User:
    """The person who enters the present host by this identity; somebody new joins where the rules let them.

    On a tenant's host they are its member afterwards. Raises identity_domain, identity_email_unverified,
    identity_not_connected, identity_uninvited, identity_not_admitted, plan_limit_reached, sign_up_closed.
    """
    tenant = scope.current_binding().tenant
    if provider.tenant_id is not None and (tenant is None or tenant.id != provider.tenant_id):
        raise PaasError("not_found")  # of another tenant: it vouches for nobody here
    _check_domain(provider, identity)
    user = _connected_person(provider, identity)
    if user is not None and not user.is_active:
        raise PaasError("identity_not_admitted")
    if tenant is not None:
        return _into_tenant(provider, identity, user)
    return user or _onto_platform(provider, identity)


def _connected_person(provider: Provider, identity: Identity) -> User | None:
    with scope.platform():
        found = SocialAccount.objects.select_related("user").filter(provider=provider.realm, uid=identity.uid).first()
        if found is None:
            return None
        found.extra_data = _told(provider, identity)
        found.save()  # and `last_login` with it
        user = found.user
        assert isinstance(user, User)
        return user


def _into_tenant(provider: Provider, identity: Identity, user: User | None) -> User:
    tenant = scope.current_tenant()
    if user is None:
        _require_verified(identity)
    elif Membership.objects.filter(tenant_id=tenant.id, user_id=user.pk).exists():
        return user
    with members.changing():
        invitation, known = _invitation(provider, identity), user is not None
        if user is not None:  # once removed, an invitation leads back: a provider's word alone does not
            if invitation is None:
                raise PaasError("identity_not_admitted")
        elif _is_member(identity.email):
            raise PaasError("identity_not_connected")
        elif invitation is None and not provider.join_role:
            # The same for addresses that are known elsewhere and for those that are not (A18).
            raise PaasError("identity_uninvited")
        else:
            user = _create(provider, identity)
        role = Role(invitation.role if invitation else provider.join_role)
        members.member_join(user=user, role=role, by="invitation" if invitation else provider.method)
        if invitation is not None:
            invitation.accepted_at = clock.now()
            invitation.save(update_fields=["accepted_at"])
            audit.record(
                "invitation.accepted",
                actor=f"user:{user.pk}",
                target=str(invitation.pk),
                email=invitation.email,
                role=invitation.role,
            )
        if not known:
            _audit_created(user, provider)
        return user


def _onto_platform(provider: Provider, identity: Identity) -> User:
    _require_verified(identity)
    with scope.platform(), transaction.atomic():
        if not settings.SIGN_UP_OPEN and not User.objects.filter(email=identity.email).exists():
            raise PaasError("sign_up_closed")
        user = _create(provider, identity)
        _audit_created(user, provider)
    return user


def _create(provider: Provider, identity: Identity) -> User:
    """A new person without a password. Raises identity_not_connected when the address is somebody's.

    Runs in a transaction with the platform's rights; the caller writes the audit row, as its last.
    """
    user = User(email=identity.email, name=identity.name)
    user.set_unusable_password()
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError:
        raise PaasError("identity_not_connected") from None
    _connect(user, provider, identity)
    return user


def _audit_created(user: User, provider: Provider) -> None:
    with scope.platform():
        audit.record("person.created", actor=f"user:{user.pk}", target=str(user.pk), by=provider.method)


def _require_verified(identity: Identity) -> None:
    try:
        validate_email(identity.email)
    except ValidationError:
        raise PaasError("identity_email_unverified") from None
    if not identity.email_verified or len(identity.email) > 254:
        raise PaasError("identity_email_unverified")


def _check_domain(provider: Provider, identity: Identity) -> None:
    """At each sign-in, not only at the first: an address that moved elsewhere is let in no longer."""
    if not provider.email_domains:
        return
    if not identity.email_verified:
        raise PaasError("identity_email_unverified")
    if identity.email.rpartition("@")[2] not in provider.email_domains:
        raise PaasError("identity_domain")


def _invitation(provider: Provider, identity: Identity) -> Invitation | None:
    """An open one for exactly this verified address. Runs within `members.changing`.

    To become an owner takes the link in the letter, or a provider of the platform: a tenant's own is run by its
    admins, who make no owners.
    """
    if not identity.email_verified:
        return None
    found = members.open_invitations(scope.current_tenant()).filter(email=identity.email)
    return (found.exclude(role=Role.OWNER) if provider.tenant_id is not None else found).first()


def _is_member(email: str) -> bool:
    return Membership.objects.filter(tenant_id=scope.current_tenant().id, user__email=email).exists()


# --- what is connected ---------------------------------------------------------------------------------


def identities_of(user: User) -> list[SocialAccount]:
    """What is connected to the person and counts on the present host, oldest first."""
    tenant = scope.current_binding().tenant
    with scope.platform():
        here = Q(provider__startswith=realms_of(None))
        if tenant is not None:
            here |= Q(provider__startswith=realms_of(tenant.id))
        return list(SocialAccount.objects.filter(here, user_id=user.pk).order_by("date_joined", "pk"))


def identity_connect(*, user: User, provider: Provider, identity: Identity) -> None:
    """Let the person, who is signed in and has given their password, sign in with this identity from now on.

    Raises identity_taken when it is somebody else's, identity_domain, identity_email_unverified (for a provider of
    certain domains only).
    """
    _check_domain(provider, identity)
    owner = _connected_person(provider, identity)
    if owner is not None:
        if owner.pk != user.pk:
            raise PaasError("identity_taken")
        return
    with transaction.atomic():
        try:
            with scope.platform(), transaction.atomic():
                account = _connect(user, provider, identity)
        except IntegrityError:
            raise PaasError("identity_taken") from None
        _audit("identity.connected", user, account)


def identity_disconnect(*, user: User, identity_id: int) -> None:
    """Let the person sign in with it no longer. Raises not_found for what is not theirs, or of another host."""
    account = next((one for one in identities_of(user) if one.pk == identity_id), None)
    if account is None:
        raise PaasError("not_found")
    with transaction.atomic():
        with scope.platform():
            deleted, _ = SocialAccount.objects.filter(pk=account.pk, user_id=user.pk).delete()
        if deleted:
            _audit("identity.disconnected", user, account)


def _connect(user: User, provider: Provider, identity: Identity) -> SocialAccount:
    return SocialAccount.objects.create(
        user=user, provider=provider.realm, uid=identity.uid, extra_data=_told(provider, identity)
    )


def _told(provider: Provider, identity: Identity) -> dict[str, Any]:
    return {"provider": provider.name, "issuer": provider.issuer, "email": identity.email}


def _audit(action: str, user: User, account: SocialAccount) -> None:
    data = {name: account.extra_data.get(name, "") for name in ("provider", "issuer")}
    audit.record(action, actor=f"user:{user.pk}", target=str(user.pk), **data)


# --- when the owner of a mailbox appears, and when a tenant goes ---------------------------------------


def mailbox_proven(user: User) -> bool:
    """To be called when somebody proves that the person's mailbox is theirs, before they get anything for it.

    If only a tenant's provider has vouched for the person so far (no password, nothing of the platform's connected),
    whoever came in by it may be somebody else: what they connected and set up ends, second factors included, and so do
    their sessions. Memberships stay. Returns whether that was so.
    """
    from allauth.mfa.models import Authenticator

    with scope.platform(), transaction.atomic():
        fresh = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        theirs = SocialAccount.objects.filter(user_id=user.pk)
        own = theirs.filter(provider__startswith=realms_of(None)).exists()
        if fresh.has_usable_password() or own or not theirs.exists():
            return False
        theirs.delete()
        Authenticator.objects.filter(user_id=user.pk).delete()
        sessions.end_everything(user.pk)
    return True


def tenant_forget(tenant_id: Any) -> None:
    """Disconnect everybody from the providers of a tenant that is erased. Runs bound to the platform."""
    SocialAccount.objects.filter(provider__startswith=realms_of(tenant_id)).delete()
