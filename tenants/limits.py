"""What the bound tenant may have: its own limit, or else what its plan says.

Read anew each time, so that a change counts at once.

Tokens a month and conversations a day are counted where they are used (usage/), requests where they come in.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.core.files.storage import default_storage
from django.db import connection
from django.db.models import DecimalField, OuterRef, Subquery

from core.errors import PaasError
from tenants import scope
from tenants.models import Limit, Plan

_DOCUMENTS = "This workspace has as many documents as its plan allows. Delete some, or ask for a larger plan."
_PAGES = "The documents of this workspace have as many pages as its plan allows. Delete some, or ask for a larger plan."


def plan() -> Plan:
    """The bound tenant's plan."""
    return Plan.objects.get(tenants__id=scope.current_tenant().id)


def own_limits(*metrics: str) -> dict[str, int]:
    """The bound tenant's own limits on what is not counted over time, or by the minute: metric -> amount."""
    tenant = scope.current_tenant().id
    found = Limit.objects.filter(tenant_id=tenant, level="tenant", subject_id=tenant, metric__in=metrics)
    return {metric: int(amount) for metric, amount in found.values_list("metric", "amount")}


@dataclass(frozen=True, slots=True)
class Allowances:
    """What the bound tenant may have at once. own: those of its own limits, which stand in the plan's place."""

    plan: Plan
    own: dict[str, int]

    def of(self, metric: str) -> int | None:
        """users, agents, storage_bytes, documents, pages, concurrent_runs or requests (a minute); None: any number."""
        planned: int | None = getattr(self.plan, IN_PLAN[metric])
        return self.own.get(metric, planned)


# metric of a limit -> what a plan calls it
IN_PLAN = {
    "users": "max_users",
    "agents": "max_agents",
    "storage_bytes": "storage_bytes",
    "documents": "max_documents",
    "pages": "max_pages",
    "concurrent_runs": "max_concurrent_runs",
    "requests": "requests_per_minute",
}


def allowances(rows: Iterable[Limit] | None = None) -> Allowances:
    """All of them. rows: the bound tenant's limits, where they are known; otherwise a query more than that of the
    plan."""
    if rows is None:
        return Allowances(plan(), own_limits(*IN_PLAN))
    return Allowances(plan(), {one.metric: int(one.amount) for one in rows if one.level == "tenant"})


def max_users() -> int | None:
    """How many people may be in the bound tenant; None: any number."""
    return own_limits("users").get("users", plan().max_users)


def max_agents() -> int | None:
    """How many agents may be in the bound tenant; None: any number."""
    return own_limits("agents").get("agents", plan().max_agents)


def max_documents() -> int | None:
    """How many documents the bound tenant's knowledge may have; None: any number."""
    return own_limits("documents").get("documents", plan().max_documents)


def max_pages() -> int | None:
    """How many pages these may have together; None: any number."""
    return own_limits("pages").get("pages", plan().max_pages)


def ingest_weight() -> int:
    """How many shares of the workers' time the bound tenant's documents get while others wait, too."""
    return max(plan().ingest_weight, 1)


def storage_bytes() -> int | None:
    """How many bytes of files the bound tenant may have; None: any number."""
    return own_limits("storage_bytes").get("storage_bytes", plan().storage_bytes)


def concurrent_runs() -> int:
    """How many runs the whole of the bound tenant may have at once."""
    return own_limits("concurrent_runs").get("concurrent_runs", plan().max_concurrent_runs)


def requests_per_minute() -> int | None:
    """How many requests a minute the whole of the bound tenant may make; None: any number."""
    return own_limits("requests").get("requests", plan().requests_per_minute)


def rate_of(level: str, tenant: str | uuid.UUID, subject: str) -> Subquery:
    """For `annotate`: how many requests a minute a subject's own limit allows; NULL without one.

    tenant, subject: columns of the query that hold their ids; tenant: or the id itself.
    """
    of_tenant = OuterRef(tenant) if isinstance(tenant, str) else tenant
    found = Limit.objects.filter(level=level, metric="requests", tenant_id=of_tenant, subject_id=OuterRef(subject))
    return Subquery(found.values("amount")[:1], output_field=DecimalField(max_digits=24, decimal_places=9))


def one_at_a_time(what: str) -> None:
    """Until the transaction ends nobody else of the bound tenant counts `what`: two would both find room for one."""
    with connection.cursor() as cursor:
        key = f"limit:{scope.current_tenant().id}:{what}"
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])


def check_users(count: int) -> None:
    """Raises plan_limit_reached unless one more than `count` people may be in the bound tenant."""
    _check("max_users", max_users(), count)


def check_agents(count: int) -> None:
    """Raises plan_limit_reached unless one more than `count` agents may be in the bound tenant."""
    _check("max_agents", max_agents(), count)


def check_documents(count: int) -> None:
    """Raises plan_limit_reached unless the bound tenant's knowledge may have `count` documents."""
    _check("max_documents", max_documents(), count - 1, _DOCUMENTS)


def check_pages(count: int) -> None:
    """Raises plan_limit_reached unless its documents may have `count` pages together."""
    _check("max_pages", max_pages(), count - 1, _PAGES)


def check_schedules(count: int) -> None:
    """Raises plan_limit_reached unless the bound tenant may have one more than `count` scheduled prompts."""
    _check("max_schedules", plan().max_schedules, count)


def stored_bytes() -> int:
    """How much the bound tenant's files take."""
    storage: Any = default_storage
    return int(storage.stored_bytes())


def check_storage(size: int, *, replaces: int = 0) -> None:
    """Raises storage_full unless the bound tenant may store `size` bytes more, `replaces` of them freed afterwards."""
    allowed = storage_bytes()
    if allowed is not None and stored_bytes() - replaces + size > allowed:
        raise PaasError("storage_full", details={"limit": "storage_bytes", "allowed": allowed})


def _check(name: str, limit: int | None, count: int, sentence: str | None = None) -> None:
    if limit is not None and count >= limit:
        raise PaasError("plan_limit_reached", sentence, details={"limit": name, "allowed": limit})
