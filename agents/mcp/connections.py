"""Connecting an MCP server by OAuth 2.1: the way out, the answer, and taking it back; for the bound tenant.

    admin: begin --> what the server and its authorization server publish, a client, a state --> the browser goes there
    browser: finish <-- the authorization server's answer, in the session in which it began: the code becomes tokens

The state is good once, for ten minutes, for the person and the session that began. What proves the code (PKCE) is made
from the state, of which only the digest is stored. Tokens are for one server (RFC 8707) and stay with it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit, codes
from accounts.actors import Actor
from agents.mcp import discovery, oauth_wire, wire
from agents.mcp.discovery import AuthorizationServer
from agents.mcp.oauth_wire import Client, Tokens
from agents.models import McpConnection, McpServer
from core import clock
from core.errors import PaasError
from tenants import resolve, scope

STATE, STATE_SECONDS = "mcp_oauth_state", 600
CALLBACK = "/settings/mcp-servers/callback/"
LONGEST_ANSWER = 4096  # of one parameter
TOKENS = ("access_token", "refresh_token", "expires_at", "version", "refreshing_until")


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody who begins may say. client: of their own registration at the authorization server; its id is ""
    where one is to be registered. scope: None is what the server asks for. host: at which they are, so that the answer
    finds them there."""

    client_id: str = ""
    client_secret: str = ""
    scope: str | None = None
    host: str = ""


@dataclass(frozen=True, slots=True)
class _Plan:
    resource: str
    scope: str
    server: AuthorizationServer
    client: Client
    typed: bool


def redirect_uri(host: str = "") -> str:
    """Where authorization servers send the bound tenant's people back to: to the host at which they are signed in.

    host: of the request, with its port; one of the tenant's. "": its name below the base domain.
    """
    slug = scope.current_tenant().slug
    if not host or resolve.host_name(host) == f"{slug}.{settings.BASE_DOMAIN}":
        return resolve.tenant_url(slug) + CALLBACK
    return f"{settings.PUBLIC_SCHEME}://{host}{CALLBACK}"


def connection_of(server: McpServer) -> McpConnection | None:
    """The server's connection, agreed to or only begun."""
    return McpConnection.objects.filter(server=server).first()


def client_of(connection: McpConnection) -> Client:
    """Who we are to the connection's authorization server."""
    return Client(connection.client_id, connection.client_secret, connection.client_method)


# --- the way out ---------------------------------------------------------------------------------------


def connection_begin(*, server: McpServer, actor: Actor, browser: str, wish: Wish) -> str:
    """The address to send the browser to. browser: the digest of the session in which this begins, "" without one.

    Raises permission_denied for who is no person, ValidationError, provider_* as agents.mcp.discovery.
    """
    if actor.user_id is None:
        raise PaasError("permission_denied", "An API key is no person: somebody has to agree in a browser.")
    found, name, back = connection_of(server), f"Agent PaaS ({actor.tenant.name})"[:120], redirect_uri(wish.host)
    scope.release()  # no connection waits for somebody else's server
    plan = asyncio.run(_planned(server.url, found, name, back, wish))
    with transaction.atomic():
        # The address may have been changed meanwhile; then this is another server's.
        if not McpServer.objects.select_for_update().filter(pk=server.pk, url=server.url).first():
            raise PaasError("connection_state")
        connection = _prepared(server, plan, back)
        audit.record(
            "mcp_server.connecting",
            actor=actor.label,
            target=str(server.id),
            name=server.name,
            issuer=plan.server.issuer,
        )
    state = codes.issue(
        STATE,
        seconds=STATE_SECONDS,
        tenant_id=actor.tenant.id,
        server=str(server.id),
        person=str(actor.user_id),
        browser=browser,
        issuer=connection.issuer,
        client=connection.client_id,
    )
    return _address(connection, plan, state)


