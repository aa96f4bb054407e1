"""How far each schema is."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import migrate, scope
from tenants.models import Tenant
from tenants.scope import TEMPLATE_SCHEMA


class Command(BaseCommand):
    help = (
        "List the shared tables, the template and each tenant's schema with the migrations that it lacks. "
        "Changes nothing. Exit code 1 when one is behind."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", action="append", default=[], metavar="SLUG", help="only this one; repeatable")
        parser.add_argument("--behind", action="store_true", help="only those that lack something")
        parser.add_argument("--json", action="store_true", help="print as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = self._lines(options["tenant"])
        except migrate.NoSuchTenant as error:
            raise CommandError(str(error)) from None
        behind = sum(bool(line["missing"]) for line in found)
        shown = [line for line in found if line["missing"] or not options["behind"]]
        if options["json"]:
            self.stdout.write(json.dumps({"schemas": shown, "behind": behind}))
        else:
            width = max((len(line["name"]) for line in shown), default=0)
            for line in shown:
                missing = ", ".join(line["missing"]) or "up to date"
                self.stdout.write(f"{line['name'].ljust(width)}  {line['schema']}  {missing}")
        if behind:
            raise CommandError(f"{behind} of {len(found)} schemas are behind: run `manage.py migrate_all`.")

    def _lines(self, slugs: list[str]) -> list[dict[str, Any]]:
        """{name, schema, missing} of each, the shared tables and the template first."""
        wanted = migrate.wanted_migrations(TEMPLATE_SCHEMA)
        if slugs:
            named = {tenant.schema: tenant.slug for tenant in map(migrate.tenant_named, slugs)}
        else:
            with scope.platform():
                slug_of = dict(Tenant.objects.values_list("schema_name", "slug"))
            named = {schema: slug_of.get(schema, "(no tenant)") for schema in migrate.tenant_schemas()}
        behind = set(migrate.schemas_behind(list(named), wanted))
        lines = [] if slugs else [
            _line("(shared tables)", "public", migrate.wanted_migrations("public")),
            _line("(template)", TEMPLATE_SCHEMA, wanted),
        ]  # fmt: skip
        return lines + [
            _line(name, schema, wanted) if schema in behind else {"name": name, "schema": schema, "missing": []}
            for schema, name in named.items()
        ]


def _line(name: str, schema: str, wanted: migrate.Wanted) -> dict[str, Any]:
    return {"name": name, "schema": schema, "missing": migrate.missing_migrations(schema, wanted)}
