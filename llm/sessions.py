"""The HTTP sessions to vendors: one for each event loop and egress policy, made when first needed."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

from aiohttp import ClientSession, DummyCookieJar, TCPConnector

from core.egress import EgressPolicy, GuardedConnector
from llm.deltas import Endpoint

# Streams are bounded by the runs that a process takes on; this only keeps a mistake from using up all
# file descriptors. Vendors close idle connections after 60 s or more, so ours leave earlier.
CONNECTIONS = 2000
KEEP_ALIVE_SECONDS = 30.0

# None is the session for addresses that the operator set. It never shares a connection with the others.
_Sessions = dict[EgressPolicy | None, ClientSession]
_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, _Sessions] = WeakKeyDictionary()


def session_for(endpoint: Endpoint) -> ClientSession:
    """The running loop's session for this endpoint. It keeps no cookies: tenants share it."""
    sessions = _sessions.setdefault(asyncio.get_running_loop(), {})
    policy = None if endpoint.allow_private else endpoint.egress
    session = sessions.get(policy)
    if session is None or session.closed:
        options: dict[str, Any] = {"limit": CONNECTIONS, "keepalive_timeout": KEEP_ALIVE_SECONDS}
        connector = TCPConnector(**options) if policy is None else GuardedConnector(policy, **options)
        session = ClientSession(
            connector=connector, cookie_jar=DummyCookieJar(), trust_env=False, auto_decompress=False
        )
        sessions[policy] = session
    return session


async def close() -> None:
    """Close the sessions of the running event loop. The next call makes new ones."""
    for session in _sessions.pop(asyncio.get_running_loop(), {}).values():
        await session.close()
