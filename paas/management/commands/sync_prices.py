"""The maintained price list into the price history."""

from typing import Any

from django.core.management.base import BaseCommand

from paas import price_list


class Command(BaseCommand):
    help = (
        "Add to the price history what llm/catalog.json says differently; a change holds from a minute from now. "
        "Prices that an operator has set are left alone. Also part of `migrate_all` and `prepare`."
    )
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        count = price_list.sync()
        self.stdout.write(f"{count} prices added" if count else "the price history is up to date")
