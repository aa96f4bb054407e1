"""Background work: jobs in PostgreSQL, enqueued in the caller's transaction, run bound to their tenant.

A job is a coroutine function under a permanent name. `enqueue` writes it as the platform on the caller's own
connection, so it exists if and only if the caller's transaction commits. A worker refuses a job without a
tenant, and skips one whose tenant is gone or suspended (P23).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from django.db import transaction
from procrastinate import RetryStrategy
from procrastinate.contrib.django import app
from procrastinate.exceptions import AlreadyEnqueued
from structlog.contextvars import bound_contextvars

from core import metrics, tracing
from core.errors import PaasError
from tenants import resolve, scope
from tenants.scope import TenantNotBound

log = structlog.get_logger(__name__)

Work = Callable[..., Awaitable[Any]]


def job(name: str, *, retries: int = 3) -> Callable[[Work], Work]:
    """Declare a tenant's job; its arguments are JSON values. It is tried again `retries` times when it fails."""

    def declare(work: Work) -> Work:
        async def run(tenant_id: str | None = None, traceparent: str = "", **arguments: Any) -> None:
            with _observed(name, traceparent):
                await run_for_tenant(work, tenant_id, arguments)

        app.task(name=name, retry=retries)(run)
        return work

    return declare


async def run_for_tenant(work: Work, tenant_id: str | None, arguments: dict[str, Any]) -> None:
    """Run `work` bound to the tenant. Raises TenantNotBound when the job names none."""
    from tenants.selectors import tenant_by_id

    if tenant_id is None:
        raise TenantNotBound("This job names no tenant.")
    found = await scope.run_in_platform(tenant_by_id, uuid.UUID(tenant_id))
    try:
        tenant = resolve.admitted(found)
    except PaasError as error:
        log.info("job skipped", tenant=tenant_id, reason=error.code)
        return
    with scope.bind(tenant), bound_contextvars(tenant=tenant_id):
        await work(**arguments)


def platform_job(name: str, *, retries: int = 3) -> Callable[[Work], Work]:
    """Declare a job of the platform itself; it runs bound to the platform, under the worker's paas_owner login.

    Tries again after 2, 4, 8 ... seconds, `retries` times.
    """

    def declare(work: Work) -> Work:
        async def run(traceparent: str = "", **arguments: Any) -> None:
            with _observed(name, traceparent), scope.platform():
                await work(**arguments)

        app.task(name=name, retry=RetryStrategy(max_attempts=retries, exponential_wait=2))(run)
        return work

    return declare


def enqueue_platform(name: str, *, queueing_lock: str | None = None, **arguments: Any) -> int | None:
    """Have a worker run the platform's job `name`, once the present transaction commits.

    Returns the job's id; None when one with the same queueing_lock waits already.
    """
    with scope.platform():
        try:
            with transaction.atomic():
                return int(
                    app.configure_task(name, queueing_lock=queueing_lock).defer(**arguments, **tracing.carried())
                )
        except AlreadyEnqueued:
            return None


def every(cron: str, name: str) -> Callable[[Callable[[], Awaitable[Any]]], Callable[[], Awaitable[Any]]]:
    """Declare periodic work of the platform; `cron` may have a sixth, last field: seconds."""

    def declare(work: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        async def run(timestamp: int) -> None:
            with _counted(name), scope.platform():
                await work()

        app.periodic(cron=cron)(app.task(name=name, queueing_lock=name)(run))
        return work

    return declare


def enqueue(name: str, *, queueing_lock: str | None = None, **arguments: Any) -> int | None:
    """Have a worker run the job `name` for the bound tenant, once the present transaction commits.

    Returns the job's id; None when one with the same queueing_lock waits already. Raises TenantNotBound.
    """
    tenant = scope.current_tenant()
    with scope.platform():
        try:
            with transaction.atomic():
                task = app.configure_task(name, queueing_lock=queueing_lock)
                return int(task.defer(tenant_id=str(tenant.id), **arguments, **tracing.carried()))
        except AlreadyEnqueued:
            return None


@contextmanager
def _observed(name: str, traceparent: str) -> Iterator[None]:
    """Around a job: its span goes on where it was asked for."""
    values = {"messaging.operation.type": "process", "paas.job": name}
    with _counted(name), tracing.continued(traceparent), tracing.span(f"job {name}", values, "consumer"):
        yield


@contextmanager
def _counted(name: str) -> Iterator[None]:
    outcome = "failed"
    try:
        yield
        outcome = "done"
        metrics.JOB_DONE.labels(name).set(time.time())
    finally:
        metrics.JOBS.labels(name, outcome).inc()
