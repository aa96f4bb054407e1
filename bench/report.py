"""The comparison: the vendor itself, a bare pass-through, this platform, LiteLLM, in one run on one machine.

    python -m bench.report            5 rounds, about 7 minutes
    python -m bench.report --quick    1 short round, about 2 minutes

In each round every scenario is run against every subject, one after the other, in an order that rotates,
so that a machine that gets slower or faster hits all alike. Prints Markdown; writes it and JSON into
VAR_DIR/bench/. The exit status is 1 when a target was missed or not measured, or any
subject gave a wrong answer.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from bench import machine
from bench.load import SCENARIOS
from bench.peers import LITELLM
from bench.processes import BENCH_DIR, ROOT, ProcessFailed, cpu_seconds, environment, peak_memory_bytes
from bench.subjects import (
    LiteLLMSubject,
    PassthroughSubject,
    PlatformSubject,
    RunningPlatform,
    Subject,
    VendorSubject,
)
from bench.table import markdown
from bench.targets import Figures, judge

NAMES = ("vendor", "passthrough", "platform", "litellm")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: rounds, and seconds for scenarios that run for a time."""

    rounds: int
    seconds: float
    warm_up_seconds: float


FULL = Plan(rounds=5, seconds=5.0, warm_up_seconds=3.0)
QUICK = Plan(rounds=1, seconds=3.0, warm_up_seconds=2.0)


@dataclass(slots=True)
class Measured:
    """What one subject gave: results by scenario, and processor seconds per 1,000 requests by scenario."""

    results: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    web_cpu: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    all_cpu: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    memory_mb: float | None = None

    def median(self, scenario: str, value: str) -> float:
        """The median over the rounds; 0.0 when nothing was measured."""
        values = [float(result[value]) for result in self.results[scenario]]
        return statistics.median(values) if values else 0.0

    def values(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {"results": self.results, "web_cpu": self.web_cpu, "all_cpu": self.all_cpu}

    def figures(self) -> Figures:
        """The medians that the targets are about."""
        return Figures(
            chunks_per_s=self.median("unpaced-8x200", "chunks_per_s"),
            paced_ttft_ms=self.median("paced-50", "ttft_p50_ms"),
            alone_ttft_ms=self.median("alone", "ttft_p50_ms"),
            requests_per_s=self.median("nonstream", "requests_per_s"),
            failed=sum(result["failed"] for results in self.results.values() for result in results),
            memory_mb=self.memory_mb,
        )


def load(subject: Subject, scenario: str, seconds: float, rounds: int | None = None) -> dict[str, Any]:
    """Run a scenario in a process of its own. Raises ProcessFailed when it gave no result."""
    argv = [sys.executable, "-m", "bench.load", "--url", subject.target.url, "--scenario", scenario]
    argv += ["--seconds", str(seconds)] + (["--rounds", str(rounds)] if rounds else [])
    env = environment(BENCH_API_KEY=subject.target.key)
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=seconds + 300, check=False)
    try:
        result: dict[str, Any] = orjson.loads(done.stdout)
    except ValueError:
        logs = f"What it said is in {BENCH_DIR / 'log'}."
        raise ProcessFailed(f"{subject.name}, {scenario}: {done.stderr[-2000:]}{logs}") from None
    return result


def measure(subject: Subject, scenario: str, plan: Plan, measured: Measured) -> None:
    """One scenario against one subject, with the processor time that it cost."""
    web, everything = subject.web_pid, subject.pids
    before = cpu_seconds([web] if web else []), cpu_seconds(everything)
    result = load(subject, scenario, plan.seconds)
    after = cpu_seconds([web] if web else []), cpu_seconds(everything)
    measured.results[scenario].append(result)
    if everything and result["requests"]:
        measured.web_cpu[scenario].append((after[0] - before[0]) / result["requests"] * 1000)
        measured.all_cpu[scenario].append((after[1] - before[1]) / result["requests"] * 1000)
    if web:
        measured.memory_mb = peak_memory_bytes(web) / 1e6
    progress(f"{subject.name:12} {scenario:14} {_brief(result)}")


