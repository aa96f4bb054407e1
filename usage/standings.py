"""Where limits stand: what is allowed, used, held and left, and when it is counted afresh."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db.models import F, Func, JSONField, UUIDField, Value

from core import clock
from core.errors import PaasError
from tenants.models import Tenant
from usage import money

# A counter of a cost counts billionths.
BILLION = 10**9


@dataclass(frozen=True, slots=True)
class Standing:
    """One limit, and where it stands. level, metric, period, currency: as `tenants.models.Limit`.

    limit, used, reserved: in tokens, requests, pieces or bytes, or in the currency. used None: not known. source:
    "plan", "limit" (set for the subject itself) or "key". starts_on: None where nothing is counted over time.
    """

    level: str
    subject_id: uuid.UUID
    metric: str
    period: str
    currency: str
    limit: Decimal
    used: Decimal | None
    reserved: Decimal = Decimal(0)
    starts_on: date | None = None
    source: str = "limit"

    @property
    def left(self) -> Decimal | None:
        """What may still be begun; never below zero."""
        return None if self.used is None else max(Decimal(0), self.limit - self.used - self.reserved)

    @property
    def percent(self) -> int | None:
        """How much of it is used, in whole percent, rounded down; above 100 for what was booked beyond it."""
        if self.used is None:
            return None
        return int(100 * self.used / self.limit) if self.limit else 100

    @property
    def resets_at(self) -> datetime | None:
        """When it is counted afresh: midnight UTC."""
        if self.starts_on is None:
            return None
        if self.period == "month":
            return clock.next_month(self.starts_on)
        return datetime.combine(self.starts_on + timedelta(days=1), time.min, UTC)

    def view(self) -> dict[str, Any]:
        """As the API shows it: whole numbers, a cost as text."""
        return {
            "level": self.level,
            "subject_id": str(self.subject_id),
            "metric": self.metric,
            "period": self.period or None,
            "currency": self.currency or None,
            "limit": self.number(self.limit),
            "used": self.number(self.used),
            "reserved": self.number(self.reserved),
            "left": self.number(self.left),
            "percent": self.percent,
            "resets_at": self.resets_at.isoformat() if self.resets_at else None,
            "source": self.source,
        }

    def number(self, amount: Decimal | None) -> int | str | None:
        """An amount of this limit in JSON."""
        if amount is None:
            return None
        return money.text(amount) if self.metric == "cost" else int(amount)

    def said(self, amount: Decimal | None) -> str:
        """An amount of this limit for people, with its currency."""
        if amount is None:
            return "—"
        return f"{money.text(amount)} {self.currency}" if self.metric == "cost" else f"{int(amount):,}"


def standing_of(told: dict[str, Any]) -> Standing:
    """From what the database says of a counter (public.usage_told, usage_standing)."""
    scale = BILLION if told["metric"] == "cost" else 1
    limit, used, reserved = (Decimal(told[name]) / scale for name in ("limit", "used", "reserved"))
    return Standing(
        level=told["level"],
        subject_id=uuid.UUID(told["subject_id"]),
        metric=told["metric"],
        period=told["period"],
        currency=told["currency"],
        limit=limit,
        used=used,
        reserved=reserved,
        starts_on=date.fromisoformat(told["starts_on"]),
        source=told.get("source", "limit"),
    )


def standings_of(tenant_id: uuid.UUID, subjects: Iterable[uuid.UUID] | None = None) -> list[Standing]:
    """Every limit on tokens, cost and conversations that is in force, of these subjects (None: of all). One query.

    Bound to that tenant or to the platform.
    """
    wanted = Value(None if subjects is None else list(subjects), output_field=ArrayField(UUIDField()))
    asked = Func(F("pk"), wanted, function="public.usage_standing", output_field=JSONField())
    found = Tenant.objects.filter(pk=tenant_id).values_list(asked, flat=True).first()
    return [standing_of(told) for told in found or ()]


# --- refusals -----------------------------------------------------------------------------------------

WHOSE = {
    "tenant": "This workspace's limit",
    "user": "Your own limit",
    "key": "This API key's limit",
    "agent": "This agent's limit",
}
WHAT = {"tokens": "tokens", "cost": "cost", "sessions": "new conversations"}


def refusal(code: str, told: dict[str, Any] | None, counted: int) -> PaasError:
    """Why a turn was not begun: which limit it was, what is left of it, when it is counted afresh.

    told: as public.usage_hold says it, or None. counted: the input tokens of what was asked.
    """
    if told is None or told.get("limit") is None:
        return PaasError(code)
    standing = standing_of(told)
    resets_at = standing.resets_at
    assert resets_at is not None
    whose = f"{WHOSE[standing.level]} of {WHAT[standing.metric]} a {standing.period}"
    details: dict[str, Any] = {"resets_at": resets_at.isoformat(), "input_tokens": counted, "limit": standing.view()}
    if code == "model_unpriced":
        sentence = (
            f"{whose} is in {standing.currency}, and this model has no price in it. Ask an administrator to set one."
        )
        return PaasError(code, sentence, details=details)
    left = f"{standing.said(standing.left)} of {standing.said(standing.limit)}"
    when = f"{resets_at:%Y-%m-%d} (UTC)" if standing.period == "month" else f"{resets_at:%Y-%m-%d %H:%M} (UTC)"
    sentence = f"{whose} leaves {left}, which is too little for this message. It is counted afresh from {when}."
    if standing.metric == "sessions":
        sentence = f"{whose} is reached: {standing.said(standing.limit)}. It is counted afresh from {when}."
    wait = max(1.0, (resets_at - clock.now()).total_seconds())
    return PaasError(code, sentence, retry_after=wait, details=details)
