"""A tenant's life as people decide it: asked for, let in, suspended, renamed, deleted, had back, erased.

What it takes in PostgreSQL is tenants/provisioning.py and erasure.py; here is who may be told of it, and the audit row
that each act leaves in the tenant's own log, in the transaction of the act. All functions run bound to the platform
(a tenant's own role may not change its row), and `actor` is the label that the audit log shows.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from accounts import audit, codes, identities, mail
from accounts.models import Membership, OneTimeCode, Role, User
from core import clock
from core.errors import PaasError
from tenants import erasure, jobs, provisioning, resolve, scope
from tenants.models import Plan, Tenant

CREATE_JOB, ERASE_JOB = "tenant.create", "tenant.erase"
RESTORE = "tenant.restore"
WORKER = "job:tenants"


@contextmanager
def _audited(tenant: Tenant, action: str, actor: str, **data: Any) -> Iterator[None]:
    """A transaction around the act, with its row in the tenant's log."""
    with scope.platform(), transaction.atomic():
        yield
        with scope.platform_about(tenant.ref()):
            audit.record(action, actor=actor, target=tenant.slug, **data)


# --- creation ------------------------------------------------------------------------------------------


def tenant_request(
    *, slug: str, name: str, actor: str, plan: str = "free", owner: User | None = None, careful: bool = True
) -> Tenant:
    """A new tenant in status `creating`, which a worker builds at once; its name is taken when this commits.

    owner: who becomes its owner. careful: as in tenants/naming.py. Raises ValidationError.
    """
    with scope.platform(), transaction.atomic():
        tenant = provisioning.tenant_reserve(slug=slug, name=name, plan=plan, careful=careful)
        if owner is not None:
            Membership.objects.create(tenant=tenant, user=owner, role=Role.OWNER)
        with _audited(tenant, "tenant.requested", actor, plan=plan, owner=str(owner.id) if owner else None):
            _enqueue(CREATE_JOB, tenant.id)
    return tenant


def owner_named(email: str, *, actor: str) -> User:
    """The person with this address; one that is new gets a row, and a password by the link for a forgotten one.

    Runs bound to the platform, in a transaction. Raises ValidationError for what is no address.
    """
    address = email.strip().lower()
    found = User.objects.filter(email=address).first()
    if found is not None:
        return found
    user = User(email=address)
    user.set_unusable_password()
    try:
        user.full_clean(exclude=["password"])
    except ValidationError as error:
        raise ValidationError({"owner": error.messages}) from None
    user.save()
    audit.record("person.created", actor=actor, target=str(user.pk), by="operator")
    return user


# What rooms above put into each new tenant, in the transaction that lets people in and bound to the tenant.
FURNISHED_BY: list[Callable[[], None]] = []


def tenant_build(tenant_id: uuid.UUID) -> bool:
    """The job `tenant.create`: make the schema and let people in; see provisioning.tenant_build."""

    def opened(tenant: Tenant) -> None:
        with scope.bind(tenant.ref()):
            for furnish in FURNISHED_BY:
                furnish()
        with _audited(tenant, "tenant.created", WORKER):
            for owner in _owners(tenant):
                mail.send(
                    "workspace_ready",
                    to=owner.email,
                    language=owner.language,
                    name=tenant.name,
                    url=resolve.tenant_url(tenant.slug),
                )

    return provisioning.tenant_build(tenant_id, opened=opened)


# --- while it lives ------------------------------------------------------------------------------------


def tenant_suspend(*, tenant: Tenant, actor: str) -> bool:
    """Nobody gets in, within 5 seconds everywhere; False when it was not active."""
    return _set_status(tenant, Tenant.Status.SUSPENDED, "tenant.suspended", actor)


def tenant_resume(*, tenant: Tenant, actor: str) -> bool:
    """End a suspension; False when there was none."""
    return _set_status(tenant, Tenant.Status.ACTIVE, "tenant.resumed", actor)


def _set_status(tenant: Tenant, status: str, action: str, actor: str) -> bool:
    with scope.platform(), transaction.atomic():
        if not provisioning.tenant_set_status(tenant=tenant, status=status):
            return False
        with _audited(tenant, action, actor):
            pass
    resolve.forget_all()
    return True


def tenant_update(*, tenant: Tenant, actor: str, **fields: Any) -> list[str]:
    """Change name, plan (its slug), color, require_mfa or guide_hidden; returns the names of what differs.

    Raises ValidationError.
    """
    with scope.platform(), transaction.atomic():
        fresh = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        if "plan" in fields:
            fields["plan_id"] = fields.pop("plan")
            if not Plan.objects.filter(pk=fields["plan_id"]).exists():
                raise ValidationError({"plan": "There is no such plan."})
        changed = sorted(name for name, value in fields.items() if getattr(fresh, name) != value)
        if not changed:
            return []
        for name in changed:
            setattr(fresh, name, fields[name])
            setattr(tenant, name, fields[name])
        fresh.full_clean(exclude=["schema_name", "wrapped_key", "slug"])
        with _audited(fresh, "tenant.updated", actor, changed={name: fields[name] for name in changed}):
            fresh.save(update_fields=changed)
    resolve.forget_all()
    return changed


