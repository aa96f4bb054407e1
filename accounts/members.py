"""Who is in a tenant, and as what: roles, removal, leaving, and who owns it.

Every change takes the tenant's row first, so that two at once are one after the other: the last owner can neither
leave, be removed nor be lowered, and a plan's last place is given once. The membership of who acts is read again
behind that lock. A tenant's own role may not write memberships; this works with the platform's rights, on the bound
tenant's rows only.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from django.db import transaction
from django.db.models import Q, QuerySet

from accounts import audit, keys, sessions
from accounts.actors import Actor
from accounts.models import ApiKey, Invitation, Membership, OneTimeCode, RefreshFamily, Role, Session, User
from accounts.policies import ADMIN_MEMBERS, ADMIN_OWNER
from accounts.selectors import actor_of_user
from core import clock
from core.errors import PaasError
from tenants import limits, scope
from tenants.models import Tenant
from tenants.scope import TenantRef

# What rooms above hold about a person in the bound tenant, and erase when they go; in the same transaction.
FORGOTTEN_BY: list[Callable[[uuid.UUID], None]] = []
RANK: dict[str, int] = {Role.VIEWER: 0, Role.MEMBER: 1, Role.ADMIN: 2, Role.OWNER: 3}


# --- what every change has in common -------------------------------------------------------------------


@contextmanager
def changing() -> Iterator[TenantRef]:
    """A transaction in which nobody else changes who is in the bound tenant; the rights are the platform's."""
    tenant = scope.current_tenant()
    with scope.platform_about(tenant), transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).only("pk").get(pk=tenant.id)
        yield tenant


def present(actor: Actor) -> Actor:
    """The actor as they are now, behind the lock: who was lowered a moment ago manages nobody any more.

    Raises permission_denied for who is no member any more and for an operator who acts as somebody.
    """
    if actor.impersonator is not None:
        raise PaasError("impersonation_forbids")
    if actor.user_id is None:
        return actor
    found = actor_of_user(actor.user_id)
    if found is None:
        raise PaasError("permission_denied")
    return replace(found, actions=found.actions & actor.actions)


def role_named(role: str) -> Role:
    """The role of this name. Raises validation_failed."""
    if role not in Role.values:
        known = ", ".join(Role.values)
        raise PaasError("validation_failed", f"A role is one of {known}.", details={"fields": {"role": [known]}})
    return Role(role)


def may_grant(actor: Actor, role: str) -> bool:
    """Whether the actor may give or take this role: owners are made and unmade by owners only."""
    return ADMIN_MEMBERS in actor.actions and (role != Role.OWNER or ADMIN_OWNER in actor.actions)


def require_grant(actor: Actor, *roles: str) -> None:
    """Raises permission_denied unless the actor may give and take these roles."""
    actor.require(ADMIN_MEMBERS)
    if not all(may_grant(actor, role) for role in roles):
        actor.require(ADMIN_OWNER)


def check_place(*, invited: bool = True) -> None:
    """Raises plan_limit_reached unless the plan has a place for one more. Behind `changing` the answer keeps.

    invited: open invitations have a place each too (for who accepts one, only members count).
    """
    tenant = scope.current_tenant()
    count = Membership.objects.filter(tenant_id=tenant.id).count()
    limits.check_users(count + (open_invitations(tenant).count() if invited else 0))


def open_invitations(tenant: TenantRef) -> QuerySet[Invitation]:
    """Invitations of the tenant that somebody may still accept."""
    return Invitation.objects.filter(tenant_id=tenant.id, accepted_at=None, revoked_at=None, expires_at__gt=clock.now())


def _membership(tenant: TenantRef, user_id: uuid.UUID) -> Membership:
    found = Membership.objects.select_related("user").filter(tenant_id=tenant.id, user_id=user_id).first()
    if found is None:
        raise PaasError("not_found")
    return found


def check_other_owner(tenant: TenantRef, user_id: uuid.UUID) -> None:
    """Raises last_owner unless somebody else, who can sign in, owns the tenant."""
    owners = Membership.objects.filter(tenant_id=tenant.id, role=Role.OWNER, user__is_active=True)
    if not owners.exclude(user_id=user_id).exists():
        raise PaasError("last_owner")


# --- roles ---------------------------------------------------------------------------------------------


def member_role_change(*, actor: Actor, user_id: uuid.UUID, role: str) -> Membership:
    """Give a member another role. Raises not_found, permission_denied, last_owner, validation_failed.

    Nobody raises themselves. Open invitations that the person may no longer give are taken back.
    """
    with changing() as tenant:
        actor = present(actor)
        actor.require(ADMIN_MEMBERS)
        membership = _membership(tenant, user_id)
        wanted, before = role_named(role), membership.role
        if before == wanted:
            return membership
        require_grant(actor, before, wanted)
        if actor.user_id == user_id and RANK[wanted] > RANK[before]:
            raise PaasError("permission_denied")
        if before == Role.OWNER:
            check_other_owner(tenant, user_id)
        _set_role(tenant, membership, wanted, actor)
        audit.record("member.role_changed", actor=actor.label, target=str(user_id), role=str(wanted), before=before)
    return membership


def _set_role(tenant: TenantRef, membership: Membership, role: Role, actor: Actor) -> None:
    lowered = RANK[role] < RANK[membership.role]
    membership.role = role
    membership.save(update_fields=["role"])
    if lowered:
        # An admin may still invite whom an admin may: everybody but owners.
        beyond = Q(role=Role.OWNER) if role == Role.ADMIN else Q()
        _withdraw(tenant, actor, beyond & Q(invited_by_id=membership.user_id))


