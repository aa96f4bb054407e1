"""Statements and invoices as JSON and as CSV."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from typing import Any

import orjson
from django.http import HttpResponse

from core import clock, spreadsheets
from tenants.scope import TenantRef
from usage import invoices, money
from usage.models import Invoice
from usage.names import names_of
from usage.statements import Statement, corrected, figures

FORMATS = ("json", "csv")
COUNTS = (
    "calls", "unpriced", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "tool_calls"
)  # fmt: skip
# One row for each combination: the sum of `amount` over rows of a currency is exact.
STATEMENT_COLUMNS = ("day", "agent", "provider", "model", "who", "name", "correction", *COUNTS, "currency", "amount")
INVOICE_COLUMNS = ("number", "month", "agent", "provider", "model", *COUNTS, "currency", "amount")


def statement_view(statement: Statement, tenant: TenantRef) -> dict[str, Any]:
    """A statement as JSON. Amounts are decimal text and exact, but for `total`, which is rounded."""
    names = names_of({line.who for line in statement.lines})
    totals = [
        {
            "currency": one.currency,
            "exact": money.text(one.exact),
            "corrections": money.text(one.corrections),
            "total": format(one.total, "f"),
        }
        for one in statement.totals()
    ]

    def lines(by: str, *fields: str) -> list[dict[str, Any]]:
        found = []
        for _, line in statement.by(by):
            known = {"day": line.day.isoformat(), **asdict(line.use), "who": line.who}
            known["name"] = names.get(line.who, "")
            found.append({name: known[name] for name in fields} | {"currency": line.currency} | figures(line))
        return found

    return {
        "tenant": {"id": str(tenant.id), "slug": tenant.slug, "name": tenant.name},
        "month": f"{statement.month:%Y-%m}",
        "complete": clock.now() >= clock.next_month(statement.month),
        "totals": totals,
        "unpriced_calls": sum(line.unpriced for line in statement.lines),
        "days": lines("day", "day"),
        "agents": lines("agent", "agent_id", "agent"),
        "models": lines("model", "provider", "model"),
        "members": lines("who", "who", "name"),
        "corrections": [corrected(one) for one in statement.corrections],
    }


def statement_csv(statement: Statement) -> bytes:
    """A statement's finest lines, for spreadsheets."""
    names = names_of({line.who for line in statement.lines})

    def row(line: Any) -> list[object]:
        use, numbers = line.use, figures(line)
        return [
            line.day.isoformat(), use.agent, use.provider, use.model, line.who, names.get(line.who, ""),
            "yes" if line.correction else "no", *(numbers[name] for name in COUNTS), line.currency,
            "" if line.amount is None else Decimal(money.text(line.amount)),
        ]  # fmt: skip

    ordered = sorted(statement.lines, key=lambda line: (line.day, line.use.agent, line.use.model, line.who))
    return spreadsheets.heading(STATEMENT_COLUMNS) + spreadsheets.lines(map(row, ordered))


def invoice_view(invoice: Invoice, *, whole: bool = False) -> dict[str, Any]:
    """An invoice or credit note as JSON; `whole`: with its frozen statement."""
    shown = {
        "number": invoice.label,
        "kind": invoice.kind,
        "status": invoice.status,
        "month": f"{invoice.month:%Y-%m}",
        "currency": invoice.currency,
        "total": format(money.total(invoice.total, invoice.currency), "f"),
        "issued_at": invoice.issued_at.isoformat() if invoice.issued_at else None,
        "digest": bytes(invoice.digest).hex(),
    }
    if not whole:
        return shown
    note = invoices.cancelled_by(invoice)
    cancelled = invoices.cancelled(invoice)
    return {
        **shown,
        "billed_to": invoice.billed_to,
        "cancels": cancelled.label if cancelled else None,
        "cancelled_by": note.label if note else None,
        "reason": invoice.reason,
        "statement": invoice.statement,
    }


def invoice_csv(invoice: Invoice) -> bytes:
    """An invoice's lines by agent and model; what is no call (credits, adjustments) has neither."""

    def row(use: dict[str, Any]) -> list[object]:
        amount = "" if use["amount"] is None else Decimal(use["amount"])
        counts = (use[name] for name in COUNTS)
        what = (use["agent"], use["provider"], use["model"])
        return [invoice.label, f"{invoice.month:%Y-%m}", *what, *counts, invoice.currency, amount]

    return spreadsheets.heading(INVOICE_COLUMNS) + spreadsheets.lines(map(row, invoice.statement["uses"]))


def statement_file(statement: Statement, tenant: TenantRef, format_: str) -> HttpResponse:
    """The statement as a download."""
    name = f"statement-{tenant.slug}-{statement.month:%Y-%m}"
    content = statement_csv(statement) if format_ == "csv" else _json(statement_view(statement, tenant))
    return _file(content, name, format_)


def invoice_file(invoice: Invoice, format_: str) -> HttpResponse:
    """The invoice as a download."""
    content = invoice_csv(invoice) if format_ == "csv" else _json(invoice_view(invoice, whole=True))
    return _file(content, invoice.label or f"draft-{invoice.month:%Y-%m}", format_)


def _json(view: dict[str, Any]) -> bytes:
    return orjson.dumps(view, option=orjson.OPT_INDENT_2)


def _file(content: bytes, name: str, format_: str) -> HttpResponse:
    kind = spreadsheets.CONTENT_TYPE if format_ == "csv" else "application/json"
    disposition = f'attachment; filename="{name}.{format_}"'
    return HttpResponse(content, headers={"Content-Type": kind, "Content-Disposition": disposition})
