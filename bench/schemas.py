"""A thousand tenants: migrations, creation, and what a request costs beside ten (security.md T21, T22).

`python -m bench.schemas [--tenants 1000]`: two platforms of their own on this machine, one with ten tenants and one
with many. Their requests take turns, so that both have the machine of the same minute; what takes long happens on the
large one afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import subprocess
import sys
import time
from typing import Any

import aiohttp
import orjson

from bench.load import percentile
from bench.machine import describe
from bench.processes import ROOT

PATHS = ("/api/v1/me", "/api/v1/agents", "/api/v1/conversations", "/chat/", "/api/v1/me")
VISIT = 2  # times PATHS: what somebody's browser asks in a few seconds
FEW = 10
STOPPED_SECONDS = 300.0  # files of a thousand schemas are deleted
NO_OP_SECONDS, MIGRATION_SECONDS, CREATION_SECONDS, REQUEST_SHARE = 10.0, 600.0, 3.0, 1.1


class Platform:
    """A `bench.crowd`, and the words it takes."""

    def __init__(self, tenants: int) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "bench.crowd", str(tenants)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.port, self.who = 0, list[tuple[str, str]]()

    @property
    def pid(self) -> int:
        """The process above all of its own."""
        return self._child.pid

    def say(self, word: str) -> dict[str, Any]:
        """Have it do something; what it answers. Raises RuntimeError when it has ended."""
        assert self._child.stdin
        assert self._child.stdout
        self._child.stdin.write(f"{word}\n".encode())
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError("The platform has ended; see what it said above.")
        return dict(orjson.loads(line))

    def close(self) -> None:
        """Its input ends, and so it does."""
        assert self._child.stdin
        self._child.stdin.close()
        self._child.wait(STOPPED_SECONDS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.schemas", description=__doc__)
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--visits", type=int, default=400, help="visits to each platform (default 400)")
    options = parser.parse_args()
    where = describe()
    few, many = Platform(FEW), Platform(options.tenants)
    try:
        made = _served(few), _served(many)
        visits = asyncio.run(_visits(few, many, options.visits))
        creation = many.say("create")
        migration = many.say("migrate")
    finally:
        few.close()
        many.close()
    found = verdicts(visits, creation, migration)
    print(markdown(where, options.tenants, made[1], visits, creation, migration, found))
    return 0 if all(met for _, _, met in found) else 1


def _served(platform: Platform) -> list[float]:
    said = platform.say("serve")
    platform.port, platform.who = said["port"], [tuple(one) for one in said["who"]]
    return list(said["seconds"])


async def _visits(few: Platform, many: Platform, count: int) -> dict[str, list[list[float]]]:
    """Platform -> seconds of each request of each visit; the first visit of all is not counted."""
    found: dict[str, list[list[float]]] = {"few": [], "many": []}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
        for turn in range(count + 1):
            for name, platform in (("few", few), ("many", many)):
                host, session = random.choice(platform.who)
                headers = {"Host": host, "Cookie": f"sessionid={session}"}
                visit = []
                for path in PATHS * VISIT:
                    started = time.perf_counter()
                    url = f"http://127.0.0.1:{platform.port}{path}"
                    async with client.get(url, headers=headers, allow_redirects=False) as answer:
                        await answer.read()
                        if answer.status != 200:
                            raise RuntimeError(f"{path}: {answer.status}")
                    visit.append(time.perf_counter() - started)
                if turn:
                    found[name].append(visit)
    return found


def _median_ms(visits: list[list[float]]) -> float:
    return statistics.median(second for visit in visits for second in visit) * 1000


def verdicts(visits: Any, creation: Any, migration: Any) -> list[tuple[str, str, bool]]:
    """(target, measured, met)."""
    share = _median_ms(visits["many"]) / _median_ms(visits["few"])
    whole = sum(stretch["seconds"] for stretch in migration["stretches"])
    p95 = percentile(creation["seconds"], 0.95)
    orphans = creation["orphans"]
    lost = orphans["roles"] + orphans["schemas"] + orphans["without a schema"]
    alike = migration["with the column"] == migration["schemas"] and not migration["drift"]
    return [
        ("T21 nothing to do: at most 10 s", f"{max(migration['nothing to do']):.1f} s",
         max(migration["nothing to do"]) <= NO_OP_SECONDS),
        ("T21 additive migration: at most 10 min, with five kill -9", f"{whole:.0f} s", whole <= MIGRATION_SECONDS),
        ("T21 every schema is alike afterwards",
         f"{migration['with the column']} of {migration['schemas']}, {len(migration['drift'])} differ", alike),
        ("T22 creation p95: at most 3 s", f"{p95:.2f} s", p95 <= CREATION_SECONDS),
        ("T22 nothing left over after five kill -9", f"{lost}", lost == 0),
        ("median request at most 1.1 x that with ten tenants", f"{share:.2f} x", share <= REQUEST_SHARE),
    ]  # fmt: skip


def markdown(
    where: Any, tenants: int, made: list[float], visits: Any, creation: Any, migration: Any, found: Any
) -> str:
    """The report."""
    few, many = visits["few"], visits["many"]
    first = [statistics.median(visit[0] for visit in one) * 1000 for one in (few, many)]
    p95 = [percentile([second for visit in one for second in visit], 0.95) * 1000 for one in (few, many)]
    stretches = ", ".join(f"{one['begun']} in {one['seconds']:.0f} s" for one in migration["stretches"])
    rows = [f"| {target} | {measured} | {'PASS' if met else 'MISSED'} |" for target, measured, met in found]
    return "\n".join(
        [
            f"`python -m bench.schemas --tenants {tenants}` at {where['commit']}: {where['processor']}, "
            f"{where['cores']} cores, {where['memory_gb']} GB, load {where['load_average'][0]} before.",
            "",
            "| target | measured | |", "|---|--:|---|", *rows, "",
            f"- {len(many)} visits of {len(many[0])} requests: median {_median_ms(few):.2f} ms with {FEW} tenants, "
            f"{_median_ms(many):.2f} ms with {tenants}; p95 {p95[0]:.1f} and {p95[1]:.1f} ms; the first request of a "
            f"visit {first[0]:.2f} and {first[1]:.2f} ms",
            f"- tenants of the crowd, one after the other: median {statistics.median(made):.3f} s, the last hundred "
            f"{statistics.median(made[-100:]):.3f} s; by request and worker, median "
            f"{statistics.median(creation['seconds']):.3f} s",
            f"- creations killed {creation['killed']} times: {creation['orphans']}",
            f"- migration, killed {sum(one['killed'] for one in migration['stretches'])} times: {stretches}; nothing "
            f"to do before {migration['nothing to do'][0]:.1f} s, after {migration['nothing to do'][1]:.1f} s",
        ]
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
