"""Configuration as code."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from paas import apply, declaration

MARKS = {"created": "+", "updated": "~", "unchanged": " "}


class Command(BaseCommand):
    help = "Create or update tenants, members, providers, agents and API keys from a YAML file. Idempotent."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("-f", "--file", required=True, type=Path, help="the YAML file")
        parser.add_argument("--dry-run", action="store_true", help="say what would change, change nothing")
        parser.add_argument("--json", action="store_true", help="print a JSON list of changes")

    def handle(self, *args: Any, **options: Any) -> None:
        changes: list[apply.Change] = []
        try:
            wanted = declaration.read(options["file"])
            for done in apply.apply(wanted, dry_run=options["dry_run"]):
                changes += done
                if not options["json"]:
                    for change in done:
                        self._line(change)
        except (declaration.DeclarationError, apply.ApplyError) as error:
            raise CommandError(str(error)) from None
        if options["json"]:
            self.stdout.write(json.dumps([change.view() for change in changes], indent=2))
        else:
            changed = sum(change.what != "unchanged" for change in changes)
            tense = "would change" if options["dry_run"] else "changed"
            self.stdout.write(f"{changed} of {len(changes)} {tense}")

    def _line(self, change: apply.Change) -> None:
        where = f"{change.tenant}: " if change.tenant else ""
        self.stdout.write(f"{MARKS[change.what]} {where}{change.kind} {change.name} {change.what}")
        if change.secret:
            self.stdout.write(f"    token, shown only now: {change.secret}")
