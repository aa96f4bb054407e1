"""Reads of people, as values."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

from django.db.models import F, QuerySet

from accounts import acting, second_factor
from accounts.actors import Actor
from accounts.models import Membership, Standing, User
from accounts.policies import READS, actions_of_role
from tenants import limits, resolve, scope
from tenants.db.compiled import Compiled
from tenants.models import Tenant
from tenants.scope import TenantRef


def actor_of_user(user_id: uuid.UUID) -> Actor | None:
    """The Actor of an active member of the bound tenant, or None. An operator who acts as them may only read.

    Where the tenant asks for a second factor, who has none may do nothing yet (`must_enrol`): whatever door they came
    through, it ends here.
    """
    user = member_of(user_id)
    return None if user is None else actor_of_member(user)


def _members(tenant_id: uuid.UUID) -> QuerySet[User]:
    """The active members of a tenant, with what their `standing` there is made of."""
    found = User.objects.filter(is_active=True, memberships__tenant_id=tenant_id)
    return found.annotate(role=F("memberships__role"), own_rate=limits.rate_of("user", tenant_id, "pk"))


_member = Compiled(lambda user_id, tenant_id: _members(tenant_id).filter(pk=user_id), 2)


def member_of(user_id: uuid.UUID) -> User | None:
    """An active member of the bound tenant with their `standing` there, in one query; or None."""
    tenant_id = scope.current_tenant().id
    return next((_standing(user, tenant_id) for user in _member(user_id, tenant_id)), None)


def members_of(user_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, User]:
    """As `member_of` for several, in one query, by id; who is no active member is not among them."""
    tenant_id = scope.current_tenant().id
    return {user.pk: _standing(user, tenant_id) for user in _members(tenant_id).filter(pk__in=user_ids)}


def _standing(user: Any, tenant_id: uuid.UUID) -> User:
    user.standing = Standing(tenant_id, user.role, user.own_rate)
    return cast("User", user)


def actor_of_member(user: User) -> Actor | None:
    """As `actor_of_user`, from what was read with the person (`request.user` on a tenant's host): no query more."""
    tenant, standing = scope.current_tenant(), user.standing
    if standing is None or standing.tenant_id != tenant.id:
        return actor_of_user(user.pk)
    operator = acting.current()
    must_enrol = tenant.require_mfa and operator is None and not second_factor.is_enrolled(user)
    actions = frozenset() if must_enrol else actions_of_role(standing.role)
    return Actor(
        tenant=tenant,
        user_id=user.id,
        key_id=None,
        role=standing.role,
        actions=actions & READS if operator else actions,
        email=user.email,
        name=user.name,
        impersonator=operator.operator_id if operator else None,
        must_enrol=must_enrol,
        token_version=user.token_version,
        rates=() if standing.own_rate is None else ((f"user:{user.id}", int(standing.own_rate)),),
    )


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
