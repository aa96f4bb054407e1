"""Tries what must be impossible, as each tenant's own role, and undoes whatever it did (A8).

The catalogues say what PostgreSQL is told (tenants/isolation.py); this asks PostgreSQL. Every attempt runs
in a savepoint that is rolled back. A failed attempt must fail for the right reason: 42501 is "permission
denied", and also what a new row's policy says.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from tenants import catalog, isolation
from tenants.catalog import Catalog, Connection, Relation
from tenants.isolation import Gap
from tenants.scope import PLATFORM_ROLE

DENIED = "42501"
# Row-level security does not take COPY ... FROM at all; a schema that may not be entered is not searched.
NOT_SUPPORTED, NOT_FOUND = "0A000", "42P01"
TRIED_TENANTS = 20
STATEMENT_SECONDS = 10
MAKING: tuple[LiteralString, ...] = (
    "CREATE TABLE public.probe ()",
    "CREATE TEMPORARY TABLE probe ()",
    "CREATE SCHEMA probe",
)

Statement = sql.Composed | sql.SQL


@dataclass(slots=True)
class Attempts:
    """What was tried, as how many tenants. hidden: rows of other tenants that were there and not seen."""

    tried: int = 0
    tenants: int = 0
    hidden: int = 0
    gaps: list[Gap] = field(default_factory=list)


def prove(connection: Connection, *, most: int = TRIED_TENANTS) -> tuple[Catalog, Attempts]:
    """The catalogues, and what was tried with all gaps in `Attempts.gaps`: theirs first."""
    found = catalog.read(connection)
    made = attack(connection, found, most=most)
    made.gaps[:0] = isolation.gaps(connection)
    return found, made


def attack(connection: Connection, found: Catalog, *, most: int = TRIED_TENANTS) -> Attempts:
    """Try everything, as up to `most` tenants; each is set upon the next. Nothing stays changed."""
    made = Attempts()
    schemas = [schema for schema in found.tenants if schema in found.schemas and schema in found.roles]
    chosen = schemas[:: max(1, len(schemas) // most)][:most]
    made.tenants = len(chosen)
    shared = [one for one in found.relations if one.schema == "public" and one.is_table]
    with connection.transaction(force_rollback=True):
        connection.execute("SELECT set_config('statement_timeout', %s, true)", [f"{STATEMENT_SECONDS}s"])
        _as_nobody(connection, shared, made)
        for place, schema in enumerate(chosen):
            victim = chosen[(place + 1) % len(chosen)]
            if victim != schema:
                tables = [one for one in found.relations if one.schema == victim and one.is_table]
                _foreign_schema(connection, schema, tables, made)
            for table in shared:
                _shared_table(connection, schema, victim, table, made)
    return made


def session_survives(connection: Connection) -> list[Gap]:
    """A setting of one statement is still there in the next: no pooler changes servers between them (P13)."""
    mark = uuid.uuid4().hex
    seen: list[Any] = []
    for _ in range(2):
        seen += connection.execute("SELECT pg_backend_pid(), current_setting('paas.probe', true)").fetchall()
        connection.execute("SELECT set_config('paas.probe', %s, false)", [mark])
        if not connection.autocommit:
            connection.commit()
    connection.execute("RESET ALL")
    if seen[0][0] == seen[1][0] and seen[1][1] == mark:
        return []
    return [Gap("connection", "a pooler changes servers between statements: use session pooling, or none")]


@contextmanager
def _role(connection: Connection, role: str) -> Iterator[None]:
    with connection.transaction(force_rollback=True):
        connection.execute("SELECT set_config('role', %s, true)", [role])
        yield


def _outcome(connection: Connection, statement: Statement) -> tuple[str, int, Any]:
    """(SQLSTATE or "", rows touched, first value) of a statement that is undone."""
    try:
        with connection.transaction(force_rollback=True):
            cursor = connection.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            return "", cursor.rowcount, row[0] if row else None
    except psycopg.Error as error:
        return error.sqlstate or type(error).__name__, 0, None


def _refused(connection: Connection, made: Attempts, gap: Gap, statement: Statement, *also: str) -> None:
    """`statement` must be denied (or fail with one of `also`)."""
    made.tried += 1
    state, _, _ = _outcome(connection, statement)
    if state != DENIED and state not in also:
        made.gaps.append(Gap(gap.subject, f"{gap.problem} ({state or 'succeeded'})"))


def _touches_nothing(connection: Connection, made: Attempts, gap: Gap, statement: Statement) -> None:
    """`statement` must be denied, or find no row: a count of 0, or 0 rows written."""
    made.tried += 1
    state, touched, value = _outcome(connection, statement)
    harmless = state == DENIED or (not state and (value == 0 if value is not None else touched == 0))
    if not harmless:
        made.gaps.append(Gap(gap.subject, f"{gap.problem} ({state or value or touched})"))


def _as_nobody(connection: Connection, shared: Sequence[Relation], made: Attempts) -> None:
    """The web's login without a role, which is what an unbound connection is, reads and makes nothing."""
    with _role(connection, "none"):
        row = connection.execute("SELECT session_user").fetchone()
        if row is None or row[0] != isolation.APP:
            return  # another login (the owner's, a superuser's) has rights of its own
        for table in shared:
            gap = Gap(table.full_name, f"{isolation.APP} reads it without a role")
            _refused(connection, made, gap, sql.SQL("SELECT FROM {}").format(_name(table)))
        _makes_nothing(connection, isolation.APP, made)


