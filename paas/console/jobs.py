"""Background jobs in the console: what waits, runs and failed; retried and cancelled by operators."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery, UUIDField
from django.db.models.fields.json import KT
from django.db.models.functions import Cast
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateEvent, ProcrastinateJob
from procrastinate.exceptions import UniqueViolation
from unfold.admin import TabularInline
from unfold.decorators import action, display

from accounts import audit
from core import clock
from core.errors import PaasError
from core.sentences import sentence
from paas.console.asking import ask, only_operators
from tenants.admin import ReadOnlyAdmin
from tenants.models import Tenant

PLACE = "/admin/procrastinate/procrastinatejob/"
COLORS = {"todo": "info", "doing": "warning", "succeeded": "success", "failed": "danger"}
# Arguments that name something and tell nothing else. All others are hidden: letters and sealed texts are among them.
SHOWN = frozenset({"tenant_id", "document_id", "run_id", "timestamp"})
RETRIED = ("failed",)


class TenantFilter(admin.SimpleListFilter):
    """Jobs of one tenant, or of the platform itself."""

    title = _("tenant")
    parameter_name = "tenant"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        found = [("platform", gettext("the platform"))]
        rows = Tenant.objects.exclude(status=Tenant.Status.DELETED).order_by("slug").values_list("pk", "slug")
        return found + [(str(pk), slug) for pk, slug in rows[:200]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = self.value()
        if not wanted:
            return queryset
        return (
            queryset.filter(args__tenant_id=wanted)
            if wanted != "platform"
            else queryset.exclude(args__has_key="tenant_id")
        )


class Events(TabularInline):
    """What happened to the job, and when."""

    model = ProcrastinateEvent
    extra = 0
    fields = readonly_fields = ("type", "at")
    ordering = ("at", "id")
    verbose_name_plural = _("What happened")
    hide_title = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


admin.site.unregister(ProcrastinateJob)


@admin.register(ProcrastinateJob)
class JobAdmin(ReadOnlyAdmin):
    """Its arguments are shown as far as they are names of things."""

    list_display = ("id", "task_name", "of_tenant", "shown_status", "attempts", "waited_since", "scheduled_at")
    list_filter = ("status", "queue_name", TenantFilter, "task_name")
    list_select_related = ()
    search_fields = ("=id", "task_name")
    ordering = ("-id",)
    show_full_result_count = False
    fields = ("id", "task_name", "of_tenant", "status", "shown_arguments", "attempts", "scheduled_at",
              "queue_name", "priority", "queueing_lock")  # fmt: skip
    readonly_fields = fields
    inlines = (Events,)
    actions = ("retry_chosen", "cancel_chosen")
    actions_detail = ("retry", "cancel")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        found: QuerySet[Any] = super().get_queryset(request)
        deferred = ProcrastinateEvent.objects.filter(job=OuterRef("pk"), type="deferred").order_by("id").values("at")
        named = Tenant.objects.filter(pk=Cast(OuterRef("tenant"), UUIDField())).order_by().values("slug")
        found = found.annotate(tenant=KT("args__tenant_id"), asked_at=Subquery(deferred[:1]))
        shown: QuerySet[Any] = found.annotate(slug=Subquery(named[:1]))
        return shown

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Without what may be a secret: a job's own name, which titles show, is its call with all arguments."""
        job = super().get_object(request, object_id, from_field)
        if job is not None:
            job.args = dict(arguments_of(job.args))
        return job

    def get_actions_detail(self, request: HttpRequest, object_id: str) -> list[Any]:
        """Those that make sense for the job as it is."""
        status = _found(str(object_id)).status
        possible = [name for name, of in (("retry", RETRIED), ("cancel", ("todo",))) if status in of]
        found = super().get_actions_detail(request, object_id)
        return [one for one in found if str(one.action_name).rpartition("_")[2] in possible]

    # --- what is shown ---

    @display(description="tenant")  # type: ignore[untyped-decorator]
    def of_tenant(self, job: Any) -> str:
        if not job.tenant:
            return gettext("the platform")
        if not job.slug:
            return str(job.tenant)[:8]
        return format_html('<a href="{}">{}</a>', reverse("admin:tenants_tenant_change", args=[job.tenant]), job.slug)

    @display(description="status", label=COLORS)  # type: ignore[untyped-decorator]
    def shown_status(self, job: Any) -> tuple[str, str]:
        return job.status, str(job.get_status_display())

    @display(description="asked for at")  # type: ignore[untyped-decorator]
    def waited_since(self, job: Any) -> Any:
        return job.asked_at

    @display(description="arguments")  # type: ignore[untyped-decorator]
    def shown_arguments(self, job: Any) -> str:
        return format_html_join("\n", "<div>{}: {}</div>", job.args.items()) or "—"

    # --- what is done ---

    @action(description="Retry")  # type: ignore[untyped-decorator]
    def retry_chosen(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        self._all(request, chosen.filter(status__in=RETRIED), retry, gettext("%(count)s jobs wait again."))

    @action(description="Cancel")  # type: ignore[untyped-decorator]
    def cancel_chosen(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        self._all(request, chosen.filter(status="todo"), cancel, gettext("%(count)s jobs are cancelled."))

    def _all(self, request: HttpRequest, chosen: QuerySet[Any], act: Any, said: str) -> None:
        actor, done, refused = only_operators(request), 0, list[str]()
        for job in chosen:
            try:
                act(job, actor)
                done += 1
            except PaasError as error:
                refused.append(f"{job.pk}: {sentence(error)}")
        self.message_user(request, said % {"count": done}, messages.SUCCESS if done else messages.WARNING)
        for problem in refused:
            self.message_user(request, problem, messages.ERROR)

    @action(description="Retry …", url_path="retry", icon="replay")  # type: ignore[untyped-decorator]
    def retry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """One that failed for good."""
        job = _found(object_id)

        def act(actor: str) -> str:
            retry(job, actor)
            return gettext("Job %(id)s waits again.") % {"id": job.pk}

        lead = gettext("Job %(id)s, %(task)s, is put back among those that wait, with the arguments that it had.")
        return ask(request, act, _page(job), title=gettext("Retry"), lead=lead % _named(job))

    @action(description="Cancel …", url_path="cancel", icon="cancel")  # type: ignore[untyped-decorator]
    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """One that has not begun."""
        job = _found(object_id)

        def act(actor: str) -> str:
            cancel(job, actor)
            return gettext("Job %(id)s is cancelled.") % {"id": job.pk}

        lead = gettext("Job %(id)s, %(task)s, will not be done.")
        return ask(request, act, _page(job), title=gettext("Cancel the job"), lead=lead % _named(job))


def arguments_of(args: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, value) of a job's arguments, without what may be a secret or somebody's words."""
    hidden = gettext("hidden")
    return [
        (name, str(value) if name in SHOWN or isinstance(value, bool | int) else hidden)
        for name, value in sorted(args.items())
        if name != "traceparent"
    ]


def retry(job: Any, actor: str) -> None:
    """Put a job that failed for good back among those that wait. Raises validation_failed."""
    _change(job, actor, "job.retried", RETRIED, gettext("Only a job that failed can be retried."))


def cancel(job: Any, actor: str) -> None:
    """Cancel a job that nobody has begun. Raises validation_failed."""
    _change(job, actor, "job.cancelled", ("todo",), gettext("Only a job that waits can be cancelled."))


def _change(job: Any, actor: str, name: str, possible: tuple[str, ...], otherwise: str) -> None:
    try:
        with transaction.atomic():
            fresh = ProcrastinateJob.objects.select_for_update().get(pk=job.pk)
            if fresh.status not in possible:
                raise PaasError("validation_failed", otherwise)
            if name == "job.cancelled":
                app.job_manager.cancel_job_by_id(job.pk)
            else:
                app.job_manager.retry_job_by_id(job.pk, clock.now())
            audit.record(name, actor=actor, target=str(job.pk), job=job.task_name, tenant_id=job.args.get("tenant_id"))
    except UniqueViolation:  # of `queueing_lock`
        raise PaasError("validation_failed", gettext("One like it waits already.")) from None


def _found(object_id: str) -> Any:
    if not object_id.isdecimal() or len(object_id) > 18:
        raise Http404
    job = ProcrastinateJob.objects.filter(pk=int(object_id)).first()
    if job is None:
        raise Http404
    return job


def _named(job: Any) -> dict[str, Any]:
    return {"id": job.pk, "task": job.task_name}


def _page(job: Any) -> str:
    return f"{PLACE}{job.pk}/change/"
