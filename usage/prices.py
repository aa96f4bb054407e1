"""The price list with its history: what a model costs whom, from when on. Rows are added, never changed.

What a tenant is charged for a model is decided in this order:
1. the price agreed with the tenant (`Price.tenant`), as it is, without margin;
2. else the price that the tenant's own provider account sets (llm's business; it comes in as `own`), with margin;
3. else the list price, with margin: one for exactly this provider kind, then the vendor's of the maintained list.
The margin is the tenant's own, else its plan's, else none. What nobody priced stays unpriced; it is never zero.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Q

from accounts import audit
from core import clock
from core.errors import PaasError
from tenants import scope
from tenants.models import Plan, Tenant
from usage import money
from usage.models import Component, Margin, Price
from usage.money import PRICES, Rates

LIBRARY = "library:"
# Every process remembers rows for so long, those of the future too. A new one begins later than that (SOONEST), so
# from its first moment on it is known everywhere.
KNOWN_SECONDS = 45
MOST_KNOWN = 10_000
SOONEST = timedelta(seconds=60)
Places = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Terms:
    """What is known of a model's price for a tenant at a moment. agreed, listed: None where there is none."""

    agreed: Rates | None = None
    listed: Rates | None = None
    margin: Decimal = Decimal(0)

    def charged(self, own: Mapping[str, Any] | None = None, unlisted: Rates | None = None) -> Rates:
        """The rates that a call is charged at. own: fields of Rates that the tenant's account sets. unlisted: what is
        taken while the list has no row."""
        if self.agreed is not None:
            return self.agreed.kept()
        found = self.listed or unlisted or Rates()
        return replace(found, **(own or {})).plus(self.margin)


@dataclass(frozen=True, slots=True)
class _Known:
    """Rows, oldest first, of the past and of the future, and when they were read."""

    prices: list[Price]
    margins: list[Margin]
    good_until: float


_known: dict[tuple[uuid.UUID, Places], _Known] = {}


def terms_of(tenant_id: uuid.UUID, places: Places, at: datetime | None = None) -> Terms:
    """The terms at a moment (None: now) of a model that is called so at `places` (vendor, model): the first of them
    that has prices counts. Two queries a minute, otherwise none; reads as the platform, for what others pay is
    nobody's business."""
    moment = at or clock.now()
    known = _known.get((tenant_id, places))
    if known is None or known.good_until < time.monotonic():
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        known = _known[(tenant_id, places)] = _read(tenant_id, places)
    newest = {
        (row.tenant_id, row.vendor, row.model, row.component): row for row in known.prices if row.valid_from <= moment
    }
    margin = _margin([row for row in known.margins if row.valid_from <= moment])
    return Terms(_first(newest, tenant_id, places), _first(newest, None, places), margin)


def forget_all() -> None:
    """Empty the memory (between tests)."""
    _known.clear()


def _read(tenant_id: uuid.UUID, places: Places) -> _Known:
    until = time.monotonic() + KNOWN_SECONDS
    wanted = Q(pk=None)
    for vendor, model in places:
        wanted |= Q(vendor=vendor, model=model)
    with scope.platform():
        prices = Price.objects.filter(wanted, Q(tenant=None) | Q(tenant_id=tenant_id)).order_by("valid_from", "id")
        margins = Margin.objects.filter(Q(tenant_id=tenant_id) | Q(plan__tenants__id=tenant_id))
        return _Known(list(prices), list(margins.order_by("valid_from", "id")), until)


def _first(newest: Mapping[Any, Price], tenant_id: uuid.UUID | None, places: Places) -> Rates | None:
    for vendor, model in places:
        rows = [newest.get((tenant_id, vendor, model, component)) for component in Component.values]
        priced = [row for row in rows if row is not None and row.amount is not None]
        if priced:
            return _rates(priced)
    return None


def _rates(rows: list[Price]) -> Rates:
    """Rows as rates. Amounts of two currencies are never added up: the first component's counts."""
    currency = rows[0].currency
    return Rates(**{row.component: row.amount for row in rows if row.currency == currency}, currency=currency)


def _margin(rows: list[Margin]) -> Decimal:
    own = [row.percent for row in rows if row.tenant_id]
    plans = [row.percent for row in rows if row.plan_id]
    newest = (found[-1] for found in (own, plans) if found)
    return next((percent for percent in newest if percent is not None), Decimal(0))


