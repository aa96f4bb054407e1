"""Guessing of passwords as a load: `python -m bench.flood` (security.md T23).

A hundred sign-ins a second with wrong passwords for a minute, for ever new addresses, so that no limit of one account
holds them back; beside that somebody else's ordinary requests, whose time counts.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from typing import Any

import aiohttp

from bench.crowd import stage
from bench.load import percentile
from bench.machine import describe

TARGET_MS = 300.0
OTHERS_A_SECOND = 20
OTHERS = ("/api/v1/me", "/api/v1/agents", "/api/v1/conversations")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.flood", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rate", type=int, default=100, help="sign-ins a second (default 100)")
    options = parser.parse_args()
    where = describe()
    with stage(2) as (port, customers):
        quiet, _ = asyncio.run(_measured(port, customers, min(options.seconds, 10), 0))
        flooded, answers = asyncio.run(_measured(port, customers, options.seconds, options.rate))
    p99 = percentile(flooded, 0.99) * 1000
    print(
        f"`python -m bench.flood` at {where['commit']}: {where['processor']}, {where['cores']} cores, "
        f"load {where['load_average'][0]} before; {options.rate} sign-ins a second for {options.seconds} s, "
        f"{OTHERS_A_SECOND} other requests a second.\n\n"
        "| other requests | p50 | p99 | |\n|---|--:|--:|---|\n"
        f"| without the flood | {percentile(quiet, 0.5) * 1000:.1f} ms | {percentile(quiet, 0.99) * 1000:.1f} ms | |\n"
        f"| during the flood | {percentile(flooded, 0.5) * 1000:.1f} ms | {p99:.1f} ms "
        f"| {'PASS' if p99 <= TARGET_MS else 'MISSED'}: at most {TARGET_MS:.0f} ms |\n\n"
        f"The flood was answered with {dict(answers)} (0: no answer within 10 s)."
    )
    return 0 if p99 <= TARGET_MS else 1


async def _measured(port: int, customers: list[Any], seconds: int, rate: int) -> tuple[list[float], Counter[int]]:
    """Seconds of each of the other requests, and how the flood was answered."""
    attacked, other = customers
    answers: Counter[int] = Counter()
    taken: list[float] = []
    base, ends = f"http://127.0.0.1:{port}", time.monotonic() + seconds
    limits = aiohttp.TCPConnector(limit=400)
    async with aiohttp.ClientSession(connector=limits, timeout=aiohttp.ClientTimeout(total=10)) as client:

        async def guess(number: int) -> None:
            body = {"email": f"nobody{number}@guess.test", "password": "wrong-on-purpose"}
            try:
                async with client.post(f"{base}/api/auth/login", json=body, headers={"Host": attacked.host}) as answer:
                    answers[answer.status] += 1
            except (aiohttp.ClientError, TimeoutError):
                answers[0] += 1

        async def ask(number: int) -> None:
            headers = {"Host": other.host, "Authorization": f"Bearer {other.token}"}
            started = time.perf_counter()
            try:
                async with client.get(base + OTHERS[number % len(OTHERS)], headers=headers) as answer:
                    await answer.read()
                    if answer.status != 200:
                        raise RuntimeError(f"somebody else's request was answered with {answer.status}")
            except TimeoutError:
                pass  # it counts as the ten seconds that were waited
            taken.append(time.perf_counter() - started)

        async def steadily(work: Any, a_second: int) -> None:
            tasks, begun = set[asyncio.Task[None]](), time.monotonic()
            while a_second and time.monotonic() < ends:
                while len(tasks) < (time.monotonic() - begun) * a_second:
                    tasks.add(asyncio.create_task(work(len(tasks))))
                await asyncio.sleep(0.005)
            await asyncio.gather(*tasks)

        await asyncio.gather(steadily(guess, rate), steadily(ask, OTHERS_A_SECOND))
    return taken, answers


if __name__ == "__main__":
    sys.exit(main())
