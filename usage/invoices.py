"""Invoices: drafted when a month is over, issued with a number and frozen, taken back by a credit note.

One invoice for each tenant, month and currency in which something was priced. Numbers count from 1 without a gap for
the whole platform, credit notes included: a number is given in the transaction that issues, under the counter's lock.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import orjson
import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from accounts import audit
from core import clock
from core.errors import PaasError
from tenants import scope
from tenants.models import Tenant
from usage import money, statements
from usage.models import Invoice, InvoiceCounter, Seal

log = structlog.get_logger(__name__)

ACTOR = "job:invoices"
# A call that ended just before midnight may be committed a few seconds after; all clocks may differ by minutes.
SETTLED = timedelta(minutes=15)
AMOUNTS = ("amount", "exact", "corrections_exact", "total")
NUMBERS = ("calls", "unpriced", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "tool_calls")


# --- reads ---------------------------------------------------------------------------------------------


def issued() -> QuerySet[Invoice]:
    """The bound tenant's invoices and credit notes, newest first; never a draft."""
    own = Invoice.objects.filter(tenant_id=scope.current_tenant().id).exclude(status=Invoice.Status.DRAFT)
    return own.order_by("-number")


def invoice_named(label: str) -> Invoice:
    """The bound tenant's invoice with this number, written as `INV-000001`. Raises not_found."""
    digits = label.removeprefix("INV-")
    plausible = label.startswith("INV-") and digits.isascii() and digits.isdigit() and len(digits) <= 18
    found = issued().filter(number=int(digits)).first() if plausible else None
    if found is None or found.label != label:
        raise PaasError("not_found")
    return found


def cancelled_by(invoice: Invoice) -> Invoice | None:
    """The credit note that took an invoice back."""
    return Invoice.objects.filter(tenant_id=invoice.tenant_id, cancels=invoice.id).first()


def cancelled(note: Invoice) -> Invoice | None:
    """The invoice that a credit note takes back."""
    own = Invoice.objects.filter(tenant_id=note.tenant_id)
    return own.filter(pk=note.cancels).first() if note.cancels else None


def sealed_content(invoice: Invoice) -> bytes:
    """What the digest covers: all that the invoice says, as canonical JSON."""
    said = {
        "number": invoice.number,
        "kind": invoice.kind,
        "tenant": str(invoice.tenant_id),
        "month": f"{invoice.month:%Y-%m}",
        "currency": invoice.currency,
        "total": _plain(invoice.total, invoice.currency),
        "statement": invoice.statement,
        "billed_to": invoice.billed_to,
        "cancels": str(invoice.cancels or ""),
        "reason": invoice.reason,
        "issued_at": invoice.issued_at.isoformat() if invoice.issued_at else None,
        "issued_by": invoice.issued_by,
    }
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


def _plain(total: Decimal, currency: str) -> str:
    return format(money.total(total, currency), "f")


# --- drafting ------------------------------------------------------------------------------------------


def months_close() -> int:
    """Draft what the last month is still to be billed for, and issue it when INVOICES_AUTOMATIC is set.

    Returns how many were drafted. Bound to the platform. A tenant whose entries are not all sealed comes later.
    """
    now = clock.now()
    month = (clock.month_of(now) - timedelta(days=1)).replace(day=1)
    if now < clock.next_month(month) + SETTLED:
        return 0
    entries = statements.entries_of(OuterRef("pk"), month)  # type: ignore[arg-type]
    drafted = Invoice.objects.filter(tenant=OuterRef("pk"), month=month)
    made = 0
    for tenant in Tenant.objects.filter(Exists(entries), ~Exists(drafted)):
        try:
            drafts = invoices_draft(tenant=tenant, month=month)
            if settings.INVOICES_AUTOMATIC:
                for draft in drafts:
                    invoice_issue(invoice=draft, actor=ACTOR)
        except PaasError as error:
            log.warning("a month is not closed yet", tenant=tenant.slug, month=f"{month:%Y-%m}", error=error.message)
            continue
        made += len(drafts)
    return made


def invoices_draft(*, tenant: Tenant, month: date) -> list[Invoice]:
    """The drafts of a month that is over, one for each currency with something to bill; those there are, anew.

    Bound to the platform. Raises validation_failed while the month runs or entries wait for their seal.
    """
    _check_over(tenant.id, month)
    statement = statements.statement_of(tenant.id, month)
    found = []
    with transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)  # two at once draft the same one
        for total in statement.totals():
            key: dict[str, Any] = {"tenant": tenant, "month": month, "currency": total.currency}
            present = Invoice.objects.filter(**key, kind=Invoice.Kind.INVOICE).exclude(status=Invoice.Status.VOID)
            invoice = present.first() or Invoice(**key)
            if invoice.status != Invoice.Status.DRAFT or not total.total:
                continue
            _fill(invoice, statement)
            invoice.save()
            found.append(invoice)
    return found


def _check_over(tenant_id: uuid.UUID, month: date) -> None:
    if clock.now() < clock.next_month(month) + SETTLED:
        raise PaasError("validation_failed", "This month is not over yet.")
    seal = Seal.objects.filter(tenant_id=tenant_id, record_id=OuterRef("pk"))
    if statements.entries_of(tenant_id, month).filter(~Exists(seal)).exists():
        raise PaasError("validation_failed", "Some entries of this month are not sealed yet. Try again in a moment.")


