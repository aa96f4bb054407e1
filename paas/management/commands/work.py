"""The worker process."""

import asyncio
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from procrastinate import PsycopgConnector
from procrastinate.contrib.django import app

from chat import host
from chat import worker as chat_worker
from core import cancelling
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
            self.stdout.write("the worker is ready")
            try:
                await worker.run_worker_async(
                    concurrency=concurrency, delete_jobs="successful", shutdown_graceful_timeout=JOB_SECONDS
                )
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
