"""Reads of what was used."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, time

from django.db.models import F, Sum

from accounts.key_rights import below
from accounts.models import ApiKey
from core import clock
from usage.models import Quota, UsageRecord


def tokens_of_keys(wanted: Iterable[ApiKey]) -> dict[uuid.UUID, int]:
    """What each key that has a budget has used of it this month (UTC), with the keys below it: by the key's id."""
    budgeted = {key.pk: key for key in wanted if key.tokens_per_month is not None}
    month = clock.month_of(clock.now())
    counters = Quota.objects.filter(level="key", subject_id__in=budgeted, metric="tokens", month=month)
    found = dict(counters.values_list("subject_id", "used"))
    for key_id, key in budgeted.items():
        if key_id not in found:  # not used since the budget was set
            found[key_id] = _recorded(key, datetime.combine(month, time.min, UTC))
    return found


def _recorded(key: ApiKey, since: datetime) -> int:
    users = [key.pk, *(one.pk for one in below(key))]
    records = UsageRecord.objects.filter(key_id__in=users, at__gte=since)
    return int(records.aggregate(total=Sum(F("input_tokens") + F("output_tokens")))["total"] or 0)
