"""`/healthz`: the process lives. `/readyz`: it can serve: migrated, PostgreSQL, Redis and the model answer.

`/readyz/process`: requests may be sent to this process, for a balancer, which should leave it only for what another
process does better: it has been told to stop, or not everything is migrated for it yet. What all processes
share may be away meanwhile. `/health` is Phase 1's.
"""

from __future__ import annotations

import asyncio
import time
import tomllib
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from django.conf import settings

from agents import registry
from chat import host
from core.errors import PaasError
from tenants import migrate, scope
from tenants.db import aio
from tenants.scope import TEMPLATE_SCHEMA

PATHS = ("/health", "/healthz", "/readyz", "/readyz/process")
CHECK_SECONDS = 2.5
STARTED = time.monotonic()
PROJECT = Path(__file__).parents[1] / "pyproject.toml"


_stopping = False
_migrated = False


def announce_stop() -> None:
    """From now on it is not ready: this process has been told to stop, and nothing more should be sent to it."""
    global _stopping
    _stopping = True


async def _serving() -> None:
    if _stopping:
        raise NotReady("stopping")


async def _of_process() -> dict[str, str]:
    """Once the tables were found migrated they stay so; that PostgreSQL is away is no reason to leave this process."""
    global _migrated
    checks = {"process": await _outcome(_serving)}
    if not _migrated:
        checks["migrations"] = await _outcome(_migrations)
        _migrated = checks["migrations"] == "ok"
    return checks


async def answer(connection: Any, send: Any) -> None:
    """The health answers; on every host, without a tenant."""
    body: dict[str, Any]
    if connection["path"] == "/healthz":
        status, body = 200, {"status": "ok"}
    elif connection["path"] == "/health":
        status, body = await _health()
    else:
        checks = await (readiness() if connection["path"] == "/readyz" else _of_process())
        ready = all(outcome == "ok" for outcome in checks.values())
        status, body = (200 if ready else 503), {"status": "ready" if ready else "unready", "checks": checks}
    encoded = orjson.dumps(body)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(encoded)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": encoded})


async def _health() -> tuple[int, dict[str, Any]]:
    """{status, version, uptime_seconds, database_connected, agents_registered}; 503 while the database is away."""
    connected = await _outcome(_postgresql) == "ok"
    return 200 if connected else 503, {
        "status": "healthy" if connected else "unhealthy",
        "version": version(),
        "uptime_seconds": round(time.monotonic() - STARTED, 3),
        "database_connected": connected,
        "agents_registered": len(registry.builtins()),
    }


@cache
def version() -> str:
    """The platform's, from pyproject.toml."""
    return str(tomllib.loads(PROJECT.read_text())["project"]["version"])


async def readiness() -> dict[str, str]:
    """What each part says: "ok", or in a word what is wrong."""
    probes: dict[str, Callable[[], Awaitable[None]]] = {
        "process": _serving,
        "postgresql": _postgresql,
        "migrations": _migrations,
        "redis": _redis,
    }
    if settings.LOCAL_MODEL_URL:
        probes["model"] = _model
    outcomes = await asyncio.gather(*(_outcome(probe) for probe in probes.values()))
    return dict(zip(probes, outcomes, strict=True))


async def reachable() -> dict[str, bool]:
    """Whether `postgresql` and `redis` answer this process."""
    outcomes = await asyncio.gather(_outcome(_postgresql), _outcome(_redis))
    return dict(zip(("postgresql", "redis"), (outcome == "ok" for outcome in outcomes), strict=True))


async def _outcome(probe: Callable[[], Awaitable[None]]) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await probe()
    except TimeoutError:
        return "no answer"
    except NotReady as error:
        return str(error)
    except Exception as error:
        return type(error).__name__
    return "ok"


class NotReady(Exception):
    """A part answers, but not as it should."""


async def _postgresql() -> None:
    try:
        await aio.database().fetch_platform("SELECT 1", [])
    except PaasError as error:
        raise NotReady(error.code) from None


@cache
def _wanted(schema: str) -> frozenset[str]:
    return frozenset(migrate.names_of(migrate.wanted_migrations(schema)))


async def missing_migrations() -> int:
    """How many migrations are to do: of the shared tables, and of those that every tenant needs."""
    shared = await aio.database().fetch_platform("SELECT app || '.' || name FROM public.django_migrations", [])
    ((tenants,),) = await aio.database().fetch_platform(migrate.ALL_HAVE_SQL, [])
    with scope.platform():
        missing = _wanted("public") - {name for (name,) in shared}
        return len(missing) + len(_wanted(TEMPLATE_SCHEMA) - set(tenants.split()))


async def _migrations() -> None:
    if missing := await missing_migrations():
        raise NotReady(f"{missing} to do: run `manage.py migrate_all`")


async def _redis() -> None:
    await host.current().relay.ping()


async def _model() -> None:
    async with (
        aiohttp.ClientSession(trust_env=False) as session,
        session.get(f"{settings.LOCAL_MODEL_URL.rstrip('/')}/models") as response,
    ):
        if response.status != 200:
            raise NotReady(f"HTTP {response.status}")
