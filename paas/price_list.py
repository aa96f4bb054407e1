"""Takes the maintained price list (llm/catalog.json) over into the price history."""

from __future__ import annotations

from datetime import UTC, datetime, time

from agents.charges import rates_of
from llm import catalog
from tenants import scope
from usage.prices import prices_sync


def sync() -> int:
    """Add what the list says differently from the newest rows; returns how many rows are new."""
    day, source, listed = catalog.listing()
    entries = [(vendor, name, rates_of(info)) for vendor, name, info in listed]
    with scope.platform():
        return prices_sync(entries=entries, source=f"{source} {day}", since=datetime.combine(day, time.min, UTC))
