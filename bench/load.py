"""The load generator: streams chat completions, checks every token, measures rates and times.

    python -m bench.load --url http://127.0.0.1:9900/v1 --scenario unpaced-8x200 --seconds 5

prints one JSON object. Its exit status is 1 if any answer was not whole and right. Scenarios:

    unpaced-8x200  8 streams at a time x 200 tokens, back to back, again and again: chunks per second
    paced-50       50 streams at once (50 ms, then 200 tokens 10 ms apart): time to first token
    alone          one such stream at a time (20 tokens): time to first token
    nonstream      16 keep-alive connections: requests per second
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import orjson
import uvloop

from bench.answers import token_text
from bench.client import Connection, Outcome, Target

MAX_REQUESTS = 200_000
"""A run never asks more than this, whatever its time says."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """`workers` connections, each asking `model` one request after the other.

    A scenario with `rounds` starts all workers at once so many times; one without runs for a time.
    """

    name: str
    model: str
    tokens: int
    workers: int
    stream: bool = True
    rounds: int | None = None


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("unpaced-8x200", "bench-0-0-200", 200, 8),
        Scenario("paced-50", "bench-50-10-200", 200, 50, rounds=1),
        Scenario("alone", "bench-50-10-20", 20, 1, rounds=8),
        Scenario("nonstream", "bench-0-0-200", 200, 16, stream=False),
    )
}


@dataclass(frozen=True, slots=True)
class Result:
    """What a run measured. Times in milliseconds, `seconds` is the wall clock of the whole run.

    `chunks` are events with text; a relay that joins tokens has fewer of them than `tokens`.
    """

    scenario: str
    requests: int
    failed: int
    failures: dict[str, int]
    seconds: float
    chunks: int
    tokens: int
    chunks_per_s: float
    requests_per_s: float
    ttft_p50_ms: float
    ttft_p95_ms: float
    ttft_max_ms: float
    total_p50_ms: float


def percentile(values: Iterable[float], fraction: float) -> float:
    """The value below which that fraction of the values lies (nearest rank); 0.0 of nothing."""
    ordered = sorted(values)
    return ordered[min(int(fraction * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def summarize(scenario: Scenario, outcomes: list[Outcome]) -> Result:
    """Check every answer and sum up. Only right answers enter the numbers."""
    expected = "".join(token_text(scenario.tokens))
    failures: Counter[str] = Counter()
    good: list[Outcome] = []
    for outcome in outcomes:
        if problem := outcome.problem(expected):
            failures[problem] += 1
        else:
            good.append(outcome)
    seconds = max(o.ended_at for o in outcomes) - min(o.sent_at for o in outcomes) if outcomes else 0.0
    chunks = sum(outcome.deltas for outcome in good)
    ttft = [outcome.ttft_ms for outcome in good]
    return Result(
        scenario=scenario.name,
        requests=len(outcomes),
        failed=len(outcomes) - len(good),
        failures=dict(failures.most_common(5)),
        seconds=round(seconds, 4),
        chunks=chunks,
        tokens=len(good) * scenario.tokens,
        chunks_per_s=round(chunks / seconds, 1) if seconds else 0.0,
        requests_per_s=round(len(good) / seconds, 2) if seconds else 0.0,
        ttft_p50_ms=round(statistics.median(ttft), 2) if ttft else 0.0,
        ttft_p95_ms=round(percentile(ttft, 0.95), 2),
        ttft_max_ms=round(max(ttft, default=0.0), 2),
        total_p50_ms=round(percentile([(o.ended_at - o.sent_at) * 1000 for o in good], 0.5), 2),
    )


async def _worker(target: Target, scenario: Scenario, connection: Connection, until: float | None) -> list[Outcome]:
    """Ask until the time is over, or once when there is none; reconnect where the server closed."""
    request = target.request(scenario.model, scenario.stream)
    outcomes: list[Outcome] = []
    for _ in range(MAX_REQUESTS // scenario.workers):
        if not connection.usable:
            connection.close()
            connection = await Connection.open(target)
        outcomes.append(await connection.ask(request))
        if until is None or time.perf_counter() >= until or outcomes[-1].error:
            break
    connection.close()
    return outcomes


async def run(target: Target, scenario: Scenario, seconds: float, rounds: int | None = None) -> Result:
    """Run a scenario for `seconds`, or for its rounds (`rounds` overrides how many).

    Connections are opened before the clock starts. Raises OSError when the target does not listen.
    """
    outcomes: list[Outcome] = []
    times = rounds or scenario.rounds
    for _ in range(times or 1):
        connections = [await Connection.open(target) for _ in range(scenario.workers)]
        until = None if times else time.perf_counter() + seconds
        work = [_worker(target, scenario, connection, until) for connection in connections]
        outcomes += itertools.chain.from_iterable(await asyncio.gather(*work))
    return summarize(scenario, outcomes)


def main() -> int:
    """Run one scenario and print its result."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__.split("\n")[0])
    parser.add_argument("--url", required=True, help="base URL that ends in /v1")
    parser.add_argument("--key", default=os.environ.get("BENCH_API_KEY", ""), help="or BENCH_API_KEY")
    parser.add_argument("--scenario", choices=SCENARIOS, required=True)
    parser.add_argument("--seconds", type=float, default=5.0, help="for scenarios that run for a time")
    parser.add_argument("--rounds", type=int, default=None, help="for scenarios that run in rounds")
    options = parser.parse_args()
    target = Target(options.url, options.key)
    try:
        result = uvloop.run(run(target, SCENARIOS[options.scenario], options.seconds, options.rounds))
    except OSError as error:
        print(f"{options.url} does not answer: {error}", file=sys.stderr)
        return 1
    print(orjson.dumps(result).decode())
    return 1 if result.failed or not result.requests else 0


if __name__ == "__main__":
    sys.exit(main())
