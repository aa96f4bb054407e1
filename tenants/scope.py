"""Which tenant the present code works for.

One ContextVar holds the binding; the database backend, the cache, the storage and the Redis keys read
it and refuse to work without one. asgiref carries it across `sync_to_async`, asyncio copies it into new
tasks, and `run_bound` carries it into worker threads. A plain thread starts unbound and raises (A6).

Only this room touches `connection` and threads; everybody else uses the names below.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from core.errors import PaasError

P = ParamSpec("P")
T = TypeVar("T")

SCHEMA_NAME = re.compile(r"^t_[0-9a-f]{32}\Z")
TEMPLATE_SCHEMA = "t_template"
PLATFORM_ROLE = "paas_platform"

# Database work of one process that runs beside the event loop. Each thread holds one pooled connection
# while it works and gives it back when it ends, so this is also the bound on those connections.
DATABASE_THREADS = 8
# A database that hangs (accepts, never answers) holds nobody longer; its own statement_timeout is 5 s (A45).
ANSWER_SECONDS = 8.0


class TenantNotBound(RuntimeError):
    """Tenant data was touched while no tenant was bound: a programming error, never a fallback to `public`."""


@dataclass(frozen=True, slots=True)
class TenantRef:
    """A tenant as a value: what a request, a socket or a job carries around.

    status: as `Tenant.Status`. wrapped_key: the tenant's data key, wrapped by FIELD_KEYS. color, logo: its branding,
    "" for the platform's own. require_mfa: its members must have a second factor.
    requests_per_minute: its plan's, where the plan was read with it; None is no limit.
    """

    id: uuid.UUID
    slug: str
    name: str = ""
    status: str = "active"
    wrapped_key: str = field(default="", repr=False)
    color: str = ""
    logo: str = ""
    require_mfa: bool = False
    requests_per_minute: int | None = field(default=None, compare=False)

    @property
    def schema(self) -> str:
        """The tenant's one name inside PostgreSQL: schema and role alike."""
        return schema_of(self.id)


def schema_of(tenant_id: uuid.UUID) -> str:
    """`t_<uuid hex>`: made from the id only, never from text a person chose (P5)."""
    return f"t_{tenant_id.hex}"


@dataclass(frozen=True, slots=True)
class Binding:
    """What a connection must be before a statement runs on it.

    role: the PostgreSQL role ("none" is the login's own). schema: first on the search path.
    """

    role: str
    schema: str
    tenant: TenantRef | None = None

    @property
    def search_path(self) -> str:
        return "public" if self.schema == "public" else f"{self.schema}, public"

    @property
    def key_prefix(self) -> str:
        """The prefix of every cache key and Redis key of this binding."""
        return f"t:{self.tenant.id.hex}" if self.tenant else "platform"


PLATFORM = Binding(role=PLATFORM_ROLE, schema="public")

_bound: ContextVar[Binding | None] = ContextVar("tenant_binding", default=None)


def binding_for(tenant: TenantRef) -> Binding:
    """The binding of a tenant."""
    return Binding(role=tenant.schema, schema=tenant.schema, tenant=tenant)


def current_binding() -> Binding:
    """The binding in force. Raises TenantNotBound."""
    found = _bound.get()
    if found is None:
        raise TenantNotBound(
            "No tenant is bound here. Wrap the code in `with bind(tenant):`, or in `with platform():` "
            "when it is the platform's own business."
        )
    return found


def current_tenant() -> TenantRef:
    """The bound tenant. Raises TenantNotBound when unbound or bound to the platform."""
    tenant = current_binding().tenant
    if tenant is None:
        raise TenantNotBound("The platform is bound here, not a tenant.")
    return tenant


def is_bound() -> bool:
    """Whether any binding is in force."""
    return _bound.get() is not None


def bound_or_none() -> Binding | None:
    """The binding in force, to `use` again later."""
    return _bound.get()


@contextmanager
def use(binding: Binding | None) -> Iterator[None]:
    """Put `binding` in force for the block; None is unbound."""
    token = _bound.set(binding)
    try:
        yield
    finally:
        _bound.reset(token)


def bind(tenant: TenantRef) -> AbstractContextManager[None]:
    """Work for `tenant` inside the block."""
    return use(binding_for(tenant))


def platform() -> AbstractContextManager[None]:
    """Work for the platform itself: shared tables of all tenants, no tenant's schema."""
    return use(PLATFORM)


def platform_about(tenant: TenantRef) -> AbstractContextManager[None]:
    """Work for the platform on one tenant's shared rows, keys and files: before its role exists, and after.

    The rights are the platform's, so row-level security hides nothing; there is no schema of the tenant.
    """
    return use(Binding(role=PLATFORM_ROLE, schema="public", tenant=tenant))


def owner(schema: str = "public") -> AbstractContextManager[None]:
    """Work as the login itself on `schema`: migrations and provisioning, under the paas_owner login only."""
    if schema not in ("public", TEMPLATE_SCHEMA) and not SCHEMA_NAME.match(schema):
        raise ValueError(f"Not a schema of ours: {schema!r}")
    return use(Binding(role="none", schema=schema))


_threads = ThreadPoolExecutor(max_workers=DATABASE_THREADS, thread_name_prefix="db")


def _call_and_release(fn: Callable[[], T]) -> T:
    from django.db import InterfaceError, OperationalError, connections

    try:
        return fn()
    except (OperationalError, InterfaceError) as error:  # away, restarting, or too busy to answer in time
        raise PaasError("database_unavailable", retry_after=1) from error
    finally:
        connections.close_all()  # back to the pool: a thread that keeps one starves the others (P25)


def release() -> None:
    """Give this thread's connection back before something slow that needs none; inside a transaction, nothing."""
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


async def run_bound(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`fn(...)` in a database thread, under the caller's binding; its connection goes back afterwards.

    Raises database_unavailable when the database is away, or does not answer in ANSWER_SECONDS.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await run_patiently(fn, *args, **kwargs)
    except TimeoutError:
        raise PaasError("database_unavailable", retry_after=2) from None


async def run_patiently(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`run_bound` for jobs of many statements, which may take as long as they take; each still has its time-out."""
    current_binding()
    context = contextvars.copy_context()
    call = functools.partial(context.run, _call_and_release, functools.partial(fn, *args, **kwargs))
    return await asyncio.get_running_loop().run_in_executor(_threads, call)


async def run_in_tenant(tenant: TenantRef, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`fn(...)` in a database thread, working for `tenant`."""
    with bind(tenant):
        return await run_bound(fn, *args, **kwargs)


async def run_in_platform(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`fn(...)` in a database thread, working for the platform."""
    with platform():
        return await run_bound(fn, *args, **kwargs)


def each_tenant() -> Iterator[TenantRef]:
    """Every active tenant, bound one after the other while the loop's body runs."""
    from tenants.selectors import active_tenants

    with platform():
        found = active_tenants()
    for tenant in found:
        with bind(tenant):
            yield tenant
