"""Limits in the operator's console: all of them are shown, those of whole workspaces are the operator's to set."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from unfold.decorators import action, display

from core.errors import PaasError
from tenants import scope
from tenants.admin import ReadOnlyAdmin
from tenants.models import Limit
from usage import admin_forms
from usage.admin_billing import ask
from usage.limits import Place, limit_remove, limit_set

HERE = "/admin/tenants/limit/"


@admin.register(Limit)
class LimitAdmin(ReadOnlyAdmin):
    """Beside what plans say; people are named by id, as in every shared table."""

    list_display = ("tenant", "level", "metric", "period", "shown_amount", "subject_id", "set_by", "set_at")
    list_filter = ("level", "metric", "tenant")
    actions_list = ("set_limit",)
    actions_detail = ("remove_limit",)

    @display(description="at most")  # type: ignore[untyped-decorator]
    def shown_amount(self, limit: Limit) -> str:
        return f"{limit.amount.normalize():f} {limit.currency}".rstrip()

    @action(description="Set a limit …", url_path="set", icon="data_usage")  # type: ignore[untyped-decorator]
    def set_limit(self, request: HttpRequest) -> HttpResponse:
        """In the place of what the tenant's plan says, at once."""

        def act(given: dict[str, Any], actor: str) -> str:
            tenant = given["tenant"].ref()
            metric, _colon, period = given["kind"].partition(":")
            place = Place(tenant, "tenant", tenant.id, metric, period, given["currency"].strip().upper())
            try:
                with scope.platform_about(tenant):
                    limit_set(place=place, amount=given["amount"], actor=actor)
            except ValidationError as error:
                field = next(iter(error.message_dict)) if hasattr(error, "error_dict") else ""
                raise PaasError("validation_failed", error.messages[0], details={"param": field}) from None
            return _("The limit of %(slug)s holds from now on.") % {"slug": tenant.slug}

        lead = _("It stands in the place of what the workspace's plan says, and holds at once, for runs that begin.")
        return ask(request, admin_forms.NewLimit(request.POST or None), act, HERE, title=_("Set a limit"), lead=lead)

    @action(description="Remove …", url_path="remove", icon="delete")  # type: ignore[untyped-decorator]
    def remove_limit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A workspace's own: its plan's holds again."""
        try:
            found = Limit.objects.select_related("tenant").get(pk=object_id, level="tenant")
        except (Limit.DoesNotExist, ValidationError):
            raise Http404 from None
        tenant = found.tenant.ref()

        def act(given: dict[str, Any], actor: str) -> str:
            with scope.platform_about(tenant):
                place = Place(tenant, "tenant", tenant.id, found.metric, found.period, found.currency)
                limit_remove(place=place, actor=actor)
            return _("What the plan of %(slug)s says holds again.") % {"slug": tenant.slug}

        return ask(request, _Sure(request.POST or None), act, HERE, title=_("Remove"), lead=f"{tenant.slug}: {found}.")


class _Sure(forms.Form):
    """Nothing but the button; a POST without fields is still one."""

    sure = forms.BooleanField(label="Its plan's limit is to hold again.")
