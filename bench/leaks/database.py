"""Traffic to PostgreSQL below HTTP: tasks, threads, the hot pool, transactions, cut binds, raw connections."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import DataError, InternalError, OperationalError, ProgrammingError, connection, connections, transaction

from bench.leaks.ledger import Witness
from bench.leaks.place import Place, Register
from bench.leaks.world import GREETING, Customer, World, content_of
from tenants import scope
from tenants.db import aio, base
from tenants.scope import TenantNotBound

register = Register()
BARE = (True, "pg_catalog", "none")
"""A connection nobody works for: the login itself, its search path, no role."""
BARE_SQL = "SELECT current_user = session_user, current_setting('search_path'), current_setting('role')"
HOT_SQL = (
    "SELECT concat_ws(' ', (SELECT string_agg(title, ' ') FROM chat_conversation), "
    "(SELECT string_agg(name, ' ') FROM public.tenants_tenant), "
    "(SELECT string_agg(actor, ' ') FROM public.accounts_auditevent))"
)


# --- what is read ------------------------------------------------------------------------------------


def readers(world: World) -> list[Callable[[], object]]:
    """Queries that give every row which the binding in force shows."""
    from accounts.models import ApiKey, AuditEvent, Membership, Session
    from agents.models import Agent, AgentVersion
    from chat.models import Conversation, Message, RunSegment
    from llm.models import ProviderAccount
    from tenants.models import Tenant
    from usage.models import Quota

    def canaries(ids: Any) -> list[str]:
        return [world.canary_of(tenant_id) for tenant_id in ids]

    return [
        lambda: list(ProviderAccount.objects.values_list("api_key", flat=True)),
        lambda: list(Agent.objects.values_list("name", "current__instructions")),
        lambda: list(AgentVersion.objects.values_list("instructions", flat=True)),
        lambda: list(Conversation.objects.values_list("title", flat=True)),
        lambda: [message.content for message in Message.objects.select_related("run", "conversation")],
        lambda: [bytes(segment.events) for segment in RunSegment.objects.all()[:50]],
        lambda: list(Tenant.objects.values_list("name", flat=True)),
        lambda: list(Membership.objects.values_list("user__name", flat=True)),
        lambda: canaries(Membership.objects.values_list("tenant_id", flat=True)),
        lambda: canaries(ApiKey.objects.values_list("tenant_id", flat=True)),
        lambda: canaries(Session.objects.values_list("tenant_id", flat=True)),
        lambda: canaries(Quota.objects.values_list("tenant_id", flat=True)),
        lambda: list(AuditEvent.objects.values_list("actor", flat=True)[:50]),
    ]


def some(place: Place, most: int = 2) -> Callable[[], list[object]]:
    """A few of the readers, chosen at random, as one function."""
    chosen = place.chance.sample(readers(place.world), most)
    return lambda: [read() for read in chosen]


def closing(work: Callable[[], Any]) -> Any:
    """The result of `work` in a thread of its own, whose connection goes back afterwards."""
    try:
        return work()
    finally:
        connections.close_all()


# --- tasks and threads -------------------------------------------------------------------------------


@register.operation(6)
async def orm_in_a_task(place: Place) -> None:
    """ORM calls of one task, with other tasks between them (P1, P2)."""
    with scope.bind(place.own.ref):
        for _ in range(2):
            place.witness.saw(await scope.run_bound(some(place)))
            await asyncio.sleep(0)


@register.operation(2)
async def orm_in_child_tasks(place: Place) -> None:
    """A child keeps the binding it was started under, whatever its parent does next."""
    go = asyncio.Event()

    async def child() -> Any:
        await go.wait()
        return await scope.run_bound(some(place, 1))

    with scope.bind(place.own.ref):
        task = asyncio.create_task(child())
    with scope.bind(place.other.ref):
        go.set()
        place.witness.as_(place.other).saw(await scope.run_bound(some(place, 1)))
        place.witness.saw(await task)


@register.operation(2)
async def orm_in_to_thread(place: Place) -> None:
    """asyncio.to_thread copies the context, and with it the binding."""
    work = some(place)
    with scope.bind(place.own.ref):
        place.witness.saw(await asyncio.to_thread(closing, work))


@register.operation(1)
async def for_each_tenant(place: Place) -> None:
    """`each_tenant` binds one after the other."""
    most = place.chance.randint(1, 4)

    def loop() -> None:
        customers = {customer.ref.id: customer for customer in place.world.customers}
        for step, tenant in enumerate(scope.each_tenant()):
            if tenant.id in customers:
                place.witness.as_(customers[tenant.id]).saw(some(place, 1)())
            if step >= most:
                break
        place.witness.same("the binding after the loop", scope.current_binding(), scope.PLATFORM)

    await scope.run_in_platform(loop)


@register.operation(1)
async def a_plain_thread(place: Place) -> None:
    """A thread that nobody bound: ORM, cache and storage raise before they touch anything (A6)."""
    from django.core.cache import cache

    work = some(place, 1)

    def unbound() -> None:
        for attempt in (work, lambda: cache.get(GREETING), lambda: content_of(place.own.file)):
            place.witness.refused(lambda: closing(attempt), TenantNotBound)  # noqa: B023 - called at once

    await in_new_thread(unbound)


async def in_new_thread(work: Callable[[], None]) -> None:
    """`work` in a new thread without any context of ours; its error is raised here."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            loop.call_soon_threadsafe(ended.set_exception, error)
        else:
            loop.call_soon_threadsafe(ended.set_result, None)

    threading.Thread(target=run).start()
    await ended


