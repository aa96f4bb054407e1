"""The platform's own model accounts in the operator's console. A key goes in and never comes out."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest
from django.utils.translation import gettext as _
from unfold.admin import ModelAdmin
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from llm.models import kind_choices
from llm.platform_accounts import SET, platform_account_delete, platform_account_set
from tenants.models import Plan, PlatformProvider


class AccountForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """The account as it would be is saved and taken back, so that whatever the service finds wrong is shown here."""

    kind = forms.ChoiceField(choices=kind_choices, widget=UnfoldAdminSelectWidget)
    api_key = forms.CharField(
        label="API key",
        required=False,
        max_length=4000,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Empty: the one that is stored.",
    )
    allowed_models = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="One on each line; none: all that the vendor has.",
    )
    plans = forms.MultipleChoiceField(
        choices=lambda: [(plan.slug, plan.name) for plan in Plan.objects.all()],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Workspaces on these plans may use the account.",
    )

    class Meta:
        model = PlatformProvider
        fields = ("name", "kind", "base_url", "api_key", "models", "allowed_models", "plans", "enabled")
        widgets = {"name": UnfoldAdminTextInputWidget}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and not self.instance._state.adding:
            self.initial["allowed_models"] = "\n".join(self.instance.allowed_models)
            for name in ("name", "kind"):
                if name in self.fields:
                    self.fields[name].disabled = True

    def clean_allowed_models(self) -> list[str]:
        """A list of the lines."""
        return [line.strip() for line in self.cleaned_data["allowed_models"].splitlines() if line.strip()]

    def clean_models(self) -> dict[str, Any]:
        """An empty field is an empty object."""
        return self.cleaned_data["models"] or {}

    def clean(self) -> dict[str, Any]:
        """Raises ValidationError, by field."""
        found = super().clean() or self.cleaned_data
        if not self.errors:
            with transaction.atomic():
                self.keep("operator:check")
                transaction.set_rollback(True)
        return found

    def keep(self, actor: str) -> str:
        """Store it; "created", "updated" or "unchanged"."""
        given = self.cleaned_data
        fields = {name: given[name] for name in SET}
        return platform_account_set(
            name=given["name"], kind=given["kind"], actor=actor, api_key=given["api_key"] or None, **fields
        )


@admin.register(PlatformProvider)
class PlatformProviderAdmin(ModelAdmin):
    """Model accounts that plans may use; tenants see their name and models."""

    form = AccountForm
    list_display = ("name", "kind", "shown_plans", "enabled", "updated_at")
    actions = ()

    @admin.display(description="plans")
    def shown_plans(self, account: PlatformProvider) -> str:
        return ", ".join(account.plans) or _("none")

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        found: dict[str, Any] = super().get_actions(request)
        found.pop("delete_selected", None)  # one by one, each with its row in the log
        return found

    def save_model(self, request: HttpRequest, obj: PlatformProvider, form: Any, change: bool) -> None:
        form.keep(f"operator:{request.user.pk}")
        stored = PlatformProvider.objects.get(name=form.cleaned_data["name"])
        obj.pk, obj.sealed_key = stored.pk, stored.sealed_key

    def delete_model(self, request: HttpRequest, obj: PlatformProvider) -> None:
        platform_account_delete(obj, actor=f"operator:{request.user.pk}")
