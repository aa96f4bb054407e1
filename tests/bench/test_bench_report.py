"""The report: its targets can be missed, its files belong together, its processes end."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

import pytest
import yaml

from bench import machine
from bench.load import SCENARIOS
from bench.processes import (
    ROOT,
    Process,
    ProcessFailed,
    cpu_seconds,
    descendants,
    environment,
    peak_memory_bytes,
)
from bench.report import Measured, Plan, document, run
from bench.start import Start, installed_mb
from bench.start import judge as judge_start
from bench.subjects import FILE_VENDOR_URL, PLATFORM_FILE, PLATFORM_KEY, PassthroughSubject, VendorSubject
from bench.table import markdown
from bench.targets import Figures, judge

GOOD = {
    "vendor": Figures(400_000, 51.0, 50.5, 40_000, 0, 30),
    "platform": Figures(20_000, 130.0, 60.0, 500, 0, 219),
    "litellm": Figures(1_300, 900.0, 72.0, 80, 0, 470),
}
PROGRAM = "import time; x = bytearray(50_000_000); print('up', flush=True); time.sleep(60)"


def results_of(figures: dict[str, Figures]) -> list[str]:
    return [verdict.result for verdict in judge(figures)]


def test_all_targets_reached() -> None:
    assert results_of(GOOD) == ["PASS"] * 6


@pytest.mark.parametrize(
    ("place", "platform"),
    [
        (0, Figures(19_499, 130.0, 60.0, 500, 0, 219)),
        (1, Figures(20_000, 130.0, 60.0, 399, 0, 219)),
        (2, Figures(20_000, 131.1, 60.0, 500, 0, 219)),
        (3, Figures(20_000, 130.0, 60.6, 500, 0, 219)),
        (4, Figures(20_000, 130.0, 60.0, 500, 0, 221)),
        (5, Figures(20_000, 130.0, 60.0, 500, 1, 219)),
    ],
)
def test_each_target_can_be_missed(place: int, platform: Figures) -> None:
    results = results_of(GOOD | {"platform": platform})
    assert results.pop(place) == "FAIL"
    assert results == ["PASS"] * 5


def test_what_is_missing_is_not_measured() -> None:
    without_peer = {name: one for name, one in GOOD.items() if name != "litellm"}
    assert results_of(without_peer)[:3] == ["NOT MEASURED", "NOT MEASURED", "PASS"]
    assert results_of({"vendor": GOOD["vendor"]}) == ["NOT MEASURED"] * 6
    unweighed = Figures(20_000, 130.0, 60.0, 500, 0, None)
    assert results_of(GOOD | {"platform": unweighed})[4] == "NOT MEASURED"


def test_start_targets() -> None:
    later = Start(9.9, 10.5, 11.0)
    assert [one.result for one in judge_start(Start(40, 41, 44.9), later, 599)] == ["PASS"] * 3
    assert [one.result for one in judge_start(Start(40, 41, 45.1), later, 601)] == ["FAIL", "PASS", "FAIL"]
    assert [one.result for one in judge_start(Start(40, 41, 44), Start(10.1, 11, 12), 5)][1] == "FAIL"


def test_the_files_name_every_model_that_is_asked_for() -> None:
    models = {scenario.model for scenario in SCENARIOS.values()}
    tenant = yaml.safe_load(PLATFORM_FILE.read_text())["tenants"][0]
    assert {agent["slug"]: agent["model"] for agent in tenant["agents"]} == {model: model for model in models}
    assert [key["token"] for key in tenant["api_keys"]] == [PLATFORM_KEY]
    assert tenant["providers"][0]["base_url"] == FILE_VENDOR_URL
    peer = yaml.safe_load((ROOT / "bench/litellm/config.yaml").read_text())
    assert {entry["model_name"] for entry in peer["model_list"]} == models
    assert {entry["litellm_params"]["model"] for entry in peer["model_list"]} == {f"openai/{m}" for m in models}


def test_the_peer_is_locked_completely() -> None:
    lines = (ROOT / "bench/litellm/requirements.txt").read_text().splitlines()
    packages = [line for line in lines if not line.startswith("#")]
    assert "litellm==1.109.1" in packages
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9_.]*", line) for line in packages)


def test_processes_are_weighed_and_ended(tmp_path: Path) -> None:
    process = Process([sys.executable, "-c", PROGRAM], environment(), tmp_path / "log" / "x.log")
    process.wait_ready(lambda: process.tail() == "up", 10)
    assert peak_memory_bytes(process.pid) > 50_000_000
    assert cpu_seconds([process.pid]) > 0
    assert process.pid in descendants(os.getpid())
    process.stop()
    process.stop()
    assert process.pid not in descendants(os.getpid())
    with pytest.raises(ProcessFailed):
        peak_memory_bytes(process.pid)


def test_a_process_that_ends_or_hangs_says_why(tmp_path: Path) -> None:
    failing = Process([sys.executable, "-c", "raise SystemExit('no room')"], environment(), tmp_path / "f.log")
    with pytest.raises(ProcessFailed, match=r"(?s)ended with status 1.*no room"):
        failing.wait_ready(lambda: False, 10)
    hanging = Process([sys.executable, "-c", PROGRAM], environment(), tmp_path / "h.log")
    with pytest.raises(ProcessFailed, match="was not ready within"):
        hanging.wait_ready(lambda: False, 0.2)
    assert hanging.pid not in descendants(os.getpid())


def test_children_get_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "s3cret")
    assert "SECRET_KEY" not in environment(PORT="1")
    assert environment(PORT="1")["PORT"] == "1"


@pytest.mark.exhaustive
def test_a_report_of_two_subjects(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Vendor and pass-through as processes, one very short round, through to the table."""
    monkeypatch.setattr("bench.subjects.BENCH_DIR", tmp_path)
    monkeypatch.setattr("bench.report.SCENARIOS", {name: SCENARIOS[name] for name in ("unpaced-8x200", "nonstream")})
    vendor = VendorSubject()
    passthrough = PassthroughSubject(vendor.target.url)
    try:
        vendor.start()
        passthrough.start()
        plan = Plan(rounds=1, seconds=0.1, warm_up_seconds=0.0)
        measured = run([vendor, passthrough], plan)
    finally:
        passthrough.stop()
        vendor.stop()
    figures = measured["passthrough"].figures()
    assert figures.failed == 0
    assert figures.chunks_per_s > 1000
    assert figures.memory_mb
    assert figures.memory_mb > 10
    options = argparse.Namespace(quick=True, without=["platform"])
    report = document(options, plan, machine.describe(), measured)
    text = markdown(report)
    assert "| passthrough |" in text
    assert "NOT MEASURED" in text
    assert not report["passed"] or "platform" in options.without


def test_wrong_answers_fail_the_report() -> None:
    wrong = Measured()
    result = {"chunks_per_s": 1.0, "requests_per_s": 1.0, "ttft_p50_ms": 1.0, "ttft_p95_ms": 1.0}
    wrong.results["unpaced-8x200"].append(result | {"failed": 2, "failures": {"status 500": 2}})
    options = argparse.Namespace(quick=False, without=["platform", "litellm"])
    report = document(options, Plan(1, 1.0, 1.0), machine.describe(), {"vendor": wrong})
    assert not report["passed"]
    assert "- vendor, unpaced-8x200: 2 x status 500" in markdown(report)


def test_size_counts_a_file_with_two_names_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1_000_000)
    once = installed_mb(tmp_path)
    os.link(tmp_path / "a", tmp_path / "b")
    assert installed_mb(tmp_path) == once == pytest.approx(1.0, abs=0.1)
