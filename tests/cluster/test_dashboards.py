"""A real Prometheus scrapes the running platform, and each panel's query of each dashboard is asked of it."""

from __future__ import annotations

import asyncio
import json
import shutil
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.processes import Process, answers, environment
from launch.ports import free_port
from paas.dashboards.boards import boards
from paas.dashboards.panels import Panel
from tests.cluster.installation import Installation, until
from tests.deploy.alerts import RULES

pytestmark = pytest.mark.timeout(600)  # the platform starts, and looks at its documents once a minute

PROCESSES = 4  # two web processes and two workers
RANGES = {"$__rate_interval": "2m", "$__range": "10m"}
MORE = """
tenants:
- slug: acme
  providers:
  - name: vendor
    kind: openai_compatible
    base_url: "http://127.0.0.1:%d/v1"
    api_key: none
    models: {bench-0-5-20: {input_price: "1", output_price: "2", currency: USD}}
  knowledge: [{slug: handbook, name: Handbook}]
  agents:
  - {slug: priced, provider: vendor, model: bench-0-5-20, instructions: ""}
  - {slug: broken, provider: vendor, model: fault-401, instructions: ""}
  - {slug: calculating, provider: vendor, model: tools-calculator, instructions: "", tools: [calculator]}
"""


QUESTION = '{"expression": "2*3"}'  # the stand-in vendor's call of the calculator has it as its arguments
# Of those that may be empty, what the load below fills: refusals, faults, a backup.
FILLED = {"Failures by code", "Turns refused", "Share of calls that failed", "Last backup before"}


class Prometheus:
    """Debian's, with the rules of this repository, which are looked at every second instead of every 30."""

    def __init__(self, folder: Path, targets: list[str]) -> None:
        program = shutil.which("prometheus")
        assert program, "apt-get install prometheus"
        for path in RULES.glob("*.yml"):
            (folder / path.name).write_text(path.read_text().replace("interval: 30s", "interval: 1s"))
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(folder / path.name) for path in RULES.glob("*.yml")],
            "scrape_configs": [{"job_name": "agent-paas", "static_configs": [{"targets": targets}]}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        self.url = f"http://127.0.0.1:{free_port()}"
        arguments = [
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={self.url.removeprefix('http://')}",
        ]
        self.process = Process([program, *arguments], environment(), folder / "prometheus.log")
        until(lambda: answers(f"{self.url}/-/ready"), "Prometheus")

    def get(self, path: str, **query: str) -> Any:
        """The `data` of an answer of its API. Raises HTTPError for a query that it does not understand."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=30) as answer:
            return json.load(answer)["data"]

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The series of a query that have a number."""
        found: list[dict[str, Any]] = self.get("query", query=query)["result"]
        return [series for series in found if series["value"][1] != "NaN"]


@pytest.fixture(scope="module")
def prometheus(cluster: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    first = int(cluster.environment["METRICS_PORT"])
    targets = [f"127.0.0.1:{port}" for port in range(first, first + PROCESSES)]
    running = Prometheus(tmp_path_factory.mktemp("prometheus"), targets)
    try:
        until(lambda: len(running.ask("up == 1")) == PROCESSES, "all processes to tell their metrics")
        yield running
    finally:
        running.process.stop()


async def load(cluster: Installation) -> None:
    """A little of everything that dashboards show."""
    async with cluster.client() as client:
        for agent in ("priced", "calculating", "quick", "broken", "nobody"):
            body: dict[str, Any] = {"agent": agent, "message": QUESTION}
            async with client.post("/api/v1/runs", json=body, headers={"Accept": "text/event-stream"}) as answer:
                await answer.read()
            body = {"model": agent, "messages": [{"role": "user", "content": QUESTION}], "stream": True}
            async with client.post("/v1/chat/completions", json=body) as answer:
                await answer.read()
        async with client.post("/api/v1/knowledge/handbook/documents", json={"text": "Tea is at four."}) as answer:
            assert answer.status == 202, await answer.text()
        async with client.post("/api/v1/knowledge/handbook/search", json={"query": "tea"}) as answer:
            assert answer.status == 200, await answer.text()
        for address in ("/api/v1/agents", "/login/", "/api/v1/me", "/nowhere/"):
            async with client.get(address) as answer:
                await answer.read()


def empty(prometheus: Prometheus, panel: Panel) -> bool:
    """Whether a query of the panel has nothing to show. Raises for one that is none."""
    tenant = prometheus.ask("topk(1, paas_tenant_tokens_total)")[0]["metric"]["tenant"]
    return not all(prometheus.ask(filled(query, tenant)) for query in panel.queries.values())


def filled(query: str, tenant: str) -> str:
    """As Grafana asks it."""
    for name, value in (RANGES | {"$tenant": tenant}).items():
        query = query.replace(name, value)
    return query


def test_every_panel_shows_what_it_should(cluster: Installation, prometheus: Prometheus) -> None:
    """Of those that may be empty while all is well, that Prometheus understands what they ask."""
    more = cluster.folder / "more.yaml"
    more.write_text(MORE % cluster.vendor_port)
    cluster.manage("apply", "-f", str(more))
    cluster.manage("backup", str(cluster.folder / "backups"))
    waiting = [(board.uid, panel) for board in boards() for panel in board.panels()]
    assert {panel.title for _, panel in waiting} >= FILLED

    def nothing_is_left() -> bool:
        nonlocal waiting
        asyncio.run(load(cluster))
        left = [(uid, panel) for uid, panel in waiting if empty(prometheus, panel)]
        waiting = [(uid, panel) for uid, panel in left if not panel.only_when or panel.title in FILLED]
        return not waiting

    try:
        until(nothing_is_left, "every panel", 120)
    except AssertionError:
        pytest.fail(f"empty: {[(uid, panel.title, panel.queries) for uid, panel in waiting]}")


def test_the_rules_can_be_worked_out_and_nobody_is_woken(prometheus: Prometheus) -> None:
    def all_looked_at() -> bool:
        found = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        assert [(rule["name"], rule["lastError"]) for rule in found if rule.get("lastError")] == []
        return bool(found) and all(rule["health"] == "ok" for rule in found)

    until(all_looked_at, "the rules to be worked out")
    assert prometheus.ask('ALERTS{alertstate="firing",severity="page"}') == []


def test_metrics_name_nobody(cluster: Installation, prometheus: Prometheus) -> None:
    """Labels hold nothing that a tenant chose (P62)."""
    labels = {value for name in prometheus.get("labels") for value in prometheus.get(f"label/{name}/values")}
    assert not {"acme", "quick", "priced", "calculating", "handbook", "vendor", "bench-0-5-20"} & labels
