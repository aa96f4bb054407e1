"""Whether anybody changed the ledger."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import scope
from tenants.models import Tenant
from usage import chain, invoices


class Command(BaseCommand):
    help = (
        "Compute the ledger's seals, costs and invoices again and compare. Changes nothing. Exit code 1 when an entry "
        "was changed, removed or put in. Keep the printed heads elsewhere: with them, even a ledger that was written "
        "anew is found out."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", help="only this tenant's ledger (its slug)")
        parser.add_argument("--newest", action="store_true", help="only entries since the last verification")
        parser.add_argument("--json", action="store_true", help="print as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        with scope.platform():
            try:
                found = [one for one, _ in chain.verify_all(slug=options["tenant"], newest=options["newest"])]
            except Tenant.DoesNotExist:
                raise CommandError(f"There is no tenant {options['tenant']!r}.") from None
            missing = invoices.missing_numbers()
        broken = [verdict for verdict in found if verdict.problem]
        if options["json"]:
            said = {
                "ledgers": [verdict.view() for verdict in found],
                "broken": len(broken),
                "missing_invoices": missing,
            }
            self.stdout.write(json.dumps(said))
        else:
            self._print(found)
        if broken:
            raise CommandError(f"{len(broken)} of {len(found)} ledgers are not whole.")
        if missing:
            raise CommandError(f"The invoices are not whole: there is no number {', '.join(map(str, missing))}.")

    def _print(self, found: list[chain.Verdict]) -> None:
        width = max((len(verdict.name) for verdict in found), default=0)
        for verdict in found:
            line = f"{verdict.name.ljust(width)}  #{verdict.seq:<8} {verdict.digest.hex() or '-'}"
            if verdict.problem:
                self.stdout.write(self.style.ERROR(f"{line}  BROKEN  {verdict.problem}"))
            else:
                waiting = f"  ({verdict.waiting} not sealed yet)" if verdict.waiting else ""
                self.stdout.write(f"{line}{waiting}")
