"""People, and the audit log, in the operator's console."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display

from accounts import (
    admin_audit,
    admin_tenants,  # noqa: F401 - registers tenants and plans
)
from accounts.models import Membership, User

admin.site.unregister(Group)


class Memberships(TabularInline):
    model = Membership
    extra = 0
    fields = ("tenant", "role", "created_at")
    readonly_fields = ("created_at",)


@admin.register(User)
class UserAdmin(admin_audit.ActAs, ModelAdmin):
    list_display = ("email", "name", "tenants", "is_active", "is_staff", "last_login")
    list_filter = ("is_active", "is_staff", "memberships__tenant")
    search_fields = ("email", "name")
    fields = ("email", "name", "is_active", "is_staff", "language", "last_login", "created_at")
    readonly_fields = ("last_login", "created_at")
    inlines = (Memberships,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        users: QuerySet[User] = super().get_queryset(request)
        return users.prefetch_related("memberships__tenant")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # people come in through a tenant: `manage.py apply`

    @display(description="tenants")  # type: ignore[untyped-decorator]
    def tenants(self, user: User) -> str:
        return ", ".join(f"{one.tenant.slug} ({one.role})" for one in user.memberships.all()) or "—"
