"""A second database on the tests' server, migrated and empty, to which Django's connection can be turned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.conf import settings
from django.db import connections
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.conftest import forget_caches
from tests.services import Services

NAME = "restored"


@contextmanager
def second_database(services: Services) -> Iterator[str]:
    """Its name; a copy of the platform's without a row or a tenant, dropped afterwards."""
    _disconnect()
    with psycopg.connect(services.postgres.admin_url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'paas'")
        admin.execute("CREATE DATABASE restored TEMPLATE paas OWNER paas_owner STRATEGY file_copy")
        try:
            _grant(admin)
            with psycopg.connect(services.postgres.admin_url, dbname=NAME, autocommit=True) as inside:
                _empty(inside)
            yield NAME
        finally:
            _disconnect()
            admin.execute("DROP DATABASE restored WITH (FORCE)")


def _grant(admin: psycopg.Connection[Any]) -> None:
    """Rights on a database are not copied with it; as tenants/db/bootstrap.py gives them."""
    admin.execute("REVOKE ALL ON DATABASE restored FROM PUBLIC")
    admin.execute("GRANT CONNECT, TEMPORARY ON DATABASE restored TO paas_owner")
    admin.execute("GRANT CONNECT ON DATABASE restored TO paas_app")


def _empty(inside: psycopg.Connection[Any]) -> None:
    schemas = inside.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ '^t_[0-9a-f]{32}$'").fetchall()
    for (schema,) in schemas:
        inside.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
    tables = inside.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' "
        "AND relname <> 'django_migrations'"
    ).fetchall()
    names = sql.SQL(", ").join(sql.Identifier("public", table) for (table,) in tables)
    inside.execute(sql.SQL("TRUNCATE {}").format(names))


@contextmanager
def turned_to(name: str) -> Iterator[None]:
    """Django's connection goes to the database `name` inside the block."""
    before = settings.HOT_DATABASE_CONNINFO, connections.settings["default"]["NAME"]
    _disconnect()
    settings.HOT_DATABASE_CONNINFO = make_conninfo(before[0], dbname=name)
    connections.settings["default"]["NAME"] = name
    forget_caches()
    try:
        yield
    finally:
        _disconnect()
        settings.HOT_DATABASE_CONNINFO, connections.settings["default"]["NAME"] = before
        forget_caches()


def _disconnect() -> None:
    connections.close_all()
    connections["default"].close_pool()


def contents(services: Services, database: str) -> dict[str, str]:
    """Each table of a database with a digest of its rows, but those of what has been migrated."""
    with psycopg.connect(services.postgres.admin_url, dbname=database) as admin:
        tables = admin.execute(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind = 'r' AND (n.nspname = 'public' OR n.nspname ~ '^t_') AND c.relname <> 'django_migrations'"
        ).fetchall()
        digests = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {}, md5(coalesce(string_agg(t::text, chr(10) ORDER BY t::text), '')) FROM {} t").format(
                sql.Literal(f"{schema}.{table}"), sql.Identifier(schema, table)
            )
            for schema, table in tables
        )
        return dict(admin.execute(digests).fetchall())
