"""Migrate shared tables, the template and every tenant; some tenants first, or alone."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import migrate
from tenants.scope import TEMPLATE_SCHEMA


class Command(BaseCommand):
    help = "Migrate shared tables, the template schema and every tenant's schema; take the price list over. Resumable."

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            "--canary",
            action="append",
            default=[],
            metavar="SLUG",
            help="after the shared tables this tenant, and the others only if its tables can be read then; repeatable",
        )
        which.add_argument(
            "--tenant",
            action="append",
            default=[],
            metavar="SLUG",
            help="the shared tables and this tenant, and no other; repeatable",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        first, only = options["tenant"] or options["canary"], bool(options["tenant"])
        try:
            changed = migrate.migrate_all(self.stdout.write, first=first, only=only)
        except (migrate.NoSuchTenant, migrate.SchemaUnfit, migrate.SchemasBusy) as error:
            raise CommandError(f"{error}{self._rest(first) if first else ''}") from None
        if changed or only:
            self.stdout.write(f"{changed} schemas migrated{self._rest(first) if only else ''}")
        else:
            self.stdout.write("every schema is up to date")
        call_command("sync_prices", stdout=self.stdout)

    def _rest(self, first: list[str]) -> str:
        behind = migrate.schemas_behind(migrate.tenant_schemas(), migrate.wanted_migrations(TEMPLATE_SCHEMA))
        return f"; {len(behind)} tenants are behind" if behind else ""
