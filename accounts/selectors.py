"""Reads of people, as values."""

from __future__ import annotations

import uuid

from accounts import acting
from accounts.actors import Actor
from accounts.models import Membership
from accounts.policies import READS, actions_of_role
from tenants import scope


def actor_of_user(user_id: uuid.UUID) -> Actor | None:
    """The Actor of an active member of the bound tenant, or None. An operator who acts as them may only read."""
    tenant = scope.current_tenant()
    membership = Membership.objects.select_related("user").filter(user_id=user_id, tenant_id=tenant.id).first()
    if membership is None or not membership.user.is_active:
        return None
    user, operator = membership.user, acting.current()
    actions = actions_of_role(membership.role)
    return Actor(
        tenant=tenant,
        user_id=user.id,
        key_id=None,
        role=membership.role,
        actions=actions & READS if operator else actions,
        email=user.email,
        name=user.name,
        impersonator=operator.operator_id if operator else None,
    )


def member_count() -> int:
    """How many people the bound tenant has."""
    return Membership.objects.filter(tenant_id=scope.current_tenant().id).count()
