"""Where a request comes from: the client's address and program, for limits, lists of sessions and the audit log.

Behind proxies the address is the one that the outermost *trusted* proxy saw: TRUSTED_PROXIES entries from the right
of X-Forwarded-For. Whatever a client writes further left counts for nothing (P38, P40).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.conf import settings


@dataclass(frozen=True, slots=True)
class Client:
    """address: an IP address without zone, or "" when there is none (a unix socket, a job)."""

    address: str = ""
    user_agent: str = ""


NOBODY = Client()
_current: ContextVar[Client] = ContextVar("client", default=NOBODY)


def current() -> Client:
    """The client of the request at hand; NOBODY in jobs and commands."""
    return _current.get()


@contextmanager
def serving(client: Client) -> Iterator[None]:
    """Say for the block who is served."""
    token = _current.set(client)
    try:
        yield
    finally:
        _current.reset(token)


def client_of(scope: Mapping[str, Any]) -> Client:
    """The client behind an ASGI connection."""
    forwarded: list[str] = []
    user_agent = ""
    for name, value in scope["headers"]:
        if name == b"x-forwarded-for":
            forwarded += value.decode("latin-1").split(",")
        elif name == b"user-agent":
            user_agent = value.decode("latin-1")[:300]
    peer = scope.get("client")
    chain = [*forwarded, peer[0] if peer else ""]
    trusted = min(settings.TRUSTED_PROXIES, len(chain) - 1)
    return Client(_clean(chain[-1 - trusted]), "".join(char for char in user_agent if char.isprintable()))


@lru_cache(maxsize=4096)
def _clean(text: str) -> str:
    """An address in its one usual form; "" for what is none. IPv4 in IPv6 is IPv4."""
    try:
        found = ipaddress.ip_address(text.strip().strip("[]").partition("%")[0])
    except ValueError:
        return ""
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def network_of(address: str) -> str:
    """What one party usually holds: an IPv4 address itself, the /64 of an IPv6 address."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network((address, 64), strict=False))
