"""The database, its roles and the extension: what `manage.py init_database` makes, once, as a superuser.

Roles (docs/architecture.md, "Tenancy"):
- paas_owner owns schemas and tables, may create roles, migrates; no superuser, no BYPASSRLS.
- paas_app is the login of web processes: owns nothing, inherits nothing, may take on paas_platform or a tenant.
- paas_platform is taken on for the platform's own business; paas_tenant holds what every tenant role inherits.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

# 18 has the fixes of CVE-2025-8713 and CVE-2024-10976; so have these minors of earlier majors (P12).
MINIMUM_SERVER = {16: 160010, 17: 170006}
ADVISORY_LOCK = 7_205_001


class DatabaseNotSuitable(Exception):
    """The server cannot carry the platform; the message says why and what to do."""


def initialise(admin_url: str, app_url: str, owner_url: str) -> list[str]:
    """Create what is missing; returns a line for each thing made. Safe to run again and concurrently."""
    app, owner = conninfo_to_dict(app_url), conninfo_to_dict(owner_url)
    done: list[str] = []
    with psycopg.connect(admin_url, autocommit=True) as admin:
        check_version(admin.info.server_version)
        admin.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
        _roles(admin, app, owner, done)
        name = str(app["dbname"])
        exists = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if not exists:
            admin.execute(
                sql.SQL("CREATE DATABASE {} OWNER paas_owner ENCODING 'UTF8' TEMPLATE template0").format(
                    sql.Identifier(name)
                )
            )
            done.append(f"database {name}")
        with psycopg.connect(admin_url, dbname=name, autocommit=True) as inside:  # still locked
            _contents(inside, name)
    return done


def check_version(version: int) -> None:
    """Refuse servers with known holes in row-level security. Raises DatabaseNotSuitable."""
    minimum = MINIMUM_SERVER.get(version // 10000, 0 if version >= 180000 else 999999)
    if version < minimum:
        raise DatabaseNotSuitable(
            f"PostgreSQL {version // 10000}.{version % 10000} is too old: use 18, 17.6 or 16.10, or newer. "
            "Earlier ones have known holes in row-level security."
        )


def _roles(admin: psycopg.Connection[Any], app: dict[str, Any], owner: dict[str, Any], done: list[str]) -> None:
    wanted = {
        "paas_owner": ("LOGIN CREATEROLE NOSUPERUSER NOBYPASSRLS NOCREATEDB", owner.get("password")),
        "paas_app": ("LOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE", app.get("password")),
        "paas_platform": ("NOLOGIN NOSUPERUSER NOBYPASSRLS", None),
        "paas_tenant": ("NOLOGIN NOSUPERUSER NOBYPASSRLS", None),
    }
    if app.get("user") != "paas_app" or owner.get("user") != "paas_owner":
        raise DatabaseNotSuitable("DATABASE_URL must sign in as paas_app and DATABASE_OWNER_URL as paas_owner.")
    present = {row[0] for row in admin.execute("SELECT rolname FROM pg_roles").fetchall()}
    for role, (attributes, password) in wanted.items():
        if role not in present:
            admin.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
            done.append(f"role {role}")
        admin.execute(sql.SQL("ALTER ROLE {} {}").format(sql.Identifier(role), sql.SQL(attributes)))
        if password:
            admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password)))
    admin.execute("GRANT paas_platform TO paas_app WITH INHERIT FALSE, SET TRUE")
    admin.execute("GRANT paas_platform TO paas_owner WITH INHERIT FALSE, SET TRUE")
    admin.execute("GRANT paas_tenant TO paas_owner WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")


def _contents(inside: psycopg.Connection[Any], name: str) -> None:
    for statement in (
        "CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public",
        "ALTER SCHEMA public OWNER TO paas_owner",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        "GRANT USAGE ON SCHEMA public TO paas_platform, paas_tenant, paas_owner",
        "ALTER DEFAULT PRIVILEGES FOR ROLE paas_owner IN SCHEMA public "
        "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO paas_platform",
        "ALTER DEFAULT PRIVILEGES FOR ROLE paas_owner IN SCHEMA public GRANT USAGE ON SEQUENCES TO paas_platform",
    ):
        inside.execute(statement)
    database = sql.Identifier(name)
    inside.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    inside.execute(sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO paas_owner").format(database))
    inside.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO paas_app").format(database))
