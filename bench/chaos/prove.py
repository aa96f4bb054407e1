"""Whether the audit would notice: each defect of defects.py must be reported, and nothing where there is none."""

from __future__ import annotations

import sys
import time
from contextlib import AsyncExitStack
from typing import Any

from bench.chaos.books import Reader
from bench.chaos.clients import Habits
from bench.chaos.defects import DEFECTS, MEND, PRELUDE, Defect
from bench.chaos.drive import Load, drive, ledger_command
from bench.chaos.place import Place, Servers

SECONDS = 2.5
CLIENTS = 6
SEAL_SECONDS = 30.0


async def prove(servers: Servers, seed: int) -> dict[str, Any]:
    """Every defect in turn. `passed`: all were found, and only they."""
    from bench.chaos.__main__ import loaded

    found: dict[str, dict[str, Any]] = {}
    async with AsyncExitStack() as stack:
        place: Place | None = None
        for name, defect in DEFECTS.items():
            began = time.monotonic()
            if defect.web is not None or place is None:
                await stack.aclose()
                prelude = PRELUDE.format(name=name) if defect.web else ""
                place = await stack.enter_async_context(loaded(servers, workers=1, prelude=prelude))
            violations = await attempt(place, defect, seed)
            if defect.web is not None:
                place = None
            met = [sentence for sentence in violations if defect.found_by in sentence]
            good = bool(met) if defect.found_by else not violations
            found[name] = {"found": good, "seconds": round(time.monotonic() - began, 1), "by": (met or violations)[:1]}
            print(f"{'found ' if good else 'MISSED'} {name}: {(met or violations)[:2]}", file=sys.stderr, flush=True)
    return {"seed": seed, "defects": found, "passed": all(one["found"] for one in found.values())}


async def attempt(place: Place, defect: Defect, seed: int) -> list[str]:
    """A short load on the broken product, and what the audit says."""
    from bench.chaos.__main__ import KEY, SLUG

    Reader(place.database, SLUG).empty()
    place.vendor.stats.reset()
    if defect.sql:
        _execute(place, defect.sql)

    def verify(place: Place) -> list[str]:
        if defect.tamper:
            _wait_for_seals(place)
            _execute(place, defect.tamper)
        return ledger_command(place)

    habits = Habits(defect.agents, leave=defect.leave, kinds=defect.kinds)
    try:
        load = Load(CLIENTS, KEY, SLUG, habits, seed)
        outcome = await drive(
            place, load, [], SECONDS, verify=verify, patience=defect.patience if defect.found_by else 60
        )
    finally:
        _execute(place, MEND)
    return outcome.findings.violations


def _execute(place: Place, sql: str) -> None:
    with place.database() as connection:
        row = connection.execute("SELECT schema_name FROM public.tenants_tenant WHERE slug = 'chaos'").fetchone()
        assert row is not None
        connection.execute(f"SET search_path = {row['schema_name']}, public; {sql}".encode())


def _wait_for_seals(place: Place) -> None:
    deadline = time.monotonic() + SEAL_SECONDS
    while time.monotonic() < deadline:
        with place.database() as connection:
            row = connection.execute("SELECT count(*) AS seals FROM public.usage_seal").fetchone()
        if row and row["seals"]:
            return
        time.sleep(0.2)
    raise RuntimeError("Nothing was sealed.")
