"""Writes of MCP servers, for the bound tenant, each with its audit row."""

from __future__ import annotations

import asyncio
import re
import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext
from yarl import URL

from accounts import audit
from agents.mcp import connections, pins, wire
from agents.mcp.dialling import servers_that, using
from agents.models import McpConnection, McpServer
from core import clock
from core.errors import PaasError
from tenants import scope
from tenants.egress import address_problem, is_allow_listed

MOST_SERVERS = 50
EFFECTS = ("read", "write", "egress")
HEADER = re.compile(r"^[A-Za-z0-9-]{1,60}\Z")
OURS = ("host", "content-length", "content-type", "accept", "connection", "transfer-encoding", "cookie")


def servers() -> list[McpServer]:
    """All of the bound tenant's, by name."""
    return list(McpServer.objects.all())


def server_named(server_id: uuid.UUID) -> McpServer:
    """One of the bound tenant's. Raises not_found."""
    found = McpServer.objects.filter(pk=server_id).first()
    if found is None:
        raise PaasError("not_found")
    return found


def server_create(*, actor: str, fields: dict[str, Any]) -> McpServer:
    """A new server; none of its tools is approved. Raises ValidationError, plan_limit_reached."""
    if McpServer.objects.count() >= MOST_SERVERS:
        raise PaasError(
            "plan_limit_reached", gettext("There can be %(most)s MCP servers. Remove one.") % {"most": MOST_SERVERS}
        )
    server = McpServer(**fields)
    _check(server)
    with transaction.atomic():
        server.save(force_insert=True)
        audit.record("mcp_server.created", actor=actor, target=str(server.id), name=server.name, url=server.url)
    return server


def server_update(*, server: McpServer, actor: str, fields: dict[str, Any]) -> None:
    """Change a server. A secret belongs to its host, and approvals and a connection to their server: with another
    address the secret is entered again (P52), all tools are approved again, and it is connected again. Raises
    ValidationError."""
    changed = sorted(name for name, value in fields.items() if getattr(server, name) != value)
    if not changed:
        return
    also: list[str] = []
    if "url" in changed:
        moved = _origin(server.url) != _origin(fields["url"])
        if moved and server.secret and "secret" not in fields:
            raise ValidationError({"secret": gettext("The address changed, so enter the secret again.")})
        server.tools, server.approved = [], {}
        also = ["tools", "approved"]
    for name in changed:
        setattr(server, name, fields[name])
    _check(server)
    with transaction.atomic():
        server.save(update_fields=[*changed, *also, "updated_at"])
        if "url" in changed:
            McpConnection.objects.filter(server=server).delete()
        audit.record("mcp_server.updated", actor=actor, target=str(server.id), name=server.name, changed=changed)


def server_delete(*, server: McpServer, actor: str) -> None:
    """Remove a server, with its secret and its connection; tokens are given back where that is offered."""
    connection = connections.connection_of(server)
    with transaction.atomic():
        audit.record("mcp_server.deleted", actor=actor, target=str(server.id), name=server.name)
        server.delete()
    if connection is not None:
        connections.revoked(connection)


def server_refresh(*, server: McpServer, actor: str) -> list[str]:
    """Ask the server for its tools; returns what was left out of them. Raises as `wire.opened`."""
    ((_, asked),) = servers_that(pk=server.pk)
    scope.release()  # no connection waits for somebody else's server
    found, left_out = pins.pinned(asyncio.run(using(scope.current_tenant(), asked, wire.McpSession.tools)))
    with transaction.atomic():
        # The address may have been changed meanwhile; then these are not its tools.
        kept = McpServer.objects.filter(pk=server.pk, url=server.url).update(tools=found, seen_at=clock.now())
        if kept:
            changed = [one["name"] for one in found if pins.state_of(one, server.approved) == "changed"]
            audit.record(
                "mcp_server.refreshed",
                actor=actor,
                target=str(server.id),
                name=server.name,
                tools=len(found),
                changed=changed,
            )
    server.refresh_from_db()
    return left_out


def tools_approve(*, server: McpServer, actor: str, tools: list[dict[str, str]]) -> None:
    """Approve exactly these tools, as they were seen: each by name, hash and effect (left out: the suggested one, which
    never is `read`); those not named are approved no more. Raises ValidationError for a hash that was not seen last."""
    seen = {one["name"]: one["hash"] for one in server.tools}
    wrong = [one["name"] for one in tools if seen.get(one["name"]) != one["hash"]]
    if wrong:
        raise ValidationError(
            {"tools": gettext("Not as they were last seen: %(tools)s. Look again.") % {"tools": ", ".join(wrong)[:500]}}
        )
    suggested = {one["name"]: one.get("suggested_effect", "write") for one in server.tools}
    pinned = {
        one["name"]: {"hash": one["hash"], "effect": one.get("effect") or suggested[one["name"]]} for one in tools
    }
    texts = {one["name"]: {"description": one["description"], "parameters": one["parameters"]} for one in server.tools}
    # With what it said, so that a change can be shown; the hash alone decides.
    server.approved = {name: pin | texts[name] for name, pin in pinned.items()}
    with transaction.atomic():
        server.save(update_fields=["approved", "updated_at"])
        audit.record("mcp_server.approved", actor=actor, target=str(server.id), name=server.name, tools=pinned)


def _origin(url: str) -> str:
    """Whose host and port it is; the text itself where it cannot be read."""
    try:
        return str(URL(url).origin())
    except ValueError:
        return url


def _check(server: McpServer) -> None:
    server.full_clean()
    if problem := address_problem(server.url):
        raise ValidationError({"url": problem})
    if URL(server.url).scheme != "https" and not is_allow_listed(URL(server.url)):
        raise ValidationError({"url": gettext("The address must begin with https://.")})
    if not HEADER.match(server.header) or server.header.lower() in OURS:
        raise ValidationError({"header": gettext("This is not a header that can carry a secret.")})
    if server.secret and not (server.secret.isascii() and server.secret.isprintable()):
        raise ValidationError({"secret": gettext("The secret has a character that no header can carry.")})
