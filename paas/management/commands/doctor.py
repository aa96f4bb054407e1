"""What is wrong with this installation, and how to mend it."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from paas import doctor


class Command(BaseCommand):
    help = (
        "Look over settings, PostgreSQL, Redis, files, books, jobs, secrets, mail and names. Changes nothing without "
        "--fix. Exit code 1 when there is an error; with --strict also when there is a warning."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the findings as JSON")
        parser.add_argument("--strict", action="store_true", help="warnings count as errors")
        parser.add_argument("--fix", action="store_true", help="offer to mend what can be mended without loss")
        parser.add_argument("--yes", action="store_true", help="with --fix: do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        found = sorted(doctor.examine(), key=lambda one: doctor.LEVELS.index(one.level))
        if options["json"]:
            self.stdout.write(json.dumps([one.view() for one in found], indent=2))
        else:
            for finding in found:
                self._tell(finding)
        if options["fix"]:
            found = [finding for finding in found if not self._fixed(finding, sure=options["yes"])]
        counted = {level: sum(one.level == level for one in found) for level in doctor.LEVELS}
        if counted[doctor.ERROR] or (options["strict"] and counted[doctor.WARNING]):
            raise CommandError(f"{counted[doctor.ERROR]} errors, {counted[doctor.WARNING]} warnings.")
        if not options["json"]:
            self.stdout.write(self.style.SUCCESS(f"No error, {counted[doctor.WARNING]} warnings."))

    def _tell(self, finding: doctor.Finding) -> None:
        styles = {doctor.ERROR: self.style.ERROR, doctor.WARNING: self.style.WARNING}
        line = f"{finding.level.upper():8}{finding.check}: {finding.what}"
        self.stdout.write(styles.get(finding.level, str)(line))
        if finding.mend:
            self.stdout.write(f"        {finding.mend}")

    def _fixed(self, finding: doctor.Finding, *, sure: bool) -> bool:
        if finding.fix is None:
            return False
        if not sure and input(f"{finding.mend} - do it? [y/N] ").strip().lower() not in ("y", "yes"):
            return False
        finding.fix()
        self.stdout.write(f"done: {finding.mend}")
        return True
