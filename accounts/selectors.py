"""Reads of people, as values."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from accounts import acting, second_factor
from accounts.actors import Actor
from accounts.models import Membership
from accounts.policies import READS, actions_of_role
from tenants import limits, resolve, scope
from tenants.models import Tenant
from tenants.scope import TenantRef


def actor_of_user(user_id: uuid.UUID) -> Actor | None:
    """The Actor of an active member of the bound tenant, or None. An operator who acts as them may only read.

    Where the tenant asks for a second factor, who has none may do nothing yet (`must_enrol`): whatever door they came
    through, it ends here.
    """
    tenant = scope.current_tenant()
    found = Membership.objects.select_related("user").filter(user_id=user_id, tenant_id=tenant.id)
    membership = found.annotate(own_rate=limits.rate_of("user", "tenant_id", "user_id")).first()
    if membership is None or not membership.user.is_active:
        return None
    user, operator = membership.user, acting.current()
    must_enrol = tenant.require_mfa and operator is None and not second_factor.is_enrolled(user)
    actions = frozenset() if must_enrol else actions_of_role(membership.role)
    return Actor(
        tenant=tenant,
        user_id=user.id,
        key_id=None,
        role=membership.role,
        actions=actions & READS if operator else actions,
        email=user.email,
        name=user.name,
        impersonator=operator.operator_id if operator else None,
        must_enrol=must_enrol,
        token_version=user.token_version,
        rates=() if membership.own_rate is None else ((f"user:{user.id}", int(membership.own_rate)),),
    )


def member_count() -> int:
    """How many people the bound tenant has."""
    return Membership.objects.filter(tenant_id=scope.current_tenant().id).count()


@dataclass(frozen=True, slots=True)
class Workspace:
    """A tenant as one of its people sees it in a list."""

    name: str
    slug: str
    role: str
    status: str
    address: str


def workspaces_of(user_id: uuid.UUID) -> list[Workspace]:
    """The workspaces that a person is in, whatever state they are in, by name. Bound to the platform."""
    found = Membership.objects.select_related("tenant").filter(user_id=user_id).exclude(tenant__status="deleted")
    return [
        Workspace(one.tenant.name, one.tenant.slug, one.role, one.tenant.status, resolve.tenant_url(one.tenant.slug))
        for one in found.order_by("tenant__name", "tenant__slug")
    ]


def tenants_of_user(user_id: uuid.UUID) -> list[TenantRef]:
    """The tenants that the person is a member of, by name, whatever their status and whatever is bound."""
    with scope.platform():
        found = Tenant.objects.filter(memberships__user_id=user_id).order_by("name", "slug")
        return [tenant.ref() for tenant in found]
