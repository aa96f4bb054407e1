"""What all tenants together used, and how their runs ended, for the operator."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Count, DateField, DateTimeField, Func, IntegerField, JSONField, Value

from core import clock
from tenants.models import Tenant
from usage.summaries import Used, used_of

RECENT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Share:
    """What one tenant used, in one currency."""

    tenant_id: uuid.UUID
    currency: str
    used: Used


@dataclass(frozen=True, slots=True)
class Everybody:
    """by_day: one for each of `days` (UTC, the last one is today) on which something was used. top: in each currency
    those who cost most first. recent: of the last 24 hours."""

    days: list[date]
    by_day: dict[date, Used]
    top: list[Share]
    recent: Used

    @property
    def total(self) -> Used:
        """Of all days."""
        total = Used("")
        for one in self.by_day.values():
            total = total.plus(one)
        return total


def used_by_everybody(days: int, top: int) -> Everybody:
    """Today and the days before it, and the last 24 hours. One query; bound to the platform."""
    now = clock.now()
    first = now.date() - timedelta(days=days - 1)
    asked = Func(
        Value(first, DateField()), Value(now - RECENT, DateTimeField()), Value(top, IntegerField()),
        function="public.usage_of_everybody", output_field=JSONField(),
    )  # fmt: skip
    rows: list[dict[str, Any]] = Tenant.objects.order_by().values_list(asked, flat=True).first() or []
    by_day: dict[date, Used] = {}
    shares, recent = list[Share](), Used("")
    for row in rows:
        used = used_of(row, "")
        if row["by"] == "day":
            day = date.fromisoformat(row["day"])
            by_day[day] = by_day.get(day, Used(row["day"])).plus(used)
        elif row["by"] == "tenant":
            shares.append(Share(uuid.UUID(row["tenant_id"]), row["currency"], used))
        else:
            recent = recent.plus(used)
    shares.sort(key=lambda one: (one.currency, -one.used.amounts.get(one.currency, 0), -one.used.tokens))
    return Everybody([first + timedelta(days=number) for number in range(days)], by_day, shares, recent)


def outcomes_since(since: datetime) -> Counter[str]:
    """How runs ended that began since then, or "running": how many. One query; bound to the platform."""
    begun = Tenant.objects.filter(reservation__created_at__gte=since).order_by()
    counts = begun.values_list("reservation__outcome").annotate(Count("reservation__run_id"))
    return Counter({outcome or "running": count for outcome, count in counts})
