"""Tenants and plans in the operator's console. Each act goes through accounts/tenant_life.py and leaves its audit row
in the tenant's own log, with the operator as the actor."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts import audit, proof, tenant_life
from accounts.models import Membership, User
from core import metrics
from tenants import naming, provisioning, resolve
from tenants.models import Limit, Plan, Tenant

Status = Tenant.Status
COLORS = {"active": "success", "suspended": "danger", "creating": "info", "deleting": "warning"}
REFRESH_SECONDS = 2  # of the page of a tenant that is being built


def operator_label(request: HttpRequest) -> str:
    """The operator as audit rows name them."""
    return f"operator:{request.user.pk}"


@admin.register(Plan)
class PlanAdmin(proof.AsksAgain, ModelAdmin):
    """What plans allow; a change is in force at once. One that tenants are on cannot be deleted."""

    list_display = ("name", "slug", "tenant_count", "tokens_per_month", "max_users", "max_agents", "sessions_per_day",
                    "storage_bytes", "requests_per_minute", "max_concurrent_runs", "max_concurrent_runs_per_user",
                    "max_concurrent_runs_per_key")  # fmt: skip
    fieldsets = (
        (None, {"fields": ("name", "slug")}),
        (
            "Tokens and cost",
            {
                "description": "Empty: not limited.",
                "fields": ("tokens_per_month", "tokens_per_day", "cost_per_month", "cost_per_day", "cost_currency"),
            },
        ),
        (
            "At the same time, and how fast",
            {
                "description": "Empty: not limited.",
                "fields": ("max_concurrent_runs", "max_concurrent_runs_per_user", "max_concurrent_runs_per_key",
                           "requests_per_minute", "sessions_per_day", "ingest_weight"),
            },
        ),
        (
            "How many",
            {
                "description": "Empty: not limited.",
                "fields": ("max_users", "max_agents", "max_schedules", "storage_bytes", "max_documents", "max_pages"),
            },
        ),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        found: QuerySet[Plan] = super().get_queryset(request)
        return found.annotate(number=Count("tenants"))

    @display(description="tenants")  # type: ignore[untyped-decorator]
    def tenant_count(self, plan: Any) -> int:
        return int(plan.number)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("slug",) if obj else ()

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        found: dict[str, Any] = super().get_actions(request)
        found.pop("delete_selected", None)  # one by one, each with its row in the log
        return found

    def save_model(self, request: HttpRequest, obj: Plan, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        values = {name: form.cleaned_data.get(name) for name in form.changed_data}
        values = {name: str(value) if isinstance(value, Decimal) else value for name, value in values.items()}
        audit.record(
            "plan.updated" if change else "plan.created", actor=operator_label(request), target=obj.slug, changed=values
        )

    def delete_model(self, request: HttpRequest, obj: Plan) -> None:
        audit.record("plan.deleted", actor=operator_label(request), target=obj.slug)
        super().delete_model(request, obj)


class People(TabularInline):
    """Who belongs to the tenant; shown only: people's roles are the tenant's business."""

    model = Membership
    extra = 0
    fields = readonly_fields = ("user", "role", "created_at")
    verbose_name_plural = "people"
    hide_title = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        found: QuerySet[Membership] = super().get_queryset(request)
        return found.select_related("user", "tenant")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class TenantForm(forms.ModelForm):  # type: ignore[type-arg]
    """What an operator may set. An operator may choose a name that looks like another tenant's."""

    class Meta:
        model = Tenant
        fields = ("slug", "name", "plan")

    def clean_slug(self) -> str:
        slug = str(self.cleaned_data["slug"]).lower()
        known = self.instance.pk if self.instance.created_at else None
        if known is None or slug != Tenant.objects.get(pk=known).slug:
            try:
                naming.check(slug, own=known, careful=False)
            except ValidationError as error:
                raise error.error_dict["slug"][0] from None
        return slug


class NewTenantForm(TenantForm):
    owner = forms.EmailField(
        label="Owner's e-mail address",
        widget=UnfoldAdminTextInputWidget(attrs={"type": "email"}),
        help_text="Gets a letter when it is ready. Who is new here chooses a password by “Forgot password?”.",
    )


@dataclass(frozen=True, slots=True)
class Act:
    """Something done to a tenant after a page that asks whether. possible: the statuses in which it makes sense."""

    title: Promise
    consequence: Promise
    do: Callable[..., bool]
    possible: tuple[str, ...]
    dangerous: bool = False


