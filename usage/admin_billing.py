"""Prices, margins, corrections and invoices in the operator's console. Each act asks first and leaves an audit row."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.html import format_html
from django.utils.translation import gettext as _
from unfold.decorators import action, display

from accounts import proof
from core.errors import PaasError
from core.sentences import sentence
from tenants.admin import ReadOnlyAdmin
from usage import admin_forms, corrections, downloads, invoices, prices
from usage.admin_traces import LeadsToTrace
from usage.models import Invoice, LedgerHead, Margin, Price, UsageRecord

Act = Callable[[dict[str, Any], str], str]


def ask(request: Any, form: forms.Form, act: Act, back: str, *, title: str, lead: str) -> HttpResponse:
    """A page that asks with `form`; what was entered goes to act(fields, actor), whose sentence is shown at `back`."""
    if not request.user.is_superuser:
        raise Http404
    if elsewhere := proof.asked_again(request):
        return elsewhere
    if request.method == "POST" and form.is_valid():
        try:
            said = act(form.cleaned_data, f"operator:{request.user.pk}")
        except PaasError as error:
            param = str(error.details.get("param", ""))
            form.add_error(param if param in form.fields else None, sentence(error))
        else:
            messages.success(request, said)
            return HttpResponseRedirect(back)
    here = {"title": title, "form": form, "lead": lead, "button": title}
    return render(request, "admin/usage/act.html", {**admin.site.each_context(request), **here})


def _found(model: Any, object_id: str) -> Any:
    try:
        return model.objects.select_related("tenant").get(pk=object_id)
    except (model.DoesNotExist, ValidationError):
        raise Http404 from None


@admin.register(UsageRecord)
class UsageRecordAdmin(LeadsToTrace, ReadOnlyAdmin):
    """The ledger."""

    readonly_fields = ("trace",)
    list_display = (
        "at",
        "tenant",
        "kind",
        "agent",
        "provider",
        "model",
        "input_tokens",
        "output_tokens",
        "cost",
        "currency",
        "counted",
    )
    list_filter = ("tenant", "kind", "model", "counted")
    search_fields = ("run_id", "model", "agent", "reason")
    show_full_result_count = False
    list_before_template = "admin/usage/ledger_status.html"
    actions_list = ("correct",)
    actions_detail = ("reverse_entry",)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        heads = LedgerHead.objects.select_related("tenant")
        latest = heads.exclude(verified_at=None).order_by("-verified_at").first()
        status = {
            "broken": [(head.tenant.slug, head.problem) for head in heads.exclude(problem="")],
            "verified_at": latest.verified_at if latest else None,
            "ledgers": heads.count(),
        }
        return super().changelist_view(request, {**(extra_context or {}), "chain": status})

    @action(description="Credit or adjust …", url_path="correct", icon="price_change")  # type: ignore[untyped-decorator]
    def correct(self, request: HttpRequest) -> HttpResponse:
        """A new entry with an amount."""

        def act(given: dict[str, Any], actor: str) -> str:
            make = {"credit": corrections.credit_create, "adjustment": corrections.adjustment_create}[given.pop("kind")]
            made = make(**given, actor=actor)
            said = _("%(kind)s of %(cost)s %(currency)s for %(tenant)s is in the ledger.")
            fields = {"kind": _(made.kind.capitalize()), "cost": made.cost, "currency": made.currency}
            return said % (fields | {"tenant": made.tenant})

        form = admin_forms.Correction(request.POST or None)
        lead = _("The ledger is never changed: this makes a new entry, in the month that runs.")
        return ask(request, form, act, "/admin/usage/usagerecord/", title=_("Credit or adjust"), lead=lead)

    @action(description="Take back …", url_path="take-back", icon="undo")  # type: ignore[untyped-decorator]
    def reverse_entry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A new entry that takes this one back."""
        found = _found(UsageRecord, object_id)

        def act(given: dict[str, Any], actor: str) -> str:
            corrections.entry_reverse(entry_id=found.pk, reason=given["reason"], actor=actor)
            return _("The entry is taken back by a new one.")

        form = admin_forms.Reason(request.POST or None)
        lead = (
            f"{found.tenant}, {found.at:%Y-%m-%d %H:%M} UTC, {found.model or found.kind}: {found.cost} {found.currency}"
        )
        return ask(request, form, act, "/admin/usage/usagerecord/", title=_("Take back"), lead=lead)


@admin.register(LedgerHead)
class LedgerHeadAdmin(ReadOnlyAdmin):
    list_display = ("tenant", "seq", "verified_at", "shown_problem")
    exclude = ("digest",)
    readonly_fields = ("shown_digest",)

    @display(description="problem")  # type: ignore[untyped-decorator]
    def shown_problem(self, head: LedgerHead) -> str:
        return head.problem or _("none")

    @display(description="digest")  # type: ignore[untyped-decorator]
    def shown_digest(self, head: LedgerHead) -> str:
        return bytes(head.digest).hex()


