"""The whole platform through PgBouncer in session mode: requests, turns, workers, migrations, isolation."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from launch.accounts import give, server_uid
from launch.ports import free_port
from launch.services import PostgresService, Service, start_postgres
from launch.spawn import Command, plain_environment
from tests.cluster.installation import ROOT, Installation, events, text_of

pytestmark = pytest.mark.timeout(600)
LOGINS = {"paas_app": "app-loopback-only", "paas_owner": "owner-loopback-only"}


def configuration(folder: Path, postgres: PostgresService, port: int) -> Path:
    """deploy/pgbouncer/pgbouncer.ini with addresses of this machine."""
    lines = (ROOT / "deploy" / "pgbouncer" / "pgbouncer.ini").read_text()
    cluster = postgres.cluster
    for said, ours in (
        ("host=db.example.com port=5432", f"host={cluster.sockets} port={cluster.socket.name.rpartition('.')[2]}"),
        ("listen_port = 6432", f"listen_port = {port}"),
        ("/etc/pgbouncer/", f"{folder}/"),
        ("default_pool_size = 80", "default_pool_size = 40"),  # of each login
    ):
        assert said in lines
        lines = lines.replace(said, ours)
    (folder / "userlist.txt").write_text("".join(f'"{name}" "{word}"\n' for name, word in LOGINS.items()))
    path = folder / "pgbouncer.ini"
    path.write_text(lines + "unix_socket_dir =\n")
    return path


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.fixture(scope="module")
def through() -> Iterator[tuple[Installation, PostgresService]]:
    """An installation whose logins lead through PgBouncer."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "apt-get install pgbouncer"
    folder, port = Path(tempfile.mkdtemp(prefix="paas-pooled-", dir="/tmp")), free_port()
    folder.chmod(0o755)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres = stack.enter_context(start_postgres(folder / "pg"))
        postgres_uid = server_uid(folder / "pg" / "cluster" / "data")
        home = folder / "pgbouncer"
        home.mkdir()
        path = configuration(home, postgres, port)
        if postgres_uid is not None:  # it refuses to run as root, like PostgreSQL, whose socket it has to reach
            give(home, postgres_uid)
        command = Command([program, str(path)], home, plain_environment(), uid=postgres_uid)
        stack.enter_context(Service(command, lambda: answers(port), folder / "pgbouncer.log", signal.SIGTERM))
        urls = {
            name: f"postgresql://{login}:{LOGINS[login]}@127.0.0.1:{port}/paas"
            for name, login in (("DATABASE_URL", "paas_app"), ("DATABASE_OWNER_URL", "paas_owner"))
        }
        installation = Installation(folder, **urls, DATABASE_ADMIN_URL=postgres.admin_url, DATABASE_POOLER="1")
        stack.callback(installation.stop)
        yield installation.ready(), postgres


async def test_the_journey(through: tuple[Installation, PostgresService]) -> None:
    installation, postgres = through
    async with installation.client() as client:
        for _ in range(3):  # prepared statements are used from the third time on
            async with client.post(
                "/api/v1/runs", json={"agent": "quick", "message": "hi"}, headers={"Accept": "text/event-stream"}
            ) as answer:
                found = await events(answer)
            assert (found[-1]["type"], text_of(found).count("t")) == ("run.completed", 20)
        body = {"agent": "quick", "message": "hi", "background": True}
        async with client.post("/api/v1/runs", json=body) as answer:
            run = (await answer.json())["run"]["id"]
        async with client.get(f"/api/v1/runs/{run}/events", headers={"Accept": "text/event-stream"}) as answer:
            assert (await events(answer))[-1]["type"] == "run.completed"
        async with client.get("/api/v1/conversations") as answer:
            assert len((await answer.json())["conversations"]) == 4
    assert "Isolation holds" in installation.manage("prove_isolation")
    installation.manage("verify_ledger")
    assert "up to date" in installation.manage("schema_status")
    with psycopg.connect(postgres.admin_url, dbname="paas") as direct:
        # Nobody came past it, and what a session begins with has arrived.
        names = direct.execute("SELECT DISTINCT usename FROM pg_stat_activity WHERE usename LIKE 'paas%'").fetchall()
        assert {name for (name,) in names} == set(LOGINS)


def test_sessions_begin_with_the_platforms_settings(through: tuple[Installation, PostgresService]) -> None:
    """Without them a statement could run, and a lock be waited for, without an end."""
    installation, _ = through
    code = (
        "from tenants import scope; from django.db import connection\n"
        "with scope.platform(), connection.cursor() as cursor:\n"
        "    for name in ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'timezone'):\n"
        "        cursor.execute(f'SHOW {name}'); print(cursor.fetchone()[0])\n"
    )
    said = installation.manage("shell", "--no-imports", "-v", "0", "-c", code, STATEMENT_TIMEOUT_MS="4321")
    assert said.split() == ["4321ms", "3s", "30s", "UTC"]
