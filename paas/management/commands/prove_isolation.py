"""The proof that PostgreSQL keeps tenants apart, table by table."""

import json
from dataclasses import asdict
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser

from paas import env
from tenants import isolation, probes
from tenants.catalog import Catalog
from tenants.probes import Attempts

SHOWN_TENANTS = 20


class Command(BaseCommand):
    help = (
        "Read from PostgreSQL's catalogues what protects each table, then try as each tenant to reach the "
        "others. Changes nothing. Exit code 1 when anything is open."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the proof as JSON")
        parser.add_argument(
            "--tenants",
            type=int,
            default=probes.TRIED_TENANTS,
            help="as how many tenants to try (default %(default)s); the catalogues are read for all",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # As the web's own login: what it can take on is what an attacker inside a web process could.
        try:
            with psycopg.connect(env.text("DATABASE_URL"), autocommit=True) as connection:
                open_ = probes.session_survives(connection)
                found, made = probes.prove(connection, most=options["tenants"])
        except psycopg.OperationalError as error:
            raise CommandError(f"PostgreSQL cannot be reached: {error}") from None
        made.gaps[:0] = open_
        if options["json"]:
            self._print_json(found, made)
        else:
            self._print_table(found, made)
        if made.gaps:
            raise CommandError(f"{len(made.gaps)} gaps in the isolation of tenants.")

    def _print_json(self, found: Catalog, made: Attempts) -> None:
        proof = {
            "server_version": found.version,
            "guards": [asdict(guard) for guard in isolation.guards(found)],
            "attempts": {"tried": made.tried, "as_tenants": made.tenants, "hidden_rows": made.hidden},
            "gaps": [asdict(gap) for gap in made.gaps],
        }
        self.stdout.write(json.dumps(proof, indent=2))

    def _print_table(self, found: Catalog, made: Attempts) -> None:
        guards = isolation.guards(found)
        widths = [max(len(line) for line in column) for column in zip(*map(_cells, guards), strict=True)]
        shared = len(guards) - len(found.tenants)
        for guard in guards[: shared + SHOWN_TENANTS]:
            cells = [cell.ljust(width) for cell, width in zip(_cells(guard), widths, strict=True)]
            self.stdout.write("  ".join(cells).rstrip())
        if len(found.tenants) > SHOWN_TENANTS:
            self.stdout.write(f"... and {len(found.tenants) - SHOWN_TENANTS:,} more tenants' schemas")
        self.stdout.write(
            f"\nPostgreSQL {found.version // 10000}.{found.version % 10000}; {len(found.tenants)} tenants; "
            f"{made.tried:,} attempts as {made.tenants} of them and as {isolation.APP}; "
            f"{made.hidden:,} rows of others stayed unseen."
        )
        for gap in made.gaps:
            self.stdout.write(self.style.ERROR(f"OPEN  {gap}"))
        if not made.gaps:
            self.stdout.write(self.style.SUCCESS("Isolation holds: nothing is open."))


def _cells(guard: isolation.Guard) -> tuple[str, str, str]:
    return guard.table, guard.how, f"tenants: {guard.rights}"
