"""The way back from an authorization server to which somebody was sent to connect an MCP server."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts.policies import ADMIN_SETTINGS
from agents.mcp.api import browser_of
from agents.mcp.connections import connection_finish, connection_of
from portal.access import actor_of, page


@never_cache
@require_GET
@page(ADMIN_SETTINGS)
def callback(request: HttpRequest) -> HttpResponse:
    """`/settings/mcp-servers/callback/` with the answer: one server is connected, or a page says why not."""
    actor, browser = actor_of(request), browser_of(request.session.session_key)
    server = connection_finish(actor=actor, browser=browser, answer=request.GET.dict())
    connection = connection_of(server)
    shown: dict[str, Any] = {"server": server, "connection": connection}
    return render(request, "portal/mcp_connected.html", shown)
