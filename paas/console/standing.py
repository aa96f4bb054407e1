"""How the parts of the installation stand, for the console's front page: cheap looks only, each with what mends it.

`manage.py doctor` looks at more, and for longer.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, Min, Q, Value
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from procrastinate.contrib.django.models import ProcrastinateJob, ProcrastinateWorker

from accounts.models import AuditHead
from core import clock
from paas import backup, health
from paas.doctor import books, stores
from tenants.models import Tenant
from usage.models import LedgerHead, Reservation

OK, WARNING, ERROR = "ok", "warning", "error"
MOST_NAMED = 3  # kinds of jobs, and tenants
SCHEMAS = "/admin/tenants/tenantschema/"


@dataclass(frozen=True, slots=True)
class Part:
    """name: permanent. said: how it is. mend: what to do, "" where nothing is to be done; address: where in the console
    there is more."""

    name: str
    label: str
    level: str
    said: str
    mend: str = ""
    address: str = ""


def parts() -> list[Part]:
    """All of them, in a fixed order. Bound to the platform."""
    return [
        *_services(), _workers(), _queue(), _failed_jobs(), _runs(), *_tenants(),
        _chain("ledger", _("Ledger"), LedgerHead, "/admin/usage/ledgerhead/", "verify_ledger"),
        _chain("audit", _("Audit log"), AuditHead, "/admin/accounts/auditevent/", "verify_audit"),
        _backup(), _disk(),
    ]  # fmt: skip


def _ago(at: datetime) -> str:
    return _("%(time)s ago") % {"time": timesince(at)}


def _services() -> Iterator[Part]:
    found = async_to_sync(health.readiness)()
    said = {"ok": _("answers"), "no answer": _("does not answer")}
    known = {
        "postgresql": ("PostgreSQL", _("Look into the log of the web process.")),
        "redis": ("Redis", _("Start Redis, or correct REDIS_URL. Answers run on; signing in waits.")),
        "model": (_("Local model"), _("Start the model server, or correct LOCAL_MODEL_URL.")),
    }
    for name, (label, mend) in known.items():
        if outcome := found.get(name):
            well = outcome == "ok"
            yield Part(name, label, OK if well else ERROR, said.get(outcome, outcome), "" if well else mend)
    label, well = _("Migrations of the shared tables"), found["migrations"] == "ok"
    outcome = _("up to date") if well else _("not up to date")
    yield Part("migrations", label, OK if well else ERROR, outcome, "" if well else "manage.py migrate_all")


def _workers() -> Part:
    alive = ProcrastinateWorker.objects.filter(last_heartbeat__gt=clock.now() - books.HEARTBEAT).count()
    said = _("%(count)s at work") % {"count": alive} if alive else _("No worker has given a sign for a minute.")
    return Part("workers", _("Workers"), OK if alive else ERROR, said, "" if alive else "manage.py work")


def _queue() -> Part:
    due = ProcrastinateJob.objects.filter(Q(scheduled_at=None) | Q(scheduled_at__lte=clock.now()), status="todo")
    found = due.aggregate(
        count=Count("id", distinct=True),
        planned=Min("scheduled_at"),
        asked=Min("procrastinateevent__at", filter=Q(scheduled_at=None)),
    )
    if not found["count"]:
        return Part("queue", _("Jobs that wait"), OK, _("none"))
    oldest = min((at for at in (found["planned"], found["asked"]) if at), default=clock.now())
    late = clock.now() - oldest > books.WAITS
    said = _("%(count)s, the oldest for %(time)s") % {"count": found["count"], "time": timesince(oldest)}
    mend = _("Start more workers: manage.py work") if late else ""
    where = "/admin/procrastinate/procrastinatejob/?status__exact=todo"
    return Part("queue", _("Jobs that wait"), WARNING if late else OK, said, mend, where)


def _failed_jobs() -> Part:
    failed = ProcrastinateJob.objects.filter(status="failed").order_by().values_list("task_name")
    kinds = sorted(failed.annotate(count=Count("id")), key=lambda one: -one[1])
    if not kinds:
        return Part("failed", _("Jobs that failed"), OK, _("none"))
    said = ", ".join(f"{name} ({count})" for name, count in kinds[:MOST_NAMED]) + (" …" if kinds[MOST_NAMED:] else "")
    where = "/admin/procrastinate/procrastinatejob/?status__exact=failed"
    mend = _("The worker's log says why. Mend it, then retry them.")
    return Part("failed", _("Jobs that failed"), WARNING, said, mend, where)


def _runs() -> Part:
    held, now = Reservation.objects.filter(state="held"), clock.now()
    over = Q(lease_until__lt=now - books.LEASE_OVER) & ~Q(host__in=books.NOBODYS)
    waits = Q(host__in=("worker", "resume"), created_at__lt=now - books.WAITS)
    found = held.aggregate(all=Count("pk"), stuck=Count("pk", filter=over), waiting=Count("pk", filter=waits))
    where = "/admin/usage/reservation/?state__exact=held"
    if found["stuck"] or found["waiting"]:
        said = _("%(stuck)s abandoned, %(waiting)s waiting for five minutes") % found
        return Part("runs", _("Runs under way"), ERROR, said, _("Start a worker: manage.py work"), where)
    return Part("runs", _("Runs under way"), OK, f"{found['all']:,}", "", where)


def _tenants() -> Iterator[Part]:
    """Their making and erasing, their schemas and their schedules, by one query."""
    found = Tenant.objects.exclude(status=Tenant.Status.DELETED, step="").aggregate(
        stuck=ArrayAgg("slug", filter=~Q(failure="") & ~Q(step=""), default=Value([])),
        behind=Count("pk", filter=Q(schema_missing__len__gt=0)),
        failed=Count("pk", filter=~Q(schema_failure="")),
        late=Count("pk", filter=Q(alarm__at__lt=clock.now() - books.WAITS)),
    )
    if found["stuck"]:
        stuck = ", ".join(found["stuck"][:MOST_NAMED])
        mend = _("The worker tries again every ten seconds; the tenant's page says what is wrong.")
        yield Part("tenants", _("Making and erasing tenants"), ERROR, stuck, mend, "/admin/tenants/tenant/")
    else:
        yield Part("tenants", _("Making and erasing tenants"), OK, _("nothing is stuck"))
    if found["behind"] or found["failed"]:
        said = _("%(behind)s behind, %(failed)s could not be migrated") % found
        mend = _("Retry them on their page, or run manage.py migrate_all.")
        where = f"{SCHEMAS}?schema={'failed' if found['failed'] else 'behind'}"
        yield Part("schemas", _("Tenants' schemas"), ERROR if found["failed"] else WARNING, said, mend, where)
    else:
        yield Part("schemas", _("Tenants' schemas"), OK, _("up to date"), "", SCHEMAS)
    late = found["late"]
    said = _("%(count)s tenants' schedules are late") % {"count": late} if late else _("on time")
    yield Part("schedules", _("Schedules"), WARNING if late else OK, said, "manage.py work" if late else "")


def _chain(name: str, label: str, heads: Any, where: str, command: str) -> Part:
    found = heads.objects.aggregate(
        broken=Count("pk", filter=~Q(problem="")), oldest=Min("verified_at"), all=Count("pk")
    )
    if found["broken"]:
        mend = _("Compare with a backup: manage.py %(command)s") % {"command": command}
        return Part(name, label, ERROR, _("%(count)s broken") % {"count": found["broken"]}, mend, where)
    if found["oldest"] is None:
        return Part(name, label, OK, _("not verified yet; a job does it every hour"), "", where)
    late = clock.now() - found["oldest"] > backup.LATE_AFTER
    mend = _("A worker verifies every hour: manage.py work") if late else ""
    return Part(name, label, WARNING if late else OK, _("whole, %(ago)s") % {"ago": _ago(found["oldest"])}, mend, where)


def _backup() -> Part:
    last = backup.last_made()
    mend = _("manage.py backup DIRECTORY, every day")
    if last is None:
        return Part("backup", _("Backup"), WARNING, _("There is none yet."), mend)
    late = clock.now() - last.at > backup.LATE_AFTER
    return Part("backup", _("Backup"), WARNING if late else OK, _ago(last.at), mend if late else "")


def _disk() -> Part:
    usage = shutil.disk_usage(settings.VAR_DIR if settings.VAR_DIR.exists() else "/")
    said = _("%(free)s GB free of %(total)s GB") % {
        "free": f"{usage.free / 1e9:,.1f}", "total": f"{usage.total / 1e9:,.1f}",
    }  # fmt: skip
    level = ERROR if usage.free < stores.FREE_BYTES // 5 else OK
    if level == OK and (usage.free < stores.FREE_BYTES or usage.free < usage.total * stores.FREE_PART):
        level = WARNING
    return Part("disk", _("Disk"), level, said, _("Make room.") if level != OK else "")
