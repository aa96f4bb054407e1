"""What was used over some weeks, for charts: by day, agent, model and person.

Days that are over are added up once, by a job (`fold_all`); a summary reads these rows and, of the ledger, what came
since. A ledger of a million entries is so read as some thousand rows and one day's entries.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import structlog
from django.db import DatabaseError
from django.db.models import DateField, Exists, F, Func, IntegerField, JSONField, OuterRef, Subquery, Value
from django.db.models.functions import Coalesce

from core import clock
from tenants.models import Tenant
from usage.models import DailyUseMark, UsageRecord

log = structlog.get_logger(__name__)

BEGINNING = date(2000, 1, 1)
# An entry is dated by its transaction's begin, and none lives that long: after it, a day gets no more entries.
LATEST = timedelta(minutes=10)
BY = ("day", "agent", "model", "who")


@dataclass(frozen=True, slots=True)
class Used:
    """One row of a summary. key: an ISO day; an agent's slug; `<provider>/<model>`; `user:<id>`, `key:<id>` or "".

    id: of the agent, "" where none is known. runs: turns; calls: of models. amounts: exact, by currency; what has no
    price is in none of them, `unpriced` says how many calls that were.
    """

    key: str
    id: str = ""
    runs: int = 0
    calls: int = 0
    unpriced: int = 0
    input: int = 0
    output: int = 0
    amounts: dict[str, Decimal] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        return self.input + self.output

    def plus(self, other: Used) -> Used:
        """Both, added up, under the key of the first."""
        amounts = dict(self.amounts)
        for currency, amount in other.amounts.items():
            amounts[currency] = amounts.get(currency, Decimal(0)) + amount
        return Used(
            self.key,
            self.id,
            self.runs + other.runs,
            self.calls + other.calls,
            self.unpriced + other.unpriced,
            self.input + other.input,
            self.output + other.output,
            amounts,
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """What was used on `days` (UTC, the last one is today): by day in order, by all else most tokens first."""

    days: list[date]
    by: dict[str, list[Used]]

    @property
    def total(self) -> Used:
        """All of it."""
        total = Used("")
        for one in self.by["day"]:
            total = total.plus(one)
        return total

    @property
    def currencies(self) -> list[str]:
        """Those in which something was priced."""
        return sorted(self.total.amounts)


def summary_of(tenant_id: uuid.UUID, days: int, **only: str) -> Summary:
    """What a tenant used today and on the days before it. One query.

    days: how many, today among them. only: `user` or `key` (an id), `agent` (a slug), `model` (as keys of rows are
    written): what was used by or with that. Bound to that tenant, or to the platform.
    """
    today = clock.now().date()
    first = today - timedelta(days=days - 1)
    part = Value(only, JSONField())
    asked = Func(F("pk"), Value(first, DateField()), part, function="public.usage_summary", output_field=JSONField())
    rows = Tenant.objects.filter(pk=tenant_id).values_list(asked, flat=True).first() or []
    found: dict[str, dict[tuple[str, str], Used]] = {name: {} for name in BY}
    for row in rows:
        one, group = _used(row), found[row["by"]]
        place = (one.key, one.id)
        group[place] = group[place].plus(one) if place in group else one
    ordered = {
        name: sorted(group.values(), key=lambda one: (-one.tokens, one.key, one.id)) for name, group in found.items()
    }
    ordered["day"] = sorted(found["day"].values(), key=lambda one: one.key)
    return Summary([first + timedelta(days=number) for number in range(days)], ordered)


def _used(row: dict[str, Any]) -> Used:
    who = f"user:{row['user_id']}" if row["user_id"] else f"key:{row['key_id']}" if row["key_id"] else ""
    keys = {"day": row["day"], "agent": row["agent"], "model": f"{row['provider']}/{row['model']}", "who": who}
    return used_of(row, keys[row["by"]] or "", str(row["agent_id"] or "") if row["by"] == "agent" else "")


def used_of(row: dict[str, Any], key: str, id_: str = "") -> Used:
    """From a row of the database's functions."""
    return Used(
        key=key,
        id=id_,
        runs=int(row["runs"]),
        calls=int(row["calls"]),
        unpriced=int(row["unpriced"]),
        input=int(row["input_tokens"]),
        output=int(row["output_tokens"]),
        amounts={} if row["cost"] is None else {row["currency"]: Decimal(row["cost"])},
    )


# --- adding up days that are over -----------------------------------------------------------------------


class _Fold(Func):
    function = "public.usage_fold"
    output_field = IntegerField()


def fold_all() -> int:
    """Add up the days that are over, of every tenant that has entries in them; returns the number of rows made.

    Bound to the platform. Each tenant is a transaction of its own: killed anywhere, the next one goes on from there.
    """
    until = (clock.now() - LATEST).date()
    before = datetime.combine(until, time.min, UTC)
    mark = DailyUseMark.objects.filter(tenant_id=OuterRef("pk")).values("until")
    done = Coalesce(Subquery(mark), Value(BEGINNING), output_field=DateField())
    new = UsageRecord.objects.filter(tenant_id=OuterRef("pk"), at__gte=OuterRef("done"), at__lt=before)
    tenants = Tenant.objects.annotate(done=done).filter(Exists(new), done__lt=until).values_list("pk", flat=True)
    made = 0
    for tenant_id in list(tenants):
        try:
            folded = _Fold(F("pk"), Value(until, DateField()))
            made += Tenant.objects.filter(pk=tenant_id).values_list(folded, flat=True).get()
        except DatabaseError:  # one ledger's fault keeps no other waiting
            log.exception("a ledger's days could not be added up", tenant=str(tenant_id))
    return made