def owner_transfer(*, actor: Actor, user_id: uuid.UUID, step_down: bool = False) -> Membership:
    """Make a member an owner; with `step_down` who gives becomes an admin.

    Raises permission_denied (owners only, no keys), not_found, validation_failed (oneself; somebody deactivated).
    """
    with changing() as tenant:
        actor = present(actor)
        actor.require(ADMIN_OWNER)
        if actor.user_id is None:
            raise PaasError("permission_denied")
        membership = _membership(tenant, user_id)
        if user_id == actor.user_id or not membership.user.is_active:
            raise PaasError("validation_failed", "Choose another member, one who can sign in.")
        if membership.role != Role.OWNER:
            _set_role(tenant, membership, Role.OWNER, actor)
        elif not step_down:
            return membership
        if step_down:
            _set_role(tenant, _membership(tenant, actor.user_id), Role.ADMIN, actor)
        audit.record("owner.transferred", actor=actor.label, target=str(user_id), stepped_down=step_down)
    return membership


# --- the way in and the ways out -----------------------------------------------------------------------


def member_join(*, user: User, role: Role, by: str) -> bool:
    """Make the person a member, within `changing`; False for who is one already, whose role stays.

    by: what let them in, for the audit log. Raises plan_limit_reached.
    """
    tenant = scope.current_tenant()
    if Membership.objects.filter(tenant_id=tenant.id, user=user).exists():
        return False
    check_place(invited=False)
    Membership.objects.create(tenant_id=tenant.id, user=user, role=role)
    audit.record("member.joined", actor=f"user:{user.pk}", target=str(user.pk), role=str(role), by=by)
    return True


def member_remove(*, actor: Actor, user_id: uuid.UUID, keep_keys: bool = False) -> None:
    """Take a person out of the tenant: sessions, tokens and open invitations of theirs end here, and only here (A14).

    API keys that they made are revoked (A23), or with `keep_keys` become those of who removes, who must be a person.
    Who removes themselves leaves. Raises not_found, permission_denied, last_owner.
    """
    if keep_keys and actor.user_id is None:
        raise PaasError("permission_denied", "Only a person can take API keys over.")
    if actor.user_id == user_id:
        member_leave(actor=actor)
        return
    with changing() as tenant:
        actor = present(actor)
        actor.require(ADMIN_MEMBERS)
        membership = _membership(tenant, user_id)
        require_grant(actor, membership.role)
        _take_out(tenant, membership)
        kept = _end_keys(tenant, user_id, actor, keep_keys)
        withdrawn = _withdraw_all(tenant, membership, actor)
        audit.record(
            "member.removed",
            actor=actor.label,
            target=str(user_id),
            email=membership.user.email,
            role=membership.role,
            keys_kept=kept,
            invitations_withdrawn=withdrawn,
        )


def member_leave(*, actor: Actor) -> None:
    """Go. Raises last_owner; permission_denied for an API key. The person's API keys here are revoked."""
    with changing() as tenant:
        actor = present(actor)
        if actor.user_id is None:
            raise PaasError("permission_denied")
        membership = _membership(tenant, actor.user_id)
        _take_out(tenant, membership)
        _end_keys(tenant, actor.user_id, actor, keep=False)
        _withdraw_all(tenant, membership, actor)
        audit.record("member.left", actor=actor.label, target=str(actor.user_id), email=actor.email)


def _take_out(tenant: TenantRef, membership: Membership) -> None:
    """The membership and every credential that hangs on it. Sockets and streams ask again every 2.5 seconds."""
    user_id = membership.user_id
    if membership.role == Role.OWNER:
        check_other_owner(tenant, user_id)
    membership.delete()
    theirs = Session.objects.filter(tenant_id=tenant.id, user_id=user_id)
    session_keys = list(theirs.values_list("session_key", flat=True))
    theirs.delete()
    RefreshFamily.objects.filter(tenant_id=tenant.id, user_id=user_id, revoked_at=None).update(revoked_at=clock.now())
    OneTimeCode.objects.filter(tenant_id=tenant.id, user_id=user_id).delete()
    with scope.bind(tenant):
        for forget_person in FORGOTTEN_BY:
            forget_person(user_id)

    def forget() -> None:
        with scope.bind(tenant):
            sessions.forget(session_keys)

    transaction.on_commit(forget)


def _end_keys(tenant: TenantRef, user_id: uuid.UUID, actor: Actor, keep: bool) -> int:
    """Revoke the keys that the person made, or hand them on; returns how many were handed on."""
    theirs = ApiKey.objects.filter(tenant_id=tenant.id, created_by_id=user_id, revoked_at=None)
    if keep:
        return theirs.update(created_by_id=actor.user_id)
    while (key := theirs.first()) is not None:  # one may end with another, so look again each time
        keys.key_revoke(key=key, actor=actor.label)
    return 0


def _withdraw_all(tenant: TenantRef, membership: Membership, actor: Actor) -> int:
    """Take back what the person sent and what was sent to them: who goes leaves no door behind. Returns how many."""
    return _withdraw(tenant, actor, Q(invited_by_id=membership.user_id) | Q(email=membership.user.email))


def _withdraw(tenant: TenantRef, actor: Actor, which: Q) -> int:
    """Take back those open invitations; returns how many."""
    found = Invitation.objects.filter(which, tenant_id=tenant.id)
    count = 0
    for invitation in found.filter(accepted_at=None, revoked_at=None):
        count += 1
        Invitation.objects.filter(pk=invitation.pk).update(revoked_at=clock.now())
        audit.record("invitation.revoked", actor=actor.label, target=str(invitation.pk), email=invitation.email)
    return count