def _brief(result: dict[str, Any]) -> str:
    wrong = f"  {result['failed']} WRONG {result['failures']}" if result["failed"] else ""
    return (
        f"{result['chunks_per_s']:>9,.0f} chunks/s {result['requests_per_s']:>8,.1f} requests/s "
        f"TTFT {result['ttft_p50_ms']:>7.1f} ms{wrong}"
    )


def progress(text: str) -> None:
    """Say on standard error what is being done."""
    print(text, file=sys.stderr, flush=True)


def run(subjects: list[Subject], plan: Plan) -> dict[str, Measured]:
    """Warm each subject up, then measure round by round in a rotating order."""
    measured = {subject.name: Measured() for subject in subjects}
    for subject in subjects:
        progress(f"{subject.name:12} warming up")
        for scenario in [name for name in SCENARIOS if name != "alone"]:
            load(subject, scenario, plan.warm_up_seconds)
    for number in range(plan.rounds):
        progress(f"round {number + 1} of {plan.rounds}")
        for place, scenario in enumerate(SCENARIOS):
            turn = (number + place) % len(subjects)
            for subject in subjects[turn:] + subjects[:turn]:
                measure(subject, scenario, plan, measured[subject.name])
    return measured


def choose(options: argparse.Namespace, vendor: VendorSubject) -> list[Subject]:
    """The subjects that were asked for; LiteLLM only where it is installed."""
    subjects: list[Subject] = [vendor]
    if "passthrough" not in options.without:
        subjects.append(PassthroughSubject(vendor.target.url))
    if options.platform_url:
        key = options.api_key or os.environ.get("BENCH_API_KEY", "")
        subjects.append(RunningPlatform(options.platform_url, key, options.platform_pid))
    elif "platform" not in options.without:
        subjects.append(PlatformSubject(vendor.target.url))
    if "litellm" not in options.without:
        if LITELLM.version:
            subjects.append(LiteLLMSubject(vendor.target.url))
        else:
            progress("LiteLLM is not installed (python -m bench.peers install): its targets are not measured.")
    return subjects


def document(
    options: argparse.Namespace, plan: Plan, where: dict[str, Any], measured: dict[str, Measured]
) -> dict[str, Any]:
    """Everything that was measured, as JSON values; `where` is the machine."""
    figures = {name: one.figures() for name, one in measured.items()}
    verdicts = judge(figures)
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "python -m bench.report" + (" --quick" if options.quick else ""),
        "machine": where,
        "plan": asdict(plan),
        "figures": {name: asdict(one) for name, one in figures.items()},
        "verdicts": [asdict(verdict) for verdict in verdicts],
        "measured": {name: one.values() for name, one in measured.items()},
        "passed": all(verdict.result == "PASS" or _waived(verdict.target, options) for verdict in verdicts)
        and not any(one.failed for one in figures.values()),
    }


def _waived(target: str, options: argparse.Namespace) -> bool:
    """A target that cannot be measured because its subject was left out on purpose."""
    return ("LiteLLM" in target and "litellm" in options.without) or "platform" in options.without


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--without", action="append", default=[], choices=NAMES[1:], help="leave a subject out")
    parser.add_argument("--platform-url", help="measure a platform that runs already, e.g. http://127.0.0.1:8000")
    parser.add_argument("--api-key", help="its API key (or BENCH_API_KEY in the environment)")
    parser.add_argument("--platform-pid", type=int, help="the process id of its web process, for memory and CPU")
    return parser.parse_args()


def main() -> int:
    """Start everything, measure, report, end everything."""
    options = parse()
    base = QUICK if options.quick else FULL
    plan = Plan(options.rounds or base.rounds, base.seconds, base.warm_up_seconds)
    BENCH_DIR.mkdir(parents=True, exist_ok=True)
    where = machine.describe()  # its load before ours
    subjects = choose(options, VendorSubject())
    try:
        with ExitStack() as running:
            for subject in subjects:
                progress(f"{subject.name:12} starting")
                running.callback(subject.stop)
                subject.start()
            measured = run(subjects, plan)
    except ProcessFailed as error:
        progress(str(error))
        return 1
    result = document(options, plan, where, measured)
    text = markdown(result)
    (BENCH_DIR / "report.json").write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    (BENCH_DIR / "report.md").write_text(text)
    print(text)
    progress(f"written to {BENCH_DIR / 'report.md'} and report.json")
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
