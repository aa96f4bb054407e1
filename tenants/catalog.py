"""What PostgreSQL's own catalogues say about roles, rights and protection: read as values, judged elsewhere.

The queries are in catalog.sql. Any login may run them: the catalogues are readable to all, and the list of
tenants is read as the platform.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import IsolationLevel
from psycopg.pq import TransactionStatus

from tenants.scope import PLATFORM_ROLE, TEMPLATE_SCHEMA

Connection = psycopg.Connection[Any]


def _sections(text: str) -> dict[str, str]:
    found = dict(part.split("\n", 1) for part in text.split("\n-- :")[1:])
    return found | {name: sql.replace("{contents}", found["contents"]) for name, sql in found.items()}


_SQL = _sections((Path(__file__).parent / "catalog.sql").read_text())


@dataclass(frozen=True, slots=True)
class Role:
    """A role, with what it may do everywhere. owned: how many objects of all databases belong to it."""

    name: str
    login: bool
    inherit: bool
    superuser: bool
    bypassrls: bool
    createrole: bool
    createdb: bool
    replication: bool
    owned: int
    settings: list[str]


@dataclass(frozen=True, slots=True)
class Membership:
    """`member` uses the rights of `role` always (inherit), may become it (set), may pass it on (admin)."""

    role: str
    member: str
    inherit: bool
    set: bool
    admin: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table (kind r or p), view (v, m), foreign table (f) or sequence (S).

    invoker: a view that reads with its reader's rights. key: the types of its primary key's columns.
    counted_key: the key is a serial or identity column.
    """

    schema: str
    name: str
    kind: str
    owner: str
    secured: bool
    forced: bool
    invoker: bool
    columns: list[str]
    key: list[str]
    counted_key: bool

    @property
    def full_name(self) -> str:
        """`schema.name`."""
        return f"{self.schema}.{self.name}"

    @property
    def is_table(self) -> bool:
        """Whether it holds rows itself."""
        return self.kind in ("r", "p")


@dataclass(frozen=True, slots=True)
class Grant:
    """One right of one grantee ("PUBLIC" is everybody).

    kind: "table", "schema", "database", or "default" (tables to come). column: "" is all columns.
    """

    kind: str
    schema: str
    name: str
    column: str
    grantee: str
    privilege: str


@dataclass(frozen=True, slots=True)
class Policy:
    """A row-level security policy. command: "*", "r", "a", "w" or "d" (pg_policy.polcmd)."""

    table: str
    name: str
    roles: list[str]
    command: str
    permissive: bool
    using: str
    check: str


@dataclass(frozen=True, slots=True)
class Function:
    """A function that belongs to no extension. definer: it runs with its owner's rights."""

    schema: str
    name: str
    owner: str
    definer: bool
    settings: list[str]
    body: str


@dataclass(frozen=True, slots=True)
class Unique:
    """A unique index of a shared table that is not its primary key, with its columns in order."""

    table: str
    name: str
    columns: list[str]


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything that the judgement needs.

    schemas: name -> owner. rights: (schema, relation) -> the rights on it. grants: all other rights.
    tenants: schema -> slug of those that have a schema and a role. empty: schema -> slug of those that have
    neither: yet to be built, or erased. erasing: schema -> slug of those that are on the way from one to the other.
    """

    version: int
    roles: dict[str, Role]
    memberships: list[Membership]
    schemas: dict[str, str]
    relations: list[Relation]
    rights: dict[tuple[str, str], list[Grant]]
    grants: list[Grant]
    policies: list[Policy]
    functions: list[Function]
    uniques: list[Unique]
    tenants: dict[str, str]
    empty: dict[str, str]
    erasing: dict[str, str]


@contextmanager
def reading(connection: Connection) -> Iterator[None]:
    """A transaction (or savepoint) that is undone, in which names of ours come out with their schema.

    A transaction of its own sees one moment: a tenant that is built meanwhile is there as a whole, or not at all.
    """
    alone = connection.info.transaction_status == TransactionStatus.IDLE
    before = connection.isolation_level
    if alone:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SELECT set_config('search_path', 'pg_catalog', true)")
            yield
    finally:
        if alone and not connection.closed:
            connection.isolation_level = before


def read(connection: Connection) -> Catalog:
    """The catalogues as this connection sees them now."""

    def rows(section: str) -> list[Any]:
        return connection.execute(_SQL[section].encode()).fetchall()

    with reading(connection):
        rights: dict[tuple[str, str], list[Grant]] = defaultdict(list)
        grants = [Grant(*row) for row in rows("grants")]
        for grant in grants:
            if grant.kind == "table":
                rights[grant.schema, grant.name].append(grant)
        return Catalog(
            version=connection.info.server_version,
            roles={row[0]: Role(*row) for row in rows("roles")},
            memberships=[Membership(*row) for row in rows("memberships")],
            schemas=dict(rows("schemas")),
            relations=[Relation(*row) for row in rows("relations")],
            rights=rights,
            grants=[grant for grant in grants if grant.kind != "table"],
            policies=[Policy(*row) for row in rows("policies")],
            functions=[Function(*row) for row in rows("functions")],
            uniques=[Unique(*row) for row in rows("uniques")],
            **_tenants(connection),
        )


# What a tenant has in PostgreSQL by its status. One that is being deleted has what it had before, which `step` keeps.
_TENANTS = """
    SELECT CASE
        WHEN 'creating' IN (status, CASE status WHEN 'deleting' THEN step END) THEN 'empty'
        WHEN status = 'deleted' THEN CASE step WHEN '' THEN 'empty' ELSE 'erasing' END
        ELSE 'tenants' END, schema_name, slug
    FROM public.tenants_tenant ORDER BY created_at
"""


def _tenants(connection: Connection) -> dict[str, dict[str, str]]:
    """The tenants as Catalog has them, read as the platform."""
    found: dict[str, dict[str, str]] = {"tenants": {}, "empty": {}, "erasing": {}}
    with connection.transaction(force_rollback=True):
        connection.execute("SELECT set_config('role', %s, true)", [PLATFORM_ROLE])
        for has, schema, slug in connection.execute(_TENANTS).fetchall():
            found[has][schema] = slug
    return found


# So many schemas are compared piece by piece; of the others the report only says that they differ.
DETAILED_SCHEMAS = 10


def drift(connection: Connection, schemas: Sequence[str]) -> list[tuple[str, str]]:
    """(schema, difference from the template): tables, columns, keys, indexes, functions, triggers."""
    with reading(connection):
        everything = {"schemas": [TEMPLATE_SCHEMA, *schemas]}
        prints = dict(connection.execute(_SQL["fingerprints"].encode(), everything).fetchall())
        different = [schema for schema in schemas if prints.get(schema) != prints.get(TEMPLATE_SCHEMA)]
        if not different:
            return []
        template = _contents(connection, TEMPLATE_SCHEMA)
        found: list[tuple[str, str]] = []
        for schema in different[:DETAILED_SCHEMAS]:
            own = _contents(connection, schema)
            for name in sorted(template.keys() | own.keys()):
                if template.get(name) != own.get(name):
                    how = "is missing" if name not in own else "is extra" if name not in template else "differs"
                    found.append((schema, f"{name[0]} {name[1]} {how}"))
        return found + [(schema, "differs from the template") for schema in different[DETAILED_SCHEMAS:]]


def _contents(connection: Connection, schema: str) -> dict[tuple[str, str], str]:
    rows = connection.execute(_SQL["details"].encode(), {"schemas": [schema]}).fetchall()
    return {(kind, name): definition for kind, name, definition in rows}