@admin.register(Price)
class PriceAdmin(ReadOnlyAdmin):
    list_display = ("vendor", "model", "component", "amount", "currency", "valid_from", "tenant", "source")
    list_filter = ("vendor", "component", "tenant")
    search_fields = ("model", "vendor")
    actions_list = ("set_prices",)

    @action(description="Set prices …", url_path="set", icon="sell")  # type: ignore[untyped-decorator]
    def set_prices(self, request: HttpRequest) -> HttpResponse:
        """A model's prices from a moment on."""
        form = admin_forms.Prices(request.POST or None)

        def act(given: dict[str, Any], actor: str) -> str:
            wanted = {name: given[name] for name in ("vendor", "model", "tenant", "valid_from")}
            rows = prices.price_set(**wanted, rates=form.rates(), actor=actor)
            said = _("%(count)s prices of %(model)s hold from %(when)s UTC.")
            return said % {"count": len(rows), "model": given["model"], "when": f"{given['valid_from']:%Y-%m-%d %H:%M}"}

        lead = _(
            "Prices are never changed: newer ones supersede those of before. All prices of the model are set at once."
        )
        return ask(request, form, act, "/admin/usage/price/", title=_("Set prices"), lead=lead)


@admin.register(Margin)
class MarginAdmin(ReadOnlyAdmin):
    list_display = ("tenant", "plan", "percent", "valid_from", "made_by")
    list_filter = ("tenant", "plan")
    list_select_related = ("tenant", "plan")
    actions_list = ("set_margin",)

    @action(description="Set a margin …", url_path="set", icon="percent")  # type: ignore[untyped-decorator]
    def set_margin(self, request: HttpRequest) -> HttpResponse:
        """A margin from a moment on."""

        def act(given: dict[str, Any], actor: str) -> str:
            prices.margin_set(**given, actor=actor)
            return _("The margin holds from %(when)s UTC.") % {"when": f"{given['valid_from']:%Y-%m-%d %H:%M}"}

        form = admin_forms.MarginForm(request.POST or None)
        lead = _("Percent on top of list prices, of one workspace or of all of a plan. A workspace's own wins.")
        return ask(request, form, act, "/admin/usage/margin/", title=_("Set a margin"), lead=lead)


@admin.register(Invoice)
class InvoiceAdmin(ReadOnlyAdmin):
    list_display = ("label", "tenant", "month", "shown_status", "kind", "total", "currency", "issued_at")
    list_filter = ("status", "kind", "month", "tenant")
    search_fields = ("number",)
    exclude = ("statement", "digest", "billed_to")
    readonly_fields = ("shown_statement", "shown_digest")
    actions_list = ("draft_month",)
    actions_detail = ("issue", "void", "csv")

    @display(description="status", label={"draft": "info", "issued": "success", "void": "danger"})  # type: ignore[untyped-decorator]
    def shown_status(self, invoice: Invoice) -> tuple[str, str]:
        return invoice.status, str(invoice.get_status_display())

    @display(description="statement")  # type: ignore[untyped-decorator]
    def shown_statement(self, invoice: Invoice) -> str:
        text = json.dumps({"billed_to": invoice.billed_to, **invoice.statement}, indent=2, ensure_ascii=False)
        return format_html("<pre class='whitespace-pre-wrap'>{}</pre>", text)

    @display(description="digest")  # type: ignore[untyped-decorator]
    def shown_digest(self, invoice: Invoice) -> str:
        return bytes(invoice.digest).hex()

    @action(description="Draft a month …", url_path="draft", icon="post_add")  # type: ignore[untyped-decorator]
    def draft_month(self, request: HttpRequest) -> HttpResponse:
        """A month's drafts, made or made anew."""

        def act(given: dict[str, Any], actor: str) -> str:
            made = invoices.invoices_draft(tenant=given["tenant"], month=given["month"])
            return _("%(count)s drafts are made.") % {"count": len(made)}

        form = admin_forms.Month(request.POST or None)
        lead = _("A job does this by itself when a month is over. One draft for each currency; what is issued stays.")
        return ask(request, form, act, "/admin/usage/invoice/", title=_("Draft a month"), lead=lead)

    @action(description="Issue …", url_path="issue", icon="task_alt")  # type: ignore[untyped-decorator]
    def issue(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Number and freeze a draft."""
        found = _found(Invoice, object_id)

        def act(given: dict[str, Any], actor: str) -> str:
            return _("%(label)s is issued.") % {"label": invoices.invoice_issue(invoice=found, actor=actor).label}

        lead = f"{found.tenant}, {found.month:%Y-%m}: {found.total} {found.currency}. "
        lead += _("It gets a number and is frozen.")
        return ask(request, forms.Form(request.POST or None), act, _page(found), title=_("Issue"), lead=lead)

    @action(description="Void …", url_path="void", icon="block")  # type: ignore[untyped-decorator]
    def void(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Take an issued invoice back."""
        found = _found(Invoice, object_id)

        def act(given: dict[str, Any], actor: str) -> str:
            note = invoices.invoice_void(invoice=found, reason=given["reason"], actor=actor)
            return _("%(label)s is void; %(note)s takes it back.") % {"label": found.label, "note": note.label}

        lead = _("%(label)s: a credit note with a number of its own takes it back.")
        lead %= {"label": found.label or _("A draft")}
        return ask(request, admin_forms.Reason(request.POST or None), act, _page(found), title=_("Void"), lead=lead)

    @action(description="CSV", url_path="csv", icon="download")  # type: ignore[untyped-decorator]
    def csv(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The lines as a file."""
        if not self.has_view_permission(request):
            raise Http404
        return downloads.invoice_file(_found(Invoice, object_id), "csv")


def _page(invoice: Invoice) -> str:
    return f"/admin/usage/invoice/{invoice.pk}/change/"
