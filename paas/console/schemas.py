"""How far tenants' schemas are, in the console: which are behind, why one could not be migrated, and the next try."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display

from accounts import audit
from paas.console.asking import ask, only_operators
from paas.jobs import LOOK_NOW, MIGRATE
from tenants import jobs
from tenants.admin import ReadOnlyAdmin
from tenants.models import Tenant, TenantSchema

PLACE = "/admin/tenants/tenantschema/"
COLORS = {"up to date": "success", "behind": "warning", "failed": "danger"}
CONDITIONS = {
    "failed": ~Q(schema_failure=""),
    "behind": Q(schema_missing__len__gt=0),
    "current": Q(schema_missing=[], schema_failure=""),
    "unknown": Q(schema_missing=None),
}


class StateFilter(admin.SimpleListFilter):
    """By how far they are."""

    title = _("state")
    parameter_name = "schema"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        said = (gettext("could not be migrated"), gettext("behind"), gettext("up to date"), gettext("not looked at"))
        return list(zip(CONDITIONS, said, strict=True))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        condition = CONDITIONS.get(self.value() or "")
        return queryset.filter(condition) if condition is not None else queryset


@admin.register(TenantSchema)
class TenantSchemaAdmin(ReadOnlyAdmin):
    """Each tenant's schema, as the worker last found it."""

    list_display = ("slug", "state", "lacks", "schema_failure", "schema_checked_at", "schema_name")
    list_filter = (StateFilter, "status")
    list_select_related = ()
    search_fields = ("slug", "schema_name")
    fields = ("slug", "schema_name", "how_far", "missing_ones", "schema_failure", "schema_checked_at")
    readonly_fields = fields
    actions = ("migrate_chosen",)
    actions_list = ("look_again",)
    actions_detail = ("migrate",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        found: QuerySet[Any] = super().get_queryset(request)
        return found.exclude(status__in=(Tenant.Status.CREATING, Tenant.Status.DELETED))

    @display(description="state", label=COLORS)  # type: ignore[untyped-decorator]
    def state(self, one: Tenant) -> tuple[str, str]:
        if one.schema_failure:
            return "failed", gettext("could not be migrated")
        if one.schema_missing is None:
            return "unknown", gettext("not looked at")
        return ("behind", gettext("behind")) if one.schema_missing else ("up to date", gettext("up to date"))

    @display(description="state")  # type: ignore[untyped-decorator]
    def how_far(self, one: Tenant) -> str:
        return str(self.state(one)[1])

    @display(description="migrations that it lacks")  # type: ignore[untyped-decorator]
    def lacks(self, one: Tenant) -> str:
        return str(len(one.schema_missing)) if one.schema_missing else "—"

    @display(description="migrations that it lacks")  # type: ignore[untyped-decorator]
    def missing_ones(self, one: Tenant) -> str:
        return ", ".join(one.schema_missing or ()) or "—"

    @action(description="Look again", url_path="look-again", icon="refresh")  # type: ignore[untyped-decorator]
    def look_again(self, request: HttpRequest) -> HttpResponse:
        """Have the worker look at all schemas."""

        def act(actor: str) -> str:
            with transaction.atomic():
                audit.record("schemas.look_asked", actor=actor)
                jobs.enqueue_platform(LOOK_NOW, queueing_lock=LOOK_NOW)
            return gettext("The worker looks at all schemas; reload this page in a moment.")

        lead = gettext("A worker looks at every schema once an hour. This has it look now.")
        return ask(request, act, PLACE, title=gettext("Look again"), lead=lead)

    @action(description="Migrate …", url_path="migrate", icon="upgrade")  # type: ignore[untyped-decorator]
    def migrate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Have the worker bring this schema up."""
        try:
            one = self.get_queryset(request).get(pk=uuid.UUID(object_id))
        except (TenantSchema.DoesNotExist, ValueError):
            raise Http404 from None

        def act(actor: str) -> str:
            migrate(one, actor)
            return gettext("A worker migrates %(slug)s; reload this page in a moment.") % {"slug": one.slug}

        lead = gettext(
            "A worker brings the shared tables and the schema of %(slug)s to this release; people may go on."
        )
        return ask(request, act, f"{PLACE}{one.pk}/change/", title=gettext("Migrate"), lead=lead % {"slug": one.slug})

    @action(description="Migrate")  # type: ignore[untyped-decorator]
    def migrate_chosen(self, request: HttpRequest, chosen: QuerySet[Any]) -> HttpResponse:
        actor = only_operators(request)
        count = sum(migrate(one, actor) for one in chosen)
        said = gettext("%(count)s schemas are migrated by a worker, one after the other.") % {"count": count}
        self.message_user(request, said, messages.SUCCESS)
        return HttpResponseRedirect(PLACE)


def migrate(tenant: Tenant, actor: str) -> bool:
    """Have a worker bring the tenant's schema up; False when one waits to do so already."""
    with transaction.atomic():
        audit.record("schema.migration_asked", actor=actor, target=tenant.slug)
        lock = f"{MIGRATE}:{tenant.pk}"
        return jobs.enqueue_platform(MIGRATE, queueing_lock=lock, tenant_id=str(tenant.pk)) is not None
