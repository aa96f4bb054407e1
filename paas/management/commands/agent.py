"""Agents as files."""

import sys
from pathlib import Path
from typing import Any

import yaml
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from accounts.actors import Actor
from accounts.policies import AGENTS_MANAGE
from agents import editing, portable, releases
from core.errors import PaasError
from tenants import scope
from tenants.models import Tenant
from tenants.scope import TenantRef


class CommandLine(Actor):
    """The operator at the command line, who may change the tenant's agents."""

    @property
    def label(self) -> str:
        return "command:agent"


class Command(BaseCommand):
    help = (
        "Export an agent of a tenant as a YAML file, or import one: as a new agent's draft, or as the draft of its own."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parts = parser.add_subparsers(dest="what", required=True)
        export = parts.add_parser("export", help="write one version of an agent")
        export.add_argument("slug")
        export.add_argument("--version", dest="number", default="", help="a number, or draft; else what is published")
        export.add_argument("-o", "--output", type=Path, help="the file; else standard output")
        take = parts.add_parser("import", help="take a file in")
        take.add_argument("-f", "--file", required=True, type=Path, help="YAML or JSON; - is standard input")
        take.add_argument("--dry-run", action="store_true", help="say what would change, change nothing")
        take.add_argument("--publish", action="store_true", help="publish the draft at once")
        for part in (export, take):
            part.add_argument("--tenant", required=True, help="the tenant's slug")

    def handle(self, *args: Any, **options: Any) -> None:
        with scope.platform():
            tenant = Tenant.objects.select_related("plan").filter(slug=options["tenant"], status="active").first()
        if tenant is None:
            raise CommandError(f"There is no active tenant {options['tenant']!r}.")
        ref = tenant.ref()
        actor = CommandLine(ref, None, None, "command", frozenset({AGENTS_MANAGE}))
        try:
            with scope.bind(ref):
                if options["what"] == "export":
                    self._export(actor, options)
                else:
                    self._import(actor, ref, options)
        except PaasError as error:
            fields = error.details.get("fields", {})
            lines = [f"{name}: {' '.join(map(str, sentences))}" for name, sentences in sorted(fields.items())]
            raise CommandError("\n".join(lines or [error.message])) from None
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from None

    def _export(self, actor: Actor, options: dict[str, Any]) -> None:
        document = portable.agent_document(editing.agent_named(actor, options["slug"]), options["number"])
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        if options["output"]:
            options["output"].write_text(text)
        else:
            self.stdout.write(text, ending="")

    def _import(self, actor: Actor, tenant: TenantRef, options: dict[str, Any]) -> None:
        path, dry_run = options["file"], options["dry_run"]
        try:
            document = yaml.safe_load(sys.stdin.read() if str(path) == "-" else path.read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise CommandError(f"{path} is not YAML: {error}") from None
        with transaction.atomic():
            done = portable.agent_import(actor=actor, document=document, dry_run=dry_run)
            version = None
            if options["publish"] and not dry_run and done.what != "unchanged":
                agent, _ = releases.agent_publish(actor=actor, slug=done.slug, note=f"Imported from {path.name}")
                version = agent.current.number if agent.current else None
        fields = ", ".join(change["field"] for change in done.changes)
        said = f"{tenant.slug}: agent {done.slug} {done.what}{f' ({fields})' if fields else ''}"
        self.stdout.write(said + (f", published as version {version}" if version else "") + (" (dry run)" * dry_run))
