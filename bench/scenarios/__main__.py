"""Loads that last, each on a platform of its own on this machine, and a report of them.

    python -m bench.scenarios                        all but the soak, a minute each (about 12 minutes)
    python -m bench.scenarios steady burst --seconds 20
    python -m bench.scenarios soak                   half an hour (--soak-seconds for less)

Writes scenarios.html, scenarios.md and scenarios.json into VAR_DIR/bench/. The exit status is 1 when a target was
missed or a scenario could not be measured.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from subprocess import SubprocessError
from typing import Any

import orjson

from bench import machine
from bench.processes import BENCH_DIR, ProcessFailed
from bench.report import progress
from bench.scenarios.costs import costs
from bench.scenarios.idle import idle, sockets
from bench.scenarios.options import Options
from bench.scenarios.overload import noisy, overload
from bench.scenarios.page import html, markdown
from bench.scenarios.peers import peers
from bench.scenarios.result import Result
from bench.scenarios.tenants import tenants
from bench.scenarios.turns import burst, soak, steady

SCENARIOS: dict[str, Callable[[Options], Result]] = {
    scenario.__name__: scenario
    for scenario in (idle, costs, steady, burst, overload, noisy, sockets, tenants, peers, soak)
}
UNASKED = tuple(name for name in SCENARIOS if name != "soak")


def measure(name: str, options: Options) -> Result:
    """One scenario; what keeps it from being measured is in the result."""
    scenario = SCENARIOS[name]
    try:
        return scenario(options)
    except (ProcessFailed, OSError, RuntimeError, SubprocessError) as error:
        told = (scenario.__doc__ or "").strip()
        return Result(name, told, failed=f"{type(error).__name__}: {error}"[:2000])


def write(report: dict[str, Any], results: list[Result]) -> None:
    """The three files."""
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    whole = report | {"results": [result.view() for result in results]}
    (BENCH_DIR / "scenarios.json").write_bytes(
        orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    )
    (BENCH_DIR / "scenarios.md").write_text(markdown(report, results))
    (BENCH_DIR / "scenarios.html").write_text(html(report, results))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    usual = Options()
    parser = argparse.ArgumentParser(prog="python -m bench.scenarios", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(SCENARIOS)} (all but soak)")
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="of each (default %(default)g)")
    parser.add_argument("--soak-seconds", type=float, default=usual.soak_seconds, help="(default %(default)g)")
    parser.add_argument("--sockets", type=int, default=usual.sockets, help="idle ones (default %(default)d)")
    parser.add_argument("--tenants", type=int, default=usual.tenants, help="(default %(default)d)")
    found = parser.parse_args(arguments)
    unknown = sorted(set(found.names) - set(SCENARIOS))
    if unknown:
        parser.error(f"there is no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    if min(found.seconds, found.soak_seconds) < 4 or found.sockets < 1 or found.tenants < 1:
        parser.error("a scenario takes at least 4 seconds, one socket and one tenant")
    found.names = found.names or list(UNASKED)
    return found


def main() -> int:
    """Measure what was asked for, one after the other; after each the report is written anew."""
    chosen = parse()
    options = Options(chosen.seconds, chosen.soak_seconds, chosen.sockets, chosen.tenants)
    report = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "bench.scenarios", *sys.argv[1:]]),
        "machine": machine.describe(),  # its load before ours
    }
    results: list[Result] = []
    for name in chosen.names:
        progress(f"{name}: {(SCENARIOS[name].__doc__ or '').strip()}")
        results.append(measure(name, options))
        for verdict in results[-1].verdicts:
            progress(f"  {verdict.result:12} {verdict.target}: {verdict.measured}")
        if results[-1].failed:
            progress(f"  NOT MEASURED {results[-1].failed}")
        write(report, results)
    progress(f"written to {BENCH_DIR / 'scenarios.html'}, scenarios.md and scenarios.json")
    return 0 if all(result.passed for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
