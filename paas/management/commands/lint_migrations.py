"""Whether a release can be rolled out with its migrations."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tenants import migration_lint


class Command(BaseCommand):
    help = (
        "Read all migrations: none takes away or narrows what the release before uses, or locks a table that grows. "
        "Exit code 1 for what tenants/migration_lint.py does not name with a reason. Asks no database."
    )
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        if found := migration_lint.problems():
            raise CommandError("\n".join(found))
