"""Whose process is it, and who may start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launch.errors import LaunchError
from launch.processes import Identity, Lock, Roster
from launch.spawn import Command, plain_environment
from tests.launch.running import until


def test_a_reused_number_is_not_our_process(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as stranger:
        truly = Identity.of(stranger.pid)
        assert truly is not None
        assert truly.alive()
        assert not Identity(stranger.pid, truly.began + "0").alive()
        roster = Roster(tmp_path / "processes.json")
        roster.add("web", stranger.pid)
        assert Roster(tmp_path / "processes.json").leftovers() == {"web": truly}
        stranger.kill()
        stranger.wait()
    assert Roster(tmp_path / "processes.json").leftovers() == {}
    assert Identity.of(stranger.pid) is None


def test_a_damaged_roster_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "processes.json").write_text('{"web": {"pi')
    assert Roster(tmp_path / "processes.json").leftovers() == {}


def test_stop_kills_what_does_not_listen(tmp_path: Path) -> None:
    deaf = "trap '' TERM; echo deaf; while :; do sleep 1; done"
    command = Command(["sh", "-c", deaf], tmp_path, plain_environment())
    with (tmp_path / "output").open("wb") as output:
        process = command.start(output.fileno())
    until(lambda: (tmp_path / "output").read_text() == "deaf\n", "the trap")
    identity = Identity.of(process.pid)
    assert identity is not None
    identity.stop(signal.SIGTERM, 0.2)
    assert process.wait() == -signal.SIGKILL


def test_the_lock_lets_one_in_and_forgets_a_dead_holder(tmp_path: Path) -> None:
    place = tmp_path / "run"
    place.mkdir()
    holder = (
        "import sys, time; from pathlib import Path; from launch.processes import Lock;"
        "lock = Lock(Path(sys.argv[1])); lock.take(8123); print('held', flush=True); time.sleep(600)"
    )
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(place / "lock")], cwd=root, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(LaunchError, match=f"process {other.pid} on port 8123"):
            Lock(place / "lock").take(8000)
        other.kill()
    lock = Lock(place / "lock")
    lock.take(8000)
    assert (place / "lock").read_text() == f"{os.getpid()} 8000\n"
    lock.release()


@pytest.mark.skipif(sys.platform != "linux", reason="PDEATHSIG is Linux's")
def test_a_program_ends_with_its_parent(tmp_path: Path) -> None:
    parent = (
        "import os, sys, time; from pathlib import Path; from launch.spawn import Command, plain_environment;"
        "process = Command(['sleep', '600'], Path('/'), plain_environment()).start(1);"
        "print(process.pid, flush=True); time.sleep(600)"
    )
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", parent]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as middle:
        assert middle.stdout is not None
        child = int(middle.stdout.readline())
        until(lambda: Path(f"/proc/{child}/comm").read_text() == "sleep\n", "the exec")
        middle.kill()
    until(lambda: Identity.of(child) is None, "the end of the child")


def test_a_repr_shows_no_secrets() -> None:
    command = Command(["true"], Path("/"), {"SECRET_KEY": "hush"}, stdin=b"hush")
    assert "hush" not in repr(command)
