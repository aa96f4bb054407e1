"""Knowledge bases as folders."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.actors import Actor
from accounts.policies import KNOWLEDGE_READ, KNOWLEDGE_WRITE
from core.errors import PaasError
from knowledge.bases import FIXED, base_update
from knowledge.folders import folder_export, folder_import
from knowledge.generations import base_reindex
from tenants import scope
from tenants.models import Tenant


class CommandLine(Actor):
    """The operator at the command line, who may change the tenant's knowledge."""

    @property
    def label(self) -> str:
        return "command:knowledge"


class Command(BaseCommand):
    help = "Put a folder into a knowledge base of a tenant, write a base into a folder, or have a base read anew."

    def add_arguments(self, parser: CommandParser) -> None:
        parts = parser.add_subparsers(dest="what", required=True)
        take = parts.add_parser("import", help="take in what is new or has changed in a folder and those in it")
        take.add_argument("folder", type=Path)
        take.add_argument("--dry-run", action="store_true", help="say what would be taken, take nothing")
        export = parts.add_parser("export", help="write files, tags, metadata and settings into a folder")
        export.add_argument("folder", type=Path)
        reindex = parts.add_parser("reindex", help="read, cut and embed every document anew")
        for name in ("chunk-size", "chunk-overlap"):
            reindex.add_argument(f"--{name}", type=int, help="tokens; a new setting of the base")
        reindex.add_argument("--ocr", choices=("auto", "always", "never"), help="a new setting of the base")
        reindex.add_argument("--provider", help="the model provider of another embeddings model; empty: hashing")
        reindex.add_argument("--model", help="that model; the base changes over when the last document is ready")
        reindex.add_argument("--dimension", type=int, help="how many numbers its vectors have")
        for part in (take, export, reindex):
            part.add_argument("--tenant", required=True, help="the tenant's slug")
            part.add_argument("--base", required=True, help="the knowledge base's slug")

    def handle(self, *args: Any, **options: Any) -> None:
        with scope.platform():
            tenant = Tenant.objects.select_related("plan").filter(slug=options["tenant"], status="active").first()
        if tenant is None:
            raise CommandError(f"There is no active tenant {options['tenant']!r}.")
        ref = tenant.ref()
        actor = CommandLine(ref, None, None, "command", frozenset({KNOWLEDGE_READ, KNOWLEDGE_WRITE}))
        work = {"import": self._import, "export": self._export, "reindex": self._reindex}[options["what"]]
        try:
            with scope.bind(ref):
                work(actor, options)
        except PaasError as error:
            raise CommandError(error.message) from None
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from None

    def _import(self, actor: Actor, options: dict[str, Any]) -> None:
        done = folder_import(actor, options["base"], options["folder"], self.stdout.write, dry_run=options["dry_run"])
        self.stdout.write(f"{options['base']}: {done}{' (dry run)' * options['dry_run']}")
        if done.refused:
            raise CommandError(f"{done.refused} files were refused.")

    def _export(self, actor: Actor, options: dict[str, Any]) -> None:
        count = folder_export(actor, options["base"], options["folder"], self.stdout.write)
        self.stdout.write(f"{options['base']}: {count} documents in {options['folder']}")

    def _reindex(self, actor: Actor, options: dict[str, Any]) -> None:
        settings = {name: options[name] for name in ("chunk_size", "chunk_overlap", "ocr") if options[name] is not None}
        if settings:
            base_update(actor=actor, slug=options["base"], fields=settings)
        model = {name: options[name] for name in FIXED if options[name] is not None}
        count = base_reindex(actor=actor, slug=options["base"], model=model)
        self.stdout.write(f"{options['base']}: {count} documents are read anew; each is found as before till then")
