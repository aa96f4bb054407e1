"""A whole installation into an empty database: each tenant's schema in a transaction of its own, shared rows last.

Until those are in, the platform knows no tenant; what a restoring that was killed has finished is marked with the
backup it came from, and is not done again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.db import connection, transaction
from psycopg import sql

from tenants import provisioning, scope
from tenants.backup.archive import BackupError, Reader
from tenants.backup.load import (
    facts_of,
    folder_of,
    load_schema,
    stage,
    table_of,
    take_time,
    without_triggers,
    write_files,
)
from tenants.backup.tables import OWN_OF_A_DATABASE, Table, in_order, tables_of
from tenants.scope import TEMPLATE_SCHEMA

_COUNTERS = """
    SELECT c.relname, a.attname, pg_get_serial_sequence(c.oid::regclass::text, a.attname)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
        AND pg_get_serial_sequence(c.oid::regclass::text, a.attname) IS NOT NULL
"""


def same_migrations(archive: Reader, slug: str | None = None) -> None:
    """Whether the backup, or its part of one tenant, is of this database's release. Raises BackupError."""
    between = [one["slug"] for one in archive.manifest["tenants"] if one["differs"] and slug in (None, one["slug"])]
    if between:
        raise BackupError(
            f"The backup was made while migrations were rolled out: {', '.join(between)} had others than new tenants "
            "get. Use one from before or after that, or restore the other tenants with --tenant."
        )
    with scope.owner(), connection.cursor() as cursor:
        for schema, key in (("public", "public"), (TEMPLATE_SCHEMA, "tenants")):
            query = sql.SQL("SELECT app || '.' || name FROM {}.django_migrations").format(sql.Identifier(schema))
            cursor.execute(query)
            here, there = {name for (name,) in cursor.fetchall()}, set(archive.manifest["migrations"][key])
            if different := sorted(here ^ there):
                raise BackupError(
                    f"The backup was made by release {archive.manifest['version']}, whose tables differ from those "
                    f"here ({len(different)} migrations, such as {different[0]}). Restore it with that release, "
                    "then upgrade."
                )


def problems(archive: Reader) -> list[str]:
    """Why the database or the storage is not empty enough; [] when it is. Runs bound to the owner."""
    found = []
    with scope.owner(), connection.cursor() as cursor:
        for table in ("tenants_tenant", "accounts_user"):
            cursor.execute(sql.SQL("SELECT count(*) FROM public.{}").format(sql.Identifier(table)))
            if count := cursor.fetchone()[0]:
                found.append(
                    f"{count} rows in {table}: restore into an empty database (manage.py init_database makes one)"
                )
        cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ '^t_[0-9a-f]{32}$'")
        for (schema,) in cursor.fetchall():
            if not _restored(cursor, archive, schema):
                found.append(f"schema {schema} is there already")
    return found


def restore_all(archive: Reader, *, say: Callable[[str], None]) -> None:
    """Restore everything. Raises BackupError; called again after a kill it goes on where it stopped."""
    tenants = archive.manifest["tenants"]
    for number, one in enumerate(tenants, 1):
        say(f"{number} of {len(tenants)}: {one['slug']}")
        _tenant(archive, one["id"])
    say("shared rows")
    with transaction.atomic(), scope.owner(), connection.cursor() as cursor:
        take_time(cursor)
        _shared(archive, cursor)
        for one in tenants:
            cursor.execute(sql.SQL("COMMENT ON SCHEMA {} IS NULL").format(sql.Identifier(_schema_of(one["id"]))))


def _schema_of(tenant_id: str) -> str:
    return scope.schema_of(uuid.UUID(tenant_id))


def _mark(archive: Reader) -> str:
    return f"restored from the backup of {archive.manifest['made_at']}"


def _restored(cursor: Any, archive: Reader, schema: str) -> bool:
    cursor.execute("SELECT obj_description(to_regnamespace(%s)::oid, 'pg_namespace')", [schema])
    return bool(cursor.fetchone()[0] == _mark(archive))


def _tenant(archive: Reader, tenant_id: str) -> None:
    schema = _schema_of(tenant_id)
    with scope.owner(), connection.cursor() as cursor:
        if _restored(cursor, archive, schema):
            return
        # Files of a run that was killed before its rows were in: they come again.
        written = folder_of(tenant_id)
        with transaction.atomic():
            take_time(cursor)
            provisioning.create_schema(schema)
            load_schema(archive, cursor, schema, {})
            if not written.exists() or not any(written.iterdir()):
                write_files(archive, tenant_id)
            cursor.execute(
                sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(schema), sql.Literal(_mark(archive)))
            )


def _shared(archive: Reader, cursor: Any) -> None:
    here = [table for table in tables_of(cursor, "public") if table.name not in OWN_OF_A_DATABASE]
    facts = {fact["table"]: fact for fact in facts_of(archive, "public")}
    cursor.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(table.identifier for table in here)))
    with without_triggers(cursor, here):
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        for table in in_order(cursor, [table_of(facts[one.name]) for one in here if one.name in facts]):
            staged = stage(archive, cursor, facts[table.name])
            put(cursor, staged, sql.SQL("true"))
    cursor.execute(_COUNTERS)
    for name, column, sequence in cursor.fetchall():
        cursor.execute(
            sql.SQL("SELECT setval({}, coalesce(max({}), 1), max({}) IS NOT NULL) FROM {}").format(
                sql.Literal(sequence), sql.Identifier(column), sql.Identifier(column), sql.Identifier("public", name)
            )
        )


def put(cursor: Any, staged: Table, which: sql.Composable, *, conflicts: bool = False) -> int:
    """Staged rows into their shared table; returns how many. conflicts: what is there already stays as it is."""
    query = sql.SQL("INSERT INTO {} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {} WHERE {which} {end}")
    cursor.execute(
        query.format(
            sql.Identifier("public", staged.name),
            staged.identifier,
            columns=staged.column_list,
            which=which,
            end=sql.SQL("ON CONFLICT DO NOTHING" if conflicts else ""),
        )
    )
    return int(cursor.rowcount)