# --- transactions ------------------------------------------------------------------------------------


class Undo(Exception):
    """Rolls a block back."""


@register.operation(3)
async def nested_transactions(place: Place) -> None:
    """Bindings, savepoints, rollbacks and failed statements in any order: the server follows (P14)."""
    await scope.run_in_tenant(place.own.ref, Walk(place).start)


class Walk:
    """A random walk through nested blocks that compares the server with the binding after every step."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._chance = place.chance

    def start(self) -> None:
        with connection.cursor() as held:
            self._held = held
            self._step(3)

    def _step(self, depth: int) -> None:
        for _ in range(self._chance.randint(1, 2)):
            choice = self._chance.random()
            if not depth:
                pass
            elif choice < 0.4:
                customer = self._chance.choice((self._place.own, self._place.other))
                with scope.bind(customer.ref):
                    self._step(depth - 1)
            elif choice < 0.8:
                self._block(depth)
            elif choice < 0.9:
                with scope.platform():
                    self._check()
            else:
                self._fail()
            self._check()

    def _block(self, depth: int) -> None:
        try:
            with transaction.atomic():
                self._step(depth - 1)
                if self._chance.random() < 0.5:
                    raise Undo
        except Undo:
            pass

    @staticmethod
    def _fail() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT 1 / 0")
        except DataError:
            pass

    def _check(self) -> None:
        """What PostgreSQL says, on a cursor that has been open all along, and on a new one."""
        binding, witness = scope.current_binding(), self._place.witness
        wanted = (binding.role, binding.search_path)
        query = "SELECT current_user, current_setting('search_path')"
        self._held.execute(query)
        witness.same("an open cursor's role and path", self._held.fetchone(), wanted)
        with connection.cursor() as cursor:
            cursor.execute(query)
            witness.same("the server's role and path", cursor.fetchone(), wanted)
        if binding.tenant is not None:
            own = self._place.own if binding.tenant.id == self._place.own.ref.id else self._place.other
            witness.as_(own).saw(some(self._place, 1)())


@register.operation(1)
async def hooks_on_commit(place: Place) -> None:
    """A hook that a tenant registered inside the platform's transaction works for that tenant."""
    work, seen = some(place, 1), []

    def commit() -> None:
        with transaction.atomic(), scope.bind(place.own.ref):
            transaction.on_commit(lambda: seen.append(work()))

    await scope.run_in_platform(commit)
    place.witness.saw(seen)


# --- binds that fail ---------------------------------------------------------------------------------


@contextmanager
def binds_can_be_cut() -> Iterator[None]:
    """Let a bind take as long as its connection's `fuzz.delay` says: with a statement timeout it is cut."""
    before = base.BIND_SQL
    delay = "coalesce(nullif(current_setting('fuzz.delay', true), ''), '0')::float8"
    base.BIND_SQL = f"{before} FROM pg_sleep({delay})"
    try:
        yield
    finally:
        base.BIND_SQL = before


@register.operation(2)
async def a_bind_that_is_cut(place: Place) -> None:
    """PostgreSQL cancels the bind itself: an error or the right rows, never the previous tenant's (P4, A7)."""
    await scope.run_in_tenant(place.own.ref, CutBind(place).start)


