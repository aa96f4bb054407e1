"""What a stored key may do at present: the keys above it, and who made them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from accounts.key_limits import EVERYTHING, Limits, Rights, narrowed
from accounts.models import ApiKey, Membership
from accounts.policies import actions_of_role

# What a look-up reads at once: the key, the keys above it, and what the tenant's plan allows.
RELATED = ("tenant__plan", "parent__parent")


def below(key: ApiKey) -> list[ApiKey]:
    """The keys below `key` that are not revoked, nearest first."""
    found: list[ApiKey] = []
    level = [key.pk]
    while level:
        children = list(ApiKey.objects.filter(parent_id__in=level, revoked_at=None))
        found += children
        level = [child.pk for child in children]
    return found


def limits_of(key: ApiKey) -> Limits:
    """A key's own limits."""
    return Limits(
        scopes=tuple(key.scopes),
        agents=tuple(key.allowed_agents),
        models=tuple(key.allowed_models),
        networks=tuple(key.allowed_networks),
        tokens_per_month=key.tokens_per_month,
        expires_at=key.expires_at,
    )


def chain_of(key: ApiKey) -> list[ApiKey] | None:
    """The key and those above it, nearest first; None when one of them is revoked or gone."""
    found = [key]
    while found[-1].parent_id is not None:
        parent = found[-1].parent
        if parent is None or parent.tenant_id != key.tenant_id:
            return None
        found.append(parent)
    return None if any(one.revoked_at is not None for one in found) else found


def present_rights(chain: list[ApiKey]) -> Rights | None:
    """What the first of a chain (nearest first) may do now; None when somebody who made one of it is no active
    member any more (A23). No key does more than the present role of each person who made one of the chain."""
    return rights_with(chain, roles_of_makers(chain))


def roles_of_makers(keys: list[ApiKey]) -> dict[Any, str]:
    """Of those who made `keys` of one tenant, each who is an active member still: their role."""
    makers = {one.created_by_id for one in keys if one.created_by_id}
    if not makers:
        return {}
    members = Membership.objects.filter(tenant_id=keys[0].tenant_id, user_id__in=makers, user__is_active=True)
    return dict(members.values_list("user_id", "role"))


def rights_with(chain: list[ApiKey], roles: dict[Any, str]) -> Rights | None:
    """`present_rights` where the roles are known."""
    rights = EVERYTHING
    for one in reversed(chain):
        rights = narrowed(rights, limits_of(one))
        if one.created_by_id:
            if one.created_by_id not in roles:
                return None
            rights = replace(rights, actions=rights.actions & actions_of_role(roles[one.created_by_id]))
    return rights
