"""Rows and files from a backup into the database and the storage."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.files.storage import default_storage
from psycopg import sql

from tenants.backup.archive import BackupError, Reader
from tenants.backup.tables import STAGE, Table

Facts = dict[str, Any]


def table_of(fact: Facts) -> Table:
    """The table that a line of the manifest is about."""
    return Table(fact["schema"], fact["table"], tuple(fact["columns"]))


def facts_of(archive: Reader, schema: str) -> list[Facts]:
    """The lines of the manifest about the tables of a schema."""
    return [fact for fact in archive.manifest["tables"] if fact["schema"] == schema]


def copy_into(archive: Reader, cursor: Any, fact: Facts, target: Table) -> None:
    """The rows of a part by COPY. Raises BackupError when they are damaged, or not as many as there were."""
    if not fact["rows"]:
        return
    query = sql.SQL("COPY {} ({}) FROM STDIN").format(target.identifier, target.column_list)
    with cursor.copy(query) as copying:
        for block in archive.blocks(fact["part"], fact):
            copying.write(block)
    if cursor.rowcount != fact["rows"]:
        raise BackupError(f"{fact['part']} holds {cursor.rowcount} rows where {fact['rows']} were backed up.")


def stage(archive: Reader, cursor: Any, fact: Facts) -> Table:
    """The rows of a shared table in a temporary one, until the transaction ends.

    COPY writes into no table with row-level security, and here they can be looked at before they go anywhere.
    """
    table = table_of(fact)
    staged = Table(STAGE, table.name, table.columns)
    cursor.execute(sql.SQL("CREATE TEMP TABLE {} (LIKE {}) ON COMMIT DROP").format(staged.identifier, table.identifier))
    copy_into(archive, cursor, fact, staged)
    return staged


@contextmanager
def without_triggers(cursor: Any, tables: Sequence[Table]) -> Iterator[None]:
    """Rows of these tables are put in as they were: nothing numbers or seals them anew. Keys are checked at the end.

    Only those with a trigger on INSERT are locked against other writers, until the transaction ends.
    """
    cursor.execute(
        "SELECT DISTINCT n.nspname, c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal AND t.tgtype & 4 <> 0"
    )
    watched = set(cursor.fetchall())
    stilled = [table.identifier for table in tables if (table.schema, table.name) in watched]
    for table in stilled:
        cursor.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(table))
    yield
    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for table in stilled:
        cursor.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(table))


def take_time(cursor: Any) -> None:
    """Until the transaction ends it may take as long as rows and files take; waiting for locks stays bounded."""
    cursor.execute("SET LOCAL statement_timeout = 0")
    cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")


def load_schema(archive: Reader, cursor: Any, schema: str, people: Mapping[uuid.UUID, uuid.UUID]) -> None:
    """The tables of a tenant, into a schema that was just made. people: whom the target knows under another id."""
    facts = facts_of(archive, schema)
    tables = [table_of(fact) for fact in facts]
    with without_triggers(cursor, tables):
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        for fact, table in zip(facts, tables, strict=True):
            copy_into(archive, cursor, fact, table)
            rename_people(cursor, table, people)


def rename_people(cursor: Any, table: Table, people: Mapping[uuid.UUID, uuid.UUID]) -> None:
    """Write the target's ids of people where the backup has others. Ids are unique everywhere, so any column may be."""
    if not people:
        return
    cursor.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND atttypid = 'uuid'::regtype AND attnum > 0",
        [table.identifier.as_string(None)],
    )
    pairs = sql.SQL(", ").join(
        sql.SQL("({}::uuid, {}::uuid)").format(sql.Literal(str(old)), sql.Literal(str(new)))
        for old, new in people.items()
    )
    for (column,) in cursor.fetchall():
        cursor.execute(
            sql.SQL(
                "UPDATE {} SET {column} = p.new FROM (VALUES {pairs}) AS p (old, new) WHERE {column} = p.old"
            ).format(table.identifier, column=sql.Identifier(column), pairs=pairs)
        )


# --- files ---------------------------------------------------------------------------------------------


def folder_of(tenant_id: str) -> Path:
    """Where the storage keeps a tenant's files."""
    storage: Any = default_storage
    return Path(storage.location) / str(uuid.UUID(tenant_id))


def write_files(archive: Reader, tenant_id: str) -> int:
    """A tenant's files, beside their place and then all at once; returns how many. Raises BackupError."""
    facts = [fact for fact in archive.manifest["files"] if fact["tenant"] == tenant_id]
    folder = folder_of(tenant_id)
    if folder.exists() and any(folder.iterdir()):
        raise BackupError(f"There are files in {folder} already. Move them away first.")
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        for fact in facts:
            _write_file(archive, fact, unfinished)
        if facts:
            if folder.exists():
                folder.rmdir()
            os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return len(facts)


def _write_file(archive: Reader, fact: Facts, folder: Path) -> None:
    place = (folder / fact["part"].removeprefix(f"files/{fact['tenant']}/")).resolve()
    if not place.is_relative_to(folder.resolve()):
        raise BackupError(f"{fact['part']} is no place for a file.")
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as target:
        for block in archive.blocks(fact["part"], fact):
            target.write(block)
