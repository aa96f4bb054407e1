"""Access tokens of connected MCP servers: handed out, and renewed by one process at a time.

A refresh token may be good once, so whoever renews claims the row first (compare-and-swap on its version, for
CLAIM_SECONDS); the others wait for what that brings. A claim whose process died lapses.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from accounts import audit
from agents.mcp import oauth_wire
from agents.mcp.connections import client_of, token_fields
from agents.mcp.oauth_wire import Tokens
from agents.models import McpConnection
from core import clock
from core.errors import PaasError
from tenants import scope
from tenants.scope import TenantRef

EARLY_SECONDS = 60  # so that a token does not end on its way
CLAIM_SECONDS = 30  # longer than a request to a token endpoint may take
LOOK_SECONDS, WAIT_SECONDS = 0.1, 15.0
AGAIN = "This workspace must connect the MCP server again: its authorization has ended."


@dataclass(frozen=True, slots=True)
class _Found:
    """token: a good one, or "". claimed: the row, for whom it is to renew; None: somebody else does."""

    token: str
    claimed: McpConnection | None = None


_renewing: set[asyncio.Task[str]] = set()  # a task that nobody refers to may vanish


async def token_for(tenant: TenantRef, server_id: uuid.UUID, url: str, *, spent: str = "") -> str:
    """An access token for a server at this address, and at no other. spent: one that the server has just refused, so
    not that one.

    Raises provider_auth_failed when somebody has to connect it again, provider_unavailable, provider_timeout.
    """
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                found = await scope.run_in_tenant(tenant, _looked_up, server_id, url, spent)
                if found.token:
                    return found.token
                if found.claimed is not None:
                    # Whoever asked may be stopped meanwhile; what was paid with a refresh token is kept nevertheless.
                    task = asyncio.ensure_future(_renewed(tenant, found.claimed))
                    _renewing.add(task)
                    task.add_done_callback(_renewing.discard)
                    return await asyncio.shield(task)
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        raise PaasError(
            "provider_timeout", "The authorization of the MCP server could not be renewed in time."
        ) from None


def _looked_up(server_id: uuid.UUID, url: str, spent: str) -> _Found:
    # A run that began before the address was changed does not take the new server's token to the old one.
    row = McpConnection.objects.filter(server_id=server_id, server__url=url).first()
    if row is None or not row.access_token:
        raise PaasError("provider_auth_failed", AGAIN)
    ends = row.expires_at is not None and row.expires_at < clock.now() + timedelta(seconds=EARLY_SECONDS)
    if row.access_token != spent and not (ends and row.refresh_token):
        return _Found(row.access_token)  # the server says whether an old one is still good
    if not row.refresh_token:
        raise PaasError("provider_auth_failed", AGAIN)
    free = McpConnection.objects.filter(pk=row.pk, version=row.version)
    free = free.filter(Q(refreshing_until=None) | Q(refreshing_until__lt=Now()))
    claimed = free.update(refreshing_until=Now() + timedelta(seconds=CLAIM_SECONDS))
    return _Found("", row if claimed else None)


async def _renewed(tenant: TenantRef, row: McpConnection) -> str:
    form = {"grant_type": "refresh_token", "refresh_token": row.refresh_token, "resource": row.resource}
    try:
        found = await oauth_wire.tokens(row.server_data["token"], client_of(row), form)
    except PaasError as error:
        refused = error.code == "provider_request_rejected"
        await scope.run_in_tenant(tenant, _ended if refused else _let_go, row)
        raise PaasError("provider_auth_failed", AGAIN) if refused else error from None
    # Who rotates none goes on with the one there is (RFC 6749 §6).
    kept = Tokens(found.access, found.refresh or row.refresh_token, found.seconds, found.scope)
    if not await scope.run_in_tenant(tenant, _stored, row, kept):
        raise PaasError("provider_auth_failed", AGAIN)  # disconnected, or connected anew, meanwhile
    return found.access


def _stored(row: McpConnection, found: Tokens) -> bool:
    return bool(_same(row).update(**token_fields(found), version=row.version + 1, refreshing_until=None))


def _let_go(row: McpConnection) -> None:
    _same(row).update(refreshing_until=None)


def _ended(row: McpConnection) -> None:
    with transaction.atomic():
        fields = {"access_token": "", "refresh_token": "", "expires_at": None}
        if _same(row).update(**fields, version=row.version + 1, refreshing_until=None):
            audit.record(
                "mcp_server.connection_lost", actor="job:mcp.renew", target=str(row.server_id), issuer=row.issuer
            )


def _same(row: McpConnection) -> QuerySet[McpConnection]:
    return McpConnection.objects.filter(pk=row.pk, version=row.version)
