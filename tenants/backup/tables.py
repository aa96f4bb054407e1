"""Which tables there are to copy, and which rows of the shared ones are a tenant's."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

# Restored, the target's own stay: what it has migrated.
OWN_OF_A_DATABASE = frozenset({"django_migrations"})
# Shared rows that are not taken along with one tenant: they end with the place where they were made.
LEFT_BEHIND = frozenset({
    "accounts_session", "accounts_refreshfamily", "accounts_onetimecode", "accounts_signup", "accounts_impersonation",
})  # fmt: skip
# What belongs to a person and not to a tenant: taken along with its members, for those whom the target does not know.
OF_PEOPLE = frozenset({"account_emailaddress", "mfa_authenticator", "socialaccount_socialaccount"})
# Where shared rows of a tenant name people by a key.
PEOPLE: tuple[tuple[LiteralString, LiteralString], ...] = (
    ("accounts_membership", "user_id"),
    ("accounts_invitation", "invited_by_id"),
    ("accounts_apikey", "created_by_id"),
)
# While a backup is read, its shared rows lie in temporary tables. Their names are not those of the real ones, which
# PostgreSQL would find later than them.
STAGE = "pg_temp"
# Generated columns follow from the others.
_COLUMNS: LiteralString = """
    SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
        AND a.attgenerated = ''
    GROUP BY c.relname ORDER BY c.relname
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with the columns that are copied, in their order."""

    schema: str
    name: str
    columns: tuple[str, ...]

    @property
    def identifier(self) -> sql.Identifier:
        """Its full name."""
        return place(self.schema, self.name)

    @property
    def column_list(self) -> sql.Composed:
        """Its columns, separated by commas."""
        return sql.SQL(", ").join(map(sql.Identifier, self.columns))

    @property
    def part(self) -> str:
        """Its place in a backup."""
        return f"tables/{self.schema}/{self.name}.copy"


def place(schema: str, name: str) -> sql.Identifier:
    """A table's full name, in a schema or where rows of a backup are staged."""
    return sql.Identifier(schema, f"staged_{name}" if schema == STAGE else name)


def tables_of(cursor: Any, schema: str) -> list[Table]:
    """The tables of a schema by name."""
    cursor.execute(_COLUMNS, [schema])
    return [Table(schema, name, tuple(columns)) for name, columns in cursor.fetchall()]


def condition(table: Table, tenant_id: uuid.UUID, schema: str) -> sql.Composable | None:
    """Which rows of a shared table go with a tenant; None: no row of it.

    schema: where the tables lie of which the condition asks: `public`, or STAGE while a backup is read.
    """
    tenant = sql.Literal(str(tenant_id))
    people = sql.SQL(" UNION ").join(
        sql.SQL("SELECT {} FROM {} WHERE tenant_id = {}").format(sql.Identifier(column), place(schema, name), tenant)
        for name, column in PEOPLE
    )
    if table.name in LEFT_BEHIND:
        return None
    if table.name == "tenants_tenant":
        return sql.SQL("id = {}").format(tenant)
    if table.name == "accounts_user":
        return sql.SQL("id IN ({})").format(people)
    if table.name in OF_PEOPLE:
        return sql.SQL("user_id IN ({})").format(people)
    if "tenant_id" in table.columns:
        return sql.SQL("tenant_id = {}").format(tenant)
    return None


def in_order(cursor: Any, tables: Sequence[Table]) -> list[Table]:
    """Shared tables so that each comes after those to which its keys point."""
    cursor.execute(
        "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint "
        "WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND conrelid <> confrelid"
    )
    waits: dict[str, set[str]] = {}
    for table, target in cursor.fetchall():
        waits.setdefault(table.rpartition(".")[2].strip('"'), set()).add(target.rpartition(".")[2].strip('"'))
    left, done = {table.name: table for table in tables}, list[Table]()
    while left:
        free = [name for name in left if not waits.get(name, set()) & (left.keys() - {name})]
        if not free:
            raise psycopg.DataError(f"Tables point to each other in a circle: {', '.join(sorted(left))}")
        done += [left.pop(name) for name in free]
    return done
