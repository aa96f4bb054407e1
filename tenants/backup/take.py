"""Making a backup: one moment of all schemas and shared rows, read by COPY as paas_owner, and the files.

One connection exports its snapshot and holds it; the tables of each tenant are read under that snapshot in a short
transaction of their own, because PostgreSQL has room for the locks of some thousand tables at once, and no more.
Migrations, and the erasing of schemas, wait meanwhile: tables that were rewritten look empty to an older snapshot.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from django.core.files.storage import default_storage
from psycopg import IsolationLevel, sql
from psycopg.conninfo import make_conninfo

from core import clock
from tenants.backup.archive import BackupError, Writer
from tenants.backup.tables import OWN_OF_A_DATABASE, Table, condition, tables_of
from tenants.migrate import MIGRATING_LOCK
from tenants.scope import SCHEMA_NAME

Connection = psycopg.Connection[Any]
Facts = dict[str, Any]
BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class Owner:
    """A tenant whose schema is copied."""

    id: uuid.UUID
    slug: str
    status: str
    schema: str


def take(
    archive: Writer, *, slug: str | None, notes: Callable[[Connection], Facts], say: Callable[[str], None]
) -> Facts:
    """Write everything, or one tenant, into `archive` and return the manifest. Raises BackupError.

    notes(connection): what else the manifest says, read in the same moment.
    """
    with _snapshot() as (keeper, snapshot):
        chosen = _tenants(keeper, slug)
        manifest: Facts = {
            "made_at": clock.now().isoformat(),
            "tenant": slug,
            "postgresql": keeper.info.server_version,
            "migrations": {"public": _migrations(keeper, "public"), "tenants": _migrations(keeper, "t_template")},
            "tenants": [{"id": str(one.id), "slug": one.slug, "status": one.status} for one in chosen],
            **notes(keeper),
        }
        only = chosen[0].id if slug is not None else None
        tables = list(_shared(archive, keeper, only))
        for number, one in enumerate(chosen, 1):
            say(f"{number} of {len(chosen)}: {one.slug}")
            copied, migrations = _schema(archive, one, snapshot)
            tables += copied
            # What it has and new tenants have not, or the other way round: while migrations are rolled out.
            differs = sorted(set(migrations) ^ set(manifest["migrations"]["tenants"]))
            manifest["tenants"][number - 1]["differs"] = differs
            if differs:
                say(
                    f"{one.slug} has other migrations than new tenants get, and cannot be restored before all have them"
                )
    files = [fact for one in chosen for fact in _files(archive, one)]
    return manifest | {"tables": tables, "files": files}


@contextmanager
def _snapshot() -> Iterator[tuple[Connection, str]]:
    with connect() as keeper:
        keeper.execute("SELECT pg_advisory_lock(%s)", [MIGRATING_LOCK])
        keeper.isolation_level = IsolationLevel.REPEATABLE_READ
        keeper.read_only = True
        with keeper.transaction():
            row = keeper.execute("SELECT pg_export_snapshot()").fetchone()
            yield keeper, str(row[0] if row else "")


def connect() -> Connection:
    """A connection of its own, without the bounds on time that are meant for requests."""
    options = "-c timezone=UTC -c statement_timeout=0 -c idle_in_transaction_session_timeout=0"
    return psycopg.connect(make_conninfo(settings.HOT_DATABASE_CONNINFO, options=options), autocommit=True)


def _tenants(keeper: Connection, slug: str | None) -> list[Owner]:
    """Those with a schema, in the order of their names; all, or one."""
    rows = keeper.execute(
        "SELECT t.id, t.slug, t.status, t.schema_name FROM public.tenants_tenant t "
        "JOIN pg_namespace n ON n.nspname = t.schema_name WHERE t.status <> 'deleted' ORDER BY t.slug"
    ).fetchall()
    found = [Owner(*row) for row in rows if SCHEMA_NAME.match(row[3])]
    if slug is None:
        return found
    chosen = [one for one in found if one.slug == slug]
    if not chosen:
        raise BackupError(f"There is no tenant {slug!r} that has data.")
    return chosen


def _migrations(connection: Connection, schema: str) -> list[str]:
    query = sql.SQL("SELECT app || '.' || name FROM {}.django_migrations ORDER BY 1").format(sql.Identifier(schema))
    return [name for (name,) in connection.execute(query).fetchall()]


def _shared(archive: Writer, keeper: Connection, only: uuid.UUID | None) -> Iterator[Facts]:
    for table in tables_of(keeper.cursor(), "public"):
        if table.name in OWN_OF_A_DATABASE:
            continue
        which = sql.SQL("true") if only is None else condition(table, only, "public")
        if which is not None:
            yield _copy(archive, keeper, table, which)


def _schema(archive: Writer, one: Owner, snapshot: str) -> tuple[list[Facts], list[str]]:
    """A tenant's tables, and its migrations."""
    with connect() as other:
        other.isolation_level = IsolationLevel.REPEATABLE_READ
        other.read_only = True
        with other.transaction():
            other.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
            tables = [table for table in tables_of(other.cursor(), one.schema) if table.name not in OWN_OF_A_DATABASE]
            copied = [_copy(archive, other, table, sql.SQL("true")) for table in tables]
            return copied, _migrations(other, one.schema)


def _copy(archive: Writer, connection: Connection, table: Table, which: sql.Composable) -> Facts:
    """The rows of a table as text; a table without rows has no part."""
    query = sql.SQL("SELECT {} FROM {} WHERE {}").format(table.column_list, table.identifier, which)
    fact: Facts = {"part": table.part, "schema": table.schema, "table": table.name, "columns": table.columns, "rows": 0}
    if not (found := connection.execute(sql.SQL("SELECT EXISTS ({})").format(query)).fetchone()) or not found[0]:
        return fact
    with archive.entry(table.part) as part, connection.cursor() as cursor:
        with cursor.copy(sql.SQL("COPY ({}) TO STDOUT").format(query)) as copying:
            for block in copying:
                part.write(block)
        return fact | {"rows": cursor.rowcount} | part.facts()


def _files(archive: Writer, one: Owner) -> Iterator[Facts]:
    """A tenant's folder, after its rows: what is deleted meanwhile is left out, what is new is in no row."""
    storage: Any = default_storage
    folder = Path(storage.location) / str(one.id)
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        try:
            source = path.open("rb")
        except FileNotFoundError:
            continue
        name = f"files/{one.id}/{path.relative_to(folder).as_posix()}"
        with source, archive.entry(name) as part:
            while block := source.read(BLOCK):
                part.write(block)
        yield {"part": name, "tenant": str(one.id)} | part.facts()
