"""How full this process's pools of connections are."""

from __future__ import annotations

from django_tenants.postgresql_backend.base import DatabaseWrapper

from tenants.db import aio

STATES = {"size": "pool_size", "free": "pool_available", "waiting": "requests_waiting"}


def pool_stats() -> dict[tuple[str, str], int]:
    """(pool, state) -> connections, of `hot` and `django`; `waiting` are requests for one. Asks no database."""
    pools = [("hot", one.pool) for one in aio.open_databases()]
    pools += [("django", one) for one in list(DatabaseWrapper._connection_pools.values())]
    found: dict[tuple[str, str], int] = {}
    for name, pool in pools:
        told = pool.get_stats()
        for state, key in STATES.items():
            found[name, state] = found.get((name, state), 0) + told.get(key, 0)
    return found
