"""Statements and invoices as people and programs get them: over the API, on the pages, as files, in the console."""

from __future__ import annotations

import csv
import io
import re
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from django.conf import settings

from accounts.models import AuditEvent, User
from core import clock
from tenants import scope
from tests.conftest import Platform, in_thread
from tests.console import Console, console  # noqa: F401 - the fixture
from tests.site import Site
from tests.usage.entries import entry, free, issued_invoice, last_month, seal
from usage import corrections, invoices
from usage.models import Invoice, Margin, Price, UsageRecord

EVIL = "=1+1"


def furnished(db: Platform) -> str:
    """A month with everything in it, and an invoice of the one before; returns its number."""
    with scope.bind(db.acme):
        member = User.objects.get(email="member@acme.test")
    entry(db.acme, user_id=member.pk, **free("0.0000135", model="glm-x", provider=EVIL))
    entry(db.acme, user_id=member.pk, agent=EVIL[:60], **free("2.50"))
    entry(db.acme, key_id=member.pk, currency="CNY", **free("7"))
    entry(db.acme, **free(None))
    entry(db.globex, agent="theirs", **free("1000"))
    made = issued_invoice(db)
    with scope.platform():
        from tenants.models import Tenant

        acme = Tenant.objects.get(slug="acme")
        corrections.credit_create(tenant=acme, amount=Decimal(1), currency="USD", reason=EVIL, actor="operator:1")
    seal()
    return made.label


async def _json(client: aiohttp.ClientSession, path: str, status: int = 200) -> Any:
    async with client.get(path) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def test_the_api(db: Platform, site: Site, api_key: Any) -> None:
    number = in_thread(lambda: furnished(db))
    client = site.client("acme", token=api_key("acme", ["usage:read"]))
    said = await _json(client, "/api/v1/usage/statement")
    assert said["month"] == f"{clock.now():%Y-%m}"
    assert said["complete"] is False
    assert said["totals"] == [
        {"currency": "CNY", "exact": "7.00", "corrections": "0.00", "total": "7.00"},
        {"currency": "USD", "exact": "1.5000135", "corrections": "-1.00", "total": "1.50"},
    ]
    assert said["unpriced_calls"] == 1
    assert [one["name"] for one in said["members"] if one["who"].startswith("user:")] == ["member@acme.test"]
    assert sum(one["calls"] for one in said["days"]) == 4
    for table in ("days", "agents", "models", "members"):
        amounts = [Decimal(one["amount"]) for one in said[table] if one["currency"] == "USD" and one["amount"]]
        assert sum(amounts) == Decimal("1.5000135"), table
    assert said["corrections"][0]["reason"] == EVIL
    assert "theirs" not in str(said)
    before = await _json(client, f"/api/v1/usage/statement?month={last_month():%Y-%m}")
    assert (before["complete"], before["totals"][0]["total"]) == (True, "1.50")
    for wrong in ("month=2026", "month=9999-99", "format=exe", "month=%00"):
        assert (await _json(client, f"/api/v1/usage/statement?{wrong}", 400))["error"]["code"] == "validation_failed"

    (listed,) = (await _json(client, "/api/v1/usage/invoices"))["invoices"]
    assert (listed["number"], listed["status"], listed["total"]) == (number, "issued", "1.50")
    whole = await _json(client, f"/api/v1/usage/invoices/{number}")
    assert whole == await _json(client, f"/api/v1/usage/invoices/{number}.json")
    assert whole["statement"]["uses"][0]["amount"] == "1.50"
    for gone in ("INV-999999", f"{number}.exe", f"{number}x", "x"):
        assert (await _json(client, f"/api/v1/usage/invoices/{gone}", 404))["error"]["code"] == "not_found"


async def test_who_may_not(db: Platform, site: Site, api_key: Any) -> None:
    number = in_thread(lambda: furnished(db))
    paths = ("/api/v1/usage/statement", "/api/v1/usage/invoices", f"/api/v1/usage/invoices/{number}")
    narrow = site.client("acme", token=api_key("acme", ["chat:read", "chat:write"]))
    member = await site.signed_in("member")
    for path in paths:
        assert (await _json(narrow, path, 403))["error"]["code"] == "permission_denied"
        assert (await _json(member, path, 403))["error"]["code"] == "permission_denied"
        assert (await _json(site.client("acme"), path, 401))["error"]["code"] == "not_authenticated"
    for page in ("/settings/billing/", f"/settings/billing/invoices/{number}/"):
        async with member.get(page) as answer:
            assert answer.status == 403
    rival = site.client("globex", token=api_key("globex"))
    assert (await _json(rival, paths[2], 404))["error"]["code"] == "not_found"


