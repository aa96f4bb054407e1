"""Tenants and plans in the operator's console."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from tenants import provisioning, resolve
from tenants.models import Plan, Tenant


class ReadOnlyAdmin(ModelAdmin):
    """A tenant's rows, shown and never edited: only runs and people's acts write them."""

    list_select_related = ("tenant",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Plan)
class PlanAdmin(ModelAdmin):
    list_display = ("name", "slug", "tokens_per_month", "max_users", "max_agents", "max_concurrent_runs")


@admin.register(Tenant)
class TenantAdmin(ModelAdmin):
    list_display = ("slug", "name", "plan", "shown_status", "people", "address", "created_at")
    list_filter = ("status", "plan")
    search_fields = ("slug", "name")
    readonly_fields = ("id", "schema_name", "status", "created_at")
    fields = ("slug", "name", "plan", "status", "id", "schema_name", "created_at")
    actions = ("suspend", "resume")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        found: QuerySet[Tenant] = super().get_queryset(request)
        counted: QuerySet[Tenant] = found.select_related("plan").annotate(people_count=Count("memberships"))
        return counted

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*self.readonly_fields, "slug") if obj else self.readonly_fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # `manage.py apply`: only the paas_owner login may create schemas, and this is not it

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # deletion has a grace period and a tombstone of its own

    @display(
        description="status",
        label={"active": "success", "suspended": "danger", "creating": "info", "deleting": "warning"},
    )  # type: ignore[untyped-decorator]
    def shown_status(self, tenant: Tenant) -> str:
        return tenant.status

    @display(description="people")  # type: ignore[untyped-decorator]
    def people(self, tenant: Any) -> int:
        return int(tenant.people_count)

    @display(description="address")  # type: ignore[untyped-decorator]
    def address(self, tenant: Tenant) -> str:
        return resolve.tenant_url(tenant.slug)

    @action(description="Suspend")  # type: ignore[untyped-decorator]
    def suspend(self, request: HttpRequest, chosen: QuerySet[Tenant]) -> None:
        self._set(request, chosen, Tenant.Status.SUSPENDED)

    @action(description="Resume")  # type: ignore[untyped-decorator]
    def resume(self, request: HttpRequest, chosen: QuerySet[Tenant]) -> None:
        self._set(request, chosen, Tenant.Status.ACTIVE)

    def _set(self, request: HttpRequest, chosen: QuerySet[Tenant], status: str) -> None:
        changed = [tenant for tenant in chosen if provisioning.tenant_set_status(tenant=tenant, status=status)]
        for tenant in changed:
            self.log_change(request, tenant, f"status: {status}")
        self.message_user(request, f"{len(changed)} tenants are {status} now.", messages.SUCCESS)

    def save_model(self, request: HttpRequest, obj: Tenant, form: Any, change: bool) -> None:
        if change:
            provisioning.tenant_update(tenant=obj, name=obj.name, plan=obj.plan)
