"""What a person sees, and what stays in the log files."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from launch import console as console_module
from launch.console import Console
from launch.report import demo_logins
from launch.settings import DEMO


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "coloured"),
    [(Terminal(), {}, True), (Terminal(), {"NO_COLOR": "1"}, False), (Terminal(), {"TERM": "dumb"}, False),
     (io.StringIO(), {}, False)],
)  # fmt: skip
def test_colours_only_where_wanted(stream: io.StringIO, environment: dict[str, str], coloured: bool) -> None:
    console = Console(stream, environment, 0)
    console.line("web", "\x1b[31mred\x1b[0m")
    assert ("\x1b[" in stream.getvalue()) is coloured
    assert "web      |" in stream.getvalue().replace("\x1b[32m", "").replace("\x1b[0m", "")


def test_hidden_lines_are_in_the_file(tmp_path: Path) -> None:
    stream = io.StringIO()
    console = Console(stream, {}, 0)
    console.log_to(tmp_path)
    console.line("redis", "chatter", show=False)
    console.line("redis", "\x1b[1mgrave\x1b[0m")
    console.close()
    assert stream.getvalue() == "redis    | grave\n"
    assert (tmp_path / "redis.log").read_text() == "chatter\ngrave\n"
    assert (tmp_path / "redis.log").stat().st_mode & 0o777 == 0o600


def test_a_long_log_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_module, "_LOG_BYTES", 100)
    console = Console(io.StringIO(), {}, 0)
    console.log_to(tmp_path)
    for number in range(100):
        console.line("web", f"line {number}")
    console.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["web.log", "web.log.1"]
    assert "line 99" in (tmp_path / "web.log").read_text() + (tmp_path / "web.log.1").read_text()
    assert (tmp_path / "web.log.1").stat().st_size < 200


def test_a_terminal_that_went_away_does_not_stop_anything(tmp_path: Path) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    console = Console(Gone(), {}, 0)
    console.log_to(tmp_path)
    console.line("web", "still here")
    console.line("web", "and here")
    console.close()
    assert (tmp_path / "web.log").read_text() == "still here\nand here\n"


def test_a_full_disk_is_said_once(tmp_path: Path) -> None:
    stream = io.StringIO()
    console = Console(stream, {}, 0)
    console.log_to(Path("/dev/full"))  # a directory that is none: every open fails
    console.line("web", "one")
    console.line("web", "two")
    assert stream.getvalue().count("cannot be written") == 1
    assert "two" in stream.getvalue()


def test_the_logins_printed_are_those_of_the_demo() -> None:
    logins = {(login.tenant, login.email): login.password for login in demo_logins(DEMO.read_text())}
    assert set(logins) == {
        ("acme", "owner@acme.test"),
        ("acme", "member@acme.test"),
        ("globex", "owner@globex.test"),
        ("", "operator@localhost.test"),
    }
    assert all(len(password) >= 12 for password in logins.values())
