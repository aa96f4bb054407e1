"""Seal everything under the first of FIELD_KEYS."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from paas import field_keys
from tenants import scope


class Command(BaseCommand):
    help = (
        "Seal what FIELD_KEYS seal under the first of them, so that the others can be dropped. Resumable, while people "
        "work. Exit code 1 while an older key is needed, or when something opens with none."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="change nothing, say which keys are still needed")
        parser.add_argument("--json", action="store_true", help="print as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        with scope.platform():
            counts = field_keys.rotate(check=options["check"])
        if options["json"]:
            self.stdout.write(json.dumps([count.view() for count in counts]))
        else:
            for count in counts:
                self.stdout.write(
                    f"{count.place}: {count.newest} under the first key, {count.moved} moved, {count.older} under "
                    f"others, {count.lost} open with none"
                )
        lost, older = sum(count.lost for count in counts), sum(count.older for count in counts)
        if lost:
            raise CommandError(f"{lost} secrets open with no key of FIELD_KEYS. Put the missing key back.")
        if older:
            raise CommandError(f"{older} secrets need an older key. Run it again (without --check).")
        if not options["json"]:
            self.stdout.write("The first key opens everything; the others can be dropped.")
