"""Migration of every schema: nothing to do costs next to nothing, an interrupted run goes on (P20, T21, A76)."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor
from django.test.utils import CaptureQueriesContext

from tenants import catalog, migrate, scope
from tenants.scope import TEMPLATE_SCHEMA
from tests.conftest import Platform
from tests.services import Services


@pytest.fixture(autouse=True)
def _own_connection(platform: Platform) -> Iterator[None]:
    yield
    connections.close_all()


def run() -> list[str]:
    said: list[str] = []
    changed = migrate.migrate_all(said.append)
    assert changed == len(said)
    return said


@pytest.fixture
def admin(services: Services) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(services.postgres.admin_url, dbname="paas", autocommit=True) as connected:
        yield connected


def functions_of_chat(admin: psycopg.Connection[Any], schema: str) -> list[str]:
    """With their arguments. `tool_...` and `memories_...` are those of the room of agents, `knowledge_...` of its own."""
    found = admin.execute(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = %s::regnamespace AND proname !~ '^(tool|memories|knowledge)_'",
        [schema],
    )
    return [function for (function,) in found.fetchall()]


def fall_behind(admin: psycopg.Connection[Any], schema: str) -> None:
    """Take a schema's chat room back to its first migration, as if it had been made by a release of old."""
    with scope.owner(schema):
        executor = MigrationExecutor(connection)
        executor.migrate([("chat", "0001_initial")])
    for function in functions_of_chat(admin, schema):
        admin.execute(f"DROP FUNCTION {function}".encode())
    for table, column in (("conversation", "config"), ("conversation", "meta"), ("message", "meta")):  # of 0007
        admin.execute(f"ALTER TABLE {schema}.chat_{table} DROP COLUMN IF EXISTS {column}".encode())


def step_back(schema: str) -> None:
    """The same by some migrations only, which takes a fifth of the time."""
    with scope.owner(schema):
        MigrationExecutor(connection).migrate([("chat", "0014_agent_runs")])


def drift(platform: Platform) -> list[tuple[str, str]]:
    with scope.owner(), connection.cursor():
        return catalog.drift(connection.connection, [platform.acme.schema, platform.globex.schema])


