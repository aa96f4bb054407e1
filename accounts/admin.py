"""People, and the audit log, in the operator's console."""

from __future__ import annotations

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display

from accounts import admin_audit
from accounts.models import Membership, User

admin.site.unregister(Group)
# allauth registers its tables with every field: second factors' secrets, tokens of other providers, client secrets.
# People and tenants look after these themselves; the console neither shows nor makes them.
for label in ("account.EmailAddress", "mfa.Authenticator"):
    admin.site.unregister(apps.get_model(label))
for model in apps.get_app_config("socialaccount").get_models():
    admin.site.unregister(model)


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