def _fill(invoice: Invoice, statement: statements.Statement) -> None:
    invoice.statement = statement.frozen(invoice.currency)
    invoice.total = Decimal(invoice.statement["total"])


# --- issuing and taking back ---------------------------------------------------------------------------


@contextmanager
def _told(tenant: Tenant, action: str, actor: str, target: str, **data: Any) -> Iterator[None]:
    """The act with its row in the tenant's log, in the transaction at hand."""
    yield
    with scope.platform_about(tenant.ref()):
        audit.record(action, actor=actor, target=target, **data)


def invoice_issue(*, invoice: Invoice, actor: str) -> Invoice:
    """Compute a draft once more, number it, and freeze it. Bound to the platform.

    Raises validation_failed when it is no draft (any more), or as invoices_draft.
    """
    with transaction.atomic():
        fresh = Invoice.objects.select_for_update(of=("self",)).select_related("tenant").filter(pk=invoice.pk).first()
        if fresh is None or fresh.status != Invoice.Status.DRAFT:
            raise PaasError("validation_failed", "Only a draft can be issued.")
        _check_over(fresh.tenant_id, fresh.month)
        _fill(fresh, statements.statement_of(fresh.tenant_id, fresh.month))
        tenant = fresh.tenant
        fresh.billed_to = {"name": tenant.name, "slug": tenant.slug, "issuer": settings.INVOICE_ISSUER}
        _number(fresh, actor)
        with _told(tenant, "invoice.issued", actor, fresh.label, total=_plain(fresh.total, fresh.currency)):
            fresh.save()
    return fresh


def invoice_void(*, invoice: Invoice, reason: str, actor: str) -> Invoice:
    """Take an issued invoice back; returns the credit note. Bound to the platform. Raises validation_failed."""
    if not reason.strip():
        raise PaasError("validation_failed", "Say why.", details={"param": "reason"})
    with transaction.atomic():
        fresh = Invoice.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=invoice.pk)
        if (fresh.kind, fresh.status) != (Invoice.Kind.INVOICE, Invoice.Status.ISSUED):
            raise PaasError("validation_failed", "Only an issued invoice can be taken back.")
        note = Invoice(
            tenant=fresh.tenant,
            kind=Invoice.Kind.CREDIT_NOTE,
            month=fresh.month,
            currency=fresh.currency,
            total=-fresh.total,
            statement=negated(fresh.statement),
            billed_to=fresh.billed_to,
            cancels=fresh.id,
            reason=reason.strip(),
        )
        _number(note, actor)
        with _told(fresh.tenant, "invoice.voided", actor, fresh.label, reason=note.reason, credit_note=note.label):
            note.save()
            fresh.status = Invoice.Status.VOID
            fresh.save(update_fields=["status"])
    return note


def _number(invoice: Invoice, actor: str) -> None:
    """The next number, and the seal. The counter stays locked until the transaction ends, so none is left out."""
    counter = InvoiceCounter.objects.select_for_update().get(name="platform")
    counter.last += 1
    counter.save(update_fields=["last"])
    invoice.number, invoice.status = counter.last, Invoice.Status.ISSUED
    invoice.issued_at, invoice.issued_by = clock.now(), actor
    invoice.digest = hashlib.sha256(sealed_content(invoice)).digest()


def negated(statement: dict[str, Any]) -> dict[str, Any]:
    """A frozen statement with every number taken back."""

    def turned(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: turned(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [turned(inner) for inner in value]
        if name in AMOUNTS and value is not None:
            return format(-Decimal(value) if Decimal(value) else Decimal(value), "f")
        return -value if name in NUMBERS else value

    found: dict[str, Any] = turned(statement)
    return found


# --- verifying -----------------------------------------------------------------------------------------


def wrong_of(tenant: Tenant) -> list[str]:
    """What is wrong with a tenant's invoices: changed since they were issued, or not what the ledger says."""
    found = []
    by_id = {invoice.id: invoice for invoice in Invoice.objects.filter(tenant=tenant, number__isnull=False)}
    for invoice in sorted(by_id.values(), key=lambda one: one.number or 0):
        if hashlib.sha256(sealed_content(invoice)).digest() != bytes(invoice.digest):
            found.append(f"{invoice.label} is not as it was issued.")
        elif invoice.cancels:
            taken_back = by_id.get(invoice.cancels)
            if taken_back is None or negated(taken_back.statement) != invoice.statement:
                found.append(f"{invoice.label} does not take back what it says.")
        elif statements.statement_of(tenant.id, invoice.month).frozen(invoice.currency) != invoice.statement:
            found.append(f"{invoice.label} is not what the ledger's entries of its month add up to.")
    return found


def missing_numbers() -> list[int]:
    """Numbers that were given out and have no invoice any more."""
    last = InvoiceCounter.objects.get(name="platform").last
    present = set(Invoice.objects.filter(number__isnull=False).values_list("number", flat=True))
    return [number for number in range(1, last + 1) if number not in present]
