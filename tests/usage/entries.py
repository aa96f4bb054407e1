"""Entries of the ledger as settled calls and corrections leave them, at any time."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from core import clock
from tenants import scope
from tests.conftest import Platform
from usage import chain, invoices
from usage.models import Invoice, UsageRecord


def entry(tenant: Any, *, at: datetime | None = None, **fields: Any) -> UsageRecord:
    """One entry of a call of 1000 + 10 tokens that cost 0.00203, unless `fields` say otherwise."""
    given = {
        "run_id": uuid.uuid4(), "provider": "p", "model": "m", "agent": "assistant", "input_tokens": 1000,
        "output_tokens": 10, "counted": False, "input_price": Decimal(2), "output_price": Decimal(3),
        "cost": Decimal("0.00203"),
    }  # fmt: skip
    with scope.bind(tenant):
        return inserted(UsageRecord(tenant_id=tenant.id, at=at or clock.now(), **(given | fields)))


def inserted(row: UsageRecord) -> UsageRecord:
    """The row as it is, also its time. Nothing is patched: tests make entries in several threads at once."""
    row.save_base(raw=True, force_insert=True)
    return row


def free(cost: str | None, **fields: Any) -> dict[str, Any]:
    """Fields of an entry that costs exactly `cost`: a million tokens of output at that price."""
    if cost is None:
        return {"input_price": None, "output_price": None, "cost": None, **fields}
    return {
        "input_tokens": 0, "output_tokens": 1_000_000, "input_price": Decimal(0), "output_price": Decimal(cost),
        "cost": Decimal(cost), **fields,
    }  # fmt: skip


def last_month() -> datetime:
    """A moment in the middle of the month before; of the last that can be billed, a quarter after midnight."""
    first = clock.month_of(clock.now() - invoices.SETTLED)
    return datetime(first.year, first.month, 1, tzinfo=UTC) - timedelta(days=15)


def seal() -> int:
    with scope.platform():
        return chain.seal_all()


def issued_invoice(db: Platform, tenant: Any | None = None, **fields: Any) -> Invoice:
    """An issued invoice of the month before, of one entry."""
    from tenants.models import Tenant

    owner = tenant or db.acme
    entry(owner, at=last_month(), **(fields or free("1.50")))
    seal()
    with scope.platform():
        row = Tenant.objects.get(pk=owner.id)
        (draft,) = invoices.invoices_draft(tenant=row, month=clock.month_of(last_month()))
        return invoices.invoice_issue(invoice=draft, actor="operator:1")