ACTS = {
    "suspend": Act(
        gettext_lazy("Suspend"),
        gettext_lazy("Nobody gets in within five seconds: no person, key, socket or job. Nothing is lost."),
        tenant_life.tenant_suspend,
        (Status.ACTIVE,),
    ),
    "resume": Act(
        gettext_lazy("Resume"),
        gettext_lazy("Everybody gets in again."),
        tenant_life.tenant_resume,
        (Status.SUSPENDED,),
    ),
    "delete": Act(
        gettext_lazy("Delete"),
        gettext_lazy(
            "Nobody gets in any more. Its owners get a letter with a link that restores it; when the grace is over it "
            "is erased for good, and its address is never given away."
        ),
        tenant_life.tenant_delete,
        (Status.CREATING, Status.ACTIVE, Status.SUSPENDED),
        dangerous=True,
    ),
    "restore": Act(
        gettext_lazy("Restore"),
        gettext_lazy("The deletion is undone; it is what it was before."),
        tenant_life.tenant_restore,
        (Status.DELETING,),
    ),
}


class TenantAdmin(ModelAdmin):
    """A tenant's row and what is done to it. paas/console registers it, with what other rooms know of a tenant."""

    form = TenantForm
    list_display = ("slug", "name", "plan", "shown_status", "stands", "people", "address", "created_at")
    list_filter = ("status", "plan")
    search_fields = ("slug", "name")
    state = ("status", "stands", "failure", "delete_after", "deleted_at")
    facts = (
        "address", "limits", "former_addresses", "require_mfa", "color",
        "id", "schema_name", "in_metrics", "created_at",
    )  # fmt: skip
    readonly_fields = (*state, *facts)
    inlines = (People,)
    actions = ("suspend_chosen", "resume_chosen")
    actions_detail = ("suspend", "resume", "restore", "delete")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        if obj is None:
            options["form"] = NewTenantForm
        return super().get_form(request, obj, change=change, **options)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return [(None, {"fields": ("slug", "name", "plan", "owner")})]
        return [
            (None, {"fields": ("slug", "name", "plan")}),
            (_("State"), {"fields": self.state}),
            (_("Facts"), {"fields": self.facts}),
        ]

    @admin.display(description="In metrics")
    def in_metrics(self, tenant: Tenant) -> str:
        """How metrics name it."""
        return metrics.digest_of(tenant.pk)

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return self.inlines if obj else ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        found: QuerySet[Tenant] = super().get_queryset(request)
        counted: QuerySet[Tenant] = found.select_related("plan").annotate(people_count=Count("memberships"))
        return counted

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # deletion has a grace and a tombstone of its own

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        gone = obj is not None and obj.status == Status.DELETED
        return not gone and bool(super().has_change_permission(request, obj))

    # --- what is shown ---

    @display(description="status", label=COLORS)  # type: ignore[untyped-decorator]
    def shown_status(self, tenant: Tenant) -> tuple[str, str]:
        return tenant.status, str(tenant.get_status_display())

    @display(description="progress")  # type: ignore[untyped-decorator]
    def stands(self, tenant: Tenant) -> str:
        if tenant.status == Status.CREATING:
            return f"{provisioning.progress_of(tenant)} % ({tenant.step or _('queued')})"
        if tenant.status == Status.DELETED:
            return _("erasing: %(step)s") % {"step": tenant.step} if tenant.step else _("erased")
        return "—"

    @display(description="people")  # type: ignore[untyped-decorator]
    def people(self, tenant: Any) -> int:
        return int(tenant.people_count)

    @display(description="address")  # type: ignore[untyped-decorator]
    def address(self, tenant: Tenant) -> str:
        return resolve.tenant_url(tenant.slug)

    @display(description="limits")  # type: ignore[untyped-decorator]
    def limits(self, tenant: Tenant) -> str:
        """How many there are beside the plan's, with the way to them."""
        place = f"{reverse('admin:tenants_limit_changelist')}?{urlencode({'tenant__id__exact': tenant.pk})}"
        own = Limit.objects.filter(tenant=tenant, level="tenant").count()
        below = Limit.objects.filter(tenant=tenant).exclude(level="tenant").count()
        said = _("%(own)s in the place of its plan's, %(below)s for its people, keys and agents")
        said %= {"own": own, "below": below}
        return format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', place, said)

    @display(description="former addresses")  # type: ignore[untyped-decorator]
    def former_addresses(self, tenant: Tenant) -> str:
        return ", ".join(tenant.retired_slugs.values_list("slug", flat=True)) or "—"

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **options: Any) -> Any:
        answer = super().change_view(request, object_id, *args, **options)
        found = getattr(answer, "context_data", None) or {}
        if request.method == "GET" and getattr(found.get("original"), "status", "") == Status.CREATING:
            answer["Refresh"] = str(REFRESH_SECONDS)
        return answer

    # --- what is done ---

    def changeform_view(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        """A name that somebody else took between the form's look and the writing is a message, not a failure."""
        try:
            return super().changeform_view(request, *args, **options)
        except ValidationError as error:
            self.message_user(request, " ".join(error.messages), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: Tenant, form: Any, change: bool) -> None:
        values, label = form.cleaned_data, operator_label(request)
        if not change:
            made = tenant_life.tenant_request(
                slug=values["slug"], name=values["name"], plan=values["plan"].slug,
                owner=tenant_life.owner_named(values["owner"], actor=label), actor=label, careful=False,
            )  # fmt: skip
            obj.__dict__.update(made.__dict__)
            return
        row = Tenant.objects.get(pk=obj.pk)
        if "slug" in form.changed_data:
            tenant_life.tenant_move(tenant=row, slug=values["slug"], actor=label, careful=False)
        tenant_life.tenant_update(tenant=row, name=values["name"], plan=values["plan"].slug, actor=label)

    @action(description="Suspend")  # type: ignore[untyped-decorator]
    def suspend_chosen(self, request: HttpRequest, chosen: QuerySet[Tenant]) -> None:
        self._all(request, chosen, "suspend", _("%(count)s tenants are suspended now."))

    @action(description="Resume")  # type: ignore[untyped-decorator]
    def resume_chosen(self, request: HttpRequest, chosen: QuerySet[Tenant]) -> None:
        self._all(request, chosen, "resume", _("%(count)s tenants are active now."))

    def _all(self, request: HttpRequest, chosen: QuerySet[Tenant], name: str, said: str) -> None:
        _only_operators(request)
        changed = [ACTS[name].do(tenant=tenant, actor=operator_label(request)) for tenant in chosen]
        self.message_user(request, said % {"count": sum(changed)}, messages.SUCCESS)

    @action(description="Suspend …", url_path="suspend", icon="block")  # type: ignore[untyped-decorator]
    def suspend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._asked(request, object_id, "suspend")

    @action(description="Resume …", url_path="resume", icon="play_arrow")  # type: ignore[untyped-decorator]
    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._asked(request, object_id, "resume")

    @action(description="Restore …", url_path="restore", icon="undo")  # type: ignore[untyped-decorator]
    def restore(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._asked(request, object_id, "restore")

    @action(description="Delete …", url_path="delete-with-grace", icon="delete")  # type: ignore[untyped-decorator]
    def delete(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._asked(request, object_id, "delete")

    def _asked(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """A page that says what will happen, and does it when it is sent back."""
        _only_operators(request)
        try:
            tenant = Tenant.objects.get(pk=uuid.UUID(object_id))
        except (Tenant.DoesNotExist, ValueError):
            raise Http404 from None
        act, typed = ACTS[name], request.POST.get("confirm", "").strip().lower()
        if act.dangerous and (elsewhere := proof.asked_again(request)):
            return elsewhere
        back = HttpResponseRedirect(reverse("admin:tenants_tenant_change", args=[tenant.pk]))
        if tenant.status not in act.possible:
            said = _("%(slug)s is not in a state in which that can be done.") % {"slug": tenant.slug}
            self.message_user(request, said, messages.WARNING)
            return back
        wrong = act.dangerous and typed != tenant.slug
        if request.method == "POST" and not wrong:
            if act.do(tenant=tenant, actor=operator_label(request)):
                said = _("%(act)s: done for %(slug)s.") % {"act": act.title, "slug": tenant.slug}
                self.message_user(request, said, messages.SUCCESS)
            return back
        shown = {"title": f"{act.title} {tenant.slug}", "tenant": tenant, "act": act, "wrong": wrong and bool(typed)}
        context = {**admin.site.each_context(request), **shown}
        return render(request, "admin/accounts/tenant_act.html", context, status=400 if request.POST else 200)


def _only_operators(request: HttpRequest) -> None:
    if not cast(User, request.user).is_superuser:
        raise Http404
