"""Host name -> tenant, cached in the process for two seconds.

The age bound is what makes a suspension or a rename hold everywhere within seconds without any message
that could get lost: no listener, no invalidation (docs/adr/0003). Unknown hosts are remembered too, in a
bounded table, so that a flood of made-up names costs no queries (P63).
"""

from __future__ import annotations

import re

from django.conf import settings

from core.errors import PaasError
from core.remembered import Remembered
from tenants import scope
from tenants.scope import TenantRef

TTL_SECONDS = 2.0
MAX_HOSTS = 10_000
HOST_NAME = re.compile(r"^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?\Z")

_hosts: Remembered[str, TenantRef | None] = Remembered(TTL_SECONDS, MAX_HOSTS)


def host_name(header: str) -> str:
    """The host of a Host header: lower case, without port. Raises tenant_not_found when it is not one."""
    host = header.strip().lower()
    name, colon, port = host.rpartition(":")
    if colon and port.isascii() and port.isdigit():
        host = name
    if not HOST_NAME.match(host):
        raise PaasError("tenant_not_found")
    return host


def is_platform_host(host: str) -> bool:
    """Whether `host` is the platform's own: the base domain, or this machine by number."""
    return host == settings.BASE_DOMAIN or host in settings.PLATFORM_HOSTS


async def tenant_of_host(host: str) -> TenantRef:
    """The tenant behind `host`. Raises as `admitted`, TenantMoved for a name it gave up, or database_unavailable."""
    tenant = admitted(await known_tenant(host))
    slug, _, rest = host.partition(".")
    if rest == settings.BASE_DOMAIN and slug != tenant.slug:
        raise TenantMoved(tenant_url(tenant.slug))
    return tenant


async def known_tenant(host: str) -> TenantRef | None:
    """The tenant whose name `host` is or was, whatever its status, from memory or the database."""
    return await _hosts.get(host, lambda: scope.run_in_platform(lookup, host))


class TenantMoved(PaasError):
    """The tenant has another address now; `url` is its origin."""

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__("tenant_not_found", f"This workspace has moved to {url}.", details={"moved_to": url})


def lookup(host: str) -> TenantRef | None:
    """The tenant behind `host`, from the database. Runs bound to the platform."""
    from tenants import selectors

    slug, dot, rest = host.partition(".")
    if dot and rest == settings.BASE_DOMAIN:
        return selectors.tenant_by_slug(slug) or selectors.tenant_by_retired_slug(slug)
    return selectors.tenant_by_domain(host)


def forget_all() -> None:
    """Forget all hosts (after an own change, and between tests)."""
    _hosts.clear()


def admitted(tenant: TenantRef | None) -> TenantRef:
    """`tenant` when it may be served. Raises tenant_not_found, tenant_creating, tenant_suspended or tenant_deleted."""
    if tenant is None or tenant.status == "deleted":
        raise PaasError("tenant_not_found")
    if tenant.status == "deleting":
        raise PaasError("tenant_deleted")
    if tenant.status == "creating":
        raise PaasError("tenant_creating", retry_after=2)
    if tenant.status != "active":
        raise PaasError("tenant_suspended")
    return tenant


def host_suffix() -> str:
    """What follows a tenant's name in its address: `.example.com`, with the port where it has one."""
    port = settings.PUBLIC_PORT
    return f".{settings.BASE_DOMAIN}{f':{port}' if port else ''}"


def tenant_url(slug: str) -> str:
    """The address of a tenant's portal."""
    return f"{settings.PUBLIC_SCHEME}://{slug}{host_suffix()}"


def platform_url() -> str:
    """The address of the platform host."""
    port = settings.PUBLIC_PORT
    return f"{settings.PUBLIC_SCHEME}://{settings.BASE_DOMAIN}{f':{port}' if port else ''}"