def test_nothing_to_do_is_said_by_saying_nothing(db: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == []
    call_command("sync_prices")
    capsys.readouterr()
    call_command("migrate_all")
    assert capsys.readouterr().out == "every schema is up to date\nthe price history is up to date\n"


def test_nothing_to_do_costs_as_many_queries_with_many_tenants(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T21: two for the shared tables, three for the template, five for the list of schemas and all of them, one for what
    all have."""

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            run()
        return len(queries)

    assert len(migrate.tenant_schemas()) >= 2
    assert count() == 11
    monkeypatch.setattr(migrate, "SCHEMAS_A_QUERY", 1)
    assert count() == 11 + 2 * (len(migrate.tenant_schemas()) - 1)


@pytest.mark.exhaustive
def test_a_schema_that_is_behind_is_brought_up(platform: Platform, admin: psycopg.Connection[Any]) -> None:
    fall_behind(admin, platform.acme.schema)
    assert drift(platform) != []
    assert run() == [f"migrating {platform.acme.schema}"]
    assert drift(platform) == []
    assert run() == []


@pytest.mark.exhaustive
def test_a_cloned_schema_counts_its_migrations_on(platform: Platform, admin: psycopg.Connection[Any]) -> None:
    """The clone's table of migrations goes on counting where the template's stood."""
    step_back(platform.globex.schema)
    run()
    ids = admin.execute(f"SELECT id FROM {platform.globex.schema}.django_migrations".encode()).fetchall()
    assert len(ids) == len(set(ids))


@pytest.mark.exhaustive
def test_an_interrupted_run_goes_on_where_it_stopped(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    for tenant in (platform.acme, platform.globex):
        step_back(tenant.schema)
    original, calls = migrate._migrate_tenant, []

    def interrupted(schema: str) -> None:
        calls.append(schema)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(schema)

    monkeypatch.setattr(migrate, "_migrate_tenant", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.undo()
    assert not scope.is_bound()
    assert len(run()) == 1, "only the one that was not reached"
    assert drift(platform) == []


@pytest.mark.exhaustive
def test_a_migration_that_fails_leaves_its_schema_as_it_was(platform: Platform, admin: psycopg.Connection[Any]) -> None:
    """The name of a function that the migration makes is taken: PostgreSQL undoes the whole migration."""
    schema = platform.acme.schema
    fall_behind(admin, schema)
    admin.execute(
        f"CREATE FUNCTION {schema}.finish_turn(p_end jsonb, p_events bytea) RETURNS boolean LANGUAGE sql "
        "AS 'SELECT true'".encode()
    )
    with pytest.raises(Exception, match="already exists"):
        run()
    connections.close_all()
    assert functions_of_chat(admin, schema) == [f"{schema}.finish_turn(jsonb,bytea)"]
    admin.execute(f"DROP FUNCTION {schema}.finish_turn(jsonb, bytea)".encode())
    assert run() == [f"migrating {schema}"]
    assert drift(platform) == []


def command(*arguments: str) -> str:
    out = io.StringIO()
    call_command("migrate_all", *arguments, stdout=out)
    return out.getvalue()


def status(*arguments: str) -> str:
    """What it prints; with why it failed, when it did."""
    out = io.StringIO()
    try:
        call_command("schema_status", *arguments, stdout=out)
    except CommandError as error:
        return f"{out.getvalue()}{error}"
    return out.getvalue()


@pytest.mark.exhaustive
def test_some_tenants_first(platform: Platform, admin: psycopg.Connection[Any]) -> None:
    """A76, A74: by themselves; then the others, only where those can be read."""
    acme, globex = platform.acme.schema, platform.globex.schema
    for schema in (acme, globex):
        step_back(schema)
    said = status("--behind")
    assert said.count("chat.0015_trace_counts") == 2
    assert said.endswith("schemas are behind: run `manage.py migrate_all`.")
    assert "1 schemas migrated; 1 tenants are behind" in command("--tenant", "acme")
    assert migrate.schemas_behind([acme, globex], migrate.wanted_migrations(TEMPLATE_SCHEMA)) == [globex]
    assert status("--tenant", "acme") == f"acme  {acme}  up to date\n"
    admin.execute(f"ALTER TABLE {acme}.chat_message RENAME COLUMN content TO lost".encode())
    try:
        with pytest.raises(CommandError, match=r"chat_message of acme .*does not exist; 1 tenants are behind"):
            command("--canary", "acme")
    finally:
        admin.execute(f"ALTER TABLE {acme}.chat_message RENAME COLUMN lost TO content".encode())
    assert command("--canary", "acme").splitlines()[:2] == [
        f"acme ({acme}) is up to date and can be read",
        f"migrating {globex}",
    ]
    assert "up to date" in status()
    assert json.loads(status("--json"))["behind"] == 0
    assert drift(platform) == []
    with pytest.raises(CommandError, match="There is no tenant 'nobody'"):
        command("--canary", "nobody")
    assert "There is no tenant 'nobody'" in status("--tenant", "nobody")


def test_what_each_kind_of_schema_should_have(platform: Platform) -> None:
    with scope.owner():
        shared, tenants = migrate.wanted_migrations("public"), migrate.wanted_migrations(TEMPLATE_SCHEMA)
    assert {app for app, _ in shared} >= {"tenants", "accounts", "usage", "auth", "procrastinate"}
    assert {app for app, _ in tenants} == {"llm", "knowledge", "agents", "chat"}
    assert not shared & tenants
    assert migrate.is_current("public", shared)
    assert not migrate.is_current("t_ffffffffffffffffffffffffffffffff", tenants)


def test_every_tenant_is_migrated_whatever_its_status(platform: Platform) -> None:
    from tenants.models import Tenant

    with scope.platform():
        Tenant.objects.filter(pk=platform.globex.id).update(status="suspended")
    try:
        assert set(migrate.tenant_schemas()) >= {platform.acme.schema, platform.globex.schema}
    finally:
        with scope.platform():
            Tenant.objects.filter(pk=platform.globex.id).update(status="active")
