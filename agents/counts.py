"""How many people, agents, documents and pages the bound tenant has: what plans limit and nothing counts over time."""

from __future__ import annotations

from typing import Any

from django.db.models import IntegerField, QuerySet, Subquery
from django.db.models.expressions import Func

from accounts.models import Membership
from agents.models import Agent
from knowledge.models import Document
from tenants import scope
from tenants.models import Tenant


def counted() -> dict[str, int]:
    """{users, agents, documents, pages}, in one statement. Archived and built-in agents do not count."""
    tenant = scope.current_tenant().id
    found = Tenant.objects.filter(pk=tenant).values(
        users=_whole(Membership.objects.filter(tenant_id=tenant)),
        agents=_whole(Agent.objects.filter(archived_at=None, kind="")),
        documents=_whole(Document.objects.all()),
        pages=_whole(Document.objects.all(), "SUM", "pages"),
    )
    return {metric: int(value or 0) for metric, value in found.get().items()}


def _whole(rows: QuerySet[Any], function: str = "COUNT", column: str = "pk") -> Subquery:
    """An aggregate of all rows as a column. As a plain function, for Django would group what it knows to be one."""
    one = Func(column, function=function, output_field=IntegerField())
    return Subquery(rows.order_by().values(whole=one))
