"""Data of Phase 1."""

import json
import time
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import PaasError
from paas.phase1_file import FileError
from paas.phase1_import import import_file
from paas.phase1_report import Report, Stopped


class Command(BaseCommand):
    help = (
        "Import a Phase 1 or Phase 2 database (SQLite) into a tenant, in one transaction. The same file again brings "
        "nothing. Rows that cannot be imported are named and left out."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="the SQLite file; it is only read")
        parser.add_argument("--tenant", required=True, help="the tenant's slug; made where there is none")
        parser.add_argument("--from", dest="source", default="", help="which tenant of the file, by name or id")
        parser.add_argument("--owner", default="", help="who gets the sessions: a member's address or a key's name")
        parser.add_argument("--dry-run", action="store_true", help="do all of it, say what it did, and undo it")
        parser.add_argument("--strict", action="store_true", help="stop at the first bad row and change nothing")
        parser.add_argument("--json", action="store_true", help="print the report as JSON; progress goes to stderr")

    def handle(self, *args: Any, **options: Any) -> None:
        begun = time.monotonic()
        report = Report(dry_run=options["dry_run"], strict=options["strict"], say=self.stderr.write)
        try:
            import_file(options["file"], options["tenant"], report, source=options["source"], owner=options["owner"])
        except FileError as error:
            raise CommandError(str(error)) from None
        except Stopped as stopped:
            raise CommandError(f"{str(stopped).rstrip('.')}. Nothing was imported (--strict).") from None
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        except PaasError as error:
            raise CommandError(error.message) from None
        if options["json"]:
            self.stdout.write(json.dumps(report.view(), indent=2, ensure_ascii=False))
            return
        for line in report.lines():
            self.stdout.write(line)
        if report.dry_run:
            outcome = "Nothing was changed (--dry-run)."
        else:
            outcome = "Done." if report.changed else "Nothing new."
        self.stdout.write(f"{outcome} {time.monotonic() - begun:.1f} s")
