"""When a tenant's work by the clock is due: one row each, so that a worker asks one table and no schema."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.db import transaction

from tenants import scope
from tenants.models import Alarm, Tenant
from tenants.scope import TenantRef


def alarm_set(next_at: Callable[[], datetime | None]) -> None:
    """Set the bound tenant's alarm to what `next_at` finds, in the caller's transaction.

    next_at is asked under the alarm's lock: of two who change what is due, the later sees what the first wrote.
    """
    tenant = scope.current_tenant()
    with transaction.atomic():
        Alarm.objects.get_or_create(tenant_id=tenant.id)
        alarm = Alarm.objects.select_for_update().get(tenant_id=tenant.id)
        alarm.at = next_at()
        alarm.save(update_fields=["at"])


def tenants_due(now: datetime) -> list[TenantRef]:
    """The active tenants whose alarm rings, the longest overdue first. Bound to the platform."""
    due = Tenant.objects.filter(status=Tenant.Status.ACTIVE, alarm__at__lte=now)
    return [tenant.ref() for tenant in due.select_related("plan").order_by("alarm__at")]
