"""Which faults come when: made from a seed before anything starts, so that a run can be had again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.chaos.place import LINKS, Place

LONG_STOP_SECONDS = 17.0  # past a lease of 15 s: whoever wakes up after it finds its runs ended by others
LINE_KINDS = ("cut", "refuse", "stall", "delay", "half")
REST_SECONDS = (3.0, 6.0)  # between two faults: every part has the others again before the next one is hurt
LEAST_REST = 1.5  # s, where the one before took its time: PostgreSQL gets a checkpoint of every log each second
# The log of a process that is gone is in Redis alone until a worker has ended its runs: a lease, a sweep, and Redis'
# own rest. What empties Redis comes after that.
RECOVERED_SECONDS = 25.0
DEADLY = frozenset({"web.kill", "web.sleep", "web.term", "worker.kill"})

# (what, at most so many seconds, how often among the others). One part at a time: two that fail at once may lose
# what each would have kept for the other (bench/README.md, "Faults").
PARTS: tuple[tuple[str, float, int], ...] = (
    ("web.kill", 0, 6),
    ("web.stop", 3, 2),
    ("web.sleep", LONG_STOP_SECONDS, 1),
    ("web.term", 0, 2),
    ("worker.kill", 0, 2),
    ("worker.stop", 3, 1),
    ("postgres.crash", 0, 2),
    ("redis.kill", 0, 3),
    ("redis.stop", 3, 1),
    ("redis.flush", 0, 1),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """`what` is done `at` seconds after the start, to the `number`-th of its kind, for `seconds`."""

    at: float
    what: str
    seconds: float
    number: int

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.at:6.1f} s  {self.what} #{self.number}{lasting}"


def plan(seed: int, seconds: float) -> list[Fault]:
    """Faults for so long; the same for the same seed."""
    dice = random.Random(seed)
    kinds = list(PARTS) + [(f"{link}.{kind}", 2.0, 1) for link in LINKS for kind in LINE_KINDS]
    weights = [weight for _, _, weight in kinds]
    found: list[Fault] = []
    at, recovered = 2.0, 0.0
    while True:
        what, most, _ = dice.choices(kinds, weights)[0]
        if what == "redis.flush" and at < recovered:
            continue
        lasts = most if what == "web.sleep" else dice.uniform(0.2, most) if most else 0.0
        if what == "vendor.stall":
            lasts = min(lasts, 0.5)  # what the vendor sends meanwhile counts as lost, and 1 s of it may be
        if at + lasts > seconds:
            return found
        found.append(Fault(round(at, 2), what, round(lasts, 2), dice.randrange(2)))
        if what in DEADLY:
            recovered = at + lasts + RECOVERED_SECONDS
        at += lasts + dice.uniform(*REST_SECONDS)


async def strike(place: Place, fault: Fault) -> None:
    """Do it, and undo it after its time."""
    part, kind = fault.what.split(".")
    if part in ("web", "worker"):
        await _strike_process(place, part, kind, fault)
    elif fault.what == "postgres.crash":
        place.crash_postgres()
    elif fault.what == "redis.kill":
        place.kill_redis()
    elif fault.what == "redis.stop":
        await _stopped(place.servers.redis.pid, fault.seconds)
    elif fault.what == "redis.flush":
        from redis import Redis

        with Redis.from_url(place.servers.redis.url) as client:
            client.flushall()
    else:
        await _strike_line(place, part, kind, fault)


async def _strike_process(place: Place, part: str, kind: str, fault: Fault) -> None:
    parts = place.webs if part == "web" else place.workers
    if not parts:
        return
    victim = parts[fault.number % len(parts)]
    if kind == "kill":
        victim.kill()
        await victim.ready()
    elif kind == "term":
        await victim.restart()
        await victim.ready()
    else:
        await victim.stop_for(fault.seconds)


async def _strike_line(place: Place, link: str, kind: str, fault: Fault) -> None:
    proxies = place.line(link)
    struck = [proxies[fault.number % len(proxies)]]
    try:
        for proxy in struck:
            if kind == "half":
                proxy.half_close(fault.number)
            else:
                getattr(proxy, kind)()
        await asyncio.sleep(fault.seconds if kind in ("refuse", "stall", "delay") else 0)
    finally:
        for proxy in struck:
            proxy.heal()


async def _stopped(pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


async def carry_out(place: Place, faults: Sequence[Fault], started: float) -> None:
    """All of them, each at its time (`started`: `time.monotonic()`). One that takes longer than was planned, as a drain
    does, puts off those that follow, so that no two come at once."""
    late, earliest, before = 0.0, 0.0, 0.0
    for fault in faults:
        late = max(late, earliest + min(LEAST_REST, fault.at - before) - fault.at)
        await asyncio.sleep(max(0.0, started + fault.at + late - time.monotonic()))
        print(f"{time.monotonic() - started:6.1f} s  {fault}", file=sys.stderr, flush=True)
        await strike(place, fault)
        earliest, before = time.monotonic() - started, fault.at + fault.seconds
