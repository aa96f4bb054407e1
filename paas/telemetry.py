"""What a process tells those who run it: `/metrics` on a port of its own, and spans to a collector.

Both are off unless they are set (docs/operations.md). Metrics are served by a thread, so that a scrape holds up no
stream. What only the database knows is read by workers, every READ_SECONDS.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from socketserver import ThreadingTCPServer
from typing import Any

import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from prometheus_client import MetricsHandler
from prometheus_client.core import GaugeMetricFamily

from chat import host
from chat.transports.websocket import open_sockets
from core import cancelling, metrics, tracing
from core.errors import PaasError
from llm import breaker
from paas.health import missing_migrations, version
from tenants.db import aio
from tenants.db.stats import pool_stats

log = structlog.get_logger(__name__)

READ_SECONDS = 15.0
# Of shared tables: no tenant's schema is opened.
READ_SQL = """
SELECT 'reservations', host_kind, count(*)::float, coalesce(max(age), 0)::float FROM (
    SELECT CASE host WHEN 'worker' THEN 'unclaimed' WHEN 'approval' THEN 'approval' ELSE 'executing' END AS host_kind,
           extract(epoch FROM now() - created_at) AS age
    FROM public.usage_reservation WHERE state = 'held') r GROUP BY host_kind
UNION ALL
SELECT 'jobs', status::text, count(*)::float, 0 FROM public.procrastinate_jobs GROUP BY status
UNION ALL
SELECT 'schedules', 'late', count(*)::float, coalesce(max(extract(epoch FROM now() - at)), 0)::float
FROM public.tenants_alarm WHERE at <= now()
UNION ALL
SELECT 'tenants', status, count(*)::float, 0 FROM public.tenants_tenant GROUP BY status
UNION ALL
SELECT 'backup', 'made', 1, extract(epoch FROM b.at)::float FROM (
    SELECT at FROM public.accounts_auditevent WHERE action = 'backup.made' ORDER BY id DESC LIMIT 1) b
