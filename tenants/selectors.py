"""Reads of tenants, as values. All of them run bound to the platform."""

from __future__ import annotations

import uuid

from tenants.models import Domain, RetiredSlug, Tenant
from tenants.scope import TenantRef


def active_tenants() -> list[TenantRef]:
    """Every active tenant, by slug."""
    return [tenant.ref() for tenant in Tenant.objects.filter(status=Tenant.Status.ACTIVE)]


def tenant_by_slug(slug: str) -> TenantRef | None:
    """The tenant with this slug, whatever its status."""
    tenant = Tenant.objects.select_related("plan").filter(slug=slug).first()
    return tenant.ref() if tenant else None


def tenant_by_retired_slug(slug: str) -> TenantRef | None:
    """The tenant that had this slug before it was renamed."""
    retired = RetiredSlug.objects.select_related("tenant__plan").filter(slug=slug).first()
    return retired.tenant.ref() if retired else None


def tenant_by_domain(host: str) -> TenantRef | None:
    """The tenant that owns this host name."""
    domain = Domain.objects.select_related("tenant__plan").filter(domain=host).first()
    return domain.tenant.ref() if domain else None


def tenant_by_id(tenant_id: uuid.UUID) -> TenantRef | None:
    """The tenant with this id, whatever its status."""
    tenant = Tenant.objects.select_related("plan").filter(id=tenant_id).first()
    return tenant.ref() if tenant else None
