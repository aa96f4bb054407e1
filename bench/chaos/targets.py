"""One measurement for each promise about faults: T8 to T12 here, T13 to T16 in crowding.py, P48 in deciding.py.

Each prints what was measured beside what was promised. A violation that the audit finds misses any of them.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from bench.chaos.audit import calls_of, tag_of
from bench.chaos.clients import Habits
from bench.chaos.drive import Load, Outcome, drive, ledger_command
from bench.chaos.place import Place, Servers
from bench.load import percentile
from bench.machine import describe

PROBE_SECONDS = 0.05
READ = "/api/v1/conversations"

Act = Callable[[Place, random.Random], Awaitable[None]]


@dataclass(slots=True)
class Probe:
    """Plain reads, one after the other, by one client: (when, status or 0, seconds), while faults happen."""

    found: list[tuple[float, int, float]] = field(default_factory=list)

    async def run(self, place: Place, key: str) -> None:
        """Ask until cancelled, of the web processes in turn, past the proxies."""
        headers = {"Host": place.host, "Authorization": f"Bearer {key}"}
        timeout = aiohttp.ClientTimeout(10)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as client:
            while True:
                for web in place.webs:
                    began = time.monotonic()
                    try:
                        async with client.get(f"http://127.0.0.1:{web.port}{READ}") as answer:
                            await answer.read()
                            status = answer.status
                    except (aiohttp.ClientError, TimeoutError, OSError):
                        status = 0
                    self.found.append((began, status, time.monotonic() - began))
                    await asyncio.sleep(PROBE_SECONDS)

    def failed(self, after: float = 0.0) -> int:
        """How many were no 200."""
        return sum(status != 200 for began, status, _ in self.found if began >= after)


@dataclass(slots=True)
class Measured:
    """Figures of one target by name, and whether all that was promised holds."""

    target: str
    promised: str
    figures: dict[str, Any]
    passed: bool

    def view(self) -> dict[str, Any]:
        """As JSON."""
        return {"target": self.target, "promised": self.promised, "measured": self.figures, "passed": self.passed}


async def under(
    place: Place, seed: int, habits: Habits, act: Callable[[], Coroutine[Any, Any, None]], seconds: float, clients: int
) -> Outcome:
    """Load for `seconds`, and `act` beside it, which has to be over by then; audited."""
    from bench.chaos.__main__ import KEY, SLUG

    acting = asyncio.create_task(act())
    load = Load(clients, KEY, SLUG, habits, seed)
    outcome = await drive(place, load, [], seconds, verify=ledger_command)
    await acting
    return outcome


def taken_over(outcome: Outcome, place: Place) -> list[float]:
    """For each run that another process had to end: seconds from the vendor's last token until it was settled."""
    calls, offset = calls_of(place.vendor.stats.records), time.time() - time.monotonic()
    found = []
    for run in outcome.books.runs.values():
        call = calls.get(tag_of(run))
        if run.fence > 1 and call is not None:
            found.append(run.settled_at - offset - max(record.ended for record in call.attempts))
    return found


async def t8(servers: Servers, seed: int) -> Measured:
    """A hundred kill -9 of web processes under load."""
    from bench.chaos.__main__ import loaded

    dice, kills, seconds = random.Random(seed), 100, 0.0
    async with loaded(servers) as place:
        began = time.monotonic()
        done = asyncio.Event()

        async def act() -> None:
            for number in range(kills):
                await asyncio.sleep(dice.uniform(0.3, 1.5))
                victim = place.webs[number % 2]
                victim.kill()
                await victim.ready()
            done.set()

        async def loads() -> list[Outcome]:
            """Load until the last kill, in stretches of which each is audited with all before it."""
            outcomes: list[Outcome] = []
            acting = asyncio.create_task(act())
            while not done.is_set():
                part = await _stretch(place, seed + len(outcomes), 30.0)
                outcomes.append(part)
            await acting
            return outcomes

        outcomes = await loads()
        seconds = time.monotonic() - began
        last = outcomes[-1]
        took = taken_over(last, place)
        violations = [one for outcome in outcomes for one in outcome.findings.violations]
    under_counts = max(outcome.findings.counts["largest under-count of a call"] for outcome in outcomes)
    figures = {
        "kill -9": kills,
        "runs": last.findings.counts["runs"],
        "runs that another process ended": len(took),
        "unsettled, lost, duplicated, over-counted (violations)": len(violations),
        "largest under-count, tokens": under_counts,
        "settled after, max s": round(max(took, default=0.0), 1),
        "seconds": round(seconds),
        "violations": violations[:10],
    }
    good = not violations and len(took) > 0 and max(took) <= 60
    return Measured("T8", "0 unsettled / lost / duplicated; under-count <= 64 tokens or 1 s; <= 60 s", figures, good)


async def _stretch(place: Place, seed: int, seconds: float) -> Outcome:
    from bench.chaos.__main__ import KEY, SLUG

    habits = Habits(("paced", "long"), leave=0.0, stop=0.0)
    return await drive(place, Load(16, KEY, SLUG, habits, seed, f"s{seed}c"), [], seconds, verify=ledger_command)