def tenant_move(*, tenant: Tenant, slug: str, actor: str, careful: bool = True) -> bool:
    """Another address; the former one leads to it. False when it is the present one. Raises ValidationError."""
    with scope.platform(), transaction.atomic():
        before = tenant.slug
        if not provisioning.tenant_move(tenant=tenant, slug=slug, careful=careful):
            return False
        with _audited(tenant, "tenant.moved", actor, before=before, after=slug):
            pass
    resolve.forget_all()
    return True


# --- the end -------------------------------------------------------------------------------------------


def tenant_delete(*, tenant: Tenant, actor: str) -> bool:
    """Close a tenant; it can be had back for DELETION_GRACE_DAYS, then it is erased. False when that runs already.

    Its owners get a letter with a link that restores it.
    """
    with scope.platform(), transaction.atomic():
        fresh = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        if fresh.status in (Tenant.Status.DELETING, Tenant.Status.DELETED):
            return False
        # What it was is kept in `step`: who restores a suspended tenant gets it back suspended.
        fresh.step = fresh.status
        fresh.status, fresh.delete_after = Tenant.Status.DELETING, clock.now() + _grace()
        with _audited(fresh, "tenant.deleted", actor, until=fresh.delete_after.isoformat()):
            fresh.save(update_fields=["status", "step", "delete_after"])
            for owner in _owners(fresh):
                _tell_of_deletion(fresh, owner)
    tenant.status, tenant.step, tenant.delete_after = fresh.status, fresh.step, fresh.delete_after
    resolve.forget_all()
    return True


def _tell_of_deletion(tenant: Tenant, owner: User) -> None:
    code = codes.issue(RESTORE, seconds=_grace().total_seconds(), user=owner, tenant_id=tenant.id)
    mail.send(
        "workspace_deleted",
        to=owner.email,
        language=owner.language,
        name=tenant.name,
        url=f"{resolve.platform_url()}/restore/{code}/",
        until=timezone.localtime(tenant.delete_after),
    )


def tenant_restore(*, tenant: Tenant, actor: str) -> bool:
    """Undo a deletion within its grace; False when there is none to undo."""
    with scope.platform(), transaction.atomic():
        fresh = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        if fresh.status != Tenant.Status.DELETING:
            return False
        fresh.status = fresh.step or Tenant.Status.ACTIVE
        fresh.step = "queued" if fresh.status == Tenant.Status.CREATING else ""
        fresh.delete_after = None
        with _audited(fresh, "tenant.restored", actor):
            fresh.save(update_fields=["status", "step", "delete_after"])
            OneTimeCode.objects.filter(purpose=RESTORE, tenant=fresh).delete()
    tenant.status, tenant.step, tenant.delete_after = fresh.status, fresh.step, None
    resolve.forget_all()
    return True


def deleted_by_code(code: str) -> Tenant:
    """The tenant that the link of the letter restores. Raises link_invalid."""
    found = codes.peek(RESTORE, code).tenant
    if found is None or found.status != Tenant.Status.DELETING:
        raise PaasError("link_invalid")
    return found


def tenant_restore_by_code(*, code: str) -> Tenant:
    """Undo a deletion with the link of the letter. Raises link_invalid."""
    found = codes.redeem(RESTORE, code)
    with scope.platform():
        tenant: Tenant = Tenant.objects.get(pk=found.tenant_id)
        if not tenant_restore(tenant=tenant, actor=f"user:{found.user_id}"):
            raise PaasError("link_invalid")
    return tenant


def erase_some(tenant_id: uuid.UUID) -> bool:
    """One piece of the job `tenant.erase`; whether there is more to do."""

    def finished(tenant: Tenant) -> None:
        with _audited(tenant, "tenant.erased", WORKER):
            identities.tenant_forget(tenant.pk)

    with scope.platform():
        erasure.erasure_begin(tenant_id)
        return erasure.erase_some(tenant_id, finished=finished)


# --- what keeps it going -------------------------------------------------------------------------------


def tenants_resume() -> int:
    """Have the worker go on with what stopped half way, and begin with what is due; returns how many jobs are new."""
    with scope.platform():
        creating = Tenant.objects.filter(status=Tenant.Status.CREATING)
        due = Tenant.objects.filter(status=Tenant.Status.DELETING, delete_after__lte=clock.now())
        erasing = Tenant.objects.filter(status=Tenant.Status.DELETED).exclude(step="")
        wanted = [(CREATE_JOB, pk) for pk in creating.values_list("pk", flat=True)]
        wanted += [(ERASE_JOB, pk) for found in (due, erasing) for pk in found.values_list("pk", flat=True)]
        return sum(_enqueue(job, tenant_id) is not None for job, tenant_id in wanted)


def _enqueue(job: str, tenant_id: uuid.UUID) -> int | None:
    return jobs.enqueue_platform(job, queueing_lock=f"{job}:{tenant_id}", tenant_id=str(tenant_id))


def _owners(tenant: Tenant) -> list[User]:
    found = Membership.objects.filter(tenant=tenant, role=Role.OWNER, user__is_active=True).select_related("user")
    return [membership.user for membership in found]


def _grace() -> timedelta:
    return timedelta(days=settings.DELETION_GRACE_DAYS)