def _makes_nothing(connection: Connection, role: str, made: Attempts) -> None:
    for text in MAKING:
        _refused(connection, made, Gap(role, f"may {text}"), sql.SQL(text))


def _name(table: Relation) -> sql.Identifier:
    return sql.Identifier(table.schema, table.name)


def _no_command(connection: Connection, schema: str, table: Relation, made: Attempts, *allowed: str) -> None:
    """Every command on a table but the `allowed` ones must be denied."""
    for verb, statement in _commands(table).items():
        if verb not in allowed:
            _refused(connection, made, Gap(table.full_name, f"{schema} may {verb} it"), statement)
    made.tried += 1
    copied = _copied_out(connection, sql.SQL("COPY {} TO STDOUT").format(_name(table)))
    if copied != DENIED and "read" not in allowed:
        made.gaps.append(Gap(table.full_name, f"{schema} may copy it out ({copied or 'succeeded'})"))


def _plain_column(table: Relation) -> str:
    """A column that may be set, as far as the column is concerned: an identity may not."""
    return min(table.columns, key=lambda name: (name == "id", name))


def _commands(table: Relation) -> dict[str, Statement]:
    """Each command on a table, in a form that needs no value and no row."""
    parts = {"table": _name(table), "column": sql.Identifier(_plain_column(table))}
    commands: dict[str, LiteralString] = {
        "read": "SELECT count(*) FROM {table}",
        "write": "INSERT INTO {table} DEFAULT VALUES",
        "change": "UPDATE {table} SET {column} = {column}",
        "delete": "DELETE FROM {table}",
        "truncate": "TRUNCATE {table} CASCADE",
    }
    return {verb: sql.SQL(text).format(**parts) for verb, text in commands.items()}


def _foreign_schema(connection: Connection, schema: str, tables: Sequence[Relation], made: Attempts) -> None:
    """Another tenant's schema: by its name, and after naming it in the search path."""
    with _role(connection, schema):
        for path in ("pg_catalog", *{table.schema for table in tables}):
            connection.execute("SELECT set_config('search_path', %s, true)", [path])
            for table in tables:
                _no_command(connection, schema, table, made)
                gap = Gap(table.full_name, f"{schema} finds it by its search path")
                by_path = sql.SQL("SELECT FROM {}").format(sql.Identifier(table.name))
                _refused(connection, made, gap, by_path, NOT_FOUND)
        _makes_nothing(connection, schema, made)


def _shared_table(connection: Connection, schema: str, victim: str, table: Relation, made: Attempts) -> None:
    """A shared table: the rows that are not this tenant's, by every command."""
    own = isolation.condition_of(table)
    if own is None:
        # A table without tenants' rows.
        with _role(connection, schema):
            _no_command(connection, schema, table, made, *(["read"] if table.name in isolation.READ_ONLY else []))
        return
    # The same condition with the tenant's id in place of the function, which is itself under test.
    mine = sql.SQL(own.replace(isolation.BOUND, f"'{schema[2:]}'::uuid"))
    others = sql.SQL("SELECT count(*) FROM {} WHERE NOT coalesce({}, false)").format(_name(table), mine)
    with _role(connection, PLATFORM_ROLE):
        made.hidden += _outcome(connection, others)[2] or 0
    with _role(connection, schema):
        _foreign_rows(connection, schema, table, mine, made)
        if "tenant_id" in table.columns:
            _rows_for_others(connection, schema, victim, table, made)


