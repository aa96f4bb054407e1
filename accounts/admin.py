"""People, and the audit log, in the operator's console."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display

from accounts import (
    admin_audit,
    admin_factors,
    admin_tenants,  # noqa: F401 - registers tenants and plans
    audit,
    sessions,
)
from accounts.models import Membership, User

admin.site.unregister(Group)
# allauth registers its tables with every field: second factors' secrets, tokens of other providers, client secrets.
# People and tenants look after these themselves; the console neither shows nor makes them.
for label in ("account.EmailAddress", "mfa.Authenticator"):
    admin.site.unregister(apps.get_model(label))
for model in apps.get_app_config("socialaccount").get_models():
    admin.site.unregister(model)


class Memberships(TabularInline):
    """Shown, never edited: roles are the tenants' own to give, or `manage.py apply`'s, which both leave audit rows
    and keep a tenant from losing its last owner (accounts/members.py)."""

    model = Membership
    extra = 0
    fields = ("tenant", "role", "created_at")
    hide_title = True
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(User)
class UserAdmin(admin_factors.ResetFactors, admin_audit.ActAs, ModelAdmin):
    actions_detail = ("act_as", "reset_factors")
    list_display = ("email", "name", "tenants", "factors", "is_active", "is_staff", "last_login")
    list_filter = ("is_active", "is_staff", "memberships__tenant")
    search_fields = ("email", "name")
    fields = ("email", "name", "is_active", "is_staff", "language", "last_login", "created_at")
    readonly_fields = ("last_login", "created_at")
    inlines = (Memberships,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        users: QuerySet[User] = super().get_queryset(request)
        return users.prefetch_related("memberships__tenant", "authenticator_set")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # people come in through a tenant: an invitation, or `manage.py apply`

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # it would take memberships with it, the last owner's too; who is not active gets in nowhere

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """With an audit row of what was changed; who is deactivated is out everywhere."""
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            if form.changed_data:
                changed = {name: str(form.cleaned_data[name]) for name in form.changed_data}
                audit.record("person.updated", actor=f"operator:{request.user.pk}", target=str(obj.pk), **changed)
            if "is_active" in form.changed_data and not obj.is_active:
                sessions.end_everything(obj.pk)

    @display(description="tenants")  # type: ignore[untyped-decorator]
    def tenants(self, user: User) -> str:
        return ", ".join(f"{one.tenant.slug} ({one.role})" for one in user.memberships.all()) or "—"
