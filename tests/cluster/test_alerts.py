"""Prometheus' own tool says that the rules are rules, and that each alert fires when it should and not else."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.deploy.alerts import alerts, rules
from tests.deploy.files import DEPLOY

Series = dict[str, str]  # a series -> its values, a minute apart, as promtool writes them


@dataclass
class Case:
    """What an alert sees when it fires, what it sees when all is well, and when it is asked."""

    bad: Series
    good: Series
    at: str = "30m"
    labels: dict[str, str] = field(default_factory=dict)


def requests(bad: int, good: int, minutes: int) -> Series:
    """So many more each minute."""
    name = 'paas_http_requests_total{route_class="api",status="%s"}'
    return {name % "5xx": f"0+{bad}x{minutes}", name % "2xx": f"0+{good}x{minutes}"}


def runs(failed: int, whole: int, minutes: int) -> Series:
    return {
        'paas_run_failures_total{code="run_interrupted"}': f"0+{failed}x{minutes}",
        'paas_run_failures_total{code="provider_timeout"}': f"0+50x{minutes}",
        'paas_runs_total{door="sse",outcome="completed"}': f"0+{whole}x{minutes}",
    }


def first_tokens(late: int, every: int, minutes: int) -> Series:
    name = "paas_run_first_token_seconds"
    return {
        f'{name}_bucket{{door="sse",le="5.0"}}': f"0+{every - late}x{minutes}",
        f'{name}_count{{door="sse"}}': f"0+{every}x{minutes}",
    }


def one(series: str, bad: str, good: str, at: str = "30m", **labels: str) -> Case:
    return Case({series: bad}, {series: good}, at, labels)


def disk(free: int) -> Series:
    return {
        'paas_disk_bytes{instance="a",state="size"}': "100x40",
        'paas_disk_bytes{instance="a",state="free"}': f"{free}x40",
    }


def documents(waited: int) -> Series:
    """Two workers: the first one looked long ago, at documents that are found by now."""
    return {
        'paas_documents_waiting_seconds{instance="a"}': "9999x40",
        'paas_documents_read_timestamp_seconds{instance="a"}': "1x40",
        'paas_documents_waiting_seconds{instance="b"}': f"{waited}x40",
        'paas_documents_read_timestamp_seconds{instance="b"}': "2x40",
    }


def model_calls(failed: int) -> Series:
    name = 'paas_model_calls_total{provider="openai",outcome="%s"}'
    return {name % "done": "0+10x40", name % "left": "0+90x40", name % "provider_timeout": f"0+{failed}x40"}


def come_again(refused: int) -> Series:
    name = 'paas_http_requests_total{route_class="api",status="%s"}'
    return {name % "2xx": "0+100x40", name % "429": f"0+{refused}x40"}


PROCESS = 'paas_process{process="%s",version="1"}'
CASES = {
    "RequestsFail": Case(requests(2, 98, 120), requests(1, 1999, 120), "2h"),
    "RequestsFailSlowly": Case(requests(4, 996, 1500), requests(1, 1999, 1500), "25h"),
    "RunsFail": Case(runs(2, 98, 120), runs(0, 98, 120), "2h"),
    "RunsFailSlowly": Case(runs(4, 996, 1500), runs(1, 1999, 1500), "25h"),
    "FirstTokenLate": Case(first_tokens(8, 10, 120), first_tokens(2, 10, 120), "2h"),
    "FirstTokenOftenLate": Case(first_tokens(2, 10, 1500), first_tokens(1, 25, 1500), "25h"),
    "WebProcessesAway": Case({PROCESS % "worker": "1x40"}, {PROCESS % "web": "1x40"}, labels={"process": "web"}),
    "WorkersAway": Case({PROCESS % "web": "1x40"}, {PROCESS % "worker": "1x40"}, labels={"process": "worker"}),
    "ProcessAway": one('up{job="agent-paas",instance="a"}', "0x40", "1x40", job="agent-paas", instance="a"),
    "ProcessRestarts": one(
        'process_start_time_seconds{job="agent-paas",instance="a"}', "0+1x40", "1x15 2x25",
        job="agent-paas", instance="a",
    ),
    "MemoryHigh": one(
        'process_resident_memory_bytes{job="agent-paas",instance="a"}', "2.6e9x40", "1e9x40",
        job="agent-paas", instance="a",
    ),
    "ReleasesMixed": Case(
        {PROCESS % "web": "1x180", PROCESS.replace('"1"', '"2"') % "web": "1x180"}, {PROCESS % "web": "1x180"}, "3h"
    ),
    "DatabaseAway": one('paas_dependency_up{dependency="postgresql"}', "0x40", "1x40"),
    "RedisAway": one('paas_dependency_up{dependency="redis"}', "0x40", "1x40"),
    "PoolExhausted": one(
        'paas_pool_connections{instance="a",pool="hot",state="waiting"}', "1x40", "0x40", instance="a", pool="hot"
    ),
    "DatabaseConnectionsNearlyAll": Case(
        {'paas_database_connections{state="open"}': "90x40", 'paas_database_connections{state="most"}': "100x40"},
        {'paas_database_connections{state="open"}': "80x40", 'paas_database_connections{state="most"}': "100x40"},
    ),
    "DiskFillsUp": Case(disk(9), disk(11), labels={"instance": "a"}),
    "DiskFull": Case(disk(2), disk(4), labels={"instance": "a"}),
    "MigrationsMissing": one("paas_migrations_missing", "3x40", "0x40"),
    "LogsBehind": one(
        'paas_log_events_behind{instance="a",store="postgresql"}', "900x40", "60x40", instance="a"
    ),
    "TracesLost": one('paas_spans_total{instance="a",outcome="lost"}', "0+5x60", "5x60", "1h", instance="a"),
    "RunsNotEnded": one('paas_reservation_age_seconds{holder="lapsed"}', "70x40", "3x40"),
    "RunsNotTaken": one('paas_reservation_age_seconds{holder="unclaimed"}', "70x40", "3x40"),
    "JobsWait": one("paas_jobs_waiting_seconds", "400x40", "10x40"),
    "JobsFail": one('paas_jobs{state="failed"}', "3x20 4x40", "3x60", "40m"),
    "SchedulesLate": one("paas_schedules_late_seconds", "70x40", "3x40"),
    "PeriodicWorkStopped": one(
        'paas_job_success_timestamp_seconds{task="usage.seal"}', "1x40", "60+60x40", task="usage.seal"
    ),
    "DatabaseNotRead": one("paas_database_read_timestamp_seconds", "1x40", "60+60x40"),
    "DocumentsWait": Case(documents(4000), documents(100), labels={"instance": "b"}),
    "QueueOfRequests": one('paas_requests{instance="a",state="waiting"}', "30x40", "2x40", instance="a"),
    "LedgerBroken": one('paas_chain_broken{chain="ledger"}', "1x40", "0x40"),
    "AuditLogBroken": one('paas_chain_broken{chain="audit"}', "1x40", "0x40"),
    "BooksNotVerified": one(
        'paas_chain_verified_timestamp_seconds{chain="audit"}', "1x300", "60+60x300", "4h", chain="audit"
    ),
    "BackupOld": one("paas_backup_last_success_timestamp_seconds", "0x1800", "0+60x1800", "28h"),
    "RefusalsSurge": one('paas_turns_refused_total{code="quota_exceeded"}', "0+1x600 600+50x40", "0+10x640", "630m"),
    "ManyToldToComeAgain": Case(come_again(30), come_again(5)),
    "ModelLeftAlone": one(
        'paas_breaker_open{provider="openai",model="other"}', "1x40", "0x40", provider="openai", model="other"
    ),
    "ModelCallsFail": Case(model_calls(5), model_calls(1), labels={"provider": "openai"}),
}  # fmt: skip


def run(name: str, *arguments: str | Path) -> str:
    """What a program prints; it must succeed."""
    program = shutil.which(name)
    assert program, "apt-get install prometheus prometheus-alertmanager"
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_files_are_what_prometheus_takes() -> None:
    assert "SUCCESS" in run("promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml")


def test_pages_and_tickets_go_to_those_they_are_for() -> None:
    file = DEPLOY / "alertmanager" / "alertmanager.yml"
    assert "SUCCESS" in run("amtool", "check-config", file)
    for rule in alerts().values():
        told = run(
            "amtool", "config", "routes", "test", f"--config.file={file}", f"severity={rule['labels']['severity']}"
        )
        assert told.split() == [f"{rule['labels']['severity']}s"]


def test_every_alert_is_tried() -> None:
    assert set(CASES) == set(alerts())


@pytest.mark.parametrize("name", sorted(CASES))
def test_an_alert_fires_when_it_should_and_not_else(tmp_path: Path, name: str) -> None:
    """With the recorded ratios that it asks, and no other rule: each would be worked out for every minute."""
    case, rule = CASES[name], alerts()[name]
    needed = [one for one in rules() if "record" in one and one["record"] in rule["expr"]]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "tried", "rules": [*needed, rule]}]}))
    told = {"exp_labels": rule["labels"] | case.labels, "exp_annotations": rule["annotations"]}
    tests = [
        {
            "name": f"{name}: {'bad' if wrong else 'good'}",
            "interval": "1m",
            "input_series": [{"series": one, "values": values} for one, values in series.items()],
            "alert_rule_test": [{"eval_time": case.at, "alertname": name, "exp_alerts": [told] if wrong else []}],
        }
        for series, wrong in ((case.bad, True), (case.good, False))
    ]
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": tests}))
    run("promtool", "test", "rules", tmp_path / "test.yml")