async def _planned(url: str, found: McpConnection | None, name: str, back: str, wish: Wish) -> _Plan:
    async with oauth_wire.patience():
        resource = await discovery.resource_of(url, await _challenge(url))
        server = await discovery.authorization_server(resource.issuer)
        asked = resource.scope if wish.scope is None else discovery.scope_text(wish.scope.split())
        client, typed = _known_client(found, server, back, wish)
        if client is None:
            if not server.registration:
                hint = f"Register a client at {server.issuer} with the redirect address {back}, and enter its id here."
                raise ValidationError({"client_id": f"The authorization server registers no clients by itself. {hint}"})
            client = await oauth_wire.register(
                server.registration, name=name, redirect_uri=back, method=server.method, scope=asked
            )
        return _Plan(resource.resource, asked, server, client, typed)


async def _challenge(url: str) -> str:
    """How the server says that it wants a token; "" where it lets everybody in so far."""
    try:
        async with wire.opened(wire.Target(url, {}), oauth_wire.SECONDS):
            return ""
    except wire.Unauthorized as error:
        return error.challenge


def _known_client(
    found: McpConnection | None, server: AuthorizationServer, back: str, wish: Wish
) -> tuple[Client | None, bool]:
    """The client that was entered now or before, or registered there before; and whether it was entered.

    A stored secret is for the authorization server that it was entered for: where the MCP server names another one by
    now, it is entered again (P52).
    """
    if wish.client_id:
        methods = (server.method,) if wish.client_secret else ("none",)
        return Client(wish.client_id, wish.client_secret, methods[0]), True
    if found is None:
        return None, False
    same = discovery.same_issuer(found.issuer, server.issuer)
    if found.typed and not same:
        told = f"The MCP server now names another authorization server, {server.issuer}. Enter a client of that one."
        raise ValidationError({"client_id": told})
    return (client_of(found), found.typed) if same and found.redirect_uri == back else (None, False)


def _prepared(server: McpServer, plan: _Plan, back: str) -> McpConnection:
    """The connection as planned. Tokens that it has are kept only if they are from the same client and place."""
    found = McpConnection.objects.filter(server=server).first() or McpConnection(server=server)
    same = (found.issuer, found.client_id, found.resource) == (plan.server.issuer, plan.client.id, plan.resource)
    kept = () if found._state.adding or not same else TOKENS
    if not same:
        _emptied(found)
    found.issuer, found.server_data = plan.server.issuer, plan.server.as_data()
    found.resource, found.scope, found.redirect_uri = plan.resource, plan.scope, back
    found.client_id, found.client_secret, found.client_method = plan.client.id, plan.client.secret, plan.client.method
    found.typed = plan.typed
    # Not the tokens: somebody may be renewing them.
    fields = [one.name for one in found._meta.concrete_fields if one.name not in kept and not one.primary_key]
    found.save(update_fields=None if found._state.adding else fields)
    return found


def _emptied(connection: McpConnection) -> None:
    connection.access_token, connection.refresh_token, connection.expires_at = "", "", None
    connection.refreshing_until, connection.version = None, connection.version + 1
    connection.connected_at = connection.connected_by = None


def _address(connection: McpConnection, plan: _Plan, state: str) -> str:
    asked = {
        "response_type": "code",
        "client_id": connection.client_id,
        "redirect_uri": connection.redirect_uri,
        "state": state,
        "code_challenge": _challenge_of(_verifier(state)),
        "code_challenge_method": "S256",
        "resource": connection.resource,
    } | ({"scope": plan.scope} if plan.scope else {})
    parts = urlsplit(plan.server.authorization)
    query = urlencode([*((name, value) for name, value in parse_qsl(parts.query) if name not in asked), *asked.items()])
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def _verifier(state: str) -> str:
    return base64.urlsafe_b64encode(codes.digest(f"mcp-oauth-verifier:{state}")).rstrip(b"=").decode()


