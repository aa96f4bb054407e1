"""What the consoles of all rooms share. Tenants themselves are in accounts/admin_tenants.py: acts leave audit rows."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from unfold.admin import ModelAdmin


class ReadOnlyAdmin(ModelAdmin):
    """A tenant's rows, shown and never edited: only runs and people's acts write them."""

    list_select_related: tuple[str, ...] = ("tenant",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
