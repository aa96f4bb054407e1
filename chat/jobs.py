"""The worker's periodic work of this room."""

from __future__ import annotations

from chat import host, idempotency, recovery, scheduler
from tenants import scope
from tenants.jobs import every


@every("* * * * * */5", "chat.end_abandoned_runs")
async def end_abandoned_runs() -> int:
    """End runs whose process died; every five seconds."""
    return await recovery.sweep(host.current())


@every("23 * * * *", "chat.forget_idempotency_keys")
async def forget_idempotency_keys() -> int:
    """Remove idempotency keys that nobody can expect to be known any more; every hour."""
    return await scope.run_patiently(idempotency.forget_everywhere)


@every("* * * * * */3", "chat.run_schedules")
async def run_schedules() -> int:
    """Ask what is due by the clock; every three seconds."""
    return await scheduler.sweep()