def _challenge_of(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


# --- the way back --------------------------------------------------------------------------------------


def connection_finish(*, actor: Actor, browser: str, answer: Mapping[str, str]) -> McpServer:
    """The server that the answer connects. browser: the digest of the session that brings it.

    Raises connection_state, connection_cancelled, provider_*.
    """
    server, connection = _begun(actor, browser, answer.get("state", "")[:200])
    if any(len(value) > LONGEST_ANSWER for value in answer.values()):
        raise oauth_wire.bad("Its answer is too long.")
    told = AuthorizationServer(**connection.server_data)
    issuer = answer.get("iss")
    if (issuer is None and told.tells_issuer) or (issuer is not None and issuer != told.issuer):  # RFC 9207
        raise oauth_wire.bad("Its answer comes from another one.")
    if not answer.get("code") or answer.get("error"):
        raise PaasError("connection_cancelled", details={"error": _word(answer.get("error"))})
    form = {
        "grant_type": "authorization_code",
        "code": answer["code"],
        "redirect_uri": connection.redirect_uri,
        "code_verifier": _verifier(answer["state"]),
        "resource": connection.resource,
    }
    scope.release()
    try:
        found = asyncio.run(oauth_wire.tokens(told.token, client_of(connection), form))
    except PaasError as error:
        _forget_refused_client(connection, error)
        raise
    _keep(server, connection, actor, found)
    return server


def _begun(actor: Actor, browser: str, state: str) -> tuple[McpServer, McpConnection]:
    """What the state stands for; it is used up, whatever comes next."""
    try:
        row = codes.redeem(STATE, state)
    except PaasError:
        raise PaasError("connection_state") from None
    here = row.tenant_id == actor.tenant.id
    if not here or row.data["person"] != str(actor.user_id) or row.data["browser"] not in ("", browser):
        raise PaasError("connection_state")
    connection = McpConnection.objects.select_related("server").filter(server_id=row.data["server"]).first()
    if connection is None or (connection.issuer, connection.client_id) != (row.data["issuer"], row.data["client"]):
        raise PaasError("connection_state")  # removed, or begun otherwise meanwhile
    return connection.server, connection


def _forget_refused_client(connection: McpConnection, error: PaasError) -> None:
    """A registered client that its server knows no more is registered anew the next time."""
    if error.details.get("error") == "invalid_client" and not connection.typed:
        McpConnection.objects.filter(pk=connection.pk, client_id=connection.client_id).update(redirect_uri="")


def _keep(server: McpServer, connection: McpConnection, actor: Actor, found: Tokens) -> None:
    with transaction.atomic():
        # Only if it is still what the tokens are for.
        asked = McpConnection.objects.filter(
            pk=connection.pk, issuer=connection.issuer, client_id=connection.client_id, resource=connection.resource
        )
        kept = asked.update(
            **token_fields(found),
            version=connection.version + 1,
            scope=found.scope or connection.scope,
            refreshing_until=None,
            connected_at=clock.now(),
            connected_by=actor.user_id,
        )
        if not kept:
            raise PaasError("connection_state")
        audit.record(
            "mcp_server.connected", actor=actor.label, target=str(server.id), name=server.name, issuer=connection.issuer
        )


def token_fields(found: Tokens) -> dict[str, Any]:
    """Tokens as they are stored."""
    until = None if found.seconds is None else clock.now() + timedelta(seconds=found.seconds)
    return {"access_token": found.access, "refresh_token": found.refresh, "expires_at": until}


def _word(value: str | None) -> str:
    return "".join(char for char in value or "" if char.isprintable())[:60]


# --- taking it back ------------------------------------------------------------------------------------


def connection_end(*, server: McpServer, actor: str) -> bool:
    """Forget client and tokens; whether the authorization server took the tokens back too, where it offers that.

    Raises not_found when there is no connection.
    """
    found = connection_of(server)
    if found is None:
        raise PaasError("not_found")
    with transaction.atomic():
        McpConnection.objects.filter(pk=found.pk).delete()
        audit.record("mcp_server.disconnected", actor=actor, target=str(server.id), name=server.name)
    return revoked(found)


def revoked(connection: McpConnection) -> bool:
    """Whether the authorization server took the tokens of a connection back that is not stored any more."""
    address = connection.server_data.get("revocation", "")
    if not address or not connection.access_token:
        return False
    scope.release()
    return asyncio.run(_revoked(address, connection))


async def _revoked(address: str, connection: McpConnection) -> bool:
    client, kinds = client_of(connection), ("refresh_token", "access_token")
    held = [(kind, getattr(connection, kind)) for kind in kinds if getattr(connection, kind)]
    return all(await asyncio.gather(*(oauth_wire.revoke(address, client, token, kind) for kind, token in held)))
