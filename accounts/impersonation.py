"""An operator sees a tenant as one of its people does: with a reason, for half an hour at most, and reading only.

The operator asks on the platform host and gets a link that works once, which opens a session of that person on the
tenant's host. Every request of that session finds its `Acting` here again, so it ends when the row ends, when the
time is over, and when the operator is none any more. What the person may do shrinks to READS (accounts/selectors.py).
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.dispatch import receiver
from django.middleware.csrf import rotate_token

from accounts import acting, audit, codes, selectors
from accounts.acting import Acting
from accounts.models import Impersonation, User
from core import clock
from core.errors import PaasError
from tenants import resolve, scope
from tenants.models import Tenant

MINUTES = 30
LINK_SECONDS = 60
LEAST_REASON = 10
PURPOSE = "impersonation"
IN_SESSION = "impersonation"
BACKEND = "accounts.backends.EmailBackend"


def impersonation_create(*, operator: User, user: User, tenant: Tenant, reason: str) -> str:
    """The address that opens a session of `user` in `tenant` for `operator`: once, within a minute.

    Bound to the platform. Raises permission_denied (no operator; no member there), validation_failed (reason) and
    what resolve.admitted raises.
    """
    why = " ".join(reason.split())
    if not LEAST_REASON <= len(why) <= 300:
        raise PaasError("validation_failed", f"Give a reason of {LEAST_REASON} to 300 characters.")
    if not (operator.is_active and operator.is_staff):
        raise PaasError("permission_denied")
    resolve.admitted(tenant.ref())
    if not (user.is_active and user.memberships.filter(tenant=tenant).exists()):
        raise PaasError("permission_denied", "This person is no active member of that workspace.")
    with transaction.atomic():
        row = Impersonation.objects.create(
            tenant=tenant,
            operator=operator,
            user=user,
            reason=why,
            expires_at=clock.now() + timedelta(minutes=MINUTES),
        )
        code = codes.issue(PURPOSE, seconds=LINK_SECONDS, user=user, tenant_id=tenant.id, impersonation=str(row.id))
        audit.record(
            "impersonation.created",
            actor=f"operator:{operator.pk}",
            target=str(user.pk),
            tenant=tenant.slug,
            reason=why,
        )
    return f"{resolve.tenant_url(tenant.slug)}/impersonate/?{urlencode({'code': code})}"


def impersonation_open(request: Any, code: str) -> None:
    """Give this browser the session that the link promises. Bound to the tenant. Raises link_invalid."""
    tenant = scope.current_tenant()
    if codes.peek(PURPOSE, code).tenant_id != tenant.id:
        raise PaasError("link_invalid")
    found = codes.redeem(PURPOSE, code)
    open_ = _open(uuid.UUID(found.data["impersonation"]))
    user = found.user
    if open_ is None or user is None or selectors.actor_of_user(user.pk) is None:
        raise PaasError("link_invalid")
    with transaction.atomic():
        # Not django's login(): that would say that the person was here.
        request.session.flush()
        request.session[SESSION_KEY] = str(user.pk)
        request.session[BACKEND_SESSION_KEY] = BACKEND
        request.session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        request.session[IN_SESSION] = str(open_.id)
        request.session.set_expiry(open_.until)
        request.session.save()
        rotate_token(request)
        with acting.serving(open_):
            _record("impersonation.started", open_, user.pk, until=open_.until.isoformat(timespec="seconds"))


def of_session(session: Any) -> Acting | None:
    """Who acts in this session; None in a person's own. Raises not_authenticated when the impersonation is over."""
    name = session.get(IN_SESSION)
    if name is None:
        return None
    found = _open(uuid.UUID(name))
    if found is None:
        raise PaasError("not_authenticated")
    return found


def _open(impersonation_id: uuid.UUID) -> Acting | None:
    """An impersonation of the bound tenant, while it is open and its operator is one."""
    tenant = scope.current_tenant()
    with scope.platform():
        row = (
            Impersonation.objects.select_related("operator", "user")
            .filter(pk=impersonation_id, tenant_id=tenant.id, ended_at=None, expires_at__gt=clock.now())
            .filter(operator__is_active=True, operator__is_staff=True)
            .first()
        )
    if row is None:
        return None
    return Acting(row.id, row.operator_id, row.operator.email, row.user.email, row.reason, row.expires_at)


def impersonation_end(*, acting_: Acting, user_id: uuid.UUID) -> None:
    """End it at once, everywhere. Bound to its tenant."""
    with transaction.atomic():
        with scope.platform():
            ended = Impersonation.objects.filter(pk=acting_.id, ended_at=None).update(ended_at=clock.now())
        if ended:
            _record("impersonation.ended", acting_, user_id)


@receiver(user_logged_out)
def _signed_out(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
    """Whoever signs out while acting has ended it."""
    here = acting.current()
    if here is not None and user is not None:
        impersonation_end(acting_=here, user_id=user.pk)


def impersonations_end(*, chosen: Any, how: str) -> int:
    """End those of `chosen` (a queryset) that are open; returns how many. Bound to the platform."""
    count = 0
    for row in chosen.filter(ended_at=None).select_related("tenant", "operator", "user"):
        found = Acting(row.id, row.operator_id, row.operator.email, row.user.email, row.reason, row.expires_at)
        with transaction.atomic():
            ended_at = min(clock.now(), row.expires_at)
            if not Impersonation.objects.filter(pk=row.pk, ended_at=None).update(ended_at=ended_at):
                continue
            count += 1
            if row.tenant.status != Tenant.Status.DELETED:  # then its log is closed
                with scope.bind(row.tenant.ref()):
                    _record("impersonation.ended", found, row.user_id, how=how)
    return count


def end_overdue() -> int:
    """Write down the end of those whose time is over; returns how many. Bound to the platform."""
    return impersonations_end(chosen=Impersonation.objects.filter(expires_at__lte=clock.now()), how="time")


def _record(action: str, found: Acting, user_id: uuid.UUID, **data: Any) -> None:
    actor = f"operator:{found.operator_id}"
    audit.record(action, actor=actor, target=str(user_id), operator=found.operator_email, reason=found.reason, **data)
