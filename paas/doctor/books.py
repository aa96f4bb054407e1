"""Chains, counters, runs, jobs, workers and the last backup: what the shared rows say."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Count
from procrastinate.contrib.django.models import ProcrastinateJob, ProcrastinateWorker

from accounts import audit_chain
from core import clock
from paas import backup
from paas.doctor.finding import ERROR, NOTE, WARNING, Finding
from tenants import scope
from tenants.models import Alarm, Tenant
from usage import chain, counters
from usage.models import Reservation

LEASE_OVER = timedelta(minutes=2)  # a worker ends what is abandoned within about twenty seconds
HEARTBEAT = timedelta(minutes=1)  # procrastinate's own is ten seconds
WAITS = timedelta(minutes=5)
# Who has a run that no process holds: nobody has taken it yet, or a person is to decide.
NOBODYS = ("worker", "resume", "approval")


def chains() -> Iterator[Finding]:
    """Since their heads; `verify_ledger` and `verify_audit` look at all of it."""
    with scope.platform():
        for ledger, _ in chain.verify_all(newest=True):
            if ledger.problem:
                yield Finding(
                    ERROR, "books.ledger", f"{ledger.name}: {ledger.problem}",
                    f"manage.py verify_ledger --tenant {ledger.name}; compare with a backup.",
                )  # fmt: skip
        for log, _ in audit_chain.verify_all(newest=True):
            if log.problem:
                yield Finding(
                    ERROR, "books.audit", f"{log.name}: {log.problem}", "manage.py verify_audit; compare with a backup."
                )


def counted() -> Iterator[Finding]:
    """Counters of quotas against reservations and ledger."""
    with scope.platform():
        for problem in counters.wrong():
            yield Finding(
                WARNING, "books.counters", problem,
                "Ask again when no run is under way; if it stays, the console's Quotas shows the counter.",
            )  # fmt: skip


def runs() -> Iterator[Finding]:
    """Runs whose process is gone and that nobody ended."""
    with scope.platform():
        over = Reservation.objects.filter(state="held", lease_until__lt=clock.now() - LEASE_OVER)
        stuck = over.exclude(host__in=NOBODYS).count()
        waiting = Reservation.objects.filter(
            state="held", host__in=("worker", "resume"), created_at__lt=clock.now() - WAITS
        ).count()
    if stuck:
        yield Finding(
            ERROR,
            "runs.stuck",
            f"{stuck} runs hold tokens, and their leases are over.",
            "Start a worker: manage.py work",
        )
    if waiting:
        yield Finding(
            WARNING, "runs.waiting", f"{waiting} background runs have waited for five minutes.",
            "Start a worker, or more of them: manage.py work",
        )  # fmt: skip


def jobs() -> Iterator[Finding]:
    """Whether somebody works, and what has failed for good."""
    with scope.platform():
        alive = ProcrastinateWorker.objects.filter(last_heartbeat__gt=clock.now() - HEARTBEAT).exists()
        failed = ProcrastinateJob.objects.filter(status="failed").values_list("task_name").annotate(Count("id"))
        counts = dict(failed.order_by("task_name"))
        late = Alarm.objects.filter(at__lt=clock.now() - WAITS).count()
    if not alive:
        yield Finding(ERROR, "worker.alive", "No worker has given a sign for a minute.", "manage.py work")
    if counts:
        told = ", ".join(f"{name} ({count})" for name, count in counts.items())
        yield Finding(
            WARNING, "jobs.failed", f"Jobs have failed for good: {told}",
            "The worker's log says why; the console's Jobs shows them.",
        )  # fmt: skip
    if late:
        yield Finding(WARNING, "schedules.late", f"{late} tenants' schedules are late.", "manage.py work")


def tenants() -> Iterator[Finding]:
    """Those whose making or erasing does not get on."""
    with scope.platform():
        rows = list(Tenant.objects.exclude(failure="").exclude(step="").values_list("slug", "step", "failure"))
    for slug, step, failure in rows:
        yield Finding(
            WARNING, "tenants.failure", f"{slug} stands at {step!r}: {failure}",
            "The worker tries again every ten seconds; mend what it says.",
        )  # fmt: skip


def backups() -> Iterator[Finding]:
    """When the last backup of everything was made."""
    with scope.platform():
        last = backup.last_made()
    if last is None:
        yield Finding(
            WARNING, "backup.age", "No backup of everything was ever made here.", "manage.py backup DIRECTORY"
        )
    elif clock.now() - last.at > backup.LATE_AFTER:
        yield Finding(
            WARNING, "backup.age", f"The last backup is of {last.at:%Y-%m-%d %H:%M} UTC.", "manage.py backup DIRECTORY"
        )
    else:
        yield Finding(NOTE, "backup.last", f"The last backup is {last.target}, of {last.at:%Y-%m-%d %H:%M} UTC.", "")