"""
# What is always told, also where there is none of it.
HOLDERS = ("executing", "unclaimed", "approval")
JOB_STATES = ("todo", "doing", "failed")


class Live:
    """A collector: what is going on in this process at the moment of a scrape, and what was read last."""

    def __init__(self) -> None:
        self.read: list[tuple[str, str, float, float]] | None = None  # of a worker
        self.migrations_missing = 0
        self.read_at = 0.0

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """For prometheus_client."""
        hosts = host.open_hosts()
        logs = [run.log for one in hosts for run in list(one.runs.values())]
        waiting = sum(len(one.queue) + one.places.waiting for one in hosts)
        yield _gauge("paas_runs_active", "Runs that this process holds, those that wait included.", len(logs))
        yield _gauge("paas_runs_waiting", "Of those, how many wait for their turn.", waiting)
        yield _gauge("paas_websockets_open", "Open websockets.", open_sockets())
        yield _gauge(
            "paas_breakers_open", "Models that are left alone because they did not answer.", breaker.open_count()
        )
        behind = _gauges("paas_log_events_behind", "Events that the slowest log has, and the store has not.", "store")
        shown = [one.writable - one.relayed for one in logs if one.shown_live]
        behind.add_metric(["redis"], max(shown, default=0))
        behind.add_metric(["postgresql"], max((one.writable - one.stored for one in logs), default=0))
        yield behind
        pools = _gauges(
            "paas_pool_connections", "Connections to PostgreSQL; waiting: who waits for one.", "pool", "state"
        )
        for labels, count in pool_stats().items():
            pools.add_metric(labels, count)
        yield pools
        if self.read is not None:
            yield from self._read()

    def _read(self) -> Iterator[GaugeMetricFamily]:
        found = {(what, which): (count, age) for what, which, count, age in self.read or ()}
        reservations = _gauges("paas_reservations_held", "Reservations that are held, by who has the run.", "holder")
        ages = _gauges("paas_reservation_age_seconds", "The oldest of them.", "holder")
        for holder in HOLDERS:
            count, age = found.get(("reservations", holder), (0.0, 0.0))
            reservations.add_metric([holder], count)
            ages.add_metric([holder], age)
        jobs = _gauges("paas_jobs", "Background jobs by state.", "state")
        for state in JOB_STATES:
            jobs.add_metric([state], found.get(("jobs", state), (0.0, 0.0))[0])
        tenants = _gauges("paas_tenants", "Tenants by status.", "status")
        for (what, status), (count, _) in found.items():
            if what == "tenants":
                tenants.add_metric([status], count)
        late, lateness = found.get(("schedules", "late"), (0.0, 0.0))
        yield from (reservations, ages, jobs, tenants)
        yield _gauge("paas_schedules_late_tenants", "Tenants with schedules that are due and were not asked.", late)
        yield _gauge("paas_schedules_late_seconds", "By how much the latest is late.", lateness)
        _, backed_up = found.get(("backup", "made"), (0.0, 0.0))
        yield _gauge(
            "paas_backup_last_success_timestamp_seconds", "When everything was last backed up; 0: never.", backed_up
        )
        yield _gauge(
            "paas_migrations_missing",
            "Migrations to do, of the shared tables and of tenants'.",
            self.migrations_missing,
        )
        yield _gauge("paas_database_read_timestamp_seconds", "When these were read last.", self.read_at)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _gauges(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=labels)


def collector(process: str) -> tracing.Collector:
    """Where the settings say that spans go."""
    headers: dict[str, str] = {}
    for word in filter(None, settings.OTEL_HEADERS.split(",")):
        name, given, value = word.partition("=")
        if not given:
            raise ImproperlyConfigured("OTEL_EXPORTER_OTLP_HEADERS is a list such as name=value,name=value.")
        headers[name.strip()] = value.strip()
    resource = {"service.name": settings.OTEL_SERVICE_NAME, "service.version": version(), "paas.process": process}
    return tracing.Collector(
        settings.OTEL_ENDPOINT, headers, settings.OTEL_PERCENT / 100, settings.OTEL_CAPTURE_CONTENT, resource
    )


@asynccontextmanager
async def opened(process: str) -> AsyncIterator[None]:
    """Tell for the block. process: `web` or `worker`. The hot pool is open in it."""
    if settings.OTEL_ENDPOINT:
        tracing.configure(collector(process))
    try:
        if settings.METRICS_PORT:
            async with _served(process):
                yield
        else:
            yield
    finally:
        tracing.close()


@asynccontextmanager
async def _served(process: str) -> AsyncIterator[None]:
    live = Live()
    metrics.REGISTRY.register(live)
    server = _listening()
    reading = asyncio.create_task(_keep_reading(live)) if process == "worker" else None
    try:
        yield
    finally:
        if reading is not None:
            await cancelling.ended([reading])
        if server is not None:
            server.shutdown()
            server.server_close()
        metrics.REGISTRY.unregister(live)


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


def _listening() -> _Server | None:
    """A server of the metrics, in a thread of its own. Where its port is taken, the platform works without."""
    address = settings.METRICS_HOST, settings.METRICS_PORT
    try:
        server = _Server(address, MetricsHandler.factory(metrics.REGISTRY))
    except OSError as error:
        log.error("metrics cannot be served", port=settings.METRICS_PORT, error=error.strerror or str(error))
        return None
    threading.Thread(target=server.serve_forever, args=(0.2,), name="metrics", daemon=True).start()
    return server


async def _keep_reading(live: Live) -> None:
    while True:
        try:
            await read(live)
        except PaasError as error:
            log.info("what the database knows could not be read", error=error.code)
        except Exception:
            log.exception("what the database knows could not be read")
        await asyncio.sleep(READ_SECONDS)


async def read(live: Live) -> None:
    """Read what only the database knows. Raises PaasError."""
    rows: list[Any] = await aio.database().fetch_platform(READ_SQL, [])
    live.migrations_missing = await missing_migrations()
    live.read, live.read_at = [tuple(row) for row in rows], time.time()
