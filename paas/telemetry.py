"""What a process tells those who run it: `/metrics` on a port of its own, and spans to a collector.

Both are off unless they are set (docs/operations.md). Metrics are served by a thread, so that a scrape holds up no
stream. What only the database knows is read by workers, every READ_SECONDS.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from socketserver import ThreadingTCPServer

import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from prometheus_client import MetricsHandler
from prometheus_client.core import GaugeMetricFamily

from chat import host
from chat.measures import model_labels
from chat.transports.websocket import open_sockets
from core import cancelling, metrics, tracing
from core.errors import PaasError
from llm import breaker
from paas import health
from paas.health import version
from paas.observed import ROUTES
from paas.readings import Readings, gauge, gauges
from tenants import gate
from tenants.db.stats import pool_stats

log = structlog.get_logger(__name__)

READ_SECONDS = 15.0
# What a run fails of that is nobody's fault but the platform's.
OWN_FAULTS = ("run_interrupted", "internal_error", "agent_failed", "database_unavailable", "redis_unavailable")
# Told from the start with 0: of a series that begins with 1, Prometheus does not see that it grew.
STATUSES = ("2xx", "4xx", "5xx")
REFUSED = ("quota_exceeded", "rate_limited", "too_many_runs")
# Done every few seconds, so a worker begins as if it had just done them: else one that never does would not be seen.
OFTEN_DONE = ("usage.seal", "chat.end_abandoned_runs", "chat.run_schedules", "tenants.resume")


class Live:
    """A collector: what is going on in this process at the moment of a scrape, and what was asked last.

    process: `web` or `worker`.
    """

    def __init__(self, process: str) -> None:
        self.process = process
        self.reachable: dict[str, bool] = {}
        self.readings = Readings()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """For prometheus_client."""
        here = gauges("paas_process", "This process and its release.", "process", "version")
        here.add_metric([self.process, version()], 1)
        yield here
        yield from _runs()
        yield gauge("paas_websockets_open", "Open websockets.", open_sockets())
        requests = gauges(
            "paas_requests",
            "Of pages and API, and turns that begin: working, waiting.",
            "state",
        )
        for state, count in zip(("working", "waiting"), gate.load(), strict=True):
            requests.add_metric([state], count)
        yield requests
        yield from _breakers()
        pools = gauges(
            "paas_pool_connections", "Connections to PostgreSQL; waiting: who waits for one.", "pool", "state"
        )
        for labels, count in pool_stats().items():
            pools.add_metric(labels, count)
        yield pools
        up = gauges("paas_dependency_up", "Whether it answered this process when it was last asked.", "dependency")
        for name, answered in self.reachable.items():
            up.add_metric([name], answered)
        yield up
        yield _disk()
        yield from self.readings.collect()


def _runs() -> Iterator[GaugeMetricFamily]:
    hosts = host.open_hosts()
    logs = [run.log for one in hosts for run in list(one.runs.values())]
    waiting = sum(len(one.queue) + one.places.waiting for one in hosts)
    yield gauge("paas_runs_active", "Runs that this process holds, those that wait included.", len(logs))
    yield gauge("paas_runs_waiting", "Of those, how many wait for their turn.", waiting)
    behind = gauges("paas_log_events_behind", "Events that the slowest log has, and the store has not.", "store")
    shown = [one.writable - one.relayed for one in logs if one.shown_live]
    behind.add_metric(["redis"], max(shown, default=0))
    behind.add_metric(["postgresql"], max((one.writable - one.stored for one in logs), default=0))
    yield behind


def _breakers() -> Iterator[GaugeMetricFamily]:
    found = Counter(model_labels(kind, model) for kind, model in breaker.open_models())
    yield gauge("paas_breakers_open", "Models that are left alone because they did not answer.", found.total())
    named = gauges("paas_breaker_open", "Which ones.", "provider", "model")
    for labels, count in found.items():
        named.add_metric(labels, count)
    yield named


def _disk() -> GaugeMetricFamily:
    found = gauges("paas_disk_bytes", "The disk that holds VAR_DIR: size, free.", "state")
    try:
        size, _, free = shutil.disk_usage(settings.VAR_DIR)
    except OSError:
        return found
    found.add_metric(["size"], size)
    found.add_metric(["free"], free)
    return found


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
    live = Live(process)
    _begin_with_nothing(process)
    metrics.REGISTRY.register(live)
    server = _listening()
    reading = asyncio.create_task(_keep_reading(live))
    try:
        yield
    finally:
        await cancelling.ended([reading])
        if server is not None:
            server.shutdown()
            server.server_close()
        metrics.REGISTRY.unregister(live)


def _begin_with_nothing(process: str) -> None:
    for kind in sorted({kind for _, kind, _ in ROUTES} | {"page"}):
        for status in STATUSES:
            metrics.REQUESTS.labels(kind, status)
    for code in OWN_FAULTS:
        metrics.RUN_FAILURES.labels(code)
    for code in REFUSED:
        metrics.REFUSALS.labels(code)
    if process == "worker":
        for task in OFTEN_DONE:
            metrics.JOB_DONE.labels(task).set_to_current_time()


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
            live.reachable = await health.reachable()
            if live.process == "worker":
                await live.readings.read()
        except PaasError as error:
            log.info("what the database knows could not be read", error=error.code)
        except Exception:
            log.exception("what the database knows could not be read")
        await asyncio.sleep(READ_SECONDS)
