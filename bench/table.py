"""The report as Markdown."""

from __future__ import annotations

import statistics
from typing import Any

_HEAD = (
    ("subject", "---"),
    ("chunks/s, 8x200 unpaced", "--:"),
    ("x LiteLLM", "--:"),
    ("TTFT p50 / p95, 50 paced (ms)", "--:"),
    ("TTFT p50 alone (ms)", "--:"),
    ("non-streamed requests/s", "--:"),
    ("x LiteLLM", "--:"),
    ("peak memory (MB)", "--:"),
    ("CPU s per 1,000 streams: web / all", "--:"),
    ("CPU s per 1,000 non-streamed: web / all", "--:"),
    ("wrong", "--:"),
)


def markdown(report: dict[str, Any]) -> str:
    """A table of the subjects, the verdicts, and what is needed to judge and repeat them."""
    rows = [_row(name, report) for name in report["figures"]]
    lines = [
        "# Benchmark",
        "",
        _conditions(report),
        "",
        _line([title for title, _ in _HEAD]),
        _line([mark for _, mark in _HEAD]),
        *(_line(row) for row in rows),
        "",
        "| target | measured | |",
        "|---|--:|---|",
        *(_line([one["target"], one["measured"], one["result"]]) for one in report["verdicts"]),
        "",
        f"**{_outcome(report)}**",
        "",
        *_failures(report),
    ]
    return "\n".join(lines)


def _outcome(report: dict[str, Any]) -> str:
    if not report["passed"]:
        return "FAIL"
    measured = all(one["result"] == "PASS" for one in report["verdicts"])
    return "PASS" if measured else "PASS, as far as it was measured"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _conditions(report: dict[str, Any]) -> str:
    machine, plan = report["machine"], report["plan"]
    versions = ", ".join(f"{name} {value}" for name, value in machine["versions"].items() if value)
    return (
        f"{report['at']}, `{report['command']}` at {machine['commit']}: "
        f"medians of {plan['rounds']} round(s), "
        f"{plan['seconds']:g} s for each unpaced and non-streamed run. {machine['processor']}, "
        f"{machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}, "
        f"load {machine['load_average'][0]} before. Python {machine['python']}, {versions}."
    )


def _row(name: str, report: dict[str, Any]) -> list[str]:
    figures, measured = report["figures"][name], report["measured"][name]
    litellm = report["figures"].get("litellm")
    p95 = [result["ttft_p95_ms"] for result in measured["results"].get("paced-50", [])]
    memory = figures["memory_mb"]
    return [
        name,
        f"{figures['chunks_per_s']:,.0f}",
        _times(figures, litellm, "chunks_per_s"),
        f"{figures['paced_ttft_ms']:,.1f} / {statistics.median(p95 or [0.0]):,.1f}",
        f"{figures['alone_ttft_ms']:.1f}",
        f"{figures['requests_per_s']:,.1f}",
        _times(figures, litellm, "requests_per_s"),
        f"{memory:.0f}" if memory else "-",
        _cpu(measured, "unpaced-8x200"),
        _cpu(measured, "nonstream"),
        str(figures["failed"]),
    ]


def _times(figures: dict[str, Any], litellm: dict[str, Any] | None, value: str) -> str:
    return f"{figures[value] / litellm[value]:.1f}" if litellm and litellm[value] else "-"


def _cpu(measured: dict[str, Any], scenario: str) -> str:
    web, everything = measured["web_cpu"].get(scenario), measured["all_cpu"].get(scenario)
    return f"{statistics.median(web):.2f} / {statistics.median(everything):.2f}" if web and everything else "-"


def _failures(report: dict[str, Any]) -> list[str]:
    """What went wrong, most frequent first, so that a failed report explains itself."""
    return [
        f"- {name}, {scenario}: {count} x {problem}"
        for name, measured in report["measured"].items()
        for scenario, results in measured["results"].items()
        for result in results
        for problem, count in result["failures"].items()
    ]
