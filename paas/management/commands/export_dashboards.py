"""The dashboards of Grafana."""

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from paas.dashboards.boards import boards

PLACE = "deploy/grafana/dashboards"


class Command(BaseCommand):
    help = f"Write {PLACE} (--check: fail when it is out of date)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")

    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path = settings.ROOT / PLACE
        wanted = {f"{board.uid}.json": json.dumps(board.as_json(), indent=2) + "\n" for board in boards()}
        there = {path.name: path.read_text() for path in folder.glob("*.json")}
        if options["check"]:
            if there != wanted:
                raise CommandError(f"{PLACE} is out of date: run `manage.py export_dashboards`.")
            return
        for name in there.keys() - wanted.keys():
            (folder / name).unlink()
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in wanted.items():
            (folder / name).write_text(text)
