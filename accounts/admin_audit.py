"""The audit logs, and acting as somebody, in the operator's console."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path
from django.utils.html import format_html
from django.utils.translation import gettext as _
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from accounts import audit, audit_export, impersonation, proof
from accounts.audit_selectors import Search
from accounts.models import AuditEvent, AuditHead, Impersonation, User
from core.errors import PaasError
from core.sentences import sentence
from tenants.admin import ReadOnlyAdmin
from tenants.models import Tenant


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """Every log's rows: filters, search, export."""

    list_display = ("at", "tenant", "seq", "action", "actor", "target", "address")
    list_filter = ("action", "tenant")
    search_fields = ("actor", "target", "action", "address")
    date_hierarchy = "at"
    show_full_result_count = False
    exclude = ("digest", "data")
    readonly_fields = ("shown_data", "shown_digest")
    list_before_template = "admin/accounts/audit_status.html"

    @display(description="data")  # type: ignore[untyped-decorator]
    def shown_data(self, event: AuditEvent) -> str:
        return format_html(
            "<pre class='whitespace-pre-wrap'>{}</pre>", json.dumps(event.data, indent=2, ensure_ascii=False)
        )

    @display(description="digest")  # type: ignore[untyped-decorator]
    def shown_digest(self, event: AuditEvent) -> str:
        return bytes(event.digest or b"").hex()

    def get_urls(self) -> list[Any]:
        return [path("export/", self.admin_site.admin_view(self.export)), *super().get_urls()]

    def export(self, request: HttpRequest) -> HttpResponseBase:
        """`export/?format=csv|jsonl`: every log, newest first; `action` and `q` as in the list."""
        format_ = request.GET.get("format", "csv")
        if not self.has_view_permission(request) or format_ not in audit_export.FORMATS:
            raise Http404
        audit.record("audit.exported", actor=f"operator:{request.user.pk}", format=format_)
        given = {name: request.GET.get(name, "").replace("\0", "") for name in ("action", "q")}
        return audit_export.answer(Search(action=given["action"], text=given["q"]), format_)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        heads = AuditHead.objects.all()
        broken = [(head.tenant.slug if head.tenant else "platform", head.problem) for head in heads.exclude(problem="")]
        latest = heads.order_by("-verified_at").exclude(verified_at=None).first()
        status = {"broken": broken, "verified_at": latest.verified_at if latest else None, "logs": heads.count()}
        given = request.GET
        asked = urlencode({"q": given.get("q", ""), "action": given.get("action__exact", given.get("action", ""))})
        return super().changelist_view(request, {**(extra_context or {}), "chain": status, "asked": asked})


@admin.register(Impersonation)
class ImpersonationAdmin(ReadOnlyAdmin):
    """Who acted as whom, and why."""

    list_display = ("started_at", "operator", "user", "tenant", "reason", "expires_at", "ended_at")
    list_filter = ("tenant",)
    search_fields = ("operator__email", "user__email", "reason")
    actions = ("end_now",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Impersonation]:
        found: QuerySet[Impersonation] = super().get_queryset(request)
        return found.select_related("operator", "user")

    @action(description="End now")  # type: ignore[untyped-decorator]
    def end_now(self, request: HttpRequest, chosen: QuerySet[Impersonation]) -> None:
        if not request.user.is_superuser:
            raise Http404
        count = impersonation.impersonations_end(chosen=chosen, how="operator")
        self.message_user(request, _("%(count)s impersonations are over.") % {"count": count}, messages.SUCCESS)


class ReasonForm(forms.Form):
    """Where to act as the person, and why."""

    tenant = forms.ModelChoiceField(Tenant.objects.none(), label="Workspace", widget=UnfoldAdminSelectWidget)
    reason = forms.CharField(
        min_length=impersonation.LEAST_REASON,
        max_length=300,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="The workspace's administrators read it in their audit log, together with your address.",
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        tenants = Tenant.objects.filter(memberships__user=user, status=Tenant.Status.ACTIVE)
        self.fields["tenant"].queryset = tenants  # type: ignore[attr-defined]


class ActAs:
    """Adds "Act as this person" to the page of a user."""

    actions_detail: tuple[str, ...] = ("act_as",)

    @action(description="Act as this person …", url_path="act-as", icon="visibility")  # type: ignore[untyped-decorator]
    def act_as(self, request: Any, object_id: str) -> HttpResponse:
        """Asks where and why; then leads to the workspace through a link that works once."""
        if not request.user.is_superuser:
            raise Http404
        try:
            user = User.objects.get(pk=object_id)
        except (User.DoesNotExist, ValidationError):
            raise Http404 from None
        if elsewhere := proof.asked_again(request):
            return elsewhere
        form = ReasonForm(user, request.POST or None)
        if request.method == "POST" and form.is_valid():
            given = form.cleaned_data
            try:
                return HttpResponseRedirect(
                    impersonation.impersonation_create(
                        operator=request.user, user=user, tenant=given["tenant"], reason=given["reason"]
                    )
                )
            except PaasError as error:
                form.add_error(None, sentence(error))
        title = _("Act as %(email)s") % {"email": user.email}
        here = {"title": title, "form": form, "person": user, "minutes": impersonation.MINUTES}
        return render(request, "admin/accounts/act_as.html", {**admin.site.each_context(request), **here})
