"""PostgreSQL: what it is, who may do what in it, and how it fares."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from paas import env
from paas.doctor.finding import ERROR, NOTE, WARNING, Finding
from tenants import isolation, migrate
from tenants.backup.take import connect
from tenants.scope import TEMPLATE_SCHEMA

MOST_SKEW = 5.0  # seconds; leases last 15
MOST_ARCHIVE_SECONDS = 60  # what may be lost (T25)
DEAD_ROWS = 100_000
OLDEST_XID = 1_500_000_000  # PostgreSQL stops writing at about 2.1 billion
SERVER: LiteralString = """
    SELECT name, setting FROM pg_settings WHERE name IN
    ('fsync', 'full_page_writes', 'synchronous_commit', 'archive_mode', 'archive_timeout', 'max_connections')
"""
clock = time.time


def reachable() -> Iterator[Finding]:
    """Whether paas_owner and paas_app can sign in, and are who they should be."""
    for name, user in (("DATABASE_OWNER_URL", "paas_owner"), ("DATABASE_URL", "paas_app")):
        try:
            conninfo = make_conninfo(env.text(name), connect_timeout=5)
            with psycopg.connect(conninfo) as login:
                row = login.execute(
                    "SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user"
                ).fetchone()
        except psycopg.OperationalError as error:
            yield Finding(
                ERROR, "postgresql.login", f"{name} does not open the database: {str(error).strip().splitlines()[0]}",
                "Start PostgreSQL, or correct the URL; `manage.py init_database` makes the logins.",
            )  # fmt: skip
            continue
        if row and (row[1] or row[0] != user):
            yield Finding(
                ERROR, "postgresql.login", f"{name} signs in as {row[0]}{', a superuser' if row[1] else ''}",
                f"Put the login {user} into {name}; row-level security does not bind others.",
            )  # fmt: skip


def protection() -> Iterator[Finding]:
    """Roles, rights, row-level security of every table, the server's version, schemas that are nobody's."""
    with connect() as login:
        found = isolation.gaps(login)
    for gap in found:
        orphan = gap.problem in ("belongs to no tenant", "is no schema of ours")
        mend = (
            "Look what is in it; if nobody misses it, a superuser drops it: DROP SCHEMA ... CASCADE."
            if orphan
            else "manage.py init_database mends roles, manage.py migrate_all tables; then manage.py prove_isolation."
        )
        yield Finding(ERROR, "postgresql.orphan_schema" if orphan else "postgresql.isolation", str(gap), mend)


def extension() -> Iterator[Finding]:
    """pgvector, for knowledge bases."""
    with connect() as login:
        row = login.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
    if row is None:
        yield Finding(ERROR, "postgresql.pgvector", "The extension vector is missing.", "manage.py init_database")


def settings() -> Iterator[Finding]:
    """What of the server's settings loses data."""
    with connect() as login:
        found: dict[str, str] = dict(login.execute(SERVER).fetchall())
    for name in ("fsync", "full_page_writes"):
        if found[name] != "on":
            yield Finding(
                ERROR, "postgresql.durable", f"{name} is {found[name]}: a crash can destroy the database.",
                f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();",
            )  # fmt: skip
    if found["archive_mode"] == "off":
        yield Finding(
            NOTE, "postgresql.archive", "WAL is not archived: what was written since the last backup can be lost.",
            "docs/backup.md, Less than a minute lost",
        )  # fmt: skip
    elif not 0 < int(found["archive_timeout"]) <= MOST_ARCHIVE_SECONDS:
        yield Finding(
            WARNING, "postgresql.archive", f"archive_timeout is {found['archive_timeout']} s.",
            f"ALTER SYSTEM SET archive_timeout = '{MOST_ARCHIVE_SECONDS}s'; SELECT pg_reload_conf();",
        )  # fmt: skip


