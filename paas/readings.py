"""What only the database knows, told by workers: read every so often, in one statement of shared tables.

No tenant's schema is opened. Nobody is named.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, LiteralString

from prometheus_client.core import GaugeMetricFamily

from chat.tasks import BACKGROUND_LEASE_SECONDS
from paas.health import missing_migrations
from tenants.db import aio

# Since when a run waits for a worker: for as long as its lease has run, where another process or a person let go of it.
READ_SQL: LiteralString = """
SELECT 'reservations', host_kind, count(*)::float, coalesce(max(extract(epoch FROM now() - since)), 0)::float FROM (
    SELECT CASE host WHEN 'worker' THEN 'unclaimed' WHEN 'resume' THEN 'unclaimed' WHEN 'approval' THEN 'approval'
               ELSE 'executing' END AS host_kind,
           CASE WHEN host = 'resume' OR (host = 'worker' AND fence > 1)
               THEN lease_until - %s * interval '1 second' ELSE created_at END AS since
    FROM public.usage_reservation WHERE state = 'held') r GROUP BY host_kind
UNION ALL
SELECT 'reservations', 'lapsed', count(*)::float, coalesce(max(extract(epoch FROM now() - lease_until)), 0)::float
FROM public.usage_reservation WHERE state = 'held' AND lease_until < now()
UNION ALL
SELECT 'jobs', status::text, count(*)::float, 0 FROM public.procrastinate_jobs GROUP BY status
UNION ALL
SELECT 'jobs', 'due', count(*)::float,
       coalesce(max(extract(epoch FROM now() - coalesce(j.scheduled_at, e.at))), 0)::float
FROM public.procrastinate_jobs j
JOIN public.procrastinate_events e ON e.job_id = j.id AND e.type = 'deferred'
WHERE j.status = 'todo' AND (j.scheduled_at IS NULL OR j.scheduled_at <= now())
UNION ALL
SELECT 'schedules', 'late', count(*)::float, coalesce(max(extract(epoch FROM now() - at)), 0)::float
FROM public.tenants_alarm WHERE at <= now()
UNION ALL
SELECT 'tenants', status, count(*)::float, 0 FROM public.tenants_tenant GROUP BY status
UNION ALL
SELECT 'backup', 'made', 1, extract(epoch FROM b.at)::float FROM (
    SELECT at FROM public.accounts_auditevent WHERE action = 'backup.made' ORDER BY id DESC LIMIT 1) b
UNION ALL
SELECT 'chains', 'ledger', count(*) FILTER (WHERE problem <> '')::float,
       coalesce(extract(epoch FROM min(verified_at) FILTER (WHERE problem = '')), 0)::float
FROM public.usage_ledgerhead
UNION ALL
SELECT 'chains', 'audit', count(*) FILTER (WHERE problem <> '')::float,
       coalesce(extract(epoch FROM min(verified_at) FILTER (WHERE problem = '')), 0)::float
FROM public.accounts_audithead
UNION ALL
SELECT 'connections', 'open', count(*)::float, current_setting('max_connections')::float
FROM pg_catalog.pg_stat_activity WHERE datid IS NOT NULL
"""
# What is always told, also where there is none of it.
HOLDERS = ("executing", "unclaimed", "approval", "lapsed")
JOB_STATES = ("todo", "doing", "failed")
CHAINS = ("ledger", "audit")
NONE = (0.0, 0.0)


class Readings:
    """What was read last."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], tuple[float, float]] | None = None  # (what, which) -> (count, value)
        self.migrations_missing = 0
        self.read_at = 0.0

    async def read(self) -> None:
        """Read it anew. Raises PaasError."""
        rows: list[Any] = await aio.database().fetch_platform(READ_SQL, [BACKGROUND_LEASE_SECONDS])
        self.migrations_missing = await missing_migrations()
        self.found, self.read_at = {(what, which): (count, value) for what, which, count, value in rows}, time.time()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """For prometheus_client; nothing before the first reading."""
        if self.found is None:
            return
        yield from self._reservations()
        yield from self._jobs()
        yield from self._books()
        tenants = gauges("paas_tenants", "Tenants by status.", "status")
        for (what, status), (count, _) in self.found.items():
            if what == "tenants":
                tenants.add_metric([status], count)
        yield tenants
        open_now, most = self.found.get(("connections", "open"), NONE)
        connections = gauges("paas_database_connections", "PostgreSQL's connections: open, most.", "state")
        connections.add_metric(["open"], open_now)
        connections.add_metric(["most"], most)
        yield connections
        yield gauge(
            "paas_migrations_missing",
            "Migrations to do, of the shared tables and of tenants'.",
            self.migrations_missing,
        )
        yield gauge("paas_database_read_timestamp_seconds", "When these were read last.", self.read_at)

    def _get(self, what: str, which: str) -> tuple[float, float]:
        return (self.found or {}).get((what, which), NONE)

    def _reservations(self) -> Iterator[GaugeMetricFamily]:
        held = gauges("paas_reservations_held", "Reservations that are held, by who has the run.", "holder")
        ages = gauges("paas_reservation_age_seconds", "The oldest of them.", "holder")
        for holder in HOLDERS:
            count, age = self._get("reservations", holder)
            held.add_metric([holder], count)
            ages.add_metric([holder], age)
        yield from (held, ages)

    def _jobs(self) -> Iterator[GaugeMetricFamily]:
        jobs = gauges("paas_jobs", "Background jobs by state.", "state")
        for state in JOB_STATES:
            jobs.add_metric([state], self._get("jobs", state)[0])
        yield jobs
        yield gauge(
            "paas_jobs_waiting_seconds", "For how long the oldest job that is due waits.", self._get("jobs", "due")[1]
        )
        late, lateness = self._get("schedules", "late")
        yield gauge("paas_schedules_late_tenants", "Tenants with schedules that are due and were not asked.", late)
        yield gauge("paas_schedules_late_seconds", "By how much the latest is late.", lateness)

    def _books(self) -> Iterator[GaugeMetricFamily]:
        broken = gauges("paas_chain_broken", "Ledgers and audit logs that the last look found broken.", "chain")
        verified = gauges("paas_chain_verified_timestamp_seconds", "When the others were all found whole.", "chain")
        for chain in CHAINS:
            count, at = self._get("chains", chain)
            broken.add_metric([chain], count)
            verified.add_metric([chain], at)
        yield from (broken, verified)
        yield gauge(
            "paas_backup_last_success_timestamp_seconds",
            "When everything was last backed up; 0: never.",
            self._get("backup", "made")[1],
        )


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    """One without labels."""
    return GaugeMetricFamily(name, text, value=value)


def gauges(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    """One with labels, to be filled."""
    return GaugeMetricFamily(name, text, labels=labels)
