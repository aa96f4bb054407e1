"""Starting, keeping up and stopping everything, with real processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest

from launch.ports import free_port
from launch.services import start_postgres, start_redis
from launch.spawn import plain_environment
from tests.launch.running import Platform, Start, until


def test_a_start_ends_with_addresses_and_logins_that_work(whole: Platform) -> None:
    assert f"http://acme.localhost:{whole.port}/" in whole.output
    assert "owner@acme.test" in whole.output
    assert "acme-lighthouse-owner" in whole.output
    assert f"http://localhost:{whole.port}/admin/" in whole.output
    assert "\x1b" not in whole.output  # not a terminal
    assert whole.healthy()
    if socket.has_ipv6:
        assert whole.get("/readyz", host="[::1]")[0] == 200


def test_another_shell_finds_the_services(whole: Platform) -> None:
    path = whole.var / "run" / "services.env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    services = whole.services()
    with psycopg.connect(services["DATABASE_OWNER_URL"]) as owner:
        assert owner.execute("SELECT current_user").fetchone() == ("paas_owner",)
    assert services["PORT"] == str(whole.port)


def test_a_web_process_is_no_owner(whole: Platform) -> None:
    environment = json.loads(whole.get("/environment")[1])
    assert environment["DATABASE_OWNER_URL"] == ""
    assert "DATABASE_ADMIN_URL" not in environment
    assert "paas_app" in environment["DATABASE_URL"]


def test_secrets_are_readable_by_their_owner_only_and_not_in_the_logs(whole: Platform) -> None:
    files = list((whole.var / "secrets").iterdir())
    assert len(files) == 6
    logs = "".join(path.read_text() for path in (whole.var / "log").iterdir())
    assert "prepared" in logs
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert file.read_text() not in logs
        assert file.read_text() not in whole.output
    assert stat.S_IMODE((whole.var / "secrets").stat().st_mode) == 0o700


def test_postgresql_never_runs_as_root(whole: Platform) -> None:
    owner = Path(f"/proc/{whole.children()['postgres'].pid}").stat().st_uid
    assert owner != 0
    assert owner == (os.geteuid() or (whole.var / "postgres" / "data").stat().st_uid)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("postgres", "PostgreSQL"),
        pytest.param("redis", "Redis", marks=pytest.mark.exhaustive),
        pytest.param("model", "The local model", marks=pytest.mark.exhaustive),
        ("web", "The web process"),
        pytest.param("worker", "The worker", marks=pytest.mark.exhaustive),
    ],
)
def test_a_killed_child_comes_back(whole: Platform, name: str, title: str) -> None:
    before = whole.children()[name]
    lines = len(whole.lines)
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: any(line.startswith(f"{title} is back") for line in whole.lines[lines:]), "the new process")
    assert f"{title} was killed by SIGKILL" in whole.output
    assert whole.children()[name].pid != before.pid
    until(whole.healthy, "/readyz")


@pytest.mark.exhaustive
def test_web_process_and_worker_are_replaced_and_nothing_else(whole: Platform) -> None:
    before = whole.children()
    told = subprocess.run(
        [sys.executable, "-m", "launch", "replace"],
        cwd=whole.project,
        env=plain_environment(),
        capture_output=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout
    whole.wait_for("web, worker have been replaced")
    after = whole.children()
    assert {name for name in after if after[name] != before[name]} == {"web", "worker"}
    until(whole.healthy, "/readyz")


def test_nothing_to_replace(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "launch", "replace"]
    told = subprocess.run(
        command, env=plain_environment(VAR_DIR=str(tmp_path)), capture_output=True, text=True, check=False
    )
    assert told.returncode == 1
    assert f"Nothing runs with the data in {tmp_path}" in told.stdout


def test_a_second_start_with_the_same_data_is_refused(whole: Platform) -> None:
    second = Platform(whole.project)
    try:
        assert second.exit_code() == 1
        assert f"Agent PaaS already runs with the data in {whole.var}" in second.output
        assert f"process {whole.process.pid} on port {whole.port}" in second.output
    finally:
        second.close()
    assert whole.healthy()  # and its services.env is still there
    assert whole.services()


@pytest.mark.exhaustive
def test_reset_is_refused_while_it_runs(whole: Platform) -> None:
    command = [sys.executable, "-m", "launch", "reset"]
    environment = plain_environment(FORCE="1")
    result = subprocess.run(command, cwd=whole.project, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "already runs" in result.stdout
    assert whole.healthy()


@pytest.mark.exhaustive
def test_ctrl_c_lets_answers_finish_and_takes_the_database_last(start: Start) -> None:
    platform = start().ready()
    platform.wait_for("worker works")
    children = platform.children()
    answers: list[tuple[int, str]] = []
    asking = threading.Thread(target=lambda: answers.append(platform.get("/slow")))
    asking.start()
    until(lambda: _connected(children["web"].pid, platform.port), "the request to arrive")
    assert platform.interrupt() == 0
    asking.join()
    assert answers[0][1].count("token") == 10
    assert platform.output.index("web says that it stops") < platform.output.index("web may drain for 60 s")
    assert "web leaves, the database is still there" in platform.output
    assert "worker leaves, the services are still there" in platform.output
    assert platform.output.index("web leaves") < platform.output.index("worker leaves")
    assert not any(identity.alive() for identity in children.values())
    assert not (platform.var / "run" / "services.env").exists()


@pytest.mark.exhaustive
def test_neither_a_second_ctrl_c_nor_kill_9_harms_the_data_or_leaves_anything(start: Start) -> None:
    platform = start().ready()
    children = platform.children()
    threading.Thread(target=lambda: _ask_and_lose(platform), daemon=True).start()
    until(lambda: _connected(children["web"].pid, platform.port), "the request to arrive")
    platform.process.send_signal(signal.SIGINT)
    platform.wait_for("Stopping")
    platform.process.send_signal(signal.SIGINT)
    assert platform.exit_code() == 0
    assert "stopped at once" in platform.output
    assert "web leaves" not in platform.output
    assert not any(identity.alive() for identity in children.values())

    platform = start(PORT=str(platform.port)).ready()
    children = platform.children()
    platform.process.kill()
    assert platform.exit_code() == -signal.SIGKILL
    if sys.platform == "linux":
        until(lambda: not any(identity.alive() for identity in children.values()), "the children to end")

    assert _starts(start(PORT=str(platform.port)).ready()) == 3


@pytest.mark.exhaustive
def test_leftovers_of_a_killed_supervisor_are_stopped_and_strangers_are_not(start: Start, project: Path) -> None:
    # Processes that outlived their supervisor: one recorded truly, one whose number is somebody else's now.
    run = project / "var" / "run"
    run.mkdir(parents=True)
    with (
        subprocess.Popen(["sleep", "600"], start_new_session=True) as ours,
        subprocess.Popen(["sleep", "600"]) as other,
    ):
        began = Path(f"/proc/{ours.pid}/stat").read_text().rpartition(")")[2].split()[19]
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        entries = {
            "web": {"pid": ours.pid, "began": f"{boot} {began}"},
            "worker": {"pid": other.pid, "began": f"{boot} {int(began) - 1000}"},
        }
        (run / "processes.json").write_text(json.dumps(entries))
        platform = start()
        ours.wait(30)
        platform.ready()
        assert "left processes behind: web." in platform.output
        assert other.poll() is None
        other.kill()


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("prepare", "Preparing the database stopped with exit code 3, once"),
        ("web", "The web process stopped with exit code 1, 3 times in a row"),
    ],
)
def test_a_part_that_keeps_dying_ends_the_start_with_its_last_lines(start: Start, broken: str, sentence: str) -> None:
    platform = start(BREAK=broken)
    assert platform.exit_code() == 1
    assert sentence in platform.output
    assert "    a reason of its own" in platform.output
    assert platform.children() == {}


@pytest.mark.exhaustive
def test_the_platform_goes_on_without_its_model(start: Start, project: Path) -> None:
    (project / "launch" / "model_server.py").write_text(
        (project / "launch" / "model_server.py").read_text().replace("import xllamacpp", "import no_such_module")
    )
    platform = start(LOCAL_MODEL_URL="").ready()
    assert "The local model stopped with exit code 1, 3 times in a row, so it is not started again." in platform.output
    assert "No module named 'no_such_module'" in platform.output
    assert platform.healthy()
    assert platform.interrupt() == 0


@pytest.mark.exhaustive
def test_the_platform_goes_on_without_its_worker(start: Start) -> None:
    platform = start(BREAK="work").ready()
    platform.wait_for("The worker stopped with exit code 3, 3 times in a row, so it is not started again.")
    platform.wait_for("background work stands still")
    assert platform.healthy()
    assert "worker" not in platform.children()
    assert platform.interrupt() == 0


@pytest.mark.exhaustive
def test_given_services_replace_the_embedded_ones_and_web_processes_share_the_port(
    start: Start, tmp_path: Path
) -> None:
    with (
        start_postgres(tmp_path / "elsewhere") as postgres,
        start_redis(tmp_path / "elsewhere-redis") as redis,
    ):
        platform = start(DATABASE_URL=postgres.admin_url, REDIS_URL=redis.url, WEB_WORKERS="2").ready()
        wanted = ["web1", "web2", "worker"]
        until(lambda: sorted(platform.children()) == wanted, f"{wanted}; the worker may be a moment later")
        pids = {identity.pid for identity in platform.children().values()}
        assert {int(platform.get("/pid")[1]) for _ in range(20)} <= pids
        assert not (platform.var / "postgres").exists()
        with psycopg.connect(platform.services()["DATABASE_URL"]) as app:
            assert app.execute("SELECT current_user, current_database()").fetchone() == ("paas_app", "paas")
        assert platform.services()["REDIS_URL"] == redis.url
        assert platform.interrupt() == 0


def test_a_taken_port_is_named_with_its_holder(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        platform = start(PORT=str(port))
        assert platform.exit_code() == 1
        assert f"Port {port} is taken by" in platform.output
        assert f"(process {os.getpid()})" in platform.output
        assert f"PORT={port + 1} make run" in platform.output


@pytest.mark.exhaustive
def test_stopping_before_everything_is_up_leaves_nothing(start: Start) -> None:
    platform = start(PORT=str(free_port()))
    platform.wait_for("Starting PostgreSQL")
    children = platform.children()
    assert platform.interrupt() == 0
    assert "Agent PaaS is ready" not in platform.output
    assert not any(identity.alive() for identity in children.values())


def _starts(platform: Platform) -> int:
    with psycopg.connect(platform.services()["DATABASE_URL"]) as app:
        row = app.execute("SELECT count(*) FROM starts").fetchone()
    assert row is not None
    return int(row[0])


def _ask_and_lose(platform: Platform) -> None:
    with contextlib.suppress(OSError, http.client.IncompleteRead):
        platform.get("/slow")


def _connected(pid: int, port: int) -> bool:
    """Whether the process has an established connection on the port (a socket that is not listening)."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "01" and int(fields[1].rsplit(":", 1)[1], 16) == port:
            inodes.add(f"socket:[{fields[9]}]")
    links = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.add(os.readlink(descriptor))
        except FileNotFoundError:
            continue
    return bool(links & inodes)