class CutBind:
    """Turns a connection from one tenant to the other with a bind that PostgreSQL cancels on the way."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._read = some(place, 1)

    def start(self) -> None:
        place = self._place
        place.witness.saw(self._read())
        if place.chance.random() < 0.3:
            self._inside_a_transaction()
        else:
            self._arm()
            self._attempt()
            self._disarm()
        with scope.bind(place.other.ref):
            place.witness.as_(place.other).saw(self._read())
        place.witness.saw(self._read())

    def _attempt(self) -> None:
        """Read as the other tenant: refused, or its own rows."""
        place = self._place
        with scope.bind(place.other.ref):
            for _ in range(place.chance.randint(1, 2)):
                try:
                    shown = self._read()
                except (OperationalError, InternalError):
                    place.witness.ledger.faults += 1
                else:
                    place.witness.as_(place.other).saw(shown)

    def _inside_a_transaction(self) -> None:
        try:
            with transaction.atomic():
                self._read()
                self._arm()
                self._attempt()
                raise Undo
        except Undo:
            pass
        self._disarm()

    @staticmethod
    def _raw(sql: str) -> None:
        connection.connection.execute(sql)

    def _arm(self) -> None:
        self._raw("SELECT set_config('fuzz.delay', '5', false), set_config('statement_timeout', '4ms', false)")

    def _disarm(self) -> None:
        try:
            self._raw("SET statement_timeout = 0")
        except psycopg.errors.QueryCanceled:  # four milliseconds can be too short for this, too
            self._raw("SET statement_timeout = 0")
        self._raw("SELECT set_config('fuzz.delay', '', false), set_config('statement_timeout', '5s', false)")


# --- past the ORM ------------------------------------------------------------------------------------


@register.operation(5)
async def hot_pool(place: Place) -> None:
    """The async pool of the hot path."""
    place.witness.saw(await aio.database().fetch_one(place.own.ref, HOT_SQL, []))


@register.operation(2)
async def hot_pool_together(place: Place) -> None:
    """Calls of two tenants and the platform at the same moment, one of them wrong: sent together, not mixed."""
    own, other, hot = place.own, place.other, aio.database()
    wrong: Any = "SELECT 1 / 0"
    calls = [hot.fetch_one(tenant.ref, HOT_SQL, []) for tenant in (own, other) * 4]
    found = await asyncio.gather(*calls, hot.fetch_one(own.ref, wrong, []), return_exceptions=True)
    place.witness.saw(found[0:8:2])
    place.witness.as_(other).saw(found[1:8:2])
    place.witness.same("the failed call", type(found[8]), psycopg.errors.DivisionByZero)


@register.operation(1)
async def hot_pool_and_a_foreign_schema(place: Place) -> None:
    """A statement that names another tenant's table."""
    query: Any = f'SELECT title FROM "{place.other.ref.schema}".chat_conversation'
    await _denied(place.witness, aio.database().fetch_one(place.own.ref, query, []))


@register.operation(1)
async def hot_pool_cancelled(place: Place) -> None:
    """A call whose task is cancelled on the way leaves nothing behind for the next one."""
    call = asyncio.create_task(aio.database().fetch_one(place.own.ref, HOT_SQL, []))
    await asyncio.sleep(place.chance.random() * 0.004)
    call.cancel()
    done, _ = await asyncio.wait([call])
    if not call.cancelled() and call.exception() is None:
        place.witness.saw(done.pop().result())
    place.witness.as_(place.other).saw(await aio.database().fetch_one(place.other.ref, HOT_SQL, []))


async def _denied(witness: Witness, attempt: Any) -> None:
    try:
        shown = await attempt
    except psycopg.errors.InsufficientPrivilege:
        witness.ledger.refusals += 1
    else:
        witness.leak(f"was not refused; got {str(shown)[:80]!r}")


@register.operation(2)
async def a_foreign_schema(place: Place) -> None:
    """Raw SQL on Django's cursor that names another tenant's table, or puts it on the search path (P8)."""
    schema = place.other.ref.schema
    table = place.chance.choice(("chat_message", "llm_provideraccount", "accounts_user"))
    path = f"SET LOCAL search_path = {schema}" if place.chance.random() < 0.5 else "SELECT 1"

    def attempt() -> object:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(path)
            cursor.execute(f'SELECT * FROM "{schema}"."{table}"')
            return cursor.fetchall()

    await scope.run_in_tenant(place.own.ref, lambda: place.witness.refused(attempt, ProgrammingError))


@register.operation(1)
async def raw_connections(place: Place) -> None:
    """Connections as they lie in the pools: nobody's, and blind (P3)."""

    def look() -> None:
        wrapper: Any = connection
        pool = wrapper.pool
        with pool.connection() as raw:
            place.witness.same("a pooled connection", raw.execute(BARE_SQL).fetchone(), BARE)
            place.witness.refused(
                lambda: raw.execute("SELECT title FROM chat_conversation").fetchall(), psycopg.errors.UndefinedTable
            )
            raw.rollback()

    await asyncio.to_thread(look)
    hot: Any = aio.database()
    async with hot._pool.connection() as raw:
        found = await (await raw.execute(BARE_SQL)).fetchone()
        place.witness.same("a hot pooled connection", found, BARE)


def another(world: World, own: Customer, chance: random.Random) -> Customer:
    """A tenant that is not `own`."""
    return chance.choice([customer for customer in world.customers if customer is not own])
