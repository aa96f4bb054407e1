"""Scenarios: what they reckon, what their report says, and a tiny one against the stand-in vendor itself."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bench.asking import Answers, Asker, Pool, open_loop
from bench.client import Target
from bench.scenarios import __main__ as command
from bench.scenarios.charts import nice_above, svg
from bench.scenarios.costs import kept_figures, of_a_token
from bench.scenarios.page import html, markdown, said
from bench.scenarios.result import Chart, Line, Result, by_second
from bench.scenarios.turns import Turns, _thirds, first_token_chart
from bench.scenarios.weighing import memory_by_role, memory_mb, spending, watched
from bench.storm import Storm
from bench.vendor import Vendor
from bench.websocket import IdleSocket

REPORT: dict[str, Any] = {
    "at": "2026-11-30T00:00:00+00:00",
    "command": "python -m bench.scenarios steady",
    "machine": {
        "processor": "A <processor>", "cores": 2, "memory_gb": 8.0, "system": "Linux 6", "python": "3.11.7",
        "load_average": [0.5], "commit": "abc1234",
    },
}  # fmt: skip


def result() -> Result:
    found = Result("steady", "Ten & ten.", 60.0, {"reads": 1200, "by status": {200: 3, 429: 1}, "p": [1.5, 2]})
    found.at_most("TTFT p50", 120.0, 130.0, "ms")
    found.at_least("goodput", 83.2, 90, "%")
    found.not_judged("memory", "60 s are too short")
    found.charts = [Chart("Time <first>", "ms", (Line("p50", ((0.0, 1.0), (1.0, 3.0))),))]
    return found


def test_a_target_is_reached_missed_or_not_judged() -> None:
    found = result()
    assert [one.result for one in found.verdicts] == ["PASS", "FAIL", "NOT MEASURED"]
    assert found.verdicts[1].target == "goodput: at least 90 %"
    assert not found.passed
    del found.verdicts[1]
    assert found.passed
    assert not Result("x", "", failed="it did not start").passed
    edge = Result("edge", "")
    edge.at_most("equal", 2.0, 2.0, "x")
    edge.at_least("equal", 2.0, 2.0, "x")
    assert edge.passed


def test_the_report_says_everything_and_loads_nothing() -> None:
    broken = Result("burst", "Bursts.", failed="ProcessFailed: a | b\nc")
    text, page = markdown(REPORT, [result(), broken]), html(REPORT, [result(), broken])
    assert "| steady | goodput: at least 90 % | 83.2 % | FAIL |" in text
    assert "| burst | | ProcessFailed: a \\| b c | NOT MEASURED |" in text
    assert "| by status | 200: 3, 429: 1 |" in text
    assert said([1200, 1.5]) == "1,200 / 1.5"
    for told in ("abc1234", "Ten &amp; ten.", "A &lt;processor&gt;", "Time &lt;first&gt;", "class='FAIL'>FAIL"):
        assert told in page
    assert not re.search(r"https?://|<script|@import|url\(", page)
    assert command.SCENARIOS.keys() >= {"steady", "burst", "soak", "overload", "noisy", "sockets", "tenants", "idle"}


def test_charts() -> None:
    assert [nice_above(value) for value in (0, 0.7, 1, 1.2, 2.3, 30, 51, 100)] == [1, 1, 1, 2, 2.5, 50, 100, 100]
    drawn = svg(Chart("T", "ms", (Line("a", ((0.0, 0.0), (2.0, 10.0))), Line("none", ()))))
    assert 'points="58.0,186.0 628.0,12.0"' in drawn
    assert "none" not in drawn
    bars = svg(Chart("B", "MB", (Line("one", ((0.0, 50.0),)), Line("two", ((0.0, 100.0),))), bars=True))
    wide = [float(value) for value in re.findall(r'width="([\d.]+)"', bars)]
    assert wide[1] == pytest.approx(2 * wide[0])
    assert "nothing was measured" in svg(Chart("E", "ms", (Line("a", ()),)))


def test_what_is_reckoned() -> None:
    assert by_second([(0.2, 1.0), (0.9, 2.0), (2.1, 3.0), (9.0, 4.0)], 2) == [(0, [1.0, 2.0]), (1, []), (2, [3.0])]
    assert _thirds([(at, float(at)) for at in range(9)]) == [1.0, 4.0, 7.0]
    assert _thirds([]) == [0.0, 0.0, 0.0]
    turn, token = of_a_token([6.0, 3.0], [24.0, 3.0])
    assert (token, turn) == ([0.1, 0.0], [4.0, 3.0])
    before = {"size": 1_000, "wal": 0, "redis": 0, "rows": {"chat_run": 5, "pg": 1}, "connections": {}}
    after = {"size": 21_000, "wal": 40_000, "redis": 10_000, "rows": {"chat_run": 15, "chat_message": 20, "pg": 2}}
    kept = kept_figures(before, after | {"connections": {"paas_app": 16}}, 10)
    assert kept["rows of a turn by table"] == {"chat_message": 2.0, "chat_run": 1.0}
    assert [kept[name] for name in kept if name.startswith("KB")] == [2.0, 4.0, 1.0]
    over = Answers([(200, 0.1, False), (429, 0.002, True), (503, 0.004, False), (0, 9.0, False)])
    storm = Storm(Answers([(200, 0.05, False)]), over, 100.0, 90.0)
    assert (storm.part, storm.slower, storm.wrong) == (0.9, 2.0, 1)
    figures = storm.figures()
    assert (figures["refused"], figures["refused without Retry-After"]) == (2, 1)
    assert over.statuses() == {200: 1, 429: 1, 503: 1, 0: 1}


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "soak" not in command.parse([]).names
    assert command.parse(["soak", "--soak-seconds", "30"]).names == ["soak"]
    for wrong in (["nothing"], ["--seconds", "1"], ["--sockets", "0"]):
        with pytest.raises(SystemExit):
            command.parse(wrong)
    assert "there is no scenario nothing" in capsys.readouterr().err


def test_what_cannot_be_measured_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(options: Any) -> Result:
        """Breaks."""
        raise OSError("no memory")

    monkeypatch.setitem(command.SCENARIOS, "steady", broken)
    found = command.measure("steady", command.Options())
    assert (found.told, found.failed, found.passed) == ("Breaks.", "OSError: no memory", False)


async def test_a_tiny_load() -> None:
    """Turns at a rate, checked token for token; the last one is wrong. Their process is watched meanwhile."""
    async with Vendor() as vendor, watched(os.getpid(), 0.05) as seen, spending(lambda: [os.getpid()]) as spent:
        turns = Turns(Target(vendor.base_url), ("bench-5-1-10", 10))
        turns.restart()
        await turns.at_rate(50, 0.2)
        right = len(turns.found)
        turns.model = ("bench-0-0-9", 10)
        await turns.ask()
        turns.close()
        reads = Target(vendor.base_url)
        async with Asker(reads, reads.reading("/v1/models")) as asker:
            answers = await asker.closed_loop(2, 0.1)
        async with Asker(reads, reads.reading("/nowhere")) as asker:
            missing = await asker.at_rate(20, 0.1)
    assert len(turns.first_ms()) == right == 10
    assert "characters of text" in next(iter(turns.problems()))
    assert first_token_chart(turns, 1.0).lines[0].points
    assert len(answers.found) == len(answers.times(200)) > 2
    assert set(missing.statuses()) == {404}
    assert {name for name, value in (("memory", seen.memory_mb), ("files", seen.files)) if value} == {"memory", "files"}
    assert spent.all > 0
    resident, proportional = memory_mb(os.getpid())
    assert 0 < proportional <= resident
    assert sum(count for count, _, _ in memory_by_role([os.getpid(), 2**22]).values()) == 1


async def test_a_pool_uses_connections_again_and_notices_closed_ones() -> None:
    async with Vendor() as vendor:
        target = Target(vendor.base_url)
        pool = Pool(target)
        request = target.request("bench-0-0-3", True)
        for _ in range(3):
            assert (await pool.ask(request)).problem("t0 t1 t2 ") is None
        assert vendor.stats.connections == 1
        await asyncio.gather(*(pool.ask(request) for _ in range(3)))
        assert vendor.stats.connections == 3
        pool.close()
        asked: list[int] = []

        async def ask() -> None:
            asked.append(1)

        await open_loop(ask, 100, 0.05)
        assert len(asked) == 5
    assert "not connected" in str((await pool.ask(request)).error)


@asynccontextmanager
async def speaking(parts: list[bytes], got: list[bytes]) -> AsyncIterator[Target]:
    """A server that answers an upgrade with these bytes, and keeps what comes afterwards."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n"))
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        got.append(await reader.read())
        writer.close()
        gone.set()

    gone = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Target(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await asyncio.wait_for(gone.wait(), 5)


async def test_an_idle_socket() -> None:
    """Frames cut anywhere, a long one, a ping that is answered, and the close code."""
    long = bytes((0xC1, 126)) + (300).to_bytes(2, "big") + b"x" * 300
    frames = bytes((0x81, 2)) + b"{}" + long + bytes((0x89, 2)) + b"hi" + bytes((0x88, 2)) + (4401).to_bytes(2, "big")
    head, got = b"HTTP/1.1 101 Switching Protocols\r\n\r\n", list[bytes]()
    async with speaking([head + frames[:1], *(frames[at : at + 7] for at in range(1, len(frames), 7))], got) as target:
        socket = await IdleSocket.open(target, "/ws/chat/", {"Authorization": "Bearer k"})
        async with asyncio.timeout(5):
            while socket.closed is None:
                await asyncio.sleep(0)
    assert (socket.frames, socket.closed) == (2, 4401)
    assert b"Authorization: Bearer k\r\n" in got[0]
    assert got[1] == bytes((0x8A, 0x82)) + b"\0\0\0\0hi"
    async with speaking([b"HTTP/1.1 403 Forbidden\r\n\r\n"], []) as target:
        with pytest.raises(ConnectionError, match="403"):
            await IdleSocket.open(target, "/", {})


def test_a_read_names_its_host() -> None:
    target = Target("http://acme.localhost:8000/v1", "k")
    assert target.reading("/x").startswith(b"GET /x HTTP/1.1\r\nHost: acme.localhost:8000\r\nAuthorization: Bearer k")
