"""The binding: one ContextVar, carried where it should be and nowhere else (P1, P15, A6)."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, connections

from tenants import scope
from tenants.scope import TenantNotBound, TenantRef, bind, current_tenant, platform
from tests.conftest import Platform

A = TenantRef(uuid.UUID(int=10), "a")
B = TenantRef(uuid.UUID(int=11), "b")


def bound() -> str:
    """The slug of the bound tenant, "platform", or "nobody"."""
    binding = scope.bound_or_none()
    if binding is None:
        return "nobody"
    return binding.tenant.slug if binding.tenant else "platform"


def in_new_thread(work: Any) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


# --- values ------------------------------------------------------------------------------------------


def test_names_are_made_from_the_id_only() -> None:
    tenant = TenantRef(uuid.UUID("01234567-89ab-7cde-8f01-23456789abcd"), "'; drop schema public; --")
    assert tenant.schema == "t_0123456789ab7cde8f0123456789abcd"
    assert scope.SCHEMA_NAME.match(tenant.schema)
    binding = scope.binding_for(tenant)
    assert (binding.role, binding.search_path) == (tenant.schema, f"{tenant.schema}, public")
    assert binding.key_prefix == "t:0123456789ab7cde8f0123456789abcd"


def test_the_platform_and_the_owner() -> None:
    with platform():
        binding = scope.current_binding()
        assert (binding.role, binding.search_path, binding.key_prefix) == ("paas_platform", "public", "platform")
        with pytest.raises(TenantNotBound):
            current_tenant()
    with scope.owner("t_template"):
        assert scope.current_binding().search_path == "t_template, public"
        assert scope.current_binding().role == "none"


@pytest.mark.parametrize(
    "schema",
    ["", "acme", "t_1", "public; drop", "T_" + "0" * 32, "t_" + "0" * 33, "pg_catalog", "t_" + "0" * 32 + "\n"],
)
def test_an_owner_binding_takes_no_other_name(schema: str) -> None:
    with pytest.raises(ValueError, match="Not a schema of ours"), scope.owner(schema):
        pass


def test_a_tenants_key_is_not_in_its_repr() -> None:
    assert "secret" not in repr(TenantRef(uuid.uuid4(), "a", wrapped_key="secret"))


# --- nesting -----------------------------------------------------------------------------------------


def test_unbound_is_an_error_that_says_what_to_do() -> None:
    assert not scope.is_bound()
    with pytest.raises(TenantNotBound, match="with bind"):
        scope.current_binding()
    with pytest.raises(TenantNotBound):
        current_tenant()


def test_blocks_nest_and_end_in_order() -> None:
    seen = [bound()]
    with bind(A):
        seen.append(bound())
        with platform():
            seen.append(bound())
            with bind(B):
                seen.append(bound())
            seen.append(bound())
        seen.append(bound())
    seen.append(bound())
    assert seen == ["nobody", "a", "platform", "b", "platform", "a", "nobody"]


def test_an_exception_ends_the_binding() -> None:
    with pytest.raises(KeyError), bind(A), bind(B):
        raise KeyError
    assert bound() == "nobody"


def test_a_binding_can_be_kept_and_used_again() -> None:
    with bind(A):
        kept = scope.bound_or_none()
    with bind(B), scope.use(kept):
        assert bound() == "a"
    with bind(B), scope.use(None):
        assert not scope.is_bound()


def test_one_block_object_is_not_shared_between_threads() -> None:
    """django-tenants' context managers keep state on themselves (P15); each call here makes a new one."""
    wrong: list[str] = []

    def work(tenant: TenantRef) -> None:
        for _ in range(500):
            with bind(tenant):
                if bound() != tenant.slug:
                    wrong.append(bound())
            if bound() != "nobody":
                wrong.append(bound())

    threads = [threading.Thread(target=work, args=(tenant,)) for tenant in (A, B) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- tasks and threads -------------------------------------------------------------------------------


async def test_a_binding_holds_across_await_and_stays_in_its_task() -> None:
    seen: list[tuple[str, str]] = []

    async def work(tenant: TenantRef) -> None:
        with bind(tenant):
            for _ in range(50):
                await asyncio.sleep(0)
                seen.append((tenant.slug, bound()))

    await asyncio.gather(work(A), work(B), work(A), work(B))
    assert {(slug, found) for slug, found in seen} == {("a", "a"), ("b", "b")}
    assert bound() == "nobody"


async def test_a_new_task_inherits_and_its_own_binding_stays_inside() -> None:
    async def child() -> list[str]:
        seen = [bound()]
        with bind(B):
            await asyncio.sleep(0)
            seen.append(bound())
        return [*seen, bound()]

    with bind(A):
        task = asyncio.create_task(child())
        assert await task == ["a", "b", "a"]
        assert bound() == "a"
    with bind(A):
        task = asyncio.create_task(child())
    assert await task == ["a", "b", "a"], "a task keeps what it was started under"


async def test_threads_that_copy_the_context_are_bound_and_others_are_not() -> None:
    loop = asyncio.get_running_loop()
    with bind(A), ThreadPoolExecutor(1) as threads:
        assert await asyncio.to_thread(bound) == "a"
        assert await sync_to_async(bound)() == "a"
        assert await sync_to_async(bound, thread_sensitive=False)() == "a"
        assert await scope.run_bound(bound) == "a"
        assert await loop.run_in_executor(threads, bound) == "nobody"
        assert in_new_thread(bound) == "nobody"
        assert in_new_thread(lambda: contextvars.Context().run(bound)) == "nobody"


def test_async_code_called_from_sync_code_is_bound() -> None:
    async def inside() -> str:
        await asyncio.sleep(0)
        return bound()

    with bind(A):
        assert async_to_sync(inside)() == "a"


async def test_run_in_tenant_binds_for_the_call_only() -> None:
    with bind(B):
        assert await scope.run_in_tenant(A, bound) == "a"
        assert await scope.run_in_platform(bound) == "platform"
        assert bound() == "b"
    with pytest.raises(TenantNotBound):
        await scope.run_bound(bound)


async def test_an_error_in_a_database_thread_comes_back_and_leaves_nothing_bound() -> None:
    def fail() -> None:
        raise LookupError(bound())

    with pytest.raises(LookupError, match="a"):
        await scope.run_in_tenant(A, fail)
    assert await scope.run_in_tenant(B, bound) == "b"


async def test_a_database_thread_gives_its_connection_back(platform: Platform) -> None:
    def query() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return connection.connection is not None

    def still_open() -> bool:
        return any(one.connection is not None for one in connections.all(initialized_only=True))

    assert await scope.run_in_tenant(platform.acme, query)
    seen = await asyncio.gather(*(scope.run_in_tenant(platform.acme, still_open) for _ in range(16)))
    assert not any(seen)


async def test_the_number_of_database_threads_is_bounded() -> None:
    inside, most, lock = 0, 0, threading.Lock()
    gate = threading.Barrier(scope.DATABASE_THREADS, timeout=10)

    def work() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        gate.wait()
        with lock:
            inside -= 1

    with platform():
        await asyncio.gather(*(scope.run_bound(work) for _ in range(scope.DATABASE_THREADS * 3)))
    assert most == scope.DATABASE_THREADS


# --- each_tenant -------------------------------------------------------------------------------------


def test_each_tenant_binds_one_after_the_other(platform: Platform) -> None:
    with scope.platform():
        seen = [(tenant.slug, bound()) for tenant in scope.each_tenant()]
        assert bound() == "platform"
    assert ("acme", "acme") in seen
    assert ("globex", "globex") in seen
    assert all(slug == found for slug, found in seen)


def test_a_loop_over_tenants_that_ends_early_ends_the_binding(platform: Platform) -> None:
    for _tenant in scope.each_tenant():
        break
    assert bound() == "nobody"

    def fail() -> None:
        for _tenant in scope.each_tenant():
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert bound() == "nobody"


def test_each_tenant_leaves_suspended_ones_out(db: Platform) -> None:
    from tenants.models import Tenant

    with platform():
        Tenant.objects.filter(pk=db.globex.id).update(status="suspended")
    try:
        assert [tenant.slug for tenant in scope.each_tenant() if tenant.id == db.globex.id] == []
    finally:
        with platform():
            Tenant.objects.filter(pk=db.globex.id).update(status="active")


# --- unbound use, everywhere -------------------------------------------------------------------------


def test_unbound_use_raises_before_any_sql(platform: Platform) -> None:
    from django.core.cache import cache
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage

    from accounts.models import User
    from chat.models import Conversation
    from tenants.jobs import enqueue

    def attempts() -> list[Any]:
        return [
            Conversation.objects.count,
            User.objects.count,
            connection.cursor,
            lambda: cache.get("x"),
            lambda: cache.set("x", 1),
            lambda: default_storage.open("x"),
            lambda: default_storage.save("x", ContentFile("x")),
            lambda: enqueue("x"),
            lambda: connection.schema_name,
        ]

    def work() -> int:
        refused = 0
        for attempt in attempts():
            with pytest.raises(TenantNotBound):
                attempt()
            refused += 1
        assert connection.connection is None, "no connection was opened for it"
        return refused

    assert in_new_thread(work) == len(attempts())


def test_the_platform_is_no_tenant_to_files_and_jobs(platform: Platform) -> None:
    from django.core.files.storage import default_storage

    from tenants.jobs import enqueue

    with scope.platform():
        for attempt in (lambda: default_storage.open("x"), lambda: enqueue("x")):
            with pytest.raises(TenantNotBound):
                attempt()
