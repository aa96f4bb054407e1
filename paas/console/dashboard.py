"""The console's front page: how the installation stands, who uses it, and what is to be done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

from django.db.models import Count
from django.http import HttpRequest
from django.utils.translation import gettext as _

from core import clock
from paas import health
from paas.console import standing, words
from portal.billing import shown as amount_shown
from portal.charts import Chart, chart
from tenants.models import Tenant
from usage.everybody import RECENT, Everybody, outcomes_since, used_by_everybody
from usage.summaries import Used

DAYS = 30
TOP = 10


@dataclass(frozen=True, slots=True)
class TopTenant:
    """A line of the list of those who cost most."""

    name: str
    address: str
    runs: str
    tokens: str
    cost: str


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Unfold's callback. Staff who are no operators keep the bare front page."""
    if not getattr(request.user, "is_superuser", False):
        return context
    used = used_by_everybody(DAYS, TOP)
    parts = standing.parts()
    return context | {
        "dashboard": True,
        "title": _("Overview"),
        "version": health.version(),
        "parts": parts,
        "todo": [part for part in parts if part.mend],
        "states": _states(),
        "recent": _figures(used),
        "charts": charts_of(used.days, used.by_day),
        "top": _top(used),
        "period": DAYS,
    }


def _states() -> list[tuple[str, str, int]]:
    """(state, in words, how many tenants), of those that exist."""
    found = dict(Tenant.objects.order_by().values_list("status").annotate(Count("pk")))
    return [(state, words.state(state), found[state]) for state in Tenant.Status.values if found.get(state)]


def costs(used: Used) -> str:
    """What was used, in all currencies."""
    return " + ".join(amount_shown(amount, name) for name, amount in sorted(used.amounts.items())) or "—"


def _figures(used: Everybody) -> list[tuple[str, str, str]]:
    """(what, how much in the last 24 hours, what it means)"""
    ended = outcomes_since(clock.now() - RECENT)
    failed, total = ended["failed"], sum(ended.values())
    share = _("%(failed)s failed, %(cancelled)s stopped") % {"failed": failed, "cancelled": ended["cancelled"]}
    unpriced = used.recent.unpriced
    return [
        (_("Runs"), f"{total:,}", share if total else ""),
        (_("Tokens"), f"{used.recent.tokens:,}", _("%(read)s read, %(written)s written")
            % {"read": f"{used.recent.input:,}", "written": f"{used.recent.output:,}"}),
        (_("Cost"), costs(used.recent), _("Calls without a known price: %(count)s") % {"count": unpriced}
            if unpriced else ""),
    ]  # fmt: skip


def charts_of(days: Sequence[date], by_day: dict[date, Used]) -> list[Chart]:
    """Answers, tokens, and the cost in each currency, a bar for each day."""
    rows = [(day, by_day.get(day, Used(""))) for day in days]
    currencies = sorted({name for _day, one in rows for name in one.amounts})

    def count(value: Decimal | int) -> str:
        return f"{int(value):,}"

    def cost(currency: str, value: Decimal | int) -> str:
        return amount_shown(Decimal(value), currency)

    found = [
        chart("answers", _("Answers"), [(day, one.runs) for day, one in rows], count),
        chart("tokens", _("Tokens"), [(day, one.tokens) for day, one in rows], count),
    ]
    for name in currencies:
        values: list[tuple[date, Decimal | int]] = [(day, one.amounts.get(name, Decimal(0))) for day, one in rows]
        found.append(chart(f"cost-{name}", _("Cost"), values, partial(cost, name)))
    return found


def _top(used: Everybody) -> list[TopTenant]:
    names = dict(Tenant.objects.filter(pk__in={one.tenant_id for one in used.top}).values_list("pk", "name"))
    return [
        TopTenant(
            names.get(one.tenant_id, str(one.tenant_id)[:8]), f"/admin/tenants/tenant/{one.tenant_id}/change/",
            f"{one.used.runs:,}", f"{one.used.tokens:,}", costs(one.used),
        )
        for one in used.top
    ]  # fmt: skip
