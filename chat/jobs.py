"""The worker's periodic work of this room."""

from __future__ import annotations

from chat import host, recovery, scheduler
from tenants.jobs import every


@every("* * * * * */5", "chat.end_abandoned_runs")
async def end_abandoned_runs() -> int:
    """End runs whose process died; every five seconds."""
    return await recovery.sweep(host.current())


@every("* * * * * */3", "chat.run_schedules")
async def run_schedules() -> int:
    """Ask what is due by the clock; every three seconds."""
    return await scheduler.sweep()
