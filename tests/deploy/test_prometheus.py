"""Alerts and dashboards: what they ask is told, who is woken finds what to do. tests/cluster asks a real Prometheus."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from procrastinate.contrib.django import app

from core import metrics
from paas import readings, telemetry
from paas.dashboards.boards import boards
from tests.deploy.alerts import alerts, rules
from tests.deploy.files import DEPLOY, ROOT, compose

NAME = re.compile(r"\b(?:paas|process)_\w+|\bpaas:\w+:\w+")
OF_PROMETHEUS = {
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_start_time_seconds",
}
SUFFIXES = ("", "_bucket", "_count", "_sum")


def told() -> set[str]:
    """Names of all series that the platform may tell, and of the recorded ones."""
    sources = "".join(Path(module.__file__ or "").read_text() for module in (metrics, readings, telemetry))
    own = {name + suffix for name in re.findall(r'"(paas_\w+)"', sources) for suffix in SUFFIXES}
    return own | OF_PROMETHEUS | {rule["record"] for rule in rules() if "record" in rule}


def test_what_is_asked_is_told() -> None:
    asked = {(rule.get("alert") or rule["record"], name) for rule in rules() for name in NAME.findall(rule["expr"])}
    asked |= {
        (panel.title, name)
        for board in boards()
        for panel in board.panels()
        for query in panel.queries.values()
        for name in NAME.findall(query)
    }
    assert {(where, name) for where, name in asked if name not in told()} == set()
    assert len(asked) > 100


def test_what_runs_fail_of_is_the_same_in_code_and_rules() -> None:
    named = {found for rule in rules() for found in re.findall(r'run_failures_total\{code=~"([^"]*)"', rule["expr"])}
    assert named == {"|".join(telemetry.OWN_FAULTS)}


def test_periodic_work_that_is_watched_is_told_from_the_start() -> None:
    watched = re.findall(r'task=~"([^"]*)"', alerts()["PeriodicWorkStopped"]["expr"])
    assert watched == ["|".join(telemetry.OFTEN_DONE)]
    assert {name for name in telemetry.OFTEN_DONE if name not in app.tasks} == set()


def test_the_promise_of_first_tokens_is_a_step_of_their_histogram() -> None:
    asked = {float(found) for rule in rules() for found in re.findall(r'bucket\{le="([^"]*)"', rule["expr"])}
    assert len(asked) == 1
    assert asked <= set(metrics.FIRST_TOKEN_BUCKETS)


def test_every_alert_leads_to_its_section() -> None:
    text = (ROOT / "docs" / "runbooks.md").read_text()
    sections = dict(re.findall(r"^### (\w+)\n+(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(alerts())
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in ("page", "ticket"), name
        assert rule["annotations"]["runbook"] == f"docs/runbooks.md#{name.lower()}"
        assert rule["annotations"]["summary"].endswith("."), name
        for part in ("**Means:**", "**Look:**", "**Mend:**"):
            assert part in sections[name], (name, part)


def test_dashboards_are_found_again_and_have_room() -> None:
    documents = [json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))]
    assert len({one["uid"] for one in documents}) == len({one["title"] for one in documents}) == len(documents) == 5
    for document in documents:
        panels = document["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert max(x for x, _ in cells) < 24
            assert not cells & taken, panel["title"]
            taken |= cells
        # Grafana's own names of colours are readable in both themes; no page says how it is lit.
        assert "style" not in document
        assert not re.search(r"#[0-9a-fA-F]{6}|rgb", json.dumps(document))


def test_who_is_told_and_what_is_not_told_beside_something_else() -> None:
    told = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
    named = {
        name
        for rule in told["inhibit_rules"]
        for matcher in rule["source_matchers"] + rule["target_matchers"]
        for name in matcher.partition("=")[2].strip('~"').split("|")
    }
    assert named <= set(alerts())
    alerting = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["alerting"]["alertmanagers"]
    assert alerting == [{"static_configs": [{"targets": ["alertmanager:9093"]}]}]
    assert "alertmanager" in compose()["services"]


def test_grafana_finds_prometheus_and_the_dashboards() -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    sources: list[dict[str, Any]] = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    assert [(one["type"], one["uid"]) for one in sources] == [
        ("prometheus", "prometheus"),
        ("alertmanager", "alertmanager"),
    ]
    assert all(one["url"].split("/")[2].split(":")[0] in compose()["services"] for one in sources)
    provider = yaml.safe_load((folder / "dashboards" / "agent-paas.yaml").read_text())["providers"][0]
    mounts = compose()["services"]["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in mounts
