"""Who is told when limits come to their end, and when a vendor took more than it was given.

Nobody is told on the way of a turn: a job looks every minute. What was crossed is written down and the letters are
enqueued in one transaction, so each limit, period and threshold makes its letters once, whoever looks at the same time
and whatever is killed in between (an upsert decides; see public.usage_warn).
"""

from __future__ import annotations

import uuid
from typing import Any

import structlog
from django.db import transaction
from django.db.models import F, Func, JSONField

from accounts import audit, mail
from accounts.models import ApiKey, Membership, User
from core import clock
from tenants import resolve, scope
from tenants.models import Tenant
from usage.models import LimitWarning, Quota, Reservation, SessionCount
from usage.standings import Standing, standing_of

log = structlog.get_logger(__name__)

ACTOR = "job:usage.warn"
MOST_AT_ONCE = 500


class _Warn(Func):
    function = "public.usage_warn"
    output_field = JSONField()


def warn_all() -> int:
    """Tell people of limits that have come to 80 and to 100 percent; of how many. Bound to the platform."""
    today = clock.now().date()
    # The database says which day it is; a clock of ours that is minutes ahead or behind only looks at more, or later.
    counted = Quota.objects.filter(month__in=(today, today.replace(day=1)), used__gt=0)
    begun = SessionCount.objects.filter(day=today)
    wanted = {*counted.values_list("tenant_id", flat=True).distinct(), *begun.values_list("tenant_id", flat=True)}
    return sum(warn(tenant) for tenant in Tenant.objects.filter(pk__in=wanted, status=Tenant.Status.ACTIVE))


def warn(tenant: Tenant) -> int:
    """The same for one tenant."""
    with transaction.atomic():
        told = Tenant.objects.filter(pk=tenant.pk).values_list(_Warn(F("pk")), flat=True)[0]
        highest: dict[tuple[Any, ...], tuple[int, Standing]] = {}
        for one in sorted(told, key=lambda one: int(one["threshold"])):
            standing = standing_of(one)
            kind = (standing.level, standing.subject_id, standing.metric, standing.period, standing.currency)
            highest[kind] = (one["threshold"], standing)  # both at once: one letter, of the higher
        for threshold, standing in highest.values():
            for user in _readers(tenant, standing):
                _write(tenant, user, threshold, standing)
    return len(highest)


def _readers(tenant: Tenant, standing: Standing) -> list[User]:
    """The person whose limit it is, who made the key, or else who manages the workspace."""
    people = Membership.objects.select_related("user").filter(tenant=tenant, user__is_active=True)
    person: uuid.UUID | None = standing.subject_id if standing.level == "user" else None
    if standing.level == "key":
        key = ApiKey.objects.filter(pk=standing.subject_id, tenant=tenant).first()
        person = key.created_by_id if key else None
    if person is not None:
        found = [one.user for one in people.filter(user_id=person)]
        if found or standing.level == "user":
            return found
    return [one.user for one in people.filter(role__in=("owner", "admin")).order_by("created_at")]


def _write(tenant: Tenant, user: User, threshold: int, standing: Standing) -> None:
    name = mail.plain_name(tenant.name, tenant.slug)
    page = "/profile/" if standing.level == "user" else "/settings/limits/"
    mail.send(
        "limit_warning",
        to=user.email,
        language=user.language,
        name=name,
        level=standing.level,
        metric=standing.metric,
        period=standing.period,
        threshold=threshold,
        used=standing.said(standing.used),
        limit=standing.said(standing.limit),
        resets_at=standing.resets_at,
        url=f"{resolve.tenant_url(tenant.slug)}{page}",
    )


def overruns_tell() -> int:
    """Write down which runs used more than was held for them, and tell the operators, once a day and tenant (A35).

    What was used is booked and billed in full when the run ends; this only tells. Bound to the platform. Returns how
    many runs there were.
    """
    with transaction.atomic():
        waiting = Reservation.objects.select_for_update(skip_locked=True, of=("self",)).select_related("tenant")
        found = list(waiting.filter(overrun__gt=0, overrun_told=False).order_by("settled_at")[:MOST_AT_ONCE])
        for run in found:
            log.error("a vendor reported more than was held", run=str(run.pk), model=run.model, tokens=run.overrun)
            with scope.platform_about(run.tenant.ref()):
                audit.record(
                    "usage.overrun", actor=ACTOR, target=str(run.pk), overrun=run.overrun, held=run.amount,
                    model=run.model, provider=run.provider,
                )  # fmt: skip
            _tell_operators(run)
        Reservation.objects.filter(pk__in=[run.pk for run in found]).update(overrun_told=True)
    return len(found)


def _tell_operators(run: Reservation) -> None:
    today = (run.settled_at or run.created_at).date()
    where: dict[str, Any] = {
        "level": "tenant",
        "subject_id": run.tenant_id,
        "period": "day",
        "currency": "",
        "threshold": 100,
    }
    _row, first = LimitWarning.objects.get_or_create(
        tenant_id=run.tenant_id, metric="overrun", starts_on=today, **where
    )
    if first:
        for user in User.objects.filter(is_superuser=True, is_staff=True, is_active=True):
            mail.send(
                "usage_overrun", to=user.email, language=user.language, name=run.tenant.slug, model=run.model,
                provider=run.provider, held=f"{run.amount:,}", overrun=f"{run.overrun:,}",
                url=f"{resolve.platform_url()}/admin/usage/reservation/",
            )  # fmt: skip
