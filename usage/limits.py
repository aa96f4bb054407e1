"""Writes of limits beside the plan's: the operator's for a tenant, the tenant's own for people, keys and agents."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit, keys
from accounts.key_limits import MOST_TOKENS
from accounts.models import ApiKey
from core.errors import PaasError
from tenants import limits as tenant_limits
from tenants.models import Limit
from tenants.scope import TenantRef
from usage.money import text
from usage.standings import standings_of

BELOW = ("user", "key", "agent")
EVERYWHERE = ("tenant", *BELOW)
# What can be limited over what, and whose it can be.
KINDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("tokens", "month"): EVERYWHERE,
    ("tokens", "day"): EVERYWHERE,
    ("cost", "month"): EVERYWHERE,
    ("cost", "day"): EVERYWHERE,
    ("requests", "minute"): EVERYWHERE,
    ("sessions", "day"): EVERYWHERE,
    ("concurrent_runs", ""): EVERYWHERE,
    ("users", ""): ("tenant",),
    ("agents", ""): ("tenant",),
    ("storage_bytes", ""): ("tenant",),
    ("documents", ""): ("tenant",),
    ("pages", ""): ("tenant",),
}
MOST_COST = Decimal(10**9)
MOST_RUNS = 10**6
# Of one tenant: what a turn's start looks through stays small.
MOST_LIMITS = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """Which limit is meant; see `tenants.models.Limit`."""

    tenant: TenantRef
    level: str
    subject_id: uuid.UUID
    metric: str
    period: str = ""
    currency: str = ""

    @property
    def of_key(self) -> bool:
        """Whether it is a field of the key and no row of its own."""
        return (self.level, self.metric, self.period) == ("key", "tokens", "month")

    def row(self) -> dict[str, Any]:
        """As columns."""
        return {
            "tenant_id": self.tenant.id, "level": self.level, "subject_id": self.subject_id,
            "metric": self.metric, "period": self.period, "currency": self.currency,
        }  # fmt: skip

    def said(self) -> dict[str, str]:
        """As an audit row says it."""
        return {"level": self.level, "metric": self.metric, "period": self.period, "currency": self.currency}


def own_limits_of(tenant_id: uuid.UUID) -> list[Limit]:
    """What the operator set for a tenant in the place of its plan's. Bound to the platform, or to it."""
    return list(Limit.objects.filter(tenant_id=tenant_id, level="tenant").order_by("metric", "period", "currency"))


def limit_known(place: Place) -> bool:
    """Whether there is such a limit already."""
    if place.of_key:
        return ApiKey.objects.filter(pk=place.subject_id, tokens_per_month__isnull=False).exists()
    return Limit.objects.filter(**place.row()).exists()


def limit_set(*, place: Place, amount: Decimal, actor: str) -> bool:
    """Set a limit, in the place of one that there is; false when it is so already.

    Bound to the tenant, or, for the tenant's own, to the platform about it. That the subject exists, and that the
    actor may, the caller has seen to. Raises ValidationError by field (also for more than the tenant itself may), and
    what `accounts.keys.key_update` raises for a key's tokens of a month.
    """
    _check(place, amount)
    if place.of_key:
        key = ApiKey.objects.get(pk=place.subject_id, tenant_id=place.tenant.id)
        return keys.key_update(key=key, actor=actor, tokens_per_month=int(amount))
    with transaction.atomic():
        found = Limit.objects.select_for_update().filter(**place.row()).first()
        if found is not None and found.amount == amount:
            return False
        if found is None:
            tenant_limits.one_at_a_time("limits")
            if Limit.objects.filter(tenant_id=place.tenant.id).count() >= MOST_LIMITS:
                raise ValidationError(f"A workspace has at most {MOST_LIMITS:,} limits.")
            # Two at the same moment: the later amount stands.
            found, _made = Limit.objects.get_or_create(**place.row(), defaults={"amount": amount, "set_by": actor})
        found.amount, found.set_by = amount, actor
        found.save()
        audit.record("limit.set", actor=actor, target=str(place.subject_id), amount=text(amount), **place.said())
    return True


def limit_remove(*, place: Place, actor: str) -> None:
    """Take a limit away; what the tenant itself may goes on holding. Bound as in `limit_set`. Raises not_found."""
    if place.of_key:
        key = ApiKey.objects.filter(pk=place.subject_id, tenant_id=place.tenant.id).first()
        if key is None or not keys.key_update(key=key, actor=actor, tokens_per_month=None):
            raise PaasError("not_found")
        return
    with transaction.atomic():
        if not Limit.objects.filter(**place.row()).delete()[0]:
            raise PaasError("not_found")
        audit.record("limit.removed", actor=actor, target=str(place.subject_id), **place.said())


def _check(place: Place, amount: Decimal) -> None:
    levels = KINDS.get((place.metric, place.period))
    if levels is None:
        raise ValidationError({"metric": "There is no such limit."})
    if place.level not in levels:
        raise ValidationError({"metric": f"This can be limited for {', '.join(levels)} only."})
    cost = place.metric == "cost"
    if cost != bool(place.currency) or (cost and not _is_currency(place.currency)):
        raise ValidationError({"currency": "A cost has a currency, three capital letters; nothing else has one."})
    least = 1 if place.metric in ("requests", "concurrent_runs") or place.of_key else 0
    most = MOST_COST if cost else MOST_RUNS if place.metric == "concurrent_runs" else MOST_TOKENS
    if not (amount.is_finite() and least <= amount <= most):
        raise ValidationError({"amount": f"Write a number from {least} to {most:,}."})
    if amount != round(amount, 6 if cost else 0):
        raise ValidationError(
            {"amount": "Write it with six decimal places at most." if cost else "Write a whole number."}
        )
    if place.level != "tenant":
        _check_below(place, amount)


def _check_below(place: Place, amount: Decimal) -> None:
    """Nobody below the tenant is told that they may have more than all of it."""
    if place.metric in ("requests", "concurrent_runs"):
        requests = place.metric == "requests"
        own = tenant_limits.requests_per_minute() if requests else tenant_limits.concurrent_runs()
        whole = None if own is None else Decimal(own)
    else:
        kind = (place.metric, place.period, place.currency)
        standings = standings_of(place.tenant.id, [place.tenant.id])
        whole = next((one.limit for one in standings if (one.metric, one.period, one.currency) == kind), None)
    if whole is not None and amount > whole:
        shown = text(whole) if place.metric == "cost" else f"{int(whole):,}"
        raise ValidationError({"amount": f"The workspace itself may have {shown}; this cannot be above it."})


def _is_currency(word: str) -> bool:
    return len(word) == 3 and word.isascii() and word.isalpha() and word.isupper()
