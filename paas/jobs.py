"""Work of the platform that needs to see all rooms: how far tenants' schemas are, and bringing one up."""

from __future__ import annotations

import uuid

import structlog

from tenants import migrate, scope
from tenants.jobs import every, platform_job
from tenants.models import Tenant

log = structlog.get_logger(__name__)
MIGRATE, LOOK_NOW = "tenants.migrate", "tenants.look_at_schemas_now"


@every("27 * * * *", "tenants.look_at_schemas")
async def look_at_schemas() -> int:
    """Note for the console which migrations each tenant's schema lacks."""
    return await scope.run_patiently(migrate.note_states)


@platform_job(LOOK_NOW, retries=1)
async def look_now() -> None:
    """The same when an operator asks."""
    await scope.run_patiently(migrate.note_states)


@platform_job(MIGRATE, retries=1)
async def migrate_tenant(tenant_id: str) -> None:
    """Bring one tenant's schema to this release, after the shared tables; its row says why it could not be."""
    await scope.run_patiently(_migrate, uuid.UUID(tenant_id))


def _migrate(tenant_id: uuid.UUID) -> None:
    slug = Tenant.objects.values_list("slug", flat=True).get(pk=tenant_id)
    migrate.migrate_all(lambda line: log.info("migrating", tenant=slug, said=line), first=[slug], only=True)
