"""What the plan of the bound tenant allows; read anew each time, so that another plan counts at once.

Tokens a month and conversations a day are counted where they are used (usage/), requests where they come in.
"""

from __future__ import annotations

from typing import Any

from django.core.files.storage import default_storage
from django.db import connection

from core.errors import PaasError
from tenants import scope
from tenants.models import Plan


def plan() -> Plan:
    """The bound tenant's plan."""
    return Plan.objects.get(tenants__id=scope.current_tenant().id)


def one_at_a_time(what: str) -> None:
    """Until the transaction ends nobody else of the bound tenant counts `what`: two would both find room for one."""
    with connection.cursor() as cursor:
        key = f"limit:{scope.current_tenant().id}:{what}"
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])


def check_users(count: int) -> None:
    """Raises plan_limit_reached unless one more than `count` people may be in the bound tenant."""
    _check("max_users", plan().max_users, count)


def check_agents(count: int) -> None:
    """Raises plan_limit_reached unless one more than `count` agents may be in the bound tenant."""
    _check("max_agents", plan().max_agents, count)


def check_schedules(count: int) -> None:
    """Raises plan_limit_reached unless the bound tenant may have one more than `count` scheduled prompts."""
    _check("max_schedules", plan().max_schedules, count)


def stored_bytes() -> int:
    """How much the bound tenant's files take."""
    storage: Any = default_storage
    return int(storage.stored_bytes())


def check_storage(size: int, *, replaces: int = 0) -> None:
    """Raises storage_full unless the bound tenant may store `size` bytes more, `replaces` of them freed afterwards."""
    allowed = plan().storage_bytes
    if allowed is not None and stored_bytes() - replaces + size > allowed:
        raise PaasError("storage_full", details={"limit": "storage_bytes", "allowed": allowed})


def _check(name: str, limit: int | None, count: int) -> None:
    if limit is not None and count >= limit:
        raise PaasError("plan_limit_reached", details={"limit": name, "allowed": limit})
