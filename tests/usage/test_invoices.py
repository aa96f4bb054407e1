"""Invoices: numbered without a gap, frozen, recomputed from the ledger, taken back by credit notes."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connections, transaction

from accounts.models import AuditEvent
from core import clock
from core.errors import PaasError
from tenants import scope
from tenants.models import Tenant
from tests.conftest import Platform
from tests.services import Services
from tests.usage.entries import entry, free, issued_invoice, last_month, seal
from usage import chain, corrections, invoices
from usage.models import Invoice, InvoiceCounter


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The month before can be billed, also where the tests run in the first quarter of an hour of a month."""
    present = clock.now
    first = datetime.combine(clock.month_of(present()), datetime.min.time(), UTC)
    monkeypatch.setattr(clock, "now", lambda: max(present(), first + 2 * invoices.SETTLED))


def tenant_row(slug: str = "acme") -> Tenant:
    with scope.platform():
        return Tenant.objects.get(slug=slug)


def draft(slug: str = "acme") -> list[Invoice]:
    with scope.platform():
        return invoices.invoices_draft(tenant=tenant_row(slug), month=clock.month_of(last_month()))


def close() -> int:
    with scope.platform():
        return invoices.months_close()


def wrong(slug: str = "acme") -> list[str]:
    with scope.platform():
        return invoices.wrong_of(tenant_row(slug))


def test_a_month_from_entries_to_invoice(db: Platform) -> None:
    for cost in ("0.005", "1.00", "0.005", "0.005"):
        entry(db.acme, at=last_month(), **free(cost))
    entry(db.acme, at=last_month(), currency="CNY", **free("7"))
    entry(db.acme, at=last_month(), **free(None))
    entry(db.acme, **free("99"))
    with pytest.raises(PaasError, match="not sealed yet"):
        draft()
    seal()
    assert close() == 2
    assert close() == 0, "what is drafted is not drafted again"
    with scope.platform():
        found = {one.currency: one for one in Invoice.objects.all()}
        assert {one.status for one in found.values()} == {"draft"}
        made = invoices.invoice_issue(invoice=found["USD"], actor="operator:1")
        # Entries are never rounded: 1.015 is rounded once, half to even. A sum of rounded ones would be 1.00 or 1.03.
        assert (made.total, made.label, made.statement["exact"]) == (Decimal("1.02"), "INV-000001", "1.015")
        assert made.billed_to["name"] == "Acme"
        with pytest.raises(PaasError, match="Only a draft"):
            invoices.invoice_issue(invoice=made, actor="operator:1")
    with scope.bind(db.acme):
        assert [one.label for one in invoices.issued()] == ["INV-000001"], "drafts are the operator's"
        assert AuditEvent.objects.get(action="invoice.issued").target == "INV-000001"
    assert wrong() == []


