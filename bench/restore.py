"""How long it takes to have an installation back, and to the second (security.md T25).

    python -m bench.restore --tenants 50      backup, then restoring on a new server: RTO
    python -m bench.restore --point-in-time   WAL is archived, rows are deleted, and the moment before comes back: RPO

Servers of its own on loopback, below /tmp, gone afterwards. The exit status is 1 when anything differs, or an objective
is missed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import psycopg
import yaml

from bench.leaks.services import OwnServices, running_services
from bench.machine import describe
from bench.processes import ROOT
from launch import accounts, wheels
from launch.services import PostgresService, start_postgres

RTO_SECONDS = 30 * 60.0
ROWS_A_TENANT = 2_000
FILE_BYTES = 1_000_000
ARCHIVE_SETTINGS = {"archive_mode": "on", "archive_timeout": "60s"}
# As docs/backup.md has it: a segment is in the archive whole, or not under its name.
ARCHIVE_COMMAND = "test ! -f {to}/%f && cp %p {to}/.%f.unfinished && mv {to}/.%f.unfinished {to}/%f"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.restore", description=__doc__)
    parser.add_argument("--tenants", type=int, default=20)
    parser.add_argument("--point-in-time", action="store_true", help="try archiving of WAL in the place of a backup")
    options = parser.parse_args()
    found = point_in_time() if options.point_in_time else drill(options.tenants)
    print(orjson.dumps({"machine": describe()} | found, option=orjson.OPT_INDENT_2).decode())
    return 0 if found["met"] else 1


# --- a backup ------------------------------------------------------------------------------------------


def drill(tenants: int) -> dict[str, Any]:
    """Seconds of backup and of restoring on a new server (its start, migrations and every comparison included)."""
    with running_services(durable=True) as services:
        manage("init_database")
        manage("migrate_all")
        _fill(services, tenants)
        began = time.monotonic()
        manage("backup", str(services.folder / "backup.zip"))
        backed_up = time.monotonic() - began
        size = (services.folder / "backup.zip").stat().st_size
        before = _counts(services.postgres)
        services.postgres.stop()
        shutil.rmtree(services.folder / "pg")
        shutil.rmtree(services.folder / "var" / "files")
        began = time.monotonic()
        services.postgres = start_postgres(services.folder / "pg", durable=True)
        os.environ["DATABASE_ADMIN_URL"] = services.postgres.admin_url
        manage("restore", str(services.folder / "backup.zip"))
        restored = time.monotonic() - began
        manage("prove_isolation")
        same = _counts(services.postgres) == before
    return {
        "tenants": tenants, "rows": sum(before.values()), "backup_bytes": size, "backup_seconds": round(backed_up, 1),
        "restore_seconds": round(restored, 1), "same_rows": same, "met": same and restored <= RTO_SECONDS,
    }  # fmt: skip


def manage(*words: str) -> str:
    """What `manage.py` says. Raises CalledProcessError."""
    done = subprocess.run([sys.executable, "manage.py", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
    done.check_returncode()
    return done.stdout


def _fill(services: OwnServices, tenants: int) -> None:
    """Tenants with an agent, a person, conversations and a file each."""
    wanted = [
        {
            "slug": f"tenant-{number}", "name": f"Tenant {number}",
            "members": [{"email": f"owner@tenant-{number}.test", "role": "owner", "password": "correct-horse-battery"}],
            "providers": [{"name": "scripted", "kind": "scripted"}],
            "agents": [{"slug": "assistant", "name": "Assistant", "provider": "scripted", "model": "demo"}],
        }
        for number in range(tenants)
    ]  # fmt: skip
    declaration = services.folder / "tenants.yaml"
    declaration.write_text(yaml.safe_dump({"tenants": wanted}))
    manage("apply", "-f", str(declaration))
    with psycopg.connect(services.postgres.admin_url, dbname="paas", autocommit=True) as admin:
        schemas = admin.execute("SELECT id, schema_name FROM tenants_tenant").fetchall()
        for tenant_id, schema in schemas:
            admin.execute(
                f"INSERT INTO {schema}.agents_memory (id, user_id, agent_id, text, run_id, tainted, created_at) "
                "SELECT gen_random_uuid(), gen_random_uuid(), a.id, repeat('remembered ', 20) || n, gen_random_uuid(), "
                f"false, now() FROM generate_series(1, %s) n, {schema}.agents_agent a".encode(),
                [ROWS_A_TENANT],
            )
            folder = services.folder / "var" / "files" / str(tenant_id)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "uploaded").write_bytes(os.urandom(FILE_BYTES))


def _counts(postgres: PostgresService) -> dict[str, int]:
    """Rows of each table, but those that the platform adds when it is looked at."""
    with psycopg.connect(postgres.admin_url, dbname="paas") as admin:
        tables = admin.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = 'public' OR schemaname ~ '^t_'"
        ).fetchall()
        return {
            f"{schema}.{table}": admin.execute(f"SELECT count(*) FROM {schema}.{table}".encode()).fetchone()[0]  # type: ignore[index]
            for schema, table in tables
            if table not in ("accounts_auditevent", "django_migrations")
        }


# --- an archive ----------------------------------------------------------------------------------------


def point_in_time() -> dict[str, Any]:
    """Write, archive, delete everything, and come back to the moment before."""
    with running_services(durable=True) as services:
        archive = services.folder / "archive"
        archive.mkdir()
        if os.geteuid() == 0:
            os.chown(archive, accounts.UNPRIVILEGED, accounts.UNPRIVILEGED)
        _archive_to(services, archive)
        base = services.folder / "base"
        _base_backup(services.postgres, base)
        with psycopg.connect(services.postgres.admin_url, autocommit=True) as admin:
            admin.execute("CREATE TABLE kept AS SELECT n FROM generate_series(1, 1000) n")
            moment = _one(admin, "SELECT clock_timestamp()::text")
            admin.execute("SELECT pg_sleep(0.1)")
            admin.execute("DROP TABLE kept")
            last = _one(admin, "SELECT pg_walfile_name(pg_switch_wal())")
            _wait_for(archive / last)
        services.postgres.stop()
        began = time.monotonic()
        back = _restored(services, base, archive, moment)
        try:
            with psycopg.connect(back.admin_url, autocommit=True) as admin:
                rows = int(_one(admin, "SELECT count(*)::text FROM kept"))
        finally:
            back.stop()
        seconds = time.monotonic() - began
    return {"rows_back": rows, "restore_seconds": round(seconds, 1), "met": rows == 1000}


def _one(connection: psycopg.Connection[Any], query: str) -> str:
    row = connection.execute(query.encode()).fetchone()
    return str(row[0] if row else "")


def _archive_to(services: OwnServices, archive: Path) -> None:
    settings = ARCHIVE_SETTINGS | {"archive_command": ARCHIVE_COMMAND.format(to=archive)}
    with psycopg.connect(services.postgres.admin_url, autocommit=True) as admin:
        for name, value in settings.items():
            admin.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
    services.postgres.stop()
    services.postgres = start_postgres(services.folder / "pg", durable=True)


def _base_backup(postgres: PostgresService, to: Path) -> None:
    program = wheels.postgres_home() / "bin" / "pg_basebackup"
    command = [str(program), "-d", postgres.admin_url, "-D", str(to), "-X", "none", "-c", "fast"]
    subprocess.run(command, check=True, capture_output=True)


def _wait_for(segment: Path) -> None:
    deadline = time.monotonic() + 60
    while not segment.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{segment.name} did not come into the archive.")
        time.sleep(0.05)


def _restored(services: OwnServices, base: Path, archive: Path, moment: str) -> PostgresService:
    """A new server from the base backup, brought forward to `moment`."""
    home = services.folder / "pg2"
    (home / "cluster").mkdir(parents=True)
    shutil.copy2(services.folder / "pg" / "superuser", home / "superuser")
    base.rename(home / "cluster" / "data")
    data = home / "cluster" / "data"
    with (data / "postgresql.auto.conf").open("a") as conf:
        conf.write(
            f"archive_mode = 'off'\nrestore_command = 'cp {archive}/%f %p'\n"
            f"recovery_target_time = '{moment}'\nrecovery_target_action = 'promote'\n"
        )
    (data / "recovery.signal").touch()
    if os.geteuid() == 0:
        accounts.give(data, accounts.UNPRIVILEGED)
    data.chmod(0o700)
    return start_postgres(home, durable=True)


if __name__ == "__main__":
    sys.exit(main())