async def test_files_hold_no_formulas_and_add_up(db: Platform, site: Site) -> None:
    """A70: what people wrote is text; numbers stay numbers, also below zero."""
    number = in_thread(lambda: furnished(db))
    client = await site.signed_in("admin")
    async with client.get("/api/v1/usage/statement?format=csv") as answer:
        assert 'filename="statement-acme-' in answer.headers["Content-Disposition"]
        text = (await answer.read()).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert sum(Decimal(row["amount"]) for row in rows if row["currency"] == "USD" and row["amount"]) == Decimal(
        "1.5000135"
    )
    assert {row["agent"] for row in rows} >= {f"'{EVIL}"}
    for row in rows:
        for name, value in row.items():
            assert not value.startswith(tuple("=+@\t")), row
            assert not value.startswith("-") or name == "amount", row
    async with client.get(f"/api/v1/usage/invoices/{number}.csv") as answer:
        assert f'filename="{number}.csv"' in answer.headers["Content-Disposition"]
        (line,) = list(csv.DictReader(io.StringIO((await answer.read()).decode("utf-8-sig"), newline="")))
    assert (line["number"], line["amount"], line["currency"]) == (number, "1.50", "USD")
    async with client.get("/api/v1/usage/statement?format=json") as answer:
        assert answer.headers["Content-Type"] == "application/json"
        assert (await answer.json())["totals"]


@pytest.mark.parametrize("language", ["en", "zh-hans"])
async def test_the_pages(db: Platform, site: Site, language: str) -> None:
    number = in_thread(lambda: furnished(db))
    client = await site.signed_in("admin")
    client.headers["Accept-Language"] = language
    words = {"en": ("This month so far", "Invoice", "Usage and bills"), "zh-hans": ("本月至今", "账单", "用量与账单")}
    async with client.get("/settings/billing/") as answer:
        page, policy = await answer.text(), answer.headers["Content-Security-Policy"]
        assert answer.status == 200
    for word in (
        words[language][0],
        words[language][2],
        "1.50 USD",
        "7.00 CNY",
        "member@acme.test",
        number,
        EVIL,
        "<svg",
    ):
        assert word in page, word
    assert "0.000014 USD" in page, "small amounts are not nothing"
    assert "theirs" not in page
    assert not re.search(r"\sstyle=|<style|onclick=", page), "no inline style gets past the policy"
    assert "unsafe-inline" not in policy
    for month in (f"{last_month():%Y-%m}", "2020-01", "nonsense"):
        async with client.get("/settings/billing/", params={"month": month}) as answer:
            assert answer.status == 200
    async with client.get(f"/settings/billing/invoices/{number}/") as answer:
        page = await answer.text()
    for word in (words[language][1], number, "1.50 USD", "Acme", "portal/print.js"):
        assert word in page, word
    assert not re.search(r"\sstyle=|<style|onclick=", page)
    async with client.get("/settings/billing/invoices/INV-424242/") as answer:
        assert answer.status == 404


async def test_the_page_of_a_workspace_that_used_nothing(db: Platform, site: Site) -> None:
    client = await site.signed_in("rival", "globex")
    async with client.get("/settings/billing/") as answer:
        page = await answer.text()
    assert "Nothing was used in this month." in page
    assert "No invoice has been issued yet." in page


# --- the console ---------------------------------------------------------------------------------------


def test_the_console_shows_all_of_it(db: Platform, console: Console) -> None:
    furnished(db)
    with scope.platform():
        invoice, one = Invoice.objects.get(), UsageRecord.objects.first()
        assert one is not None
        for path in (
            "usagerecord/", f"usagerecord/{one.pk}/change/", f"invoice/{invoice.pk}/change/", "invoice/", "price/",
            "margin/", "ledgerhead/", "usagerecord/correct", "price/set", "margin/set", "invoice/draft",
            f"usagerecord/{one.pk}/take-back", f"invoice/{invoice.pk}/issue", f"invoice/{invoice.pk}/void",
        ):  # fmt: skip
            answer = console.get(f"/admin/usage/{path}")
            assert answer.status_code == 200, path
        assert console.get(f"/admin/usage/invoice/{invoice.pk}/csv").content.startswith("\ufeffnumber,".encode())


