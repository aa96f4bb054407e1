"""Writes of people."""

from __future__ import annotations

from django.db import transaction

from accounts import audit, members
from accounts.models import Membership, Role, User
from tenants import scope
from tenants.models import Tenant


def member_set(*, tenant: Tenant, email: str, role: str, password: str | None, actor: str, name: str = "") -> str:
    """Make `email` a member of `tenant` with `role`; returns "created", "updated" or "unchanged".

    A password is set for new people only: a platform-wide account is not one tenant's to change.
    Runs bound to the platform. Raises ValidationError for a bad role or address, last_owner, plan_limit_reached.
    """
    address = email.strip().lower()
    with scope.platform_about(tenant.ref()), members.changing() as here:
        user = User.objects.filter(email=address).first()
        if user is None:
            user = User(email=address, name=name)
            user.set_password(password)
            user.full_clean(exclude=["password"])
            user.save()
        found = Membership.objects.filter(tenant=tenant, user=user).first()
        if found is not None and found.role == role:
            return "unchanged"
        if found is None:
            members.check_place()
        elif found.role == Role.OWNER:
            members.check_other_owner(here, user.id)
        membership = found or Membership(tenant=tenant, user=user)
        membership.role = Role(role) if role in Role.values else role
        membership.full_clean()
        membership.save()
        audit.record("member.set", actor=actor, target=str(user.id), email=address, role=role)
        return "updated" if found else "created"


def operator_set(*, email: str, password: str | None, actor: str) -> str:
    """Make `email` an operator of the platform; returns "created", "updated" or "unchanged"."""
    address = email.strip().lower()
    with transaction.atomic():
        user = User.objects.filter(email=address).first()
        if user is not None and user.is_staff and user.is_superuser:
            return "unchanged"
        if user is None:
            User.objects.create_superuser(address, password)
        else:
            user.is_staff = user.is_superuser = True
            user.save(update_fields=["is_staff", "is_superuser"])
        audit.record("operator.created", actor=actor, email=address)
    return "updated" if user else "created"
