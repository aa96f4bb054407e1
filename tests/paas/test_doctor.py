"""Things are broken one at a time, and the doctor must say each, with what mends it."""

from __future__ import annotations

import io
import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import connections
from redis import Redis

from accounts import audit
from core import clock, crypto
from paas import backup, doctor
from paas.doctor import around, books, database, stores
from paas.doctor.finding import Check
from tenants import scope
from tests.conftest import Platform
from tests.files import no_files  # noqa: F401 - a fixture
from tests.services import Services
from tests.usage.entries import entry, seal

ORPHAN = f"t_{'0' * 32}"
RUN = uuid.UUID(int=7)
HELD = (
    "INSERT INTO usage_reservation (run_id, tenant_id, amount, input_estimate, calls, state, host, fence, lease_until, "
    "cancel_requested, counted_output, agent, provider, model, outcome, error_code, created_at, quotas) VALUES "
    "('{run}', '{id}', 5, 0, '[]', 'held', '{host}', 1, now() - interval '1 hour', false, 0, '', '', '', '', '', "
    "now() - interval '1 hour', '{{}}')"
)
# What is done -> what undoes it (the tests' cleaning does the rest), who looks, and what is said.
BROKEN: dict[str, tuple[str, str, Check, str]] = {
    "superuser": (
        "ALTER ROLE paas_app SUPERUSER", "ALTER ROLE paas_app NOSUPERUSER", database.reachable,
        "postgresql.login: DATABASE_URL signs in as paas_app, a superuser",
    ),
    "row security": (
        "ALTER TABLE usage_quota DISABLE ROW LEVEL SECURITY", "ALTER TABLE usage_quota ENABLE ROW LEVEL SECURITY",
        database.protection, "postgresql.isolation: public.usage_quota: row-level security is off",
    ),
    "orphan": (
        f"CREATE SCHEMA {ORPHAN} AUTHORIZATION paas_owner", f"DROP SCHEMA {ORPHAN}", database.protection,
        f"postgresql.orphan_schema: {ORPHAN}: belongs to no tenant",
    ),
    "extension": (
        "UPDATE pg_extension SET extname = 'other' WHERE extname = 'vector'",
        "UPDATE pg_extension SET extname = 'vector' WHERE extname = 'other'", database.extension, "postgresql.pgvector",
    ),
    "index": (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'usage_tenant_time'::regclass",
        "UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'usage_tenant_time'::regclass", database.indexes,
        "postgresql.index: The index public.usage_tenant_time is not valid",
    ),
    "behind": (
        "UPDATE {acme}.django_migrations SET app = 'gone' WHERE app = 'llm'",
        "UPDATE {acme}.django_migrations SET app = 'llm' WHERE app = 'gone'", database.schemas,
        "schemas.behind: 1 schemas lack migrations: {acme}",
    ),
    "failed job": (
        "INSERT INTO procrastinate_jobs (queue_name, task_name, status) VALUES ('default', 'mail.send', 'failed')", "",
        books.jobs, "jobs.failed: Jobs have failed for good: mail.send (1)",
    ),
    "no worker": ("DELETE FROM procrastinate_workers", "", books.jobs, "worker.alive: No worker"),
    "late schedule": (
        "INSERT INTO tenants_alarm (id, tenant_id, at) VALUES ('{run}', '{id}', now() - interval '1 hour')",
        "DELETE FROM tenants_alarm", books.jobs, "schedules.late: 1 tenants' schedules",
    ),
    "lease over": (HELD.replace("{host}", "dead"), "", books.runs, "runs.stuck: 1 runs hold tokens"),
    "unclaimed": (HELD.replace("{host}", "worker"), "", books.runs, "runs.waiting: 1 background runs"),
    "counter": (
        "INSERT INTO usage_quota (id, tenant_id, level, subject_id, metric, month, used, reserved) VALUES "
        "('{run}', '{id}', 'tenant', '{id}', 'tokens', '2026-01-01', 12, 7)", "", books.counted,
        "holds 7, and its runs 0",
    ),
    "ledger and counter": (
        "INSERT INTO usage_quota (id, tenant_id, level, subject_id, metric, month, used, reserved) VALUES "
        "('{run}', '{id}', 'tenant', '{id}', 'tokens', '2026-01-01', 12, 0)", "", books.counted,
        "its months count 12 tokens, and its ledger 0",
    ),
    "stopped building": (
        "UPDATE tenants_tenant SET step = 'schema', failure = 'OperationalError: no room' WHERE id = '{id}'",
        "UPDATE tenants_tenant SET step = '', failure = '' WHERE id = '{id}'", books.tenants,
        "tenants.failure: acme stands at 'schema': OperationalError: no room",
    ),
    "file": (
        "UPDATE tenants_tenant SET logo = '{id}/gone.png' WHERE id = '{id}'",
        "UPDATE tenants_tenant SET logo = '' WHERE id = '{id}'", stores.files,
        "storage.lost: acme: 1 files of rows are gone, such as {id}/gone.png",
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _own_connection(db: Platform) -> Iterator[None]:
    yield
    connections.close_all()


def said(check: Check) -> list[str]:
    return [f"{found.check}: {found.what}" for found in check()]


def tells(check: Check, text: str) -> bool:
    return any(text in line for line in said(check))


@pytest.fixture
def admin(services: Services, db: Platform) -> Iterator[Callable[[str], Any]]:
    with psycopg.connect(services.postgres.admin_url, dbname="paas", autocommit=True) as connected:
        connected.execute("SET session_replication_role = replica")
        connected.execute("DELETE FROM tenants_alarm")  # other tests' schedules
        yield lambda text: connected.execute(text.encode())


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_in_the_database_is_found(name: str, db: Platform, admin: Callable[[str], Any]) -> None:
    breaks, mends, check, expected = (
        part if callable(part) else part.format(acme=db.acme.schema, id=db.acme.id, run=RUN, host="")
        for part in BROKEN[name]
    )
    if name != "no worker":
        assert not tells(check, expected)
    try:
        admin(breaks)
        assert tells(check, expected), said(check)
    finally:
        if mends:
            admin(mends)


def test_a_worker_that_is_alive_is_seen(admin: Callable[[str], Any]) -> None:
    admin("INSERT INTO procrastinate_workers DEFAULT VALUES")
    try:
        assert not tells(books.jobs, "worker.alive")
    finally:
        admin("DELETE FROM procrastinate_workers")


def test_chains_that_somebody_changed(db: Platform, admin: Callable[[str], Any]) -> None:
    entry(db.acme)
    with scope.bind(db.acme):
        audit.record("test.happened", actor="test")
    seal()
    assert said(books.chains) == []
    admin("UPDATE usage_usagerecord SET cost = 0")
    admin("UPDATE accounts_auditevent SET actor = 'nobody'")
    found = said(books.chains)
    assert any(line.startswith("books.ledger: acme: The entry of #1") for line in found), found
    assert any(line.startswith("books.audit: acme: Row #1") for line in found), found


def test_backups_are_missed(db: Platform, admin: Callable[[str], Any]) -> None:
    assert tells(books.backups, "backup.age: No backup of everything was ever made here")
    with scope.platform():
        audit.record(backup.MADE, actor="test", target="x.zip")
    assert tells(books.backups, "backup.last: The last backup is x.zip")
    admin(f"UPDATE accounts_auditevent SET at = '{clock.now() - timedelta(days=3)}' WHERE action = '{backup.MADE}'")
    assert tells(books.backups, "backup.age: The last backup is of")


REDIS = {
    "redis.version": {"redis_version": "6.0.16"},
    "redis.eviction": {"redis_version": "7.2.0", "maxmemory_policy": "allkeys-lru"},
    "redis.memory": {"redis_version": "7.2.0", "maxmemory": 100, "used_memory": 95},
    "redis.persistence": {"redis_version": "7.2.0", "rdb_last_bgsave_status": "err"},
}


@pytest.mark.parametrize("name", REDIS)
def test_what_redis_says_of_itself(name: str) -> None:
    assert [found.check for found in stores.redis_says(REDIS[name])] == [name]
    assert list(stores.redis_says({"redis_version": "6.2.0"})) == []


def test_redis_is_asked(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(stores.redis) == []
    with Redis.from_url(services.redis.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            assert tells(stores.redis, "redis.eviction")
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    monkeypatch.setattr(settings, "REDIS_URL", "redis://127.0.0.1:1/0")
    assert tells(stores.redis, "redis.reachable")


def test_files_and_the_disk(db: Platform, no_files: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    left = Path(default_storage.location) / str(db.acme.id) / "left-over"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"x")
    assert tells(stores.files, f"storage.unknown: acme: 1 files of no row, such as {db.acme.id}/left-over")
    shutil.rmtree(left.parent)
    assert said(stores.files) == []
    assert said(stores.writable) == []
    (tmp_path / "taken").touch()
    monkeypatch.setattr(default_storage._wrapped, "location", str(tmp_path / "taken"))
    assert tells(stores.writable, "storage.writable")
    monkeypatch.setattr(stores, "FREE_BYTES", 10**18)
    assert tells(stores.disk, "disk.room")


def test_secrets(db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SECRET_KEY", crypto.new_key() + crypto.new_key())
    monkeypatch.setattr(settings, "API_KEY_PEPPER", crypto.new_key())
    assert said(around.secrets) == ["backup.plain: Backups are not encrypted."]
    monkeypatch.setattr(settings, "FIELD_KEYS", [crypto.new_key()])
    assert tells(around.secrets, "secrets.lost: acme: no key of FIELD_KEYS opens its secrets")
    monkeypatch.setattr(settings, "API_KEY_PEPPER", settings.SECRET_KEY)
    assert tells(around.secrets, "secrets.same")
    monkeypatch.setattr(settings, "SECRET_KEY", "x" * 60)
    assert tells(around.secrets, "secrets.weak: SECRET_KEY")
    monkeypatch.setenv("BACKUP_KEY", settings.FIELD_KEYS[0])
    assert tells(around.secrets, "backup.key: BACKUP_KEY is one of FIELD_KEYS")


def test_the_world_around(db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tells(around.mail, "mail.server: Letters are files")
    monkeypatch.setattr(settings, "EMAIL_HOST", "127.0.0.1")
    monkeypatch.setattr(settings, "EMAIL_PORT", 1)
    monkeypatch.setattr(settings, "EMAIL_BACKEND", "django.core.mail.backends.smtp.EmailBackend")
    assert tells(around.mail, "mail.server: 127.0.0.1:1 takes no letters")
    assert said(around.names) == []
    monkeypatch.setattr(settings, "BASE_DOMAIN", "nowhere.invalid")
    assert said(around.names)[1].startswith("dns.names: doctor.nowhere.invalid has no address")
    assert tells(around.configured, "settings.module: nowhere.invalid is served with")
    monkeypatch.setattr(database, "clock", lambda: 0.0)
    assert tells(database.clocks, "postgresql.clock")
    monkeypatch.setenv("DATABASE_POOL_SIZE", "90")
    assert tells(database.connections, "postgresql.connections: 2 processes may open")
    assert tells(database.settings, "postgresql.durable: fsync is off")  # as the tests' server is
    assert tells(database.settings, "postgresql.archive: WAL is not archived")
    monkeypatch.setenv("DATABASE_URL", "postgresql://paas_app@127.0.0.1:1/paas")
    assert tells(database.reachable, "postgresql.login: DATABASE_URL does not open the database")


def test_the_command(db: Platform, admin: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    admin(BROKEN["index"][0])
    output = io.StringIO()
    with pytest.raises(CommandError, match="errors"):
        call_command("doctor", json=True, stdout=output)
    found = {one["check"]: one for one in json.loads(output.getvalue())}
    assert found["postgresql.index"]["can_fix"]
    assert "doctor.failed" not in found
    with pytest.raises(CommandError):
        call_command("doctor", fix=True, yes=True, stdout=output)
    assert 'done: REINDEX INDEX CONCURRENTLY "public"."usage_tenant_time";' in output.getvalue()
    assert said(database.indexes) == []
    monkeypatch.setattr(doctor, "examine", lambda: iter([doctor.Finding(doctor.WARNING, "a.b", "w", "m")]))
    call_command("doctor", stdout=output)
    with pytest.raises(CommandError, match="0 errors, 1 warnings"):
        call_command("doctor", strict=True, stdout=output)


def test_what_cannot_be_looked_at_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> Iterator[doctor.Finding]:
        raise ValueError("no\nsecond line")
        yield

    monkeypatch.setattr(doctor, "FIRST", (fails,))
    monkeypatch.setattr(doctor, "ALWAYS", ())
    monkeypatch.setattr(doctor, "IN_DATABASE", ())
    (found,) = doctor.examine()
    assert (found.level, found.check) == (doctor.ERROR, "doctor.failed")
    assert found.what.endswith("fails could not be looked at: ValueError: no")
