"""A backup, of everything or of one tenant."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from psycopg import Error

from paas import backup
from tenants.backup.archive import BackupError


class Command(BaseCommand):
    help = (
        "Back up all schemas, shared rows and files as of one moment, while the platform works. The secrets "
        "(FIELD_KEYS, SECRET_KEY, API_KEY_PEPPER) are not in it: keep them elsewhere. Encrypted when BACKUP_KEY is set."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", type=Path, help="a new file, or a directory in which one is made")
        parser.add_argument("--tenant", help="only this tenant (its slug)")

    def handle(self, *args: Any, **options: Any) -> None:
        say = self.stdout.write if options["verbosity"] else lambda line: None
        try:
            path, digest = backup.make(options["path"], slug=options["tenant"], say=say)
        except (BackupError, Error, OSError) as error:
            raise CommandError(f"There is no backup: {error}") from None
        self.stdout.write(f"{path} ({path.stat().st_size:,} bytes), SHA-256 of its manifest {digest}")
