"""Asking a tenant's MCP server as the tenant: with its secret, or with the token of its connection."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db.models import Exists, OuterRef

from agents.mcp import wire
from agents.mcp.tokens import token_for
from agents.models import McpConnection, McpServer
from tenants.scope import TenantRef

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Server:
    """A server as a value. headers: with its secret. connected: calls carry a token in `Authorization` too."""

    id: uuid.UUID
    url: str
    headers: Mapping[str, str] = field(repr=False)
    connected: bool = False


def servers_that(**conditions: Any) -> Iterator[tuple[McpServer, Server]]:
    """The bound tenant's servers of these conditions, each as a row and as a value; one query."""
    agreed = McpConnection.objects.filter(server=OuterRef("pk")).exclude(connected_at=None)
    for row in McpServer.objects.filter(**conditions).annotate(agreed=Exists(agreed)):
        yield row, Server(row.pk, row.url, {row.header: row.secret} if row.secret else {}, row.agreed)


async def using(
    tenant: TenantRef,
    server: Server,
    work: Callable[[wire.McpSession], Awaitable[T]],
    seconds: float = wire.SECONDS,
) -> T:
    """What `work` says, in a session with the server. A token that is refused is renewed, once; nothing was done with
    it, so `work` begins anew. Raises as wire.opened and token_for."""
    if not server.connected:
        async with wire.opened(wire.Target(server.url, server.headers), seconds) as session:
            return await work(session)
    token = await token_for(tenant, server.id, server.url)
    try:
        async with wire.opened(_target(server, token), seconds) as session:
            return await work(session)
    except wire.Unauthorized as error:
        if error.status != 401:  # it knows the token, and does not allow this
            raise
        token = await token_for(tenant, server.id, server.url, spent=token)
    async with wire.opened(_target(server, token), seconds) as session:
        return await work(session)


def _target(server: Server, token: str) -> wire.Target:
    others = {name: value for name, value in server.headers.items() if name.lower() != "authorization"}
    return wire.Target(server.url, others | {"Authorization": f"Bearer {token}"})