def test_a_month_that_runs_is_not_billed(db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """A37: not before a quarter past midnight, when every clock has passed it and every call of before is settled."""
    entry(db.acme, at=last_month(), **free("1"))
    seal()
    first = datetime.combine(clock.month_of(clock.now()), datetime.min.time(), UTC)
    month, row = clock.month_of(last_month()), tenant_row()
    for moment in (first - timedelta(seconds=1), first + timedelta(minutes=14)):
        monkeypatch.setattr(clock, "now", lambda moment=moment: moment)
        assert close() == 0
        with scope.platform(), pytest.raises(PaasError, match="not over"):
            invoices.invoices_draft(tenant=row, month=month)
    monkeypatch.setattr(clock, "now", lambda: first + timedelta(minutes=16))
    assert close() == 1


def test_issued_by_the_job_where_that_is_wanted(db: Platform, settings_automatic: None) -> None:
    for tenant in (db.acme, db.globex):
        entry(tenant, at=last_month(), **free("2"))
    entry(db.acme, at=last_month(), **free("0"))
    seal()
    assert close() == 2
    with scope.platform():
        assert sorted(Invoice.objects.values_list("number", "status")) == [(1, "issued"), (2, "issued")]


@pytest.fixture
def settings_automatic(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.conf import settings

    monkeypatch.setattr(settings, "INVOICES_AUTOMATIC", True)


def test_nothing_to_bill_makes_no_invoice(db: Platform) -> None:
    entry(db.acme, at=last_month(), **free(None))
    entry(db.globex, at=last_month(), **free("0.001"))
    seal()
    assert close() == 0


def test_numbers_have_no_gap_though_many_issue_and_some_fail(db: Platform) -> None:
    """Twelve drafts in twelve currencies, issued at once; every third transaction is rolled back and tried again."""
    codes = [f"X{letter}{letter}" for letter in "ABCDEFGHIJKL"]
    for code in codes:
        entry(db.acme, at=last_month(), currency=code, **free("1"))
    seal()
    drafts = draft()
    assert len(drafts) == 12

    def issue(number: int) -> None:
        try:
            with scope.platform():
                if number % 3 == 0:
                    with pytest.raises(RuntimeError), transaction.atomic():
                        invoices.invoice_issue(invoice=drafts[number], actor="operator:1")
                        raise RuntimeError
                invoices.invoice_issue(invoice=drafts[number], actor="operator:1")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(issue, range(12)))
    with scope.platform():
        assert sorted(Invoice.objects.values_list("number", flat=True)) == list(range(1, 13))
        assert invoices.missing_numbers() == []
    assert wrong() == []


def test_issued_once_when_two_issue_at_once(db: Platform) -> None:
    entry(db.acme, at=last_month(), **free("1"))
    seal()
    (one,) = draft()

    def attempt(_number: int) -> bool:
        try:
            with scope.platform():
                invoices.invoice_issue(invoice=one, actor="operator:1")
        except PaasError:
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(5) as pool:
        assert sum(pool.map(attempt, range(5))) == 1
    with scope.platform():
        assert InvoiceCounter.objects.get().last == 1


def test_taken_back_by_a_credit_note(db: Platform) -> None:
    made = issued_invoice(db)
    with scope.platform():
        with pytest.raises(PaasError, match="Say why"):
            invoices.invoice_void(invoice=made, reason=" ", actor="operator:1")
        note = invoices.invoice_void(invoice=made, reason="wrong address", actor="operator:1")
        assert (note.number, note.total, note.kind, note.cancels) == (2, Decimal("-1.50"), "credit_note", made.pk)
        assert note.statement["uses"][0]["amount"] == "-1.50"
        assert Invoice.objects.get(pk=made.pk).status == "void"
        for again in (made, note):
            with pytest.raises(PaasError, match="Only an issued invoice"):
                invoices.invoice_void(invoice=again, reason="again", actor="operator:1")
        assert close() == 0, "what an operator has taken back the job does not bill again"
        (anew,) = draft()
        assert invoices.invoice_issue(invoice=anew, actor="operator:1").number == 3
    assert wrong() == []
    with scope.bind(db.acme):
        said = AuditEvent.objects.get(action="invoice.voided")
        assert (said.data["reason"], said.data["credit_note"]) == ("wrong address", "INV-000002")


FROZEN = [
    {"total": Decimal(0)}, {"statement": {}}, {"number": 9}, {"status": "draft"}, {"digest": b""}, {"billed_to": {}},
    {"status": "void", "total": Decimal(0)},
]  # fmt: skip


@pytest.mark.parametrize("change", FROZEN)
def test_an_issued_invoice_does_not_change(db: Platform, change: dict[str, Any]) -> None:
    made = issued_invoice(db)
    with scope.platform():
        for attempt in (lambda: Invoice.objects.update(**change), lambda: Invoice.objects.all().delete()):
            with pytest.raises(DatabaseError):
                attempt()
        invoices.invoice_void(invoice=made, reason="for the test", actor="x")
        with pytest.raises(DatabaseError):
            Invoice.objects.filter(kind="credit_note").update(status="void")
        with pytest.raises(DatabaseError):
            Invoice.objects.filter(kind="invoice").update(status="issued")
    with scope.bind(db.acme), pytest.raises(DatabaseError):
        Invoice.objects.update(status="void")


def test_corrections_after_the_month_do_not_change_it(db: Platform) -> None:
    made = issued_invoice(db)
    with scope.platform():
        corrections.credit_create(
            tenant=tenant_row(), amount=Decimal(1), currency="USD", reason="an outage", actor="operator:1"
        )
        assert invoices.wrong_of(tenant_row()) == []
        assert Invoice.objects.get(pk=made.pk).total == Decimal("1.50")


TAMPERING = {
    "UPDATE usage_invoice SET total = 1": "INV-000001 is not as it was issued.",
    "UPDATE usage_invoice SET statement = jsonb_set(statement, '{total}', '\"1.00\"')": "INV-000001 is not as it was issued.",
    "UPDATE usage_invoice SET issued_by = 'somebody'": "INV-000001 is not as it was issued.",
    "UPDATE usage_usagerecord SET at = at + interval '1 month'": "INV-000001 is not what the ledger's entries",
    "UPDATE usage_usagerecord SET cost = 2": "INV-000001 is not what the ledger's entries",
    "INSERT INTO usage_usagerecord SELECT (jsonb_populate_record(r, jsonb_build_object('id', gen_random_uuid(), "
    "'run_id', gen_random_uuid()))).* FROM usage_usagerecord r": "INV-000001 is not what the ledger's entries",
}


@pytest.mark.parametrize("statement", TAMPERING)
def test_whoever_touches_an_invoice_or_its_entries_is_found_out(
    db: Platform, services: Services, statement: str
) -> None:
    issued_invoice(db)
    assert wrong() == []
    with psycopg.connect(services.postgres.admin_url, dbname="paas", autocommit=True) as superuser:
        superuser.execute("SET session_replication_role = replica")
        superuser.execute(statement.encode())
    assert wrong()[0].startswith(TAMPERING[statement])
    with scope.platform():
        chain.seal_all(every=True)
        assert next(one.problem for one, _ in chain.verify_all(slug="acme"))


def test_a_number_that_is_gone_is_noticed(db: Platform, services: Services) -> None:
    issued_invoice(db)
    with psycopg.connect(services.postgres.admin_url, dbname="paas", autocommit=True) as superuser:
        superuser.execute("SET session_replication_role = replica; DELETE FROM usage_invoice")
    with scope.platform():
        assert invoices.missing_numbers() == [1]
    out = io.StringIO()
    with pytest.raises(CommandError, match="not whole"):
        call_command("verify_ledger", json=True, stdout=out)
    assert json.loads(out.getvalue())["missing_invoices"] == [1]


def test_tenants_read_their_own(db: Platform) -> None:
    issued_invoice(db)
    theirs = issued_invoice(db, db.globex)
    with scope.bind(db.acme):
        assert [one.number for one in invoices.issued()] == [1]
        assert invoices.invoice_named("INV-000001").number == 1
        assert Invoice.objects.count() == 1
        for label in (theirs.label, "INV-000003", "INV-1", "1", "", "INV-", "INV-x", "INV-" + "9" * 30, "INV-٠٠٠٠٠١"):
            with pytest.raises(PaasError) as refused:
                invoices.invoice_named(label)
            assert refused.value.code == "not_found"
