"""Reads of tenants. All of them run bound to the platform, but for `own_tenant`."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import Count, Q

from tenants import limits, scope
from tenants.models import Domain, RetiredSlug, Tenant
from tenants.scope import TenantRef


def active_tenants() -> list[TenantRef]:
    """Every active tenant, by slug."""
    return [tenant.ref() for tenant in Tenant.objects.filter(status=Tenant.Status.ACTIVE)]


def tenant_by_slug(slug: str) -> TenantRef | None:
    """The tenant with this slug, whatever its status."""
    tenant = _with_rate(Tenant.objects.select_related("plan"), "id").filter(slug=slug).first()
    return tenant.ref() if tenant else None


def tenant_by_retired_slug(slug: str) -> TenantRef | None:
    """The tenant that had this slug before it was renamed."""
    retired = _with_rate(RetiredSlug.objects.select_related("tenant__plan")).filter(slug=slug).first()
    return _its_tenant(retired)


def tenant_by_domain(host: str) -> TenantRef | None:
    """The tenant that owns this host name."""
    domain = _with_rate(Domain.objects.select_related("tenant__plan")).filter(domain=host).first()
    return _its_tenant(domain)


def tenant_by_id(tenant_id: uuid.UUID) -> TenantRef | None:
    """The tenant with this id, whatever its status."""
    tenant = _with_rate(Tenant.objects.select_related("plan"), "id").filter(id=tenant_id).first()
    return tenant.ref() if tenant else None


def _with_rate(rows: Any, tenant: str = "tenant_id") -> Any:
    return rows.annotate(own_rate=limits.rate_of("tenant", tenant, tenant))


def _its_tenant(row: Any) -> TenantRef | None:
    if row is None:
        return None
    row.tenant.own_rate = row.own_rate
    found: TenantRef = row.tenant.ref()
    return found


def own_tenant() -> Tenant:
    """The bound tenant's row, with its plan."""
    found: Tenant = Tenant.objects.select_related("plan").get(pk=scope.current_tenant().id)
    return found


def tenant_row(tenant_id: uuid.UUID) -> Any:
    """The tenant's row with `people`, the number of its members; None when there is none."""
    return _rows().filter(pk=tenant_id).first()


def tenant_page(*, after: str, limit: int, status: str = "", text: str = "") -> tuple[list[Any], str | None]:
    """Rows as `tenant_row` gives them, by slug, from the one after `after`; and where the next page begins.

    status, text: only those in this status, and with this in slug or name.
    """
    found = _rows().filter(slug__gt=after).order_by("slug")
    if status:
        found = found.filter(status=status)
    if text:
        found = found.filter(Q(slug__icontains=text) | Q(name__icontains=text))
    page = list(found[: limit + 1])
    shown = page[:limit]
    return shown, shown[-1].slug if len(page) > limit else None


def _rows() -> Any:
    return Tenant.objects.select_related("plan").annotate(people=Count("memberships"))
