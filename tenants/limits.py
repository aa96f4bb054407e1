"""What the plan of the bound tenant allows."""

from __future__ import annotations

from core.errors import PaasError
from tenants import scope
from tenants.models import Plan


def plan() -> Plan:
    """The bound tenant's plan."""
    return Plan.objects.get(tenants__id=scope.current_tenant().id)


def check_users(count: int) -> None:
    """Raises plan_limit_reached unless one more than `count` people may be in the bound tenant."""
    _check("max_users", plan().max_users, count)


def check_agents(count: int) -> None:
    """Raises plan_limit_reached unless one more than `count` agents may be in the bound tenant."""
    _check("max_agents", plan().max_agents, count)


def _check(name: str, limit: int | None, count: int) -> None:
    if limit is not None and count >= limit:
        raise PaasError("plan_limit_reached", details={"limit": name, "allowed": limit})