def test_acts_of_the_console(db: Platform, console: Console) -> None:
    one = entry(db.acme, at=last_month(), **free("3"))
    entry(db.acme, at=last_month(), **free("1"))
    seal()
    acme, month = str(db.acme.id), f"{last_month():%Y-%m}"
    with scope.platform():
        actor = f"operator:{console.user.pk}"
        assert console.post(f"/admin/usage/usagerecord/{one.pk}/take-back", reason="").status_code == 200
        assert console.post(f"/admin/usage/usagerecord/{one.pk}/take-back", reason="twice").status_code == 302
        again = console.post(f"/admin/usage/usagerecord/{one.pk}/take-back", reason="twice")
        assert "taken back already" in again.content.decode()
        given = {"tenant": acme, "kind": "credit", "amount": "2.5", "currency": "USD", "reason": "an outage"}
        assert console.post("/admin/usage/usagerecord/correct", **given | {"amount": "-1"}).status_code == 200
        assert console.post("/admin/usage/usagerecord/correct", **given).status_code == 302
        made = {entry.kind: entry for entry in UsageRecord.objects.exclude(kind="chat")}
        assert {kind: (entry.cost, entry.made_by) for kind, entry in made.items()} == {
            "reversal": (Decimal(-3), actor), "credit": (Decimal("-2.5"), actor),
        }  # fmt: skip

        assert console.post("/admin/usage/invoice/draft", tenant=acme, month="soon").status_code == 200
        assert console.post("/admin/usage/invoice/draft", tenant=acme, month=month).status_code == 302
        invoice = Invoice.objects.get()
        assert console.post(f"/admin/usage/invoice/{invoice.pk}/issue", go="1").status_code == 302
        assert console.post(f"/admin/usage/invoice/{invoice.pk}/issue", go="1").status_code == 200, "only once"
        assert console.post(f"/admin/usage/invoice/{invoice.pk}/void", reason="wrong name").status_code == 302
        assert sorted(Invoice.objects.values_list("kind", "status")) == [("credit_note", "issued"), ("invoice", "void")]

        prices = {"vendor": "openai", "model": "GPT-X", "currency": "USD", "input": "1", "output": "2"}
        assert console.post("/admin/usage/price/set", **prices, valid_from="2020-01-01").status_code == 200
        assert console.post("/admin/usage/price/set", **prices, valid_from="").status_code == 302
        assert sorted(Price.objects.values_list("component", "amount", "source")) == [
            ("input", Decimal(1), actor), ("output", Decimal(2), actor)
        ]  # fmt: skip
        assert console.post("/admin/usage/margin/set", percent="5").status_code == 200
        assert console.post("/admin/usage/margin/set", percent="5", plan="pro").status_code == 302
        assert Margin.objects.get().plan_id == "pro"
        told = set(AuditEvent.objects.filter(actor=actor).values_list("action", flat=True))
        assert told >= {"ledger.corrected", "invoice.issued", "invoice.voided", "price.set", "margin.set"}


def test_other_staff_may_look_and_not_act(db: Platform) -> None:
    with scope.platform():
        console = Console(superuser=False)
        for path in ("usagerecord/correct", "price/set", "margin/set", "invoice/draft"):
            assert console.post(f"/admin/usage/{path}", tenant=str(db.acme.id)).status_code in (403, 404), path
        assert not Price.objects.exists()
        assert not UsageRecord.objects.exists()


def test_a_void_invoice_says_so(db: Platform) -> None:
    from usage import downloads

    made = issued_invoice(db)
    with scope.platform():
        note = invoices.invoice_void(invoice=made, reason="wrong name", actor="operator:1")
    with scope.bind(db.acme):
        old = downloads.invoice_view(invoices.invoice_named(made.label), whole=True)
        new = downloads.invoice_view(invoices.invoice_named(note.label), whole=True)
    assert (old["status"], old["cancelled_by"]) == ("void", note.label)
    assert (new["kind"], new["cancels"], new["total"], new["reason"]) == (
        "credit_note", made.label, "-1.50", "wrong name",
    )  # fmt: skip


def test_a_run_leads_to_its_trace(db: Platform, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    one = entry(db.acme)
    page = f"/admin/usage/usagerecord/{one.pk}/change"
    with scope.platform():
        assert "TRACE_URL_TEMPLATE is not set." in console.said(page)
        monkeypatch.setattr(settings, "TRACE_URL_TEMPLATE", "https://traces.test/find?run={run_id}&a=b")
        assert f'href="https://traces.test/find?run={one.run_id}&amp;a=b"' in console.get(page).content.decode()
