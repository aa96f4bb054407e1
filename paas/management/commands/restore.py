"""Restoring a backup: everything into an empty database, or one tenant into an installation that lives."""

from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError
from psycopg import Error

from paas import backup, env
from tenants.backup import whole
from tenants.backup.archive import BackupError, Reader
from tenants.backup.one import Report
from tenants.migrate import migrate_all


class Command(BaseCommand):
    help = (
        "Restore a backup. Everything goes into an empty database (it is made when DATABASE_ADMIN_URL is given); with "
        "--tenant one tenant goes into this installation. Nothing is overwritten. Afterwards every chain, counter and "
        "file is compared. Exit code 1 when anything differs."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", type=Path, help="the backup")
        parser.add_argument("--tenant", help="only this tenant (its slug in the backup)")
        parser.add_argument("--to", help="another slug for it")
        parser.add_argument(
            "--dry-run", action="store_true", help="read all of the backup and say what would happen; change nothing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        slug, dry_run = options["tenant"], options["dry_run"]
        if options["to"] and not slug:
            raise CommandError("--to is for --tenant.")
        try:
            with Reader(options["path"], backup.key()) as archive:
                self._about(archive)
                if dry_run:
                    self.stdout.write(f"{archive.check()} parts are whole")
                if slug:
                    self._one(archive, slug, options["to"] or slug, dry_run=dry_run)
                else:
                    self._all(archive, dry_run=dry_run)
        except (BackupError, DatabaseError, Error, OSError) as error:
            raise CommandError(f"Not restored: {error}") from None

    def _about(self, archive: Reader) -> None:
        made = archive.manifest
        what = f"tenant {made['tenant']}" if made["tenant"] else f"{len(made['tenants'])} tenants"
        rows = sum(fact["rows"] for fact in made["tables"])
        self.stdout.write(
            f"{what}, {rows:,} rows, {len(made['files']):,} files of {made['made_at']}, release {made['version']}"
        )
        for warning in backup.warnings(archive):
            self.stdout.write(self.style.WARNING(warning))

    def _all(self, archive: Reader, *, dry_run: bool) -> None:
        if archive.manifest["tenant"]:
            raise BackupError(f"It holds one tenant: use --tenant {archive.manifest['tenant']}.")
        if not dry_run:
            if env.text("DATABASE_ADMIN_URL", ""):
                call_command("init_database", stdout=self.stdout)
            migrate_all(self.stdout.write)
        whole.same_migrations(archive)
        if problems := whole.problems(archive):
            raise BackupError("; ".join(problems))
        if dry_run:
            self.stdout.write("nothing stands in the way")
            return
        whole.restore_all(archive, say=self.stdout.write)
        self._compare(list(backup.faults(archive)))

    def _one(self, archive: Reader, slug: str, to: str, *, dry_run: bool) -> None:
        report = backup.restore_tenant(archive, slug, to=to, dry_run=dry_run)
        self._tell(report, dry_run)
        if not dry_run:
            self._compare(list(backup.faults(archive, report.tenant_id)))

    def _tell(self, report: Report, dry_run: bool) -> None:
        would = "would be " if dry_run else ""
        back = ", back at its tombstone: its ledger and audit log are those that are here" if report.returns else ""
        self.stdout.write(
            f"{report.slug} {would}restored{back}: {report.known} people are known, {report.new} are new, "
            f"{sum(report.rows.values()):,} shared rows, {report.files} files"
        )
        for note in report.notes:
            self.stdout.write(self.style.WARNING(note))

    def _compare(self, faults: list[str]) -> None:
        for fault in faults:
            self.stdout.write(self.style.ERROR(fault))
        if faults:
            raise CommandError(f"Restored, but {len(faults)} things are not as they should be.")
        self.stdout.write("restored: chains, counters, secrets and files are as they were backed up")
