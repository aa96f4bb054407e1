"""Periodic work on people's rows and on tenants' lives; each job may be killed anywhere and is then taken up again."""

from __future__ import annotations

import uuid
from datetime import timedelta

from accounts import (
    audit_chain,
    codes,
    forgotten,  # noqa: F401 - declares the job that writes to who forgot a password
    impersonation,
    mail,  # noqa: F401 - declares the job that sends letters
    sign_up,
    tenant_life,
)
from accounts.models import RefreshFamily, Session
from core import clock
from tenants import provisioning, scope
from tenants.jobs import every, platform_job

KEPT = timedelta(days=30)  # how long an ended sign-in by token can still be looked at


@platform_job(tenant_life.CREATE_JOB)
async def create(tenant_id: str) -> None:
    """Build a tenant that was asked for."""
    wanted = uuid.UUID(tenant_id)
    try:
        await scope.run_in_platform(tenant_life.tenant_build, wanted)
    except Exception as error:
        await scope.run_in_platform(provisioning.failure_note, wanted, error)
        raise


@platform_job(tenant_life.ERASE_JOB)
async def erase(tenant_id: str) -> None:
    """Erase a tenant whose grace is over, piece by piece."""
    wanted = uuid.UUID(tenant_id)
    try:
        while await scope.run_in_platform(tenant_life.erase_some, wanted):
            pass
    except Exception as error:
        await scope.run_in_platform(provisioning.failure_note, wanted, error)
        raise


@every("* * * * * */10", "tenants.resume")
async def resume() -> int:
    """Take up what a killed worker left half way, and what is due; every ten seconds."""
    return await scope.run_in_platform(tenant_life.tenants_resume)


@every("17 * * * *", "accounts.purge")
async def purge_expired() -> None:
    """Codes, sessions and unproven sign-ups past their time, and tokens' families a month later."""
    await scope.run_in_platform(purge)


def purge() -> None:
    """The same, in the thread at hand. Runs bound to the platform."""
    now = clock.now()
    codes.purge()
    Session.objects.filter(expire_date__lte=now).delete()
    sign_up.purge()
    RefreshFamily.objects.filter(expires_at__lte=now - KEPT).delete()


@every("7 * * * *", "accounts.verify_newest_audit")
async def verify_newest_audit() -> None:
    """Verify what was written to the audit logs since the last time."""
    await scope.run_patiently(audit_chain.check_all, newest=True)


@every("37 3 * * *", "accounts.verify_audit")
async def verify_audit() -> None:
    """Verify the audit logs from their first rows."""
    await scope.run_patiently(audit_chain.check_all, newest=False)


@every("* * * * *", "accounts.end_impersonations")
async def end_impersonations() -> None:
    """Write down the end of impersonations whose time is over."""
    await scope.run_bound(impersonation.end_overdue)
