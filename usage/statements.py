"""A month's statement: the ledger's entries of one tenant added up, from the ledger alone.

An entry belongs to the month (UTC) of its `at`, the moment at which the call was settled or the correction made. What
is added up is exact; `Total.total` is rounded, once (usage/money.py).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from django.db.models import Count, Q, Sum
from django.db.models.functions import TruncDate

from core import clock
from core.errors import PaasError
from usage import money
from usage.models import UsageRecord

CORRECTIONS = UsageRecord.CORRECTIONS
COUNTS = ("calls", "unpriced", "input", "output", "cached", "reasoning", "tool_calls")


@dataclass(frozen=True, slots=True)
class Use:
    """What was used with what: an agent ("" where none was known) and a provider's model."""

    agent_id: str
    agent: str
    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Line:
    """Entries that are alike, added up. A reversal counts against what it takes back.

    who: `user:<id>`, `key:<id>` or "". calls: model calls; `unpriced` of them have no price and are in no amount.
    amount: exact; None when nothing in it has a price.
    """

    day: date
    use: Use
    who: str
    currency: str
    correction: bool
    calls: int = 0
    unpriced: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    tool_calls: int = 0
    amount: Decimal | None = None

    def plus(self, other: Line) -> Line:
        """Both, added up."""
        counts = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        priced = [amount for amount in (self.amount, other.amount) if amount is not None]
        return replace(self, **counts, amount=money.added(priced) if priced else None)


@dataclass(frozen=True, slots=True)
class Total:
    """A currency's sum: exact, of which corrections; `total` is what is billed."""

    currency: str
    exact: Decimal
    corrections: Decimal
    total: Decimal


@dataclass(frozen=True, slots=True)
class Correction:
    """An entry that is no usage. amount: exact; None for a reversal of what had no price."""

    id: str
    at: datetime
    kind: str
    reason: str
    reverses: str
    currency: str
    amount: Decimal | None


@dataclass(frozen=True, slots=True)
class Statement:
    """A tenant's month."""

    month: date
    lines: list[Line]
    corrections: list[Correction]

    def totals(self) -> list[Total]:
        """The sum of each currency in which something was priced."""
        found = []
        for currency in sorted({line.currency for line in self.lines if line.amount is not None}):
            of_it = [line for line in self.lines if line.currency == currency and line.amount is not None]
            exact = money.added(line.amount or Decimal(0) for line in of_it)
            corrected = money.added(line.amount or Decimal(0) for line in of_it if line.correction)
            found.append(Total(currency, exact, corrected, money.total(exact, currency)))
        return found

    def by(self, name: str) -> list[tuple[Any, Line]]:
        """(key, its lines added up) for `day`, `use`, `agent`, `model` or `who`, by currency; sorted by key."""
        return folded(self.lines, KEYS[name])

    def of_currency(self, currency: str) -> Statement:
        """What of it is in one currency."""
        lines = [line for line in self.lines if line.currency == currency]
        return Statement(self.month, lines, [one for one in self.corrections if one.currency == currency])

    def frozen(self, currency: str) -> dict[str, Any]:
        """What an invoice in `currency` keeps: the same JSON whenever, and in whatever order, it is computed."""
        own = self.of_currency(currency)
        (total,) = own.totals() or [Total(currency, Decimal(0), Decimal(0), money.total(Decimal(0), currency))]
        return {
            "version": 1,
            "month": f"{self.month:%Y-%m}",
            "currency": currency,
            "exact": money.text(total.exact),
            "corrections_exact": money.text(total.corrections),
            "total": format(total.total, "f"),
            "uses": [asdict(line.use) | figures(line) for _, line in own.by("use")],
            "days": [{"day": line.day.isoformat()} | figures(line) for _, line in own.by("day")],
            "members": [{"who": line.who} | figures(line) for _, line in own.by("who")],
            "corrections": [corrected(one) for one in sorted(own.corrections, key=lambda one: (one.at, one.id))],
        }


KEYS: dict[str, Callable[[Line], Any]] = {
    "day": lambda line: line.day,
    "use": lambda line: (line.use.agent, line.use.agent_id, line.use.provider, line.use.model),
    "agent": lambda line: (line.use.agent, line.use.agent_id),
    "model": lambda line: (line.use.provider, line.use.model),
    "who": lambda line: line.who,
}


