"""Whether the counters of quotas say what reservations and ledger say."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator

from django.db.models import F, Sum

from usage.models import Quota, Reservation, UsageRecord


def wrong(tenant_id: uuid.UUID | None = None) -> Iterator[str]:
    """A sentence for each counter that holds other than its runs do, or has counted other than its ledger has.

    Of all tenants, or of one. Bound to the platform. While runs end, a counter may be ahead for a moment: ask twice.
    """
    of = {"tenant_id": tenant_id} if tenant_id else {}
    held = _held(of)
    kept = Quota.objects.filter(**of).exclude(reserved=0).in_bulk() | Quota.objects.in_bulk(list(held))
    for quota in kept.values():
        wanted = held[quota.pk].get(quota.currency if quota.metric == "cost" else "", 0)
        if quota.metric in ("tokens", "cost") and quota.reserved != wanted:
            yield f"{quota.tenant_id}: the counter {quota} holds {quota.reserved:,}, and its runs {wanted:,}"
    yield from _used(of)


def _held(of: dict[str, uuid.UUID]) -> dict[uuid.UUID, dict[str, int]]:
    """Of each counter what the runs hold on it: tokens under "", billionths under their currency."""
    found: dict[uuid.UUID, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    running = Reservation.objects.filter(state=Reservation.State.HELD, **of)
    currencies = dict(Quota.objects.filter(metric="cost", **of).values_list("pk", "currency"))
    for quotas, amount, cost, others in running.values_list("quotas", "amount", "cost", "other_costs"):
        for quota_id in quotas:
            found[quota_id][""] += amount
            if currency := currencies.get(quota_id):
                found[quota_id][currency] += others.get(currency, cost)
    return found


def _used(of: dict[str, uuid.UUID]) -> Iterator[str]:
    """Over all months together: a run is counted in the month in which it began, and is in the ledger when it ends."""
    months = Quota.objects.filter(level="tenant", metric="tokens", period="month", **of)
    counted = dict(months.values_list("tenant_id").annotate(tokens=Sum("used")))
    entries = UsageRecord.objects.exclude(kind__in=UsageRecord.CORRECTIONS).filter(**of)
    billed = dict(entries.values_list("tenant_id").annotate(tokens=Sum(F("input_tokens") + F("output_tokens"))))
    for tenant_id, tokens in counted.items():
        if tokens != billed.get(tenant_id, 0):
            yield f"{tenant_id}: its months count {tokens:,} tokens, and its ledger {billed.get(tenant_id, 0):,}"
