"""What a workspace has used and what it is billed: the month's statement, and its invoices."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from accounts.policies import USAGE_READ
from core import clock
from core.errors import PaasError
from portal.access import actor_of, page
from usage import chain, invoices, money, statements
from usage.models import Invoice
from usage.names import names_of
from usage.statements import Line, Statement

SMALLEST = Decimal("0.000001")
MONTHS = 24
# The drawing's own units: a day is STEP wide, the tallest bar HEIGHT.
STEP, WIDE, HEIGHT = 20, 14, 96


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table, in words."""

    label: str
    sub: str
    calls: str
    input: str
    output: str
    amount: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A day in the drawing."""

    x: int
    y: int
    height: int
    said: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A month's days as bars: of the first currency, or of tokens when nothing has a price."""

    bars: list[Bar]
    width: int
    what: str
    height: int = HEIGHT
    wide: int = WIDE
    ticks: list[tuple[int, int]] = field(default_factory=list)


@require_GET
@page(USAGE_READ)
def overview(request: HttpRequest) -> HttpResponse:
    """`/settings/billing/`: a month, the present one unless `month=YYYY-MM` says another."""
    tenant = actor_of(request).tenant
    month = _month(request.GET.get("month", ""))
    statement = statements.statement_of(tenant.id, month)
    names = names_of({line.who for line in statement.lines})
    context = {
        "page_name": "billing",
        "statement": statement,
        "month": f"{month:%Y-%m}",
        "running": month == clock.month_of(clock.now()),
        "months": [f"{one:%Y-%m}" for one in statements.months_of(tenant.id)[:MONTHS]],
        "totals": statement.totals(),
        "calls": f"{sum(line.calls for line in statement.lines):,}",
        "tokens": f"{sum(line.input + line.output for line in statement.lines):,}",
        "unpriced": sum(line.unpriced for line in statement.lines),
        "chart": _chart(statement),
        "days": [_row(line.day.isoformat(), "", line) for _key, line in statement.by("day")],
        "agents": [_row(line.use.agent or _agent(line), "", line) for _key, line in statement.by("agent")],
        "models": [
            _row(line.use.model or _("Corrections"), line.use.provider, line) for _key, line in statement.by("model")
        ],
        "members": [_row(*_person(line.who, names), line) for _key, line in statement.by("who")],
        "corrections": [(one, _kind(one.kind), shown(one.amount, one.currency)) for one in statement.corrections],
        "invoices": [(one, _total(one)) for one in invoices.issued()[:MONTHS]],
        "head": chain.head_of(tenant.id),
    }
    return render(request, "portal/billing.html", context)


@require_GET
@page(USAGE_READ)
def invoice(request: HttpRequest, number: str) -> HttpResponse:
    """`/settings/billing/invoices/INV-000001/`: as it prints."""
    found = invoices.invoice_named(number)
    context = {
        "page_name": "billing",
        "invoice": found,
        "note": invoices.cancelled_by(found),
        "cancelled": invoices.cancelled(found),
        "issuer": found.billed_to.get("issuer", "").splitlines(),
        "lines": [_use(use, found.currency) for use in found.statement["uses"]],
        "exact": found.statement["exact"],
        "total": _total(found),
        "digest": bytes(found.digest).hex(),
    }
    return render(request, "portal/invoice.html", context)


def _month(text: str) -> date:
    try:
        return statements.month_named(text)
    except PaasError:  # nothing asked for, or nothing sensible
        return clock.month_of(clock.now())


def shown(amount: Decimal | None, currency: str) -> str:
    """An amount for people: to six places, which no small call needs more of; "—" for what has no price."""
    if amount is None:
        return "—"
    rounded = amount.quantize(SMALLEST, ROUND_HALF_EVEN)
    if amount and not rounded:
        return f"< {SMALLEST} {currency}" if amount > 0 else f"> -{SMALLEST} {currency}"
    return f"{money.text(rounded)} {currency}"


def _total(found: Invoice) -> str:
    return f"{money.total(found.total, found.currency):,f} {found.currency}"


def _row(label: str, sub: str, line: Line) -> Row:
    calls, read, written = (f"{count:,}" for count in (line.calls, line.input, line.output))
    return Row(label, sub, calls, read, written, shown(line.amount, line.currency))


def _use(use: dict[str, Any], currency: str) -> Row:
    amount = None if use["amount"] is None else Decimal(use["amount"])
    calls, read, written = (f"{use[name]:,}" for name in ("calls", "input_tokens", "output_tokens"))
    label = use["agent"] or use["model"] or _("Corrections")
    sub = f"{use['model']} · {use['provider']}" if use["agent"] and use["model"] else use["provider"]
    return Row(label, sub, calls, read, written, shown(amount, currency))


def _agent(line: Line) -> str:
    """Entries of before agents were named have an id only; corrections have neither."""
    return line.use.agent_id[:8] or _("Corrections")


def _person(who: str, names: dict[str, str]) -> tuple[str, str]:
    kind, _colon, id_ = who.partition(":")
    if not who:
        return _("Corrections"), ""
    if kind == "key":
        return names.get(who, id_[:8]), _("API key")
    return names.get(who) or _("Former member"), "" if who in names else id_[:8]


def _kind(kind: str) -> str:
    return {"reversal": _("Reversal"), "credit": _("Credit"), "adjustment": _("Adjustment")}[kind]


def _chart(statement: Statement) -> Chart:
    totals = statement.totals()
    currency = totals[0].currency if totals else ""
    amounts: dict[int, Decimal] = {}
    for _key, line in statement.by("day"):
        if not currency:
            amounts[line.day.day] = amounts.get(line.day.day, Decimal(0)) + line.input + line.output
        elif line.currency == currency:
            amounts[line.day.day] = line.amount or Decimal(0)
    most = max([*amounts.values(), Decimal(0)])
    bars = []
    for day, amount in sorted(amounts.items()):
        height = max(1, int(HEIGHT * amount / most)) if amount > 0 else 0
        said = shown(amount, currency) if currency else _("%(count)s tokens") % {"count": f"{int(amount):,}"}
        bars.append(
            Bar(
                (day - 1) * STEP + (STEP - WIDE) // 2,
                HEIGHT - height,
                height,
                f"{statement.month:%Y-%m}-{day:02}: {said}",
            )
        )
    days = monthrange(statement.month.year, statement.month.month)[1]
    ticks = [((day - 1) * STEP + STEP // 2, day) for day in (1, 5, 10, 15, 20, 25, days)]
    return Chart(bars, days * STEP, currency or _("Tokens"), ticks=ticks)
