"""This platform beside others: the load of `make bench`, short, as bars. Those that are not installed are left out."""

from __future__ import annotations

from contextlib import ExitStack

from bench.peers import LITELLM, OPEN_WEBUI
from bench.report import Plan, run
from bench.scenarios.options import Options
from bench.scenarios.result import Chart, Line, Result
from bench.subjects import LiteLLMSubject, PassthroughSubject, PlatformSubject, Subject, VendorSubject
from bench.targets import Figures, judge
from bench.webui import OpenWebUISubject

SHOWN = (
    ("Chunks a second, 8 streams x 200 tokens, unpaced", "chunks/s", "chunks_per_s"),
    ("Time to first token, 50 paced streams (the vendor's own: 50 ms)", "ms", "paced_ttft_ms"),
    ("Time to first token, one stream alone", "ms", "alone_ttft_ms"),
    ("Whole answers a second", "per s", "requests_per_s"),
    ("Peak memory of the server process", "MB", "memory_mb"),
)


def peers(options: Options) -> Result:
    """The stand-in vendor itself, a bare relay, this platform, LiteLLM and Open WebUI, by turns, where installed."""
    result = Result("peers", (peers.__doc__ or "").strip(), options.seconds)
    subjects = _installed()
    with ExitStack() as running:
        for subject in subjects:
            running.callback(subject.stop)
            subject.start()
        # Two of the four loads of a subject run for a time.
        seconds = max(2.0, options.seconds / (2 * len(subjects)))
        measured = run(subjects, Plan(rounds=1, seconds=seconds, warm_up_seconds=1.0))
    figures = {name: one.figures() for name, one in measured.items()}
    result.verdicts = judge(figures)
    result.charts = compared(figures)
    result.figures = {
        f"{name}: chunks/s, TTFT of 50 / alone ms, answers/s, MB, wrong": [
            round(one.chunks_per_s), round(one.paced_ttft_ms, 1), round(one.alone_ttft_ms, 1),
            round(one.requests_per_s, 1), round(one.memory_mb or 0), one.failed,
        ]
        for name, one in figures.items()
    }  # fmt: skip
    result.figures["versions"] = {"LiteLLM": LITELLM.version or "not installed"}
    result.figures["versions"]["Open WebUI"] = OPEN_WEBUI.version or "not installed"
    return result


def _installed() -> list[Subject]:
    vendor = VendorSubject()
    found: list[Subject] = [vendor, PassthroughSubject(vendor.target.url), PlatformSubject(vendor.target.url)]
    if LITELLM.version:
        found.append(LiteLLMSubject(vendor.target.url))
    if OPEN_WEBUI.version:
        found.append(OpenWebUISubject(vendor.target.url))
    return found


def compared(figures: dict[str, Figures]) -> list[Chart]:
    """A chart for each figure with a bar for each subject that has it."""
    charts = []
    for title, unit, name in SHOWN:
        values = {subject: getattr(one, name) for subject, one in figures.items()}
        lines = tuple(Line(subject, ((0.0, float(value)),)) for subject, value in values.items() if value)
        charts.append(Chart(title, unit, lines, bars=True))
    return charts
