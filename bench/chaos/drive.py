"""Load, faults, and then the audit, on an installation that stands."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.chaos.audit import Findings, audit
from bench.chaos.books import Books, Reader
from bench.chaos.clients import Client, Habits, Seen
from bench.chaos.place import Place
from bench.chaos.plan import Fault, carry_out
from bench.load import percentile
from bench.processes import ROOT

SETTLED_SECONDS = 60.0  # after the last fault everything is settled (T8)
LATE_SECONDS = 30.0  # how much later is still looked, to tell how late it was

Verify = Callable[[Place], list[str]]


@dataclass(frozen=True, slots=True)
class Load:
    """Who asks: so many clients, with a key, of a tenant, under a seed; `name` begins their tags."""

    clients: int
    key: str
    slug: str
    habits: Habits
    seed: int = 1
    name: str = "c"


@dataclass(slots=True)
class Outcome:
    """What came of it. settled: seconds from the end of the load until nothing was held."""

    seen: list[Seen]
    books: Books
    statuses: Counter[str]
    settled: float
    findings: Findings
    seconds: float
    faults: Sequence[Fault] = field(default_factory=list)

    @property
    def resumes(self) -> list[float]:
        """How long each coming back took, in seconds."""
        return [seconds for one in self.seen for seconds in one.resumes]

    def report(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "seconds": round(self.seconds, 1),
            "faults": dict(Counter(fault.what for fault in self.faults)),
            "settled after s": round(self.settled, 1),
            "resume p50 ms": round(percentile(self.resumes, 0.5) * 1000, 1),
            "resume p95 ms": round(percentile(self.resumes, 0.95) * 1000, 1),
            "answers of the platform": dict(self.statuses.most_common()),
            **self.findings.counts,
            "violations": self.findings.violations[:50],
            "violations in all": len(self.findings.violations),
            "passed": not self.findings.violations,
        }


async def drive(
    place: Place,
    load: Load,
    faults: Sequence[Fault],
    seconds: float,
    *,
    verify: Verify,
    hasten: Callable[[], Awaitable[None]] | None = None,
    patience: float = SETTLED_SECONDS + LATE_SECONDS,
) -> Outcome:
    """Clients ask for `seconds`, and until all faults have come; then all is settled, and audited.

    `verify` looks at the ledger's chain. `hasten`, if there is one, does what workers would do in time.
    `patience`: seconds to wait for all to be settled.
    """
    started = time.monotonic()
    clients = [
        Client(f"{load.name}{number}", load.seed, place.doors, place.host, load.key, load.habits)
        for number in range(load.clients)
    ]
    try:
        hurting = asyncio.create_task(carry_out(place, faults, started))

        def over() -> bool:
            return time.monotonic() >= started + seconds and hurting.done()

        await asyncio.gather(hurting, *(client.run(over) for client in clients))
    finally:
        await asyncio.gather(*(client.close() for client in clients))
    seen = [one for client in clients for one in client.seen]
    settled = await _settle(place, load.slug, hasten, patience)
    chain = await asyncio.to_thread(verify, place)  # the proxies go on meanwhile
    books = Reader(place.database, load.slug).read(chain)
    findings = audit(seen, list(place.vendor.stats.records), books, place.blind)
    if settled > SETTLED_SECONDS:
        findings.wrong(f"settled {settled:.0f} s after the load")
    statuses = sum((client.statuses for client in clients), Counter[str]())
    return Outcome(seen, books, statuses, settled, findings, time.monotonic() - started, faults)


async def _settle(place: Place, slug: str, hasten: Callable[[], Awaitable[None]] | None, patience: float) -> float:
    began = time.monotonic()
    reader = Reader(place.database, slug)
    while reader.left() and time.monotonic() - began < patience:
        if hasten is not None:
            await hasten()
        await asyncio.sleep(0.2)
    settled = time.monotonic() - began
    while any(not record.ended for record in place.vendor.stats.records) and time.monotonic() - began < settled + 5:
        await asyncio.sleep(0.05)  # the vendor hears a moment later that its client has gone
    return settled


def ledger_command(place: Place) -> list[str]:
    """What `manage.py verify_ledger` finds wrong, past the proxies."""
    done = subprocess.run(
        [sys.executable, "manage.py", "verify_ledger"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return [done.stderr.strip() or done.stdout.strip()] if done.returncode else []
