"""MCP servers over the API. A secret goes in and never comes out."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.actors import Actor
from accounts.codes import digest
from accounts.policies import ADMIN_SETTINGS
from agents.mcp import connections, pins, services
from agents.models import McpConnection, McpServer
from core.errors import PaasError

T = TypeVar("T")


class Body(serializers.Serializer[Any]):
    """What can be set; for a change, only what is given. secret: the header's whole value, such as `Bearer ...`."""

    name = serializers.CharField(max_length=30)
    url = serializers.CharField(max_length=500)
    header = serializers.CharField(max_length=60, required=False)
    secret = serializers.CharField(max_length=4000, required=False, allow_blank=True)
    enabled = serializers.BooleanField(required=False)


class ApprovedTool(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=64)
    hash = serializers.CharField(max_length=64)
    effect = serializers.ChoiceField(choices=services.EFFECTS, required=False)


class Approval(serializers.Serializer[Any]):
    tools = ApprovedTool(many=True)


class Connecting(serializers.Serializer[Any]):
    """client_id, client_secret: of a client that was registered by hand; without, one is registered. scope: what is
    asked for, in the place of what the server asks for."""

    client_id = serializers.CharField(max_length=500, required=False, allow_blank=True, default="")
    client_secret = serializers.CharField(max_length=2000, required=False, allow_blank=True, default="")
    scope = serializers.CharField(max_length=2000, required=False, allow_blank=True, allow_null=True, default=None)


class McpServerList(APIView):
    """`GET, POST /api/v1/mcp-servers`"""

    rate_class = "admin"

    def get(self, request: Request) -> Response:
        _actor(request)
        return Response({"mcp_servers": [_view(request, one) for one in services.servers()]})

    def post(self, request: Request) -> Response:
        actor, body = _actor(request), _valid(Body(data=request.data))
        return Response(
            _view(request, _told(lambda: services.server_create(actor=actor.label, fields=body))), status=201
        )


class McpServerDetail(APIView):
    """`GET, PATCH, DELETE /api/v1/mcp-servers/{id}`"""

    rate_class = "admin"

    def get(self, request: Request, server_id: uuid.UUID) -> Response:
        _actor(request)
        return Response(_view(request, services.server_named(server_id)))

    def patch(self, request: Request, server_id: uuid.UUID) -> Response:
        actor, server = _actor(request), services.server_named(server_id)
        body = _valid(Body(data=request.data, partial=True))
        _told(lambda: services.server_update(server=server, actor=actor.label, fields=body))
        return Response(_view(request, server))

    def delete(self, request: Request, server_id: uuid.UUID) -> Response:
        actor = _actor(request)
        services.server_delete(server=services.server_named(server_id), actor=actor.label)
        return Response(status=204)


class McpServerRefresh(APIView):
    """`POST /api/v1/mcp-servers/{id}/refresh`: asks the server for its tools, which also tries address and secret"""

    rate_class = "admin"

    def post(self, request: Request, server_id: uuid.UUID) -> Response:
        actor, server = _actor(request), services.server_named(server_id)
        left_out = services.server_refresh(server=server, actor=actor.label)
        return Response(_view(request, server) | {"left_out": left_out})


class McpServerApprove(APIView):
    """`POST /api/v1/mcp-servers/{id}/approve`"""

    rate_class = "admin"

    def post(self, request: Request, server_id: uuid.UUID) -> Response:
        actor, server = _actor(request), services.server_named(server_id)
        tools = _valid(Approval(data=request.data))["tools"]
        _told(lambda: services.tools_approve(server=server, actor=actor.label, tools=tools))
        return Response(_view(request, server))


class McpServerConnection(APIView):
    """`POST, DELETE /api/v1/mcp-servers/{id}/connection`: connecting by OAuth, and taking it back"""

    rate_class = "admin"

    def post(self, request: Request, server_id: uuid.UUID) -> Response:
        actor = _actor(request)
        if actor.user_id is None:
            raise PaasError("permission_denied", "An API key is no person: somebody has to agree in a browser.")
        server = services.server_named(server_id)
        host = request._request.get_host()
        wish = connections.Wish(**_valid(Connecting(data=request.data)), host=host)
        browser = browser_of(None if actor.token else request._request.session.session_key)
        begin = connections.connection_begin
        return Response({
            "authorization_url": _told(lambda: begin(server=server, actor=actor, browser=browser, wish=wish)),
            "redirect_uri": connections.redirect_uri(host),
        })  # fmt: skip

    def delete(self, request: Request, server_id: uuid.UUID) -> Response:
        actor, server = _actor(request), services.server_named(server_id)
        return Response({"revoked": connections.connection_end(server=server, actor=actor.label)})


def browser_of(session_key: str | None) -> str:
    """What is kept of a session, to know it again; "" where there is none."""
    return digest(f"mcp-oauth-browser:{session_key}").hex() if session_key else ""


def _actor(request: Request) -> Actor:
    assert isinstance(request.auth, Actor)
    request.auth.require(ADMIN_SETTINGS)
    return request.auth


def _valid(body: serializers.Serializer[Any]) -> dict[str, Any]:
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


def _told(work: Callable[[], T]) -> T:
    try:
        return work()
    except ValidationError as error:
        raise PaasError("validation_failed", details={"fields": error.message_dict}) from None


def _view(request: Request, server: McpServer) -> dict[str, Any]:
    tools = [
        one
        | {
            "state": pins.state_of(one, server.approved),
            "effect": server.approved.get(one["name"], {}).get("effect"),
            "offered_as": pins.offered_name(server.name, one["name"]),
        }
        for one in server.tools
    ]
    return {
        "id": str(server.id),
        "name": server.name,
        "url": server.url,
        "header": server.header,
        "has_secret": bool(server.secret),
        "enabled": server.enabled,
        "connection": _connection_view(connections.connection_of(server)),
        "redirect_uri": connections.redirect_uri(request._request.get_host()),
        "tools": tools,
        "seen_at": server.seen_at.isoformat() if server.seen_at else None,
        "created_at": server.created_at.isoformat(),
    }


def _connection_view(connection: McpConnection | None) -> dict[str, Any] | None:
    """state: `begun` (nobody has agreed yet), `connected`, or `ended` (somebody has to connect it again)."""
    if connection is None:
        return None
    agreed = connection.connected_at
    return {
        "state": "begun" if agreed is None else "connected" if connection.access_token else "ended",
        "issuer": connection.issuer,
        "scope": connection.scope,
        "client_id": connection.client_id,
        "connected_at": agreed.isoformat() if agreed else None,
        "connected_by": str(connection.connected_by) if connection.connected_by else None,
        "expires_at": connection.expires_at.isoformat() if connection.expires_at else None,
        "renewable": bool(connection.refresh_token),
    }
