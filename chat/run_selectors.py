"""How runs went, in numbers: of a workspace, or of one person."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Aggregate, Count, FloatField, Q

from chat.models import UNFINISHED, Run

# The newest ones are enough for a rate and for percentiles, and reading them takes no longer in a large workspace.
NEWEST = 10_000


class _Percentile(Aggregate):
    function = "percentile_cont"
    template = "%(function)s(%(share)s) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()


@dataclass(frozen=True, slots=True)
class RunHealth:
    """Of the newest runs that have ended, at most NEWEST: how many, how many of them failed, how many a person
    stopped, and the seconds to the first token that half of them, and 95 of 100, needed at most (None: not known)."""

    ended: int
    failed: int
    stopped: int
    first_p50: float | None
    first_p95: float | None

    @property
    def success(self) -> float | None:
        """Percent of those that nobody stopped that were completed."""
        asked = self.ended - self.stopped
        return None if not asked else 100 * (asked - self.failed) / asked


def run_health(since: datetime, user_id: uuid.UUID | None = None) -> RunHealth:
    """Of the bound tenant's runs since then, or of one person's. One query."""
    runs = Run.objects.filter(created_at__gte=since).exclude(status__in=UNFINISHED).exclude(door="import")
    if user_id is not None:
        runs = runs.filter(user_id=user_id)
    newest = runs.order_by("-created_at")[:NEWEST]
    found: dict[str, Any] = newest.aggregate(
        ended=Count("id"),
        failed=Count("id", filter=Q(status=Run.Status.FAILED)),
        stopped=Count("id", filter=Q(status=Run.Status.CANCELLED)),
        p50=_Percentile("first_ms", share="0.5"),
        p95=_Percentile("first_ms", share="0.95"),
    )
    seconds = {name: None if found[name] is None else found[name] / 1000 for name in ("p50", "p95")}
    return RunHealth(found["ended"], found["failed"], found["stopped"], seconds["p50"], seconds["p95"])