def archive() -> Iterator[Finding]:
    """Whether archiving succeeds."""
    with connect() as login:
        row = login.execute(
            "SELECT failed_count, last_failed_wal, last_failed_time > coalesce(last_archived_time, '-infinity') "
            "FROM pg_stat_archiver"
        ).fetchone()
    if row and row[2]:
        yield Finding(
            ERROR, "postgresql.archive", f"The archive does not take {row[1]}; {row[0]} tries have failed.",
            "PostgreSQL's log says what archive_command answered; WAL is kept, and fills the disk, until it succeeds.",
        )  # fmt: skip


def clocks() -> Iterator[Finding]:
    """Leases and links are compared with the server's clock, and made with ours."""
    with connect() as login:
        before = clock()
        row = login.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        skew = (row[0] if row else before) - (before + clock()) / 2
    if abs(skew) > MOST_SKEW:
        yield Finding(
            WARNING, "postgresql.clock", f"PostgreSQL's clock and this machine's differ by {skew:.1f} s.",
            "Set both by NTP (chronyc tracking, timedatectl status).",
        )  # fmt: skip


def connections() -> Iterator[Finding]:
    """Whether the pools of all processes fit into max_connections."""
    with connect() as login:
        row = login.execute(
            "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int, "
            "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')"
        ).fetchone()
    most, open_ = row or (0, 0)
    processes = env.number("WEB_WORKERS", 1) + 1
    wanted = processes * (env.number("DATABASE_POOL_SIZE", 12) + env.number("HOT_POOL_SIZE", 4)) + 6
    if wanted > most or open_ > most * 0.9:
        yield Finding(
            WARNING, "postgresql.connections",
            f"{processes} processes may open {wanted} connections, {open_} are open, and the server has {most}.",
            f"ALTER SYSTEM SET max_connections = {max(100, wanted * 2)}; then restart PostgreSQL.",
        )  # fmt: skip


def indexes() -> Iterator[Finding]:
    """Indexes whose making was broken off: they cost and do not serve."""
    with connect() as login:
        rows = login.execute(
            "SELECT n.nspname, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT i.indisvalid AND n.nspname !~ '^pg_'"
        ).fetchall()
    for schema, index in rows:
        command = sql.SQL("REINDEX INDEX CONCURRENTLY {}").format(sql.Identifier(schema, index))
        yield Finding(
            WARNING, "postgresql.index", f"The index {schema}.{index} is not valid.", f"{command.as_string(None)};",
            fix=_running(command),
        )  # fmt: skip


def _running(command: sql.Composed) -> Any:
    def fix() -> None:
        with connect() as login:
            login.execute(command)

    return fix


def bloat() -> Iterator[Finding]:
    """Tables with more dead rows than living ones, and ids of transactions that come near their end."""
    with connect() as login:
        rows = login.execute(
            "SELECT schemaname, relname, n_dead_tup, n_live_tup FROM pg_stat_user_tables "
            "WHERE n_dead_tup > %s AND n_dead_tup > n_live_tup",
            [DEAD_ROWS],
        ).fetchall()
        age = login.execute("SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()").fetchone()
    for schema, table, dead, live in rows:
        command = sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(schema, table))
        yield Finding(
            NOTE, "postgresql.bloat", f"{schema}.{table} has {dead:,} dead rows beside {live:,}.",
            f"{command.as_string(None)};", fix=_running(command),
        )  # fmt: skip
    if age and age[0] > OLDEST_XID:
        yield Finding(
            ERROR,
            "postgresql.wraparound",
            f"The oldest transaction is {age[0]:,} transactions ago.",
            "vacuumdb --freeze",
        )


def schemas() -> Iterator[Finding]:
    """Whether each schema has all migrations of this release."""
    behind = migrate.schemas_behind(["public"], migrate.wanted_migrations("public"))
    wanted = migrate.wanted_migrations(TEMPLATE_SCHEMA)
    behind += migrate.schemas_behind([TEMPLATE_SCHEMA, *migrate.tenant_schemas()], wanted)
    if behind:
        yield Finding(
            ERROR, "schemas.behind", f"{len(behind)} schemas lack migrations: {', '.join(behind[:3])}",
            "manage.py migrate_all", fix=lambda: migrate.migrate_all(lambda line: None),
        )  # fmt: skip
