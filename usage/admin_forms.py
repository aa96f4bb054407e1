"""The forms of the operator's console for prices, margins, corrections and invoices."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from core import clock
from core.errors import PaasError
from core.sentences import sentence
from tenants.models import Plan, Tenant
from usage import statements
from usage.limits import KINDS
from usage.money import PRICES, Rates
from usage.names import LIMITS


def _amount(label: str, help_text: str = "", *, required: bool = False, **limits: Any) -> forms.DecimalField:
    return forms.DecimalField(
        label=label, help_text=help_text, required=required, widget=UnfoldAdminDecimalFieldWidget, **limits
    )


class Reason(forms.Form):
    """Why."""

    reason = forms.CharField(
        min_length=3,
        max_length=300,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="The workspace's administrators read it.",
    )


class _OfTenant(forms.Form):
    tenant = forms.ModelChoiceField(Tenant.objects.none(), label="Workspace", widget=UnfoldAdminSelectWidget)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["tenant"].queryset = Tenant.objects.all()  # type: ignore[attr-defined]


class NewLimit(_OfTenant):
    """A limit of a whole workspace."""

    kind = forms.ChoiceField(label="Limit", choices=[], widget=UnfoldAdminSelectWidget)
    amount = _amount("At most", "In tokens, requests, pieces or bytes, or in the currency.", required=True)
    currency = forms.CharField(
        max_length=3, required=False, widget=UnfoldAdminTextInputWidget, help_text="Of a cost only, such as USD."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["kind"].choices = [  # type: ignore[attr-defined]
            (f"{metric}:{period}", str(LIMITS.get((metric, period), metric))) for metric, period in KINDS
        ]


class _FromMoment(forms.Form):
    valid_from = forms.CharField(
        label="Valid from (UTC)",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "2026-12-01 00:00"}),
        help_text="Such as 2026-12-01 00:00; empty: in a minute. Calls of before keep their price.",
    )

    def clean_valid_from(self) -> datetime:
        text = self.cleaned_data["valid_from"].strip()
        if not text:
            return clock.now() + timedelta(seconds=61)
        try:
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        except ValueError:
            raise forms.ValidationError("Write the moment as 2026-12-01 00:00.") from None


class Correction(_OfTenant, Reason):
    """A credit, or an amount either way."""

    kind = forms.ChoiceField(
        choices=[
            ("credit", "Credit: give so much"),
            ("adjustment", "Adjustment: charge so much, or give if below zero"),
        ],
        widget=UnfoldAdminSelectWidget,
    )
    amount = _amount("Amount", required=True, max_digits=21, decimal_places=12)
    currency = forms.CharField(max_length=3, initial="USD", widget=UnfoldAdminTextInputWidget)
    field_order = ("tenant", "kind", "amount", "currency", "reason")


class Prices(_OfTenant, _FromMoment):
    """All prices of a model from a moment on."""

    vendor = forms.CharField(
        max_length=40, widget=UnfoldAdminTextInputWidget, help_text="Such as openai, or a provider kind such as local."
    )
    model = forms.CharField(max_length=120, widget=UnfoldAdminTextInputWidget)
    currency = forms.RegexField(r"^[A-Z]{3}\Z", initial="USD", widget=UnfoldAdminTextInputWidget)
    input = _amount(
        "Input, per million tokens", "Empty: no price. Zero: free.", min_value=0, max_digits=18, decimal_places=9
    )
    output = _amount("Output, per million tokens", min_value=0, max_digits=18, decimal_places=9)
    cached = _amount(
        "Cached input, per million tokens", "Empty: as other input.", min_value=0, max_digits=18, decimal_places=9
    )
    reasoning = _amount(
        "Reasoning, per million tokens", "Empty: as other output.", min_value=0, max_digits=18, decimal_places=9
    )
    embeddings = _amount("Embeddings, per million tokens", min_value=0, max_digits=18, decimal_places=9)
    tool_call = _amount("One tool call", min_value=0, max_digits=18, decimal_places=9)
    field_order = ("tenant", "vendor", "model", "currency", *PRICES, "valid_from")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["tenant"].required = False
        self.fields["tenant"].help_text = _("Empty: everybody's price. Else what was agreed, without margin.")

    def rates(self) -> Rates:
        """The prices that were entered."""
        return Rates(**{name: self.cleaned_data[name] for name in PRICES}, currency=self.cleaned_data["currency"])


class MarginForm(_OfTenant, _FromMoment):
    """A margin of a workspace or of a plan."""

    plan = forms.ModelChoiceField(Plan.objects.none(), required=False, widget=UnfoldAdminSelectWidget)
    percent = _amount("Percent", "Empty: none of its own from then on.", max_digits=9, decimal_places=4)
    field_order = ("tenant", "plan", "percent", "valid_from")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["tenant"].required = False
        self.fields["plan"].queryset = Plan.objects.all()  # type: ignore[attr-defined]


class Month(_OfTenant):
    """A workspace's month."""

    month = forms.CharField(
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "2026-11"}), help_text="YYYY-MM, UTC"
    )

    def clean_month(self) -> date:
        try:
            return statements.month_named(self.cleaned_data["month"].strip())
        except PaasError as error:
            raise forms.ValidationError(sentence(error)) from None