def _foreign_rows(connection: Connection, schema: str, table: Relation, mine: Statement, made: Attempts) -> None:
    """Reading, changing and deleting rows of others."""
    parts = {"table": _name(table), "mine": mine}
    others = sql.SQL("FROM {table} WHERE NOT coalesce({mine}, false)").format(**parts)
    attempts: dict[str, Statement] = {
        "reads": sql.SQL("SELECT count(*) {}").format(others),
        "deletes": sql.SQL("DELETE {}").format(others),
    }
    for column in (_plain_column(table), *_changeable(connection, table)):
        attempts[f"changes {column} of"] = sql.SQL(
            "UPDATE {table} SET {column} = {column} WHERE NOT coalesce({mine}, false)"
        ).format(column=sql.Identifier(column), **parts)
    for verb, statement in attempts.items():
        gap = Gap(table.full_name, f"{schema} {verb} rows of others")
        _touches_nothing(connection, made, gap, statement)
    made.tried += 1
    copied = _copied_out(connection, sql.SQL("COPY (SELECT 1 {}) TO STDOUT").format(others))
    if copied not in ("", DENIED):
        made.gaps.append(Gap(table.full_name, f"{schema} copies rows of others out ({copied})"))
    gap = Gap(table.full_name, f"{schema} may truncate it")
    _refused(connection, made, gap, sql.SQL("TRUNCATE {} CASCADE").format(_name(table)))


def _changeable(connection: Connection, table: Relation) -> list[str]:
    """The columns that the role in force may change."""
    query = "SELECT c FROM unnest(%s::text[]) AS c WHERE has_column_privilege(%s::regclass, c, 'UPDATE')"
    return [name for (name,) in connection.execute(query, [table.columns, table.full_name]).fetchall()]


def _copied_out(connection: Connection, statement: Statement) -> str:
    """What COPY gives as "n bytes", "" for nothing, or its SQLSTATE."""
    try:
        with connection.transaction(force_rollback=True), connection.cursor().copy(statement) as copy:
            size = sum(len(part) for part in copy)
    except psycopg.Error as error:
        return error.sqlstate or type(error).__name__
    return f"{size} bytes" if size else ""


def _rows_for_others(connection: Connection, schema: str, victim: str, table: Relation, made: Attempts) -> None:
    """New rows, and own rows, in another tenant's name. The policy speaks before any other constraint."""
    parts = {"table": _name(table), "id": sql.SQL("{}::uuid").format(sql.Literal(victim[2:]))}
    insert = sql.SQL("INSERT INTO {table} (tenant_id) VALUES ({id})").format(**parts)
    attempts: dict[str, Statement] = {
        "inserts rows for nobody": sql.SQL("INSERT INTO {table} (tenant_id) VALUES (NULL)").format(**parts),
    }
    if victim != schema:
        attempts["inserts rows for others"] = insert
        attempts["upserts rows for others"] = insert + sql.SQL(" ON CONFLICT DO NOTHING")
    for problem, statement in attempts.items():
        _refused(connection, made, Gap(table.full_name, f"{schema} {problem}"), statement)
    give = sql.SQL("UPDATE {table} SET tenant_id = gen_random_uuid()").format(**parts)
    _touches_nothing(connection, made, Gap(table.full_name, f"{schema} gives rows away"), give)
    made.tried += 1
    state = _copied_in(connection, sql.SQL("COPY {table} (tenant_id) FROM STDIN").format(**parts), victim[2:])
    if state not in (DENIED, NOT_SUPPORTED):
        made.gaps.append(Gap(table.full_name, f"{schema} copies rows of others in ({state or 'succeeded'})"))


def _copied_in(connection: Connection, statement: Statement, value: str) -> str:
    """The SQLSTATE of COPY ... FROM with one row of one value; "" when it is taken."""
    try:
        with connection.transaction(force_rollback=True), connection.cursor().copy(statement) as copy:
            copy.write_row([value])
    except psycopg.Error as error:
        return error.sqlstate or type(error).__name__
    return ""
