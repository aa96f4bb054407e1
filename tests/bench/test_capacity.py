"""The capacity model adds up, and docs/scaling.md shows what it says."""

from __future__ import annotations

import sys

import pytest

from bench import capacity
from bench.capacity import LOADS, Costs, Load, Rules, markdown, need
from bench.processes import ROOT

ROUND = Costs(
    read_ms=10, turn_ms=20, token_ms=0.1, socket_minute_ms=60, database_read_ms=1, database_turn_ms=10,
    database_token_ms=0.01, redis_read_ms=1, redis_turn_ms=1, redis_token_ms=0.01, socket_kb=50, stream_kb=100, web_mb=200,
    catalogue_kb=500, plans_kb=1000, database_turn_kb=10, wal_turn_kb=20, redis_turn_kb=5,
)  # fmt: skip


def test_each_kind_of_work_counts() -> None:
    """400 streams: 30 turns, 90 reads and 12,000 tokens a second, 2,000 open tabs."""
    load = Load("x", 100, 400)
    assert (load.turns_per_s, load.open_sockets) == (30.0, 2000)
    found = need(load, ROUND)
    assert found.web_cores == pytest.approx(0.9 + 0.6 + 1.2 + 2.0)
    assert found.web_processes == 8  # 4.7 cores at 60 %
    assert found.web_gb == pytest.approx(8 * 0.2 + 0.1 + 0.04)
    assert found.database_cores == pytest.approx(0.09 + 0.3 + 0.12)
    assert found.redis_cores == pytest.approx(0.09 + 0.03 + 0.12)
    assert found.connections == 8 * 16
    # A tenth of 100 tenants: half a MB each on twelve connections of a process, a MB on those of turns.
    assert found.catalogue_gb == pytest.approx(8 * (12 * 10 * 0.5 + 4 * 10) / 1e3)
    assert need(load, ROUND, Rules(hot_tenants=5)).catalogue_gb == pytest.approx(8 * (12 * 10 * 0.5 + 4 * 5) / 1e3)
    assert found.stored_gb_a_day == pytest.approx(30 * 86_400 * 10 / 1e6)
    assert found.wal_mb_per_s == pytest.approx(0.6)
    assert found.redis_gb == pytest.approx(30 * 3600 * 5 / 1e6)


def test_the_first_limit_that_is_met_decides() -> None:
    idle = need(Load("tabs", 10, 0, sockets=5_001), Costs(socket_minute_ms=0))
    assert (idle.web_processes, idle.cells) == (2, 1)
    assert need(Load("none", 1, 0), ROUND).web_processes == 1
    assert need(Load("many", 10_001, 1), ROUND).cells == 2
    load = Load("busy", 1, 40_000)
    assert need(load, ROUND, Rules(database_cores=1)).cells == 85  # 51 cores of PostgreSQL at 60 %
    assert need(load, ROUND, Rules(database_cores=64)).cells == 40  # 24 of Redis


def test_the_document_shows_what_it_says() -> None:
    assert markdown() in (ROOT / "docs" / "scaling.md").read_text()
    assert (LOADS[-1].tenants, LOADS[-1].streams) == (10_000, 100_000)


def test_a_load_of_ones_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for more in ([], ["--slower", "2"]):
        monkeypatch.setattr(sys, "argv", ["capacity", "--tenants", "7", "--streams", "9000", *more])
        capacity.main()
        said.append(capsys.readouterr().out)
    assert "yours: 7 tenants, 9,000 streams" in said[0]
    cores = [float(text.split("cores of web processes | ")[1].split(" |")[0].replace(",", "")) for text in said]
    assert cores[1] == pytest.approx(2 * cores[0], rel=0.02)