# --- the maintained list -------------------------------------------------------------------------------


def prices_sync(*, entries: Iterable[tuple[str, str, Rates]], source: str, since: datetime) -> int:
    """Add rows for what the maintained list says differently from the newest ones; returns how many.

    entries: (vendor, model, rates). since: from when the list's prices hold, for models that are new here; a change
    holds from a minute from now. A price that an operator has set is left alone. Bound to the platform.
    """
    soon = clock.now() + SOONEST
    with transaction.atomic():
        newest = {
            (row.vendor, row.model, row.component): row
            for row in Price.objects.filter(tenant=None).order_by("valid_from", "id")
        }
        added = []
        for vendor, model, rates in entries:
            for component in PRICES:
                amount = money.price(getattr(rates, component))
                present = newest.get((vendor, model, component))
                if present is None and amount is None:
                    continue
                if present is not None and (
                    not present.source.startswith(LIBRARY)
                    or (present.amount, present.amount and present.currency) == (amount, amount and rates.currency)
                ):
                    continue
                row = Price(
                    vendor=vendor,
                    model=model,
                    component=component,
                    amount=amount,
                    currency=rates.currency,
                    valid_from=min(since, soon) if present is None else soon,
                    source=f"{LIBRARY}{source}",
                )
                added.append(row)
        Price.objects.bulk_create(added, batch_size=1000)
    return len(added)


# --- what operators set --------------------------------------------------------------------------------


def price_set(
    *, vendor: str, model: str, rates: Rates, valid_from: datetime, actor: str, tenant: Tenant | None = None
) -> list[Price]:
    """Set a model's prices from a moment on, for everybody or for a tenant; a component that is None has none from
    then on. Bound to the platform. Raises validation_failed for a moment that is over, already_exists."""
    _check_moment(valid_from)
    with transaction.atomic():
        present = Price.objects.filter(tenant=tenant, vendor=vendor, model=model.lower())
        if present.filter(valid_from=valid_from).exists():
            raise PaasError("already_exists", "There is a price from that moment on already.")
        known = set(present.values_list("component", flat=True))
        rows = [
            Price(
                tenant=tenant,
                vendor=vendor,
                model=model.lower(),
                component=component,
                amount=money.price(getattr(rates, component)),
                currency=rates.currency,
                valid_from=valid_from,
                source=actor,
            )
            for component in PRICES
            if getattr(rates, component) is not None or component in known
        ]
        Price.objects.bulk_create(rows)
        said = {row.component: None if row.amount is None else format(row.amount, "f") for row in rows}
        said |= {"tenant": tenant.slug if tenant else None, "currency": rates.currency}
        # In the platform's log only: a tenant's own is read by its people, and a list price is not about one.
        audit.record("price.set", actor=actor, target=f"{vendor} {model}", valid_from=valid_from.isoformat(), **said)
    return rows


def margin_set(
    *,
    percent: Decimal | None,
    valid_from: datetime,
    actor: str,
    tenant: Tenant | None = None,
    plan: Plan | None = None,
) -> Margin:
    """Set the margin of a tenant or of a plan from a moment on; None: none of its own from then on.

    Bound to the platform. Raises validation_failed.
    """
    _check_moment(valid_from)
    if (tenant is None) == (plan is None):
        raise PaasError("validation_failed", "A margin is a tenant's or a plan's.")
    if percent is not None and not (percent.is_finite() and -100 <= percent <= 10_000):
        raise PaasError("validation_failed", "A margin is between -100 and 10,000 percent.")
    with transaction.atomic():
        row = Margin.objects.create(tenant=tenant, plan=plan, percent=percent, valid_from=valid_from, made_by=actor)
        whom = tenant.slug if tenant else f"plan {plan.slug if plan else ''}"
        audit.record("margin.set", actor=actor, target=whom, percent=str(percent), valid_from=valid_from.isoformat())
    return row


def _check_moment(valid_from: datetime) -> None:
    # A call is charged at the price of its moment: one that began in the past would tell of calls that never were.
    if valid_from < clock.now() + SOONEST - timedelta(seconds=1):
        raise PaasError(
            "validation_failed", "A price or margin begins in a minute or later.", details={"param": "valid_from"}
        )
