"""A tenant's page in the console: above its row, what it uses, what is left to it, and how its parts stand.

Numbers only: of a tenant's own tables they are counted under its role, and nothing of them is shown (A68).
"""

from __future__ import annotations

from datetime import date
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db import DatabaseError
from django.db.models import Count, Q
from django.http import HttpRequest
from django.utils.translation import gettext as _
from procrastinate.contrib.django.models import ProcrastinateJob

from accounts.admin_tenants import ACTS, TenantAdmin
from accounts.models import Membership
from agents import quotas
from knowledge import counts
from paas.console.dashboard import charts_of, costs
from portal import limit_words
from tenants import scope
from tenants.models import Tenant
from usage.summaries import Used, summary_of

DAYS = 30
OWNERS = 5
BUILT = (Tenant.Status.ACTIVE, Tenant.Status.SUSPENDED, Tenant.Status.DELETING)


@admin.register(Tenant)
class TenantPage(TenantAdmin):
    """The row with the picture of the tenant above it."""

    change_form_outer_before_template = "admin/console/tenant.html"

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **options: Any) -> Any:
        tenant = options.get("obj")
        if tenant is not None:
            context["about"] = about(tenant)
        return super().render_change_form(request, context, *args, **options)

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        """Those that make sense for the tenant as it is."""
        found = super().get_actions_detail(request, object_id)
        status = Tenant.objects.filter(pk=object_id).values_list("status", flat=True).first()
        impossible = {name for name, act in ACTS.items() if status not in act.possible}
        return [
            one for one in found if getattr(one, "action_name", one).rpartition("tenants_tenant_")[2] not in impossible
        ]


def about(tenant: Tenant) -> dict[str, Any]:
    """What the page shows above the row."""
    used = summary_of(tenant.pk, DAYS)
    by_day = {date.fromisoformat(one.key): one for one in used.by["day"]}
    return {
        "figures": _figures(tenant, used.total),
        "charts": charts_of(used.days, by_day) if used.total.calls else [],
        "links": _links(tenant),
        "owners": _owners(tenant) if tenant.status == Tenant.Status.ACTIVE else [],
        "period": DAYS,
        **_inside(tenant),
    }


def _inside(tenant: Tenant) -> dict[str, Any]:
    """Limits, and how much knowledge there is: read as the tenant. unreadable: why that could not be."""
    if tenant.status not in BUILT:
        return {"limits": [], "knowledge": {}}
    try:
        with scope.bind(tenant.ref()):
            limits = [limit_words.shown(line) for line in quotas.lines_of_workspace()]
            return {"limits": limits, "knowledge": counts.totals()}
    except DatabaseError:
        return {"limits": [], "knowledge": {}, "unreadable": True}


def _figures(tenant: Tenant, used: Used) -> list[tuple[str, str, str, str]]:
    """(what, how much, what it means, where there is more)"""
    mine = ProcrastinateJob.objects.filter(args__tenant_id=str(tenant.pk))
    jobs = mine.aggregate(failed=Count("pk", filter=Q(status="failed")), todo=Count("pk", filter=Q(status="todo")))
    place = "/admin/procrastinate/procrastinatejob/?" + urlencode({"tenant": tenant.pk})
    return [
        (_("Plan"), tenant.plan.name, "", f"/admin/tenants/plan/{tenant.plan_id}/change/"),
        (_("Answers"), f"{used.runs:,}", "", ""),
        (_("Tokens"), f"{used.tokens:,}", "", ""),
        (_("Cost"), costs(used), _("Calls without a known price: %(count)s") % {"count": used.unpriced}
            if used.unpriced else "", ""),
        (_("Members"), str(Membership.objects.filter(tenant=tenant).count()), "", ""),
        (_("Jobs"), _("%(todo)s waiting, %(failed)s failed") % jobs, "", place),
        (_("Schema"), _schema(tenant), tenant.schema_failure, f"/admin/tenants/tenantschema/{tenant.pk}/change/"
            if tenant.status in BUILT else ""),
    ]  # fmt: skip


def _schema(tenant: Tenant) -> str:
    if tenant.status not in BUILT:
        return "—"
    if tenant.schema_failure:
        return _("could not be migrated")
    if tenant.schema_missing is None:
        return _("not looked at")
    if tenant.schema_missing:
        return _("%(count)s migrations behind") % {"count": len(tenant.schema_missing)}
    return _("up to date")


def _links(tenant: Tenant) -> list[tuple[str, str]]:
    """(what, where) there is more of the tenant."""
    only = urlencode({"tenant__id__exact": tenant.pk})
    return [
        (_("Invoices"), f"/admin/usage/invoice/?{only}"),
        (_("Ledger"), f"/admin/usage/usagerecord/?{only}"),
        (_("Runs"), f"/admin/usage/reservation/?{only}"),
        (_("Limits"), f"/admin/tenants/limit/?{only}"),
        (_("Quotas"), f"/admin/usage/quota/?{only}"),
        (_("Audit log"), f"/admin/accounts/auditevent/?{only}"),
        (_("Impersonations"), f"/admin/accounts/impersonation/?{only}"),
    ]


def _owners(tenant: Tenant) -> list[tuple[str, str]]:
    """(e-mail address, where one acts as them) of those whom an operator is most likely to be asked by."""
    rows = Membership.objects.filter(tenant=tenant, role="owner", user__is_active=True).select_related("user")
    return [(one.user.email, f"/admin/accounts/user/{one.user_id}/act-as") for one in rows[:OWNERS]]
