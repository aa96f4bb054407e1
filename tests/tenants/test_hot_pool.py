"""The async pool of the hot path: bound inside one implicit transaction, clean afterwards whatever happens."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from core.errors import PaasError
from tenants import scope
from tenants.db import aio
from tests.conftest import Platform
from tests.services import Services

WHO = "SELECT current_user::text, current_setting('search_path'), pg_backend_pid()"
BARE = "SELECT current_setting('role'), current_setting('search_path'), pg_backend_pid()"
HOLD = "SELECT public.usage_hold(%s, NULL, NULL, NULL, 10, 10, 'here', interval '1 minute', 'a', 'p', 'm', '{}', NULL::chat_run)"
STEP = "SELECT public.usage_step(%s, 1, 10, 10, NULL, '[]', '{}', NULL::chat_run)"
SETTLE = (
    "SELECT public.usage_settle(%s, 1, 'completed', '', jsonb_build_object('input_tokens', 1, 'output_tokens', 1, "
    "'record_id', gen_random_uuid(), 'counted', false), NULL::chat_run)"
)
Superuser = psycopg.Connection[Any]


@pytest.fixture
async def database(platform: Platform) -> AsyncIterator[Any]:
    """A pool of one connection, so that every call meets what the one before has left."""
    from django.conf import settings

    pool = aio.Database(settings.HOT_DATABASE_CONNINFO, min_size=1, max_size=1)
    await pool.open()
    yield pool
    await pool.close()


async def left_behind(database: Any) -> tuple[Any, ...]:
    async with database._pool.connection() as raw:
        row = await (await raw.execute(BARE)).fetchone()
        assert row is not None
        return tuple(row)


async def test_calls_of_two_tenants_take_turns_on_one_connection(database: Any, platform: Platform) -> None:
    pids = set()
    for _ in range(5):  # the third time the statement is prepared
        for tenant in (platform.acme, platform.globex):
            role, path, pid = await database.fetch_one(tenant, WHO, [])
            assert (role, path) == (tenant.schema, f"{tenant.schema}, public")
            rows = await database.fetch_one(tenant, "SELECT array_agg(slug) FROM public.tenants_tenant", [])
            assert rows == ([tenant.slug],)
            pids.add(pid)
        assert (await database.fetch_platform(WHO, []))[0][:2] == ("paas_platform", "public")
    role, path, pid = await left_behind(database)
    assert (role, path) == ("none", "pg_catalog")
    assert pids == {pid}


async def test_functions_keep_no_plan_of_another_tenant(database: Any, platform: Platform) -> None:
    """PL/pgSQL keeps plans for a session; one made under another role or path must not be used (CVE-2023-2455)."""
    reserve = (
        "SELECT public.usage_reserve(%s, NULL, NULL, NULL, 1, 1, 'test', interval '1 minute', 'a', 'p', 'm'), "
        "(SELECT array_agg(DISTINCT tenant_id) FROM public.usage_reservation)"
    )
    try:
        for _ in range(6):
            for tenant in (platform.acme, platform.globex):
                granted, _ = await database.fetch_one(tenant, reserve, [uuid.uuid4()])
                assert granted == 1
                seen = await database.fetch_one(
                    tenant, "SELECT array_agg(DISTINCT tenant_id) FROM public.usage_reservation", []
                )
                assert seen == ([tenant.id],)
    finally:
        await database.fetch_platform("DELETE FROM public.usage_reservation RETURNING 1", [])
        await database.fetch_platform("DELETE FROM public.usage_quota RETURNING 1", [])


async def test_a_statement_without_rows_gives_none(database: Any, platform: Platform) -> None:
    assert await database.fetch_one(platform.acme, "SELECT 1 WHERE false", []) is None
    assert await database.fetch_one(platform.acme, "UPDATE chat_run SET last_seq = 0 WHERE false", []) is None


async def test_a_failed_statement_is_undone_and_leaves_a_clean_connection(database: Any, platform: Platform) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        await database.fetch_one(platform.acme, "SELECT 1 / %s", [0])
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await database.fetch_one(platform.acme, f"SELECT * FROM {platform.globex.schema}.chat_run", [])
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        await database.fetch_one(
            platform.acme,
            "INSERT INTO public.accounts_auditevent (id, tenant_id, actor, action, target, data, at) "
            "VALUES (gen_random_uuid(), %s, 'x', 'x', '', '{}', now())",
            [platform.globex.id],
        )
    assert (await left_behind(database))[:2] == ("none", "pg_catalog")
    assert (await database.fetch_one(platform.globex, WHO, []))[0] == platform.globex.schema


async def test_a_tenant_that_is_gone_is_refused(database: Any) -> None:
    with pytest.raises(psycopg.Error, match="role"):
        await database.fetch_one(scope.TenantRef(uuid.uuid4(), "gone"), "SELECT 1", [])
    assert (await left_behind(database))[:2] == ("none", "pg_catalog")


async def test_a_cancelled_call_leaves_nothing_behind(database: Any, platform: Platform) -> None:
    for pause in (0, 0.001, 0.01):
        call = asyncio.create_task(database.fetch_one(platform.acme, "SELECT pg_sleep(0.02), 1", []))
        await asyncio.sleep(pause)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await database.fetch_one(platform.globex, WHO, []))[0] == platform.globex.schema
        assert (await left_behind(database))[:2] == ("none", "pg_catalog")


async def test_a_statement_that_takes_too_long_is_unavailable(
    database: Any, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    await database.fetch_one(platform.acme, WHO, [])
    monkeypatch.setattr(aio, "ANSWER_SECONDS", 0.1)
    with pytest.raises(PaasError) as caught:
        await database.fetch_one(platform.acme, "SELECT pg_sleep(30)", [])
    assert caught.value.code == "database_unavailable"
    monkeypatch.undo()
    assert (await database.fetch_one(platform.globex, WHO, []))[0] == platform.globex.schema
    assert (await left_behind(database))[:2] == ("none", "pg_catalog")


# --- calls that are sent together --------------------------------------------------------------------


async def test_calls_at_once_are_each_their_own_tenants(database: Any, platform: Platform) -> None:
    tenants = [platform.acme, platform.globex] * 40
    found = await asyncio.gather(*(database.fetch_one(tenant, WHO, []) for tenant in tenants))
    assert [row[0] for row in found] == [tenant.schema for tenant in tenants]


async def test_a_failure_stays_with_its_own_call(database: Any, platform: Platform) -> None:
    divisors = [1, 2, 0, 4, 0, 5]
    calls = [database.fetch_one(platform.acme, "SELECT 20 / %s", [divisor]) for divisor in divisors]
    others = [database.fetch_one(platform.globex, WHO, []) for _ in divisors]
    found = await asyncio.gather(*calls, *others, return_exceptions=True)
    assert [type(one) if isinstance(one, Exception) else one[0] for one in found[:6]] == [
        20, 10, psycopg.errors.DivisionByZero, 5, psycopg.errors.DivisionByZero, 4
    ]  # fmt: skip
    assert {row[0] for row in found[6:]} == {platform.globex.schema}


async def test_what_a_failed_company_wrote_is_there_once(database: Any, platform: Platform, db: Platform) -> None:
    write = (
        "INSERT INTO public.accounts_auditevent (id, tenant_id, actor, action, target, data, at) "
        "VALUES (gen_random_uuid(), %s, 'x', 'test.together', %s, '{}', now())"
    )
    calls = [
        database.fetch_one(platform.acme, write, [platform.globex.id if number == 3 else platform.acme.id, str(number)])
        for number in range(8)
    ]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(one, psycopg.errors.InsufficientPrivilege) for one in found] == [
        number == 3 for number in range(8)
    ]
    seen = "SELECT array_agg(target ORDER BY target) FROM public.accounts_auditevent WHERE action = 'test.together'"
    assert await database.fetch_one(platform.acme, seen, []) == (["0", "1", "2", "4", "5", "6", "7"],)
    assert await database.fetch_one(platform.globex, seen, []) == (None,)


async def test_a_call_cancelled_among_others_disturbs_none(database: Any, platform: Platform) -> None:
    calls = [asyncio.create_task(database.fetch_one(platform.acme, WHO, [])) for _ in range(10)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(one, asyncio.CancelledError) for one in found] == [True, False] * 5
    assert {row[0] for row in found[1::2]} == {platform.acme.schema}


async def test_a_lost_server_is_unavailable_once(database: Any, platform: Platform, services: Services) -> None:
    _, _, pid = await database.fetch_one(platform.acme, WHO, [])
    with psycopg.connect(services.postgres.admin_url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    with pytest.raises(PaasError) as caught:
        await database.fetch_one(platform.acme, WHO, [])
    assert caught.value.code == "database_unavailable"
    assert caught.value.retry_after == 1
    assert (await database.fetch_one(platform.globex, WHO, []))[0] == platform.globex.schema


async def test_a_full_pool_is_unavailable(database: Any, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database._pool, "timeout", 0.05)
    async with database._pool.connection():
        with pytest.raises(PaasError) as caught:
            await database.fetch_one(platform.acme, WHO, [])
    assert caught.value.code == "database_unavailable"


async def test_without_a_pool_there_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="not open"):
        aio.database()


async def test_a_closed_pool_is_unavailable(database: Any, platform: Platform) -> None:
    await database.close()
    with pytest.raises(PaasError):
        await database.fetch_one(platform.acme, WHO, [])


def test_connections_do_not_grow_old(database: Any) -> None:
    """PostgreSQL keeps for each what it knows of every tenant's tables that it served."""
    from django.conf import settings
    from django.db import connection

    assert 0 < settings.DATABASE_CONNECTION_SECONDS <= 600
    for pool in (database._pool, connection.pool):  # type: ignore[attr-defined]
        assert pool.max_lifetime == settings.DATABASE_CONNECTION_SECONDS


