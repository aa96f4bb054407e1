"""Traffic to everything that is not PostgreSQL: cache, files, Redis streams, remembered values, jobs."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.sessions.exceptions import SessionInterrupted
from django.core.cache import cache
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import default_storage
from django.db import transaction

from bench.leaks.database import closing, some
from bench.leaks.place import Place, Register
from bench.leaks.world import AGENT, GREETING, Customer, content_of
from core.crypto import SecretUnreadable
from core.errors import PaasError
from tenants import jobs, resolve, scope
from tenants.fields import EncryptedTextField

register = Register()


@register.operation(4)
async def cached_values(place: Place) -> None:
    """The same key for every tenant: from a task, from asgiref's thread, and from a thread of our own (P16)."""
    key = f"{GREETING}:{place.chance.randint(1, 5)}"

    def write_and_read() -> object:
        cache.set(key, place.own.canary, 60)
        return cache.get_many([key, GREETING])

    with scope.bind(place.own.ref):
        place.witness.saw(await scope.run_bound(write_and_read))
        place.witness.saw(await cache.aget(GREETING))
        place.witness.saw(await sync_to_async(cache.get)(GREETING))
    with scope.bind(place.other.ref):
        place.witness.as_(place.other).saw(await asyncio.to_thread(closing, lambda: cache.get(GREETING)))


@register.operation(2)
async def files(place: Place) -> None:
    """Equal names in every tenant's folder; a foreign folder, and ways around (P17, A10)."""

    def look() -> None:
        place.witness.saw(content_of(place.own.file))
        foreign, folder = place.other.file, str(place.own.ref.id)
        for name in (foreign, f"{folder}/../{foreign}", f"./{foreign}", f"{folder}/x/../../{foreign}"):
            place.witness.refused(lambda: content_of(name), SuspiciousFileOperation)  # noqa: B023 - called at once
        place.witness.refused(lambda: default_storage.delete(foreign), SuspiciousFileOperation)

    await scope.run_in_tenant(place.own.ref, look)


@register.operation(1)
async def sealed_fields(place: Place) -> None:
    """What was sealed for another tenant does not open here."""

    def open_foreign() -> object:
        return EncryptedTextField().from_db_value(place.other.sealed, None, None)

    with scope.bind(place.own.ref):
        place.witness.saw(EncryptedTextField().from_db_value(place.own.sealed, None, None))
        place.witness.refused(open_foreign, SecretUnreadable)


@register.operation(2)
async def sessions(place: Place) -> None:
    """A session's key opens it for its own tenant; for others, and for the platform, there is none (P18)."""
    from accounts.sessions import SessionStore

    def load() -> object:
        try:
            return dict(SessionStore(place.own.session).items())
        except SessionInterrupted:
            return {}

    place.witness.saw(await scope.run_in_tenant(place.own.ref, load))
    place.witness.saw_nothing(await scope.run_in_tenant(place.other.ref, load))
    place.witness.saw_nothing(await scope.run_in_platform(load))


@register.operation(2)
async def remembered_values(place: Place) -> None:
    """Hosts, keys and agents that the process remembers for two seconds, asked for by everybody at once."""
    from accounts import keys
    from agents.access import agent_for

    own, other = place.own, place.other
    found = await resolve.tenant_of_host(own.host)
    place.witness.same("the host's tenant", found.id, own.ref.id)
    actor = await keys.actor_of_token(own.token, own.ref)
    place.witness.same("the key's tenant", actor.tenant.id, own.ref.id)
    on_platform = await keys.actor_of_token(own.token, None)
    place.witness.same("the key's tenant on the platform host", on_platform.tenant.id, own.ref.id)
    place.witness.saw((await agent_for(actor, AGENT)).instructions)
    try:
        stranger = await keys.actor_of_token(own.token, other.ref)
    except PaasError:
        place.witness.ledger.refusals += 1
    else:
        place.witness.leak(f"its key is good for {stranger.tenant.slug}")


@register.operation(2)
async def run_streams(place: Place) -> None:
    """A run's stream in Redis, asked for in its tenant's name and in another's."""
    from chat import host

    if not place.own.recent_runs:
        return
    run, relay = place.chance.choice(place.own.recent_runs), host.current().relay
    place.witness.saw(await relay.read(place.own.ref, run, 0))
    place.witness.saw_nothing(await relay.read(place.other.ref, run, 0))


# --- jobs --------------------------------------------------------------------------------------------

_waiting: dict[str, tuple[Place, asyncio.Future[object]]] = {}


async def _read_job(nonce: str, canary: str) -> None:
    place, ended = _waiting[nonce]
    try:
        bound = scope.current_tenant()
        shown = await scope.run_bound(some(place, 1))
        await asyncio.sleep(0)
        ended.set_result((canary, place.world.canary_of(bound.id), shown))
    except BaseException as error:
        ended.set_exception(error)


jobs.job("bench.leaks.read", retries=0)(_read_job)


@register.operation(1, needs_worker=True)
async def jobs_through_the_worker(place: Place) -> None:
    """A job written in the tenant's transaction and run by the worker; one that is rolled back never runs."""
    nonce, cancelled = uuid.uuid4().hex, uuid.uuid4().hex

    def enqueue() -> None:
        with transaction.atomic():
            jobs.enqueue("bench.leaks.read", nonce=nonce, canary=place.own.canary)
            place.witness.saw(some(place, 1)())
        with transaction.atomic():
            jobs.enqueue("bench.leaks.read", nonce=cancelled, canary=place.own.canary)
            transaction.set_rollback(True)

    place.witness.saw(await _job_result(place, nonce, scope.run_in_tenant(place.own.ref, enqueue)))


@register.operation(2)
async def jobs_at_once(place: Place) -> None:
    """Several tenants' jobs interleaved in one task after the other, and one that names no tenant."""
    first, second = uuid.uuid4().hex, uuid.uuid4().hex

    def run(nonce: str, customer: Customer) -> Any:
        arguments = {"nonce": nonce, "canary": customer.canary}
        return _job_result(place, nonce, jobs.run_for_tenant(_read_job, str(customer.ref.id), arguments))

    mine, theirs = await asyncio.gather(run(first, place.own), run(second, place.other))
    place.witness.saw(mine)
    place.witness.as_(place.other).saw(theirs)
    try:
        await jobs.run_for_tenant(_read_job, None, {"nonce": first, "canary": place.own.canary})
    except scope.TenantNotBound:
        place.witness.ledger.refusals += 1
    else:
        place.witness.leak("a job without a tenant ran")


async def _job_result(place: Place, nonce: str, start: Any) -> object:
    ended: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    _waiting[nonce] = (place, ended)
    try:
        await start
        async with asyncio.timeout(20):
            return await ended
    finally:
        del _waiting[nonce]
