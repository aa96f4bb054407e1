"""`make reset` deletes what is ours, after a yes, and nothing else."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from launch import reset as reset_module
from launch.errors import LaunchError
from launch.reset import reset
from launch.settings import Settings


class Person(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Data of ours and a file of somebody else's in one directory."""
    var = tmp_path / "var"
    for name in ("postgres/data", "secrets", "log", "files/acme"):
        (var / name).mkdir(parents=True)
    (var / "secrets" / "secret_key").write_text("hush")
    (var / "holiday.jpg").touch()
    return Settings(var=var)


@pytest.mark.parametrize("answer", ["yes\n", "YES\n"])
def test_yes_wipes_and_keeps_strangers(
    settings: Settings, answer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reset_module.sys, "stdin", Person(answer))
    reset(settings, {})
    assert [path.name for path in settings.var.iterdir()] == ["holiday.jpg"]
    assert "Not ours, so kept: holiday.jpg" in capsys.readouterr().out


@pytest.mark.parametrize("answer", ["no\n", "y\n", "\n", ""])
def test_anything_else_keeps_all(settings: Settings, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reset_module.sys, "stdin", Person(answer))
    with pytest.raises(LaunchError, match="Nothing was wiped"):
        reset(settings, {})
    assert (settings.var / "secrets" / "secret_key").read_text() == "hush"


def test_without_a_terminal_only_by_force(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reset_module.sys, "stdin", io.StringIO("yes\n"))
    with pytest.raises(LaunchError, match="FORCE=1 make reset"):
        reset(settings, {})
    reset(settings, {"FORCE": "1"})
    assert not (settings.var / "postgres").exists()


def test_nothing_to_wipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reset(Settings(var=tmp_path / "never"), {})
    assert "There is nothing to wipe" in capsys.readouterr().out
