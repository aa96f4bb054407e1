"""Whether anybody changed the audit logs."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import audit_chain
from core.chain import Verdict
from tenants import scope
from tenants.models import Tenant


class Command(BaseCommand):
    help = (
        "Compute the digests of the audit logs again and compare. Changes nothing. Exit code 1 when a row was changed, "
        "removed or put in. Keep the printed heads elsewhere: with them, even a log that was written anew is found out."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", help="only this tenant's log (its slug)")
        parser.add_argument("--newest", action="store_true", help="only rows since the last verification")
        parser.add_argument("--json", action="store_true", help="print as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        with scope.platform():
            try:
                found = [one for one, _ in audit_chain.verify_all(slug=options["tenant"], newest=options["newest"])]
            except Tenant.DoesNotExist:
                raise CommandError(f"There is no tenant {options['tenant']!r}.") from None
        broken = [verdict for verdict in found if verdict.problem]
        if options["json"]:
            self.stdout.write(json.dumps({"logs": [verdict.view() for verdict in found], "broken": len(broken)}))
        else:
            self._print(found)
        if broken:
            raise CommandError(f"{len(broken)} of {len(found)} audit logs are not whole.")

    def _print(self, found: list[Verdict]) -> None:
        width = max(len(verdict.name) for verdict in found)
        for verdict in found:
            line = f"{verdict.name.ljust(width)}  #{verdict.seq:<8} {verdict.digest.hex() or '-'}"
            if verdict.problem:
                self.stdout.write(self.style.ERROR(f"{line}  BROKEN  {verdict.problem}"))
            else:
                self.stdout.write(line)