async def test_the_comparison_of_a_policy_is_part_of_the_statement(database: Any, platform: Platform) -> None:
    """A call of the function would cost ten times as much, forty times a turn; and no plan is made anew each time."""
    binding = scope.binding_for(platform.acme)
    plan = await database._answer(binding, "EXPLAIN (VERBOSE) SELECT id FROM public.usage_quota", [])
    told = "\n".join(line for (line,) in plan)
    assert "CURRENT_USER" in told
    assert "bound_tenant" not in told
    assert await database.fetch_one(platform.acme, "SHOW plan_cache_mode", []) == ("force_generic_plan",)


# --- many tenants on few connections -----------------------------------------------------------------
async def test_a_tenant_comes_back_to_its_connection(platform: Platform) -> None:
    """What PostgreSQL has planned for it is there."""
    from django.conf import settings

    pool = aio.Database(settings.HOT_DATABASE_CONNINFO, min_size=2, max_size=2)
    await pool.open()
    await pool.pool.wait()

    async def pid(tenant: Any) -> int:
        return int((await pool.fetch_one(tenant, WHO, []))[2])

    acme, globex = await pid(platform.acme), await pid(platform.globex)
    assert acme != globex, "who is new gets the one that has rested longest"
    for tenant in (platform.globex, platform.acme, platform.acme, platform.globex, platform.globex):
        assert await pid(tenant) == {platform.acme: acme, platform.globex: globex}[tenant]
    async with pool.pool.connection():  # acme's, which has rested longest
        assert await pid(platform.acme) == globex, "nobody waits for a connection of their own"
    await pool.close()


