"""Create the database, its roles and extension, signed in as a superuser."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from paas import env
from tenants.db import bootstrap


class Command(BaseCommand):
    help = "Create database, roles and extension (DATABASE_ADMIN_URL: a superuser). Safe to run again."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            made = bootstrap.initialise(
                env.text("DATABASE_ADMIN_URL"), env.text("DATABASE_URL"), env.text("DATABASE_OWNER_URL")
            )
        except bootstrap.DatabaseNotSuitable as error:
            raise CommandError(str(error)) from None
        for line in made:
            self.stdout.write(f"created {line}")
