"""What a session begins with where it cannot be said in the startup packet: through a pooler (PgBouncer).

The pooler must keep a session for as long as a client is connected (`pool_mode = session`): roles and settings are a
session's. What it hands on is clean, because its `server_reset_query` is DISCARD ALL.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from psycopg import AsyncConnection, Connection, sql

from tenants.scope import PLATFORM


def _setting(values: dict[str, Any]) -> sql.Composed:
    calls = [sql.SQL("set_config({}, {}, false)").format(name, str(value)) for name, value in values.items()]
    return sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls))


def begin(connection: Connection[Any]) -> bool:
    """Set SESSION_SETTINGS; whether there was anything to set."""
    if settings.SESSION_SETTINGS:
        connection.execute(_setting(settings.SESSION_SETTINGS))
    return bool(settings.SESSION_SETTINGS)


async def abegin(connection: AsyncConnection[Any]) -> None:
    """The same for the hot pool's connections, which commit by themselves."""
    if settings.HOT_SESSION_SETTINGS:
        await connection.execute(_setting(settings.HOT_SESSION_SETTINGS))


async def as_platform(connection: AsyncConnection[Any]) -> None:
    """Bind a connection of the jobs' queue to the platform for good."""
    values = {"timezone": "UTC", "search_path": PLATFORM.search_path, "role": PLATFORM.role}
    await connection.execute(_setting(values))
    await connection.commit()
