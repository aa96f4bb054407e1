"""`/metrics`: what is counted, that nobody is named in it, and that it stays small (P62)."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from django.conf import settings

from chat import host as hosts
from core import metrics
from launch.ports import free_port
from llm import breaker
from llm.deltas import Finish, UsageReport
from llm.providers.scripted import ScriptedModel
from llm.registry import PROVIDERS, ProviderRef
from paas import readings, telemetry
from paas.doctor import around
from paas.health import version
from paas.observed import route_of
from tests.chat.conftest import agents  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
CANARY = "canary-7731"
LINE = re.compile(r"([a-z_]+)(?:\{(.*)\})? ([-+0-9.e]+|NaN)")


async def scraped(port: int) -> dict[tuple[str, str], float]:
    """(name, labels) -> value."""
    async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/metrics") as response:
        assert response.status == 200
        text = await response.text()
    assert CANARY not in text
    found = (LINE.fullmatch(line) for line in text.splitlines() if not line.startswith("#"))
    return {(one[1], one[2] or ""): float(one[3]) for one in found if one}


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    found = free_port()
    monkeypatch.setattr(settings, "METRICS_PORT", found)
    return found


async def test_a_run_and_what_it_used(port: int, site: Any, api_key: Any, agents: Any, acme: Any) -> None:
    slug = agents(f"{CANARY}-model", slug=f"{CANARY}-agent")
    ScriptedModel.enqueue([f"{CANARY} ", "words", Finish("stop"), UsageReport(70, 9, 20, 0)])
    tenant = f'tenant="{metrics.tenant_label(acme.id)}"'
    before = await scraped(port)
    client = site.client("acme", token=api_key())
    body = {"agent": slug, "message": f"{CANARY}?"}
    async with client.post("/api/v1/runs", json=body, headers={"Accept": "text/event-stream"}) as response:
        assert "run.completed" in await response.text()
    async with client.post("/api/v1/runs", json={"agent": "nobody", "message": CANARY}) as response:
        assert response.status == 404
    async with client.get(f"/{CANARY}/?key={CANARY}") as response:
        assert response.status in (401, 404)

    async def gained() -> dict[tuple[str, str], float]:
        now = await scraped(port)
        return {key: value - before.get(key, 0.0) for key, value in now.items() if value != before.get(key, 0.0)}

    labels = 'model="other",provider="scripted"'
    wanted = {
        (name, label): value
        for name, label, value in (
            ("paas_runs_total", 'door="sse",outcome="completed"', 1),
            ("paas_run_first_token_seconds_count", 'door="sse"', 1),
            ("paas_run_seconds_count", 'door="sse"', 1),
            ("paas_tokens_total", f'kind="input",{labels}', 70),
            ("paas_tokens_total", f'kind="output",{labels}', 9),
            ("paas_tokens_total", f'kind="cached",{labels}', 20),
            ("paas_tenant_runs_total", tenant, 1),
            ("paas_tenant_tokens_total", tenant, 79),
            ("paas_turns_refused_total", 'code="agent_not_found"', 1),
            ("paas_http_requests_total", 'route_class="runs",status="2xx"', 1),
            ("paas_http_requests_total", 'route_class="runs",status="4xx"', 1),
            ("paas_http_requests_total", 'route_class="page",status="4xx"', 1),
        )
    }
    async with asyncio.timeout(10):
        while wanted.keys() - (found := await gained()).keys():
            await asyncio.sleep(0.01)  # a client has its answer a moment before it is counted
    assert {key: found[key] for key in wanted} == wanted
    now = {name for name, _ in before}
    gauges = {
        "runs_active",
        "runs_waiting",
        "websockets_open",
        "breakers_open",
        "log_events_behind",
        "pool_connections",
    }
    assert {f"paas_{name}" for name in gauges} <= now
    assert "process_resident_memory_bytes" in now
    assert not any(name.startswith("paas_reservation") for name in now)  # a worker's


async def test_workers_tell_what_the_database_knows(port: int, host: Any) -> None:
    settings.VAR_DIR.mkdir(exist_ok=True)
    async with telemetry.opened("worker"), asyncio.timeout(10):
        found = await scraped(port)
        while ("paas_migrations_missing", "") not in found:
            await asyncio.sleep(0.01)
            found = await scraped(port)
    assert found["paas_migrations_missing", ""] == 0
    assert found["paas_tenants", 'status="active"'] >= 2
    assert found["paas_reservations_held", 'holder="executing"'] == 0
    for state in readings.JOB_STATES:
        assert ("paas_jobs", f'state="{state}"') in found
    assert found["paas_schedules_late_seconds", ""] >= 0
    assert found["paas_backup_last_success_timestamp_seconds", ""] == 0
    assert found["paas_database_read_timestamp_seconds", ""] > 0
    assert found["paas_process", f'process="worker",version="{version()}"'] == 1
    for name in ("postgresql", "redis"):
        assert found["paas_dependency_up", f'dependency="{name}"'] == 1
    for chain in readings.CHAINS:
        assert found["paas_chain_broken", f'chain="{chain}"'] == 0
    most, open_now = (found["paas_database_connections", f'state="{state}"'] for state in ("most", "open"))
    assert most >= open_now > 0
    assert found["paas_disk_bytes", 'state="size"'] > found["paas_disk_bytes", 'state="free"'] > 0
    assert found["paas_job_success_timestamp_seconds", 'task="usage.seal"'] > 0
    faults = {labels for name, labels in found if name == "paas_run_failures_total"}
    assert faults >= {f'code="{code}"' for code in telemetry.OWN_FAULTS}


async def test_what_is_looked_up_at_a_scrape_is_little(host: Any) -> None:
    live = telemetry.Live("worker")
    await live.readings.read()
    open_models = metrics.MOST_MODELS + len(PROVIDERS)
    assert sum(len(family.samples) for family in live.collect()) + open_models <= LIVE


async def test_the_doctor_names_models_that_are_left_alone(port: int, host: Any) -> None:
    account = ProviderRef(uuid.uuid4(), "openai")

    def told() -> list[str]:
        return [finding.what for finding in around.breakers() if finding.check == "models.breakers"]

    async with telemetry.opened("web"):
        assert await asyncio.to_thread(told) == []
        for _ in range(breaker.FAULTS):
            breaker.breaker_for(account, CANARY).failed()
        assert (await scraped(port))["paas_breakers_open", ""] == 1
        (what,) = await asyncio.to_thread(told)
    breaker.forget()
    assert 'model="other",provider="openai"' in what


async def test_a_port_that_is_taken_stops_nobody(port: int, host: Any, caplog: Any) -> None:
    with socket.create_server(("127.0.0.1", port)):
        async with telemetry.opened("web"):
            assert host is hosts.current()
    assert "metrics cannot be served" in caplog.text


async def test_nobody_else_serves_them(site: Any) -> None:
    for slug in ("", "acme"):
        async with site.client(slug).get("/metrics") as response:
            assert response.status == 404 or "/login" in str(response.url)
            assert "paas_runs_total" not in await response.text()


def test_routes_are_told_by_what_is_known() -> None:
    some = uuid.uuid4()
    for path, kind, told in (
        ("/v1/chat/completions", "openai", "/v1/chat/completions"),
        ("/v1/anything/at/all", "openai", "/v1/{what}"),
        (f"/v1/responses/resp_{some}", "responses", "/v1/responses/{id}"),
        (f"/api/v1/runs/{some}/events", "runs", "/api/v1/runs/{id}"),
        ("/api/v1/agents/", "api", ""),
        ("/mcp", "mcp", "/mcp"),
        ("/readyz", "health", "/healthz"),
        ("/readyz/process", "health", "/healthz"),
        ("/internal/certificate", "health", "/healthz"),
        (f"/{some}", "page", ""),
    ):
        assert route_of(path) == (kind, told), path


# In a process of its own: the bounds are the process's.
FULL = """
from core import metrics as m
from core.errors import ERRORS
from llm.registry import PROVIDERS
from paas.observed import ROUTES, TOLD
import uuid
doors = ["websocket", "sse", "openai", "responses", "phase1", "mcp", "schedule"]
for _ in range(1200):
    label = m.tenant_label(uuid.uuid4())
    m.TENANT_RUNS.labels(label).inc(); m.TENANT_TOKENS.labels(label).inc()
