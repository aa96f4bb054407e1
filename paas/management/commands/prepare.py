"""What a start needs, in one process: database, migrations, and the demo on a new install."""

from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from paas import env
from tenants import scope
from tenants.migrate import migrate_all


class Command(BaseCommand):
    help = "Create the database (when DATABASE_ADMIN_URL is given), migrate, and apply --demo on a new install."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--demo", type=Path, help="a declaration to apply when there is no tenant yet")

    def handle(self, *args: Any, **options: Any) -> None:
        if env.text("DATABASE_ADMIN_URL", ""):
            call_command("init_database", stdout=self.stdout)
        migrate_all(self.stdout.write)
        call_command("sync_prices", stdout=self.stdout)
        if options["demo"]:
            from tenants.models import Tenant

            with scope.platform():
                empty = not Tenant.objects.exists()
            if empty:
                call_command("apply", file=options["demo"], stdout=self.stdout)
