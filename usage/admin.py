"""Runs, quotas and usage in the operator's console: numbers and names, no content."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from tenants.admin import ReadOnlyAdmin
from usage import admin_billing, admin_limits  # noqa: F401 - register the ledger, prices, invoices; limits
from usage.admin_traces import LeadsToTrace
from usage.models import Quota, Reservation

OUTCOMES = {
    "running": _("running"), "completed": _("completed"), "cancelled": _("cancelled"), "failed": _("failed"),
}  # fmt: skip


@admin.register(Reservation)
class RunAdmin(LeadsToTrace, ReadOnlyAdmin):
    readonly_fields = ("trace",)
    list_display = (
        "created_at",
        "tenant",
        "agent",
        "model",
        "shown_outcome",
        "counted_output",
        "seconds",
        "error_code",
    )
    list_filter = ("outcome", "state", "tenant", "error_code")
    search_fields = ("run_id", "agent", "model")

    @display(  # type: ignore[untyped-decorator]
        description="status",
        label={"running": "info", "completed": "success", "cancelled": "warning", "failed": "danger"},
    )
    def shown_outcome(self, run: Reservation) -> tuple[str, str]:
        outcome = run.outcome or "running"
        return outcome, str(OUTCOMES.get(outcome, outcome))

    @display(description="seconds")  # type: ignore[untyped-decorator]
    def seconds(self, run: Reservation) -> str:
        return f"{(run.settled_at - run.created_at).total_seconds():.1f}" if run.settled_at else "—"


@admin.register(Quota)
class QuotaAdmin(ReadOnlyAdmin):
    list_display = ("tenant", "level", "metric", "period", "currency", "month", "used", "reserved", "allowance")
    list_filter = ("level", "metric", "period", "month", "tenant")