async def test_a_connection_ends_after_so_many_tenants(
    database: Any, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.conf import settings

    monkeypatch.setattr(settings, "HOT_CONNECTION_TENANTS", 2)
    first, again = [(await database.fetch_one(platform.acme, WHO, []))[2] for _ in range(2)]
    assert first == again
    assert (await database.fetch_one(platform.globex, WHO, []))[2] == first, "its answer is not lost"
    assert (await database.fetch_one(platform.acme, WHO, []))[2] != first


async def test_a_tenants_calls_go_on_two_connections_and_never_wait_in_a_ring(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent together locks in the order in which it came: the counters first here, a conversation first there."""
    from django.conf import settings

    pool = aio.Database(settings.HOT_DATABASE_CONNINFO, min_size=2, max_size=2)
    await pool.open()
    await pool.pool.wait()
    loop, binding, sent = asyncio.get_running_loop(), scope.binding_for(platform.acme), []
    send = pool._send

    async def counted(*args: Any, **options: Any) -> Any:
        sent.append(args)
        return await send(*args, **options)

    monkeypatch.setattr(pool, "_send", counted)
    row: Any = "SELECT pg_advisory_xact_lock(%s), pg_sleep(0.05)"
    ring = [[aio.Call(row, [number], loop.create_future()) for number in order] for order in ((71, 72), (72, 71))]
    await asyncio.gather(*(pool._run_company(binding, calls) for calls in ring))
    assert all(call.answer.exception() is None for calls in ring for call in calls)
    assert len(sent) == 2, "nothing had to be sent again"
    monkeypatch.undo()

    while pool._pool.idle < 2:  # they are on their way back
        await asyncio.sleep(0.001)
    slow = asyncio.gather(*(pool.fetch_one(platform.acme, "SELECT pg_sleep(0.2)", []) for _ in range(2)))
    async with asyncio.timeout(10):
        while len(pool._serving.get(binding.role, ())) < 2:
            await asyncio.sleep(0)
    await slow
    await asyncio.gather(*(pool.fetch_one(platform.acme, WHO, []) for _ in range(20)))
    assert not pool._serving
    assert not pool._waiting
    await pool.close()


async def test_what_was_given_up_to_end_a_deadlock_is_tried_again(
    database: Any, platform: Platform, services: Services
) -> None:
    """With a transaction that is not of the hot path: it waits first, so that PostgreSQL finds the hot one at fault."""
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"

    async def waiting(count: int) -> None:
        while (await (await gate.execute(waits)).fetchone()) != (count,):
            await asyncio.sleep(0.01)

    url = services.postgres.admin_url
    async with (
        await psycopg.AsyncConnection.connect(url, dbname="paas") as gate,
        await psycopg.AsyncConnection.connect(url, dbname="paas", options="-c deadlock_timeout=1min") as login,
    ):
        await gate.execute("SELECT pg_advisory_xact_lock(80)")
        await login.execute("SELECT pg_advisory_xact_lock(82)")
        locks = "SELECT pg_advisory_xact_lock(81), pg_advisory_xact_lock(80), pg_advisory_xact_lock(82), 7"
        call = asyncio.create_task(database.fetch_one(platform.acme, locks, []))
        await waiting(1)
        cross = asyncio.create_task(login.execute("SELECT pg_advisory_xact_lock(81)"))
        await waiting(2)
        await gate.commit()
        await cross
        await login.commit()
        assert (await call)[3] == 7


async def test_tenants_that_take_turns_are_planned_for_once(superuser: Superuser, platform: Platform) -> None:
    """ADR 20: plans of shared functions belong to a role, so each tenant must have its own of them."""
    planned: list[str] = []
    superuser.add_notice_handler(lambda told: planned.append(told.message_primary or ""))
    superuser.execute("SET plan_cache_mode = force_generic_plan")
    superuser.execute("SET client_min_messages = log")

    def turn(tenant: Any) -> int:
        """How many statements were planned for a turn's start, a step and its end."""
        path = f"{tenant.schema}, public"
        superuser.execute(
            "SELECT set_config('role', %s, true), set_config('search_path', %s, true)", [tenant.schema, path]
        )
        run = uuid.uuid4()
        planned.clear()
        superuser.execute("SELECT public.usage_begin_session(NULL::chat_run)")
        superuser.execute(HOLD, [run])
        superuser.execute(STEP, [run])
        superuser.execute(SETTLE, [run])
        superuser.execute("RESET ROLE")
        return planned.count("PLANNER STATISTICS")

    superuser.execute("SET log_planner_stats = on")
    first = [turn(platform.acme), turn(platform.globex)]
    assert min(first) > 15, "each is planned for"
    assert [turn(tenant) for tenant in (platform.acme, platform.globex) * 2] == [4] * 4, "the four calls themselves"
