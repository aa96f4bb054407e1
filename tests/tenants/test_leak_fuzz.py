"""The leak fuzz in short (A5-A7, T1, P1-P4, P14-P18), and the proof that it would notice (the seeded leaks).

`python -m bench.leaks` is the long version, signed in as the web's own login.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from redis import Redis

from bench.leaks import world as worlds
from bench.leaks.fuzz import OPERATIONS, running
from bench.leaks.ledger import Ledger
from bench.leaks.prove import attempt, forget
from bench.leaks.seeds import SEEDS, Seed
from bench.leaks.world import World
from tests.conftest import Platform, forget_caches, in_thread
from tests.contracts.sampling import sampled
from tests.services import Services

TENANTS, BROKEN_TENANTS = 6, 3
SECONDS = 4.0
# The leaks that must be found by all means; the others came for little.
REQUIRED = {
    "no_reset_hook",
    "no_role",
    "swallowed_bind_error",
    "public_fall_through",
    "shared_socket_thread",
    "unprefixed_cache_key",
}
_BY_TENANT = (
    "accounts_session", "accounts_apikey", "accounts_auditevent", "accounts_membership", "usage_quota",
    "usage_reservation", "usage_usagerecord", "tenants_domain",
)  # fmt: skip


@pytest.fixture(scope="module")
def world(platform: Platform, services: Services) -> Iterator[World]:
    """Tenants of our own beside acme and globex, gone afterwards. What tests before left in Redis and in memory goes."""
    with Redis.from_url(services.redis.url) as redis:
        redis.flushdb()
    forget_caches()
    made: World = in_thread(lambda: worlds.make(TENANTS))
    yield made
    remove(made, services)


@pytest.fixture(scope="module")
def broken_world(platform: Platform, services: Services) -> Iterator[World]:
    """Tenants for the product that is broken on purpose: what it writes may land with the wrong one."""
    made: World = in_thread(lambda: worlds.make(BROKEN_TENANTS))
    yield made
    remove(made, services)


def remove(world: World, services: Services) -> None:
    """Every trace of the world's tenants, past triggers and keys."""
    ids, emails = [one.ref.id for one in world.customers], [one.email for one in world.customers]
    with psycopg.connect(services.postgres.admin_url, dbname="paas", autocommit=True) as superuser:
        superuser.execute("SET session_replication_role = replica")
        for table in _BY_TENANT:
            superuser.execute(f"DELETE FROM {table} WHERE tenant_id = ANY (%s)".encode(), [ids])
        superuser.execute("DELETE FROM accounts_user WHERE email = ANY (%s)", [emails])
        superuser.execute("DELETE FROM tenants_tenant WHERE id = ANY (%s)", [ids])
        superuser.execute("TRUNCATE procrastinate_jobs CASCADE")
        for customer in world.customers:
            role = customer.ref.schema
            superuser.execute(f"DROP SCHEMA {role} CASCADE; DROP OWNED BY {role}; DROP ROLE {role}".encode())
    with Redis.from_url(services.redis.url) as redis:
        redis.flushdb()
    forget_caches()


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A product that was broken on purpose has a lot to log; and nothing of it may stay."""
    caplog.set_level(logging.CRITICAL)
    yield
    in_thread(forget)


def enough(ledger: Ledger) -> bool:
    seen = ledger.summary()
    return min(seen["looks"], seen["rows_read"]) > 300 and seen["attempts_refused"] > 50 and seen["binds_cut"] > 0


async def test_no_traffic_sees_another_tenants_rows(world: World) -> None:
    async with running(world, seed=20_261_123, worker=True) as fuzz:
        ledger = await fuzz.run(SECONDS / 2, favour=["jobs_through_the_worker", "readers_who_leave"], enough=enough)
    report: dict[str, Any] = ledger.summary()
    assert report["leaks"] == [], report
    assert report["wrong_rows"] == 0
    assert report["failures"] == {}, report
    assert set(report["by_kind"]) == {operation.name for operation in OPERATIONS}, "each kind had its turn"
    assert report["looks"] > 300, report
    assert report["rows_read"] > 300, report
    assert report["attempts_refused"] > 50, report
    assert report["binds_cut"] > 0, report


@pytest.mark.parametrize("seed", sampled(SEEDS, lambda seed: seed.name in REQUIRED), ids=lambda seed: seed.name)
def test_a_seeded_leak_is_found(seed: Seed, broken_world: World) -> None:
    in_thread(forget)
    ledger = asyncio.run(attempt(seed, broken_world, 7, SECONDS))
    met = [leak for leak in ledger.leaks if leak.operation in seed.met_by]
    assert met, ledger.summary()


async def test_a_key_of_nobody_is_found_at_the_end(broken_world: World) -> None:
    from django.conf import settings
    from redis.asyncio import Redis

    async with Redis.from_url(settings.REDIS_URL) as client, running(broken_world) as fuzz:
        await client.set("orphan", "x")
        ledger = await fuzz.run(0)
        await client.delete("orphan")
    assert [leak.what for leak in ledger.leaks] == ["key b'orphan' has no owner"]


def test_the_seeds_that_must_be_there_are() -> None:
    assert {seed.name for seed in SEEDS} >= REQUIRED
    assert len(SEEDS) >= 12
