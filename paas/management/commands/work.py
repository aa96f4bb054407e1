"""The worker process."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from procrastinate import PsycopgConnector
from procrastinate.contrib.django import app

from chat import host
from chat import worker as chat_worker
from core import cancelling
from knowledge import ingest
from paas import health, telemetry
from tenants import scope
from tenants.db import session

MIGRATED_SECONDS = 2.0  # between two looks whether the migration is done
JOB_SECONDS = 20  # for jobs at hand when the worker is to stop; its runs have DRAIN_SECONDS


class Command(BaseCommand):
    help = "Run background jobs until SIGTERM; then finish the jobs at hand."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--concurrency", type=int, default=10, help="jobs at once (default 10)")

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(self._work(options["concurrency"]))

    async def _work(self, concurrency: int) -> None:
        worker = app.with_connector(PsycopgConnector(conninfo=settings.DATABASE_URL, configure=session.as_platform))
        # procrastinate defers periodic jobs through Django's connection; a job binds its own tenant inside.
        with scope.platform():
            await self._run(worker, concurrency)

    async def _run(self, worker: Any, concurrency: int) -> None:
        async with (
            host.opened(drain_seconds=settings.DRAIN_SECONDS, worker=True) as here,
            telemetry.opened("worker"),
            worker.open_async(),
        ):
            await self._migrated()
            taking = asyncio.create_task(chat_worker.work(here))
            jobs = asyncio.create_task(
                worker.run_worker_async(
                    concurrency=concurrency,
                    delete_jobs="successful",
                    shutdown_graceful_timeout=JOB_SECONDS,
                    install_signal_handlers=False,
                )
            )
            with _stopping(jobs):
                self.stdout.write("the worker is ready")
                try:
                    await jobs
                except asyncio.CancelledError:
                    if not jobs.cancelled():
                        raise
                finally:
                    await cancelling.ended([taking])

    async def _migrated(self) -> None:
        """Wait until every tenant's tables are this release's; workers of the release before go on meanwhile."""
        said = False
        while missing := await health.missing_migrations():
            if not said:
                self.stdout.write(f"the worker waits for `manage.py migrate_all`: {missing} migrations to do")
            said = True
            await asyncio.sleep(MIGRATED_SECONDS)


@contextmanager
def _stopping(jobs: asyncio.Task[None]) -> Iterator[None]:
    """A first signal stops the jobs in order, and documents are given back at once; a second one kills."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def stop() -> None:
        ingest.stop()
        jobs.cancel()
        forget()

    def forget() -> None:
        for one in signals:
            loop.remove_signal_handler(one)

    for one in signals:
        loop.add_signal_handler(one, stop)
    try:
        yield
    finally:
        forget()