for number in range(400):
    pair = m.model_labels(f"kind-{number % 9}", f"model-{number}")
    for kind in ("input", "output", "cached", "reasoning"):
        m.TOKENS.labels(*pair, kind).inc()
    m.COST.labels(*pair, m.currency_label(f"C{number}")).inc()
    for outcome in ("ok", "error"):
        m.TOOL_CALLS.labels(m.tool_label(f"tool-{number}"), outcome).inc()
for code in ERRORS:
    m.REFUSALS.labels(code).inc()
for kind in {one[1] for one in ROUTES} | {"page"}:
    m.REQUEST_SECONDS.labels(kind).observe(1)
    for status in ("none", "2xx", "3xx", "4xx", "5xx", *TOLD):
        m.REQUESTS.labels(kind, str(status)).inc()
for door in doors:
    for histogram in (m.FIRST_TOKEN, m.TOKEN_SECONDS, m.RUN_SECONDS):
        histogram.labels(door).observe(1)
    for outcome in ("completed", "failed", "cancelled"):
        m.RUNS.labels(door, outcome).inc()
for code in list(ERRORS)[:40]:  # others are refusals of requests: no run begins
    m.RUN_FAILURES.labels(code).inc()
for kind in PROVIDERS:
    for outcome in ("done", "left", "breaker_open", *(code for code in ERRORS if code.startswith(("provider", "model", "context")))):
        m.MODEL_CALLS.labels(kind, outcome).inc()
for step in ("fetch", "ocr", "read", "embed"):
    m.INGEST_SECONDS.labels(step).observe(1)
for job in range(40):
    m.JOB_DONE.labels(f"job-{job}").set(1)
    for outcome in ("done", "failed"):
        m.JOBS.labels(f"job-{job}", outcome).inc()
from prometheus_client import generate_latest
print(*(line.split("{")[0] for line in generate_latest(m.REGISTRY).decode().splitlines() if line[0] != "#"))
"""
OF_WEB, OF_WORKERS = ("paas_http_",), ("paas_job", "paas_document")
LIVE = 110  # at most, of what is looked up at a scrape


@pytest.mark.exhaustive
def test_a_thousand_tenants_are_at_most_ten_thousand_series() -> None:
    """Of two web processes and a worker together, with as many tenants, models and tools as there may ever be."""
    done = subprocess.run([sys.executable, "-c", FULL], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    series = done.stdout.split()
    web = LIVE + sum(not name.startswith(OF_WORKERS) for name in series)
    worker = LIVE + sum(not name.startswith(OF_WEB) for name in series)
    assert series.count("paas_tenant_runs_total") == metrics.MOST_TENANTS + 1
    assert 2 * web + worker < 10_000, (web, worker)