async def t9(servers: Servers, seed: int) -> Measured:
    """Two hundred random disconnects at least: by the client, and by the line."""
    from bench.chaos.__main__ import loaded

    async with loaded(servers) as place:

        async def act() -> None:
            for number in range(20):
                await asyncio.sleep(1)
                place.line("client")[number % 2].cut()

        outcome = await under(
            place, seed, Habits(("paced",), leave=0.01, stop=0.0, kinds=("sse", "websocket")), act, 25, 12
        )
    p95 = percentile(outcome.resumes, 0.95) * 1000
    violations = outcome.findings.violations
    figures = {
        "disconnects": len(outcome.resumes),
        "answers": len(outcome.seen),
        "not identical (violations)": len(violations),
        "resume p50 ms": round(percentile(outcome.resumes, 0.5) * 1000, 1),
        "resume p95 ms": round(p95, 1),
        "violations": violations[:10],
    }
    good = not violations and len(outcome.resumes) >= 200 and p95 <= 300
    return Measured("T9", "200 disconnects: identical; resume p95 <= 300 ms", figures, good)


async def t10(servers: Servers, seed: int) -> Measured:
    """kill -9 of Redis, five times, under load, with plain reads beside it."""
    from bench.chaos.__main__ import KEY, loaded

    probe = Probe()
    async with loaded(servers) as place:

        async def act() -> None:
            asking = asyncio.create_task(probe.run(place, KEY))
            for _ in range(5):
                await asyncio.sleep(5)
                place.kill_redis()
            await asyncio.sleep(3)
            asking.cancel()

        outcome = await under(place, seed, Habits(("paced", "long"), leave=0.004, stop=0.0), act, 30, 12)
    silence = max((one.silence for one in outcome.seen if one.kind != "openai"), default=0.0)
    reads = 1 - probe.failed() / max(1, len(probe.found))
    violations = outcome.findings.violations
    figures = {
        "lost runs or entries (violations)": len(violations),
        "longest silence of a reader, s": round(silence, 2),
        "reads answered": f"{reads:.2%} of {len(probe.found)}",
        "answers": len(outcome.seen),
        "violations": violations[:10],
    }
    good = not violations and silence <= 15 and reads >= 0.99
    return Measured("T10", "0 lost; a reader catches up in <= 15 s; reads >= 99 %", figures, good)


async def t11(servers: Servers, seed: int) -> Measured:
    """An immediate shutdown and a start of PostgreSQL, three times."""
    from bench.chaos.__main__ import KEY, loaded

    probe, ready = Probe(), list[float]()
    async with loaded(servers) as place:

        async def act() -> None:
            asking = asyncio.create_task(probe.run(place, KEY))
            for _ in range(3):
                await asyncio.sleep(4)
                place.crash_postgres()
                ready.append(time.monotonic())
                await asyncio.sleep(8)
            asking.cancel()

        outcome = await under(place, seed, Habits(("paced", "long"), leave=0.004, stop=0.0), act, 40, 12)
    late = [sum(s != 200 for b, s, _ in probe.found if at + 5 <= b < at + 8) for at in ready]
    early = [sum(s != 200 for b, s, _ in probe.found if at <= b < at + 5) for at in ready]
    violations = outcome.findings.violations
    figures = {
        "failed reads from 5 s after ready": late,
        "failed reads before": early,
        "runs without an end, or wrong (violations)": len(violations),
        "answers": len(outcome.seen),
        "violations": violations[:10],
    }
    good = not violations and not any(late) and max(early) <= 2 * 16
    return Measured("T11", "0 errors 5 s after ready, <= 1 a pooled connection before; all runs end", figures, good)


async def t12(servers: Servers, seed: int) -> Measured:
    """A web process with running answers and every worker are killed at once, three times."""
    from bench.chaos.__main__ import loaded

    async with loaded(servers) as place:

        async def act() -> None:
            for number in range(3):
                await asyncio.sleep(3)
                for part in (place.webs[number % 2], *place.workers):
                    part.kill()
                await asyncio.sleep(35)

        outcome = await under(place, seed, Habits(("long",), leave=0.0, stop=0.0), act, 115, 12)
        took = taken_over(outcome, place)
    violations = outcome.findings.violations
    figures = {
        "runs that another process ended": len(took),
        "picked up and ended after, max s": round(max(took, default=0.0), 1),
        "ended twice, or wrong (violations)": len(violations),
        "violations": violations[:10],
    }
    good = not violations and bool(took) and max(took) <= 30
    return Measured("T12", "picked up in <= 30 s (lease 15 s); nothing twice", figures, good)


async def measure(servers: Servers, names: str, seed: int) -> dict[str, Any]:
    """The targets named (`T9`, `T9,T12` or `all`), one after the other."""
    from bench.chaos import crowding, deciding

    known = {"T8": t8, "T9": t9, "T10": t10, "T11": t11, "T12": t12} | crowding.TARGETS | {"P48": deciding.p48}
    chosen = list(known) if names == "all" else names.upper().split(",")
    measured = []
    for name in chosen:
        measured.append((await known[name](servers, seed)).view())
        print(measured[-1], flush=True)
    passed = all(one["passed"] for one in measured)
    return {"seed": seed, "machine": describe(), "targets": measured, "passed": passed}