def folded(lines: Iterable[Line], key: Callable[[Line], Any]) -> list[tuple[Any, Line]]:
    """The lines with the same key and currency added up, sorted."""
    found: dict[tuple[Any, str], Line] = {}
    for line in lines:
        place = (key(line), line.currency)
        found[place] = found[place].plus(line) if place in found else line
    return [(place[0], found[place]) for place in sorted(found)]


def figures(line: Line) -> dict[str, Any]:
    """A line's numbers as JSON; amounts are decimal text."""
    counts = {f"{name}_tokens" if name in TOKENS else name: getattr(line, name) for name in COUNTS}
    return {**counts, "amount": None if line.amount is None else money.text(line.amount)}


TOKENS = ("input", "output", "cached", "reasoning")


def corrected(one: Correction) -> dict[str, Any]:
    """A correction as JSON."""
    amount = None if one.amount is None else money.text(one.amount)
    return {**asdict(one), "at": one.at.isoformat(), "amount": amount}


# --- reading -------------------------------------------------------------------------------------------


def month_named(text: str) -> date:
    """The first day of the month `YYYY-MM`. Raises validation_failed."""
    if re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", text):
        return date(int(text[:4]), int(text[5:]), 1)
    raise PaasError("validation_failed", "Write the month as YYYY-MM.", details={"param": "month"})


def entries_of(tenant_id: uuid.UUID, month: date) -> Any:
    """The ledger's entries of a tenant's month."""
    start = datetime.combine(month, time.min, UTC)
    return UsageRecord.objects.filter(tenant_id=tenant_id, at__gte=start, at__lt=clock.next_month(month))


def statement_of(tenant_id: uuid.UUID, month: date) -> Statement:
    """Add a month up. Bound to that tenant, or to the platform."""
    entries = entries_of(tenant_id, month)
    corrections = entries.filter(kind__in=CORRECTIONS).order_by("at", "id")
    return Statement(month, list(_lines(entries)), [_correction(entry) for entry in corrections])


def _lines(entries: Any) -> Iterator[Line]:
    """Added up by the database as far as all that a statement tells apart."""
    groups = (
        entries.order_by()
        .annotate(day=TruncDate("at", tzinfo=UTC))
        .values("day", "agent_id", "agent", "provider", "model", "user_id", "key_id", "currency", "kind")
        .annotate(
            entries=Count("id"),
            without=Count("id", filter=Q(cost=None)),
            input=Sum("input_tokens"),
            output=Sum("output_tokens"),
            cached=Sum("cached_tokens"),
            reasoning=Sum("reasoning_tokens"),
            tools=Sum("tool_calls"),
            amount=Sum("cost"),
        )
    )
    for row in groups:
        correction = row["kind"] in CORRECTIONS
        # Credits and adjustments are no calls; a reversal takes one back.
        sign = {"reversal": -1, "credit": 0, "adjustment": 0}.get(row["kind"], 1)
        who = f"user:{row['user_id']}" if row["user_id"] else f"key:{row['key_id']}" if row["key_id"] else ""
        yield Line(
            day=row["day"],
            use=Use(str(row["agent_id"] or ""), row["agent"], row["provider"], row["model"]),
            who=who,
            currency=row["currency"],
            correction=correction,
            calls=sign * row["entries"],
            unpriced=sign * row["without"],
            input=int(row["input"]),
            output=int(row["output"]),
            cached=int(row["cached"]),
            reasoning=int(row["reasoning"]),
            tool_calls=int(row["tools"]),
            amount=None if row["amount"] is None else money.added([row["amount"]]),
        )


def _correction(entry: UsageRecord) -> Correction:
    return Correction(
        str(entry.id), entry.at, entry.kind, entry.reason, str(entry.reverses or ""), entry.currency, entry.cost
    )


def months_of(tenant_id: uuid.UUID) -> list[date]:
    """The months from the first entry to now, newest first; the present one alone when there is none."""
    now = clock.month_of(clock.now())
    first = UsageRecord.objects.filter(tenant_id=tenant_id).order_by("at").values_list("at", flat=True).first()
    month, found = clock.month_of(first) if first else now, []
    while month <= now:
        found.append(month)
        month = clock.next_month(month).date()
    return found[::-1]
