"""Broadcast notices in the console: what people are told on their pages, whom, and for how long."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts import audit
from core import clock
from tenants.models import Notice, Plan, Tenant

COLORS = {"info": "info", "warning": "warning", "critical": "danger"}


class NoticeForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """Tenants are named by their addresses."""

    plans = forms.MultipleChoiceField(
        label=_("Only on these plans"),
        choices=lambda: [(plan.slug, plan.name) for plan in Plan.objects.all()],
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    tenant_ids = forms.CharField(
        label=_("Only these tenants"),
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text=_("One address on each line, such as acme. With neither plans nor tenants it is for everybody."),
    )

    class Meta:
        model = Notice
        fields = ("level", "title_en", "title_zh", "text_en", "text_zh", "starts_at", "ends_at", "plans", "tenant_ids")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.tenant_ids:
            rows = Tenant.objects.filter(pk__in=self.instance.tenant_ids).order_by("slug")
            self.initial["tenant_ids"] = "\n".join(rows.values_list("slug", flat=True))

    def clean_tenant_ids(self) -> list[uuid.UUID]:
        """The ids of the tenants that were named."""
        named = {line.strip().lower() for line in self.cleaned_data["tenant_ids"].splitlines() if line.strip()}
        known = dict(Tenant.objects.filter(slug__in=named).values_list("slug", "pk"))
        if unknown := sorted(named - known.keys()):
            raise forms.ValidationError(gettext("There is no tenant %(slug)s.") % {"slug": ", ".join(unknown)})
        return sorted(known.values())


@admin.register(Notice)
class NoticeAdmin(ModelAdmin):
    """Text only: whatever is written is shown as it is written."""

    form = NoticeForm
    list_display = ("title_en", "shown_level", "stands", "whom", "starts_at", "ends_at")
    list_filter = ("level",)
    search_fields = ("title_en", "title_zh", "text_en", "text_zh")
    fieldsets = (
        (None, {"fields": ("level", "title_en", "text_en", "title_zh", "text_zh")}),
        (_("When"), {"fields": ("starts_at", "ends_at")}),
        (_("For whom"), {"fields": ("plans", "tenant_ids")}),
    )
    actions = ()

    @display(description="level", label=COLORS)  # type: ignore[untyped-decorator]
    def shown_level(self, one: Notice) -> tuple[str, str]:
        return one.level, str(one.get_level_display())

    @display(description="state", label={"shown": "success"})  # type: ignore[untyped-decorator]
    def stands(self, one: Notice) -> tuple[str, str]:
        now = clock.now()
        if one.starts_at > now:
            return "later", gettext("not yet")
        if one.ends_at is not None and one.ends_at <= now:
            return "over", gettext("over")
        return "shown", gettext("shown")

    @display(description="for whom")  # type: ignore[untyped-decorator]
    def whom(self, one: Notice) -> str:
        tenants = [gettext("%(count)s tenants") % {"count": len(one.tenant_ids)}] if one.tenant_ids else []
        return ", ".join([*one.plans, *tenants]) or gettext("everybody")

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        found: dict[str, Any] = super().get_actions(request)
        found.pop("delete_selected", None)  # one by one, each with its row in the log
        return found

    def save_model(self, request: HttpRequest, obj: Notice, form: Any, change: bool) -> None:
        actor = f"operator:{request.user.pk}"
        with transaction.atomic():
            if not change:
                obj.created_by = actor
            super().save_model(request, obj, form, change)
            audit.record(
                "notice.updated" if change else "notice.created", actor=actor, target=str(obj.pk), title=obj.title_en
            )

    def delete_model(self, request: HttpRequest, obj: Notice) -> None:
        with transaction.atomic():
            audit.record("notice.deleted", actor=f"operator:{request.user.pk}", target=str(obj.pk), title=obj.title_en)
            super().delete_model(request, obj)
