"""Migrate shared tables, the template and every tenant."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from tenants.migrate import migrate_all


class Command(BaseCommand):
    help = "Migrate shared tables, the template schema and every tenant's schema; take the price list over. Resumable."

    def handle(self, *args: Any, **options: Any) -> None:
        changed = migrate_all(self.stdout.write)
        self.stdout.write(f"{changed} schemas migrated" if changed else "every schema is up to date")
        call_command("sync_prices", stdout=self.stdout)
