"""Reads of a tenant's people: members, open invitations, and how many the plan allows."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, OuterRef, Q, Subquery

from accounts.models import ApiKey, Invitation, Membership, Session
from core import clock
from tenants import limits, scope


@dataclass(frozen=True, slots=True)
class Member:
    """A person of the bound tenant. last_seen_at: of a session here that still is, within a minute."""

    user_id: uuid.UUID
    email: str
    name: str
    role: str
    active: bool
    joined_at: datetime
    last_seen_at: datetime | None
    keys: int

    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "user": {"id": str(self.user_id), "email": self.email, "name": self.name, "active": self.active},
            "role": self.role,
            "joined_at": self.joined_at.isoformat(),
            "last_seen_at": self.last_seen_at.isoformat() if self.last_seen_at else None,
            "keys": self.keys,
        }


def member_names() -> dict[uuid.UUID, str]:
    """What people call the members of the bound tenant: by the person's id, their name, or else their address."""
    members = Membership.objects.filter(tenant_id=scope.current_tenant().id)
    found = members.values_list("user_id", "user__name", "user__email")
    return {user_id: name or email for user_id, name, email in found}


@dataclass(frozen=True, slots=True)
class Places:
    """How many places of the plan are taken, by members and by open invitations. allowed: None is unlimited."""

    members: int
    invited: int
    allowed: int | None

    @property
    def used(self) -> int:
        return self.members + self.invited

    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {"used": self.used, "members": self.members, "invited": self.invited, "allowed": self.allowed}


def places() -> Places:
    """Of the bound tenant."""
    tenant = scope.current_tenant()
    open_ = Q(accepted_at=None, revoked_at=None, expires_at__gt=clock.now())
    return Places(
        Membership.objects.filter(tenant_id=tenant.id).count(),
        Invitation.objects.filter(open_, tenant_id=tenant.id).count(),
        limits.max_users(),
    )


def member_page(
    *, text: str = "", after: uuid.UUID | None = None, limit: int = 100
) -> tuple[list[Member], uuid.UUID | None]:
    """Up to `limit` members, who joined first comes first, and where the next page begins.

    text: in the address or the name. after: the person after whom the page begins; one who is gone begins it anew.
    """
    tenant = scope.current_tenant()
    seen = Session.objects.filter(tenant_id=tenant.id, user_id=OuterRef("user_id")).order_by()
    made = ApiKey.objects.filter(tenant_id=tenant.id, created_by_id=OuterRef("user_id"), revoked_at=None).order_by()
    found = Membership.objects.select_related("user").filter(tenant_id=tenant.id)
    if text.strip():
        found = found.filter(Q(user__email__icontains=text.strip()) | Q(user__name__icontains=text.strip()))
    if after is not None:
        place = Membership.objects.filter(tenant_id=tenant.id, user_id=after).values_list("id", flat=True).first()
        found = found.filter(id__gt=place) if place else found
    found = found.annotate(
        seen_at=Subquery(seen.values("user_id").annotate(at=Max("last_seen_at")).values("at")),
        key_count=Subquery(made.values("created_by_id").annotate(number=Count("id")).values("number")),
    )
    rows = [_member(row) for row in found.order_by("id")[: limit + 1]]
    return rows[:limit], rows[limit - 1].user_id if len(rows) > limit else None


def member_of(user_id: uuid.UUID) -> Member | None:
    """One member of the bound tenant, without what only lists show (last_seen_at, keys)."""
    tenant = scope.current_tenant()
    row = Membership.objects.select_related("user").filter(tenant_id=tenant.id, user_id=user_id).first()
    return _member(row) if row else None


def _member(row: Any) -> Member:
    return Member(
        row.user_id,
        row.user.email,
        row.user.name,
        row.role,
        row.user.is_active,
        row.created_at,
        getattr(row, "seen_at", None),
        getattr(row, "key_count", None) or 0,
    )


def waiting_invitations() -> list[Invitation]:
    """Invitations of the bound tenant that nobody accepted or took back, newest first; some are too old by now."""
    tenant = scope.current_tenant()
    found = Invitation.objects.select_related("invited_by").filter(tenant_id=tenant.id)
    return list(found.filter(accepted_at=None, revoked_at=None))


def invitation_view(invitation: Invitation) -> dict[str, Any]:
    """As JSON. Who invited is named where they are still here."""
    by = invitation.invited_by
    return {
        "id": str(invitation.id),
        "email": invitation.email,
        "role": invitation.role,
        "invited_by": {"id": str(by.id), "email": by.email} if by else None,
        "created_at": invitation.created_at.isoformat(),
        "sent_at": invitation.sent_at.isoformat(),
        "expires_at": invitation.expires_at.isoformat(),
        "expired": invitation.expires_at <= clock.now(),
    }
