"""What every address of a tenant's host must do when somebody from elsewhere asks (A1, A3, A11, A28, T4).

The addresses are read from the URLconf and from the doors' own sources; each must be declared below, so a new
one fails here until somebody has said what it does with foreign ids. Then everything is called as `rival`
(globex's owner, with session and key), as a colleague, as nobody, and with rival's credentials on acme's host.
"""

from __future__ import annotations

import ast
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver

ROOT = Path(__file__).resolve().parent.parent.parent
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

# What a route does:
#   own    no id in it: everybody gets their own rows and nobody else's; nobody at all: 401, or to sign-in
#   by_id  a foreign id is not found, in the same words as an id that never was
#   shell  a page without any row in it: the same whatever id is asked for
#   public no row of anybody's, for everybody
KINDS = ("own", "by_id", "shell", "public")


@dataclass(frozen=True)
class Declared:
    """What is expected of a route. ids: what its parameters are ids of. body: what a write sends. people: of the API,
    but a key is told that it is no person."""

    kind: str
    methods: tuple[str, ...] = ("GET",)
    ids: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)
    page: bool = False
    of_tenant: bool = False  # what the id names is the tenant's, not one person's: colleagues find it too
    people: bool = False
    of_tenant: bool = False  # what the id names is the tenant's, not one person's: colleagues find it too


MCP_SERVER_BUTTON = Declared("by_id", ("POST",), {"server_id": "mcp_server"}, page=True, of_tenant=True)
ROUTES: dict[str, Declared] = {
    "/": Declared("shell", page=True),
    "/login/": Declared("public", ("GET", "POST"), page=True),
    "/logout/": Declared("public", ("POST",), page=True),
    "/chat/": Declared("shell", page=True),
    "/chat/<uuid:conversation_id>/": Declared("shell", ids={"conversation_id": "conversation"}, page=True),
    "/i18n/setlang/": Declared("public", ("POST",), page=True),
    "/api/v1/me": Declared("own", ("GET", "PATCH")),
    "/api/v1/agents": Declared("own", ("GET", "POST")),
    # tools
    "/api/v1/tools": Declared("own", ("GET", "POST")),
    "/api/v1/tools/<uuid:tool_id>": Declared("by_id", ("GET", "PATCH", "DELETE"), {"tool_id": "tool"}, of_tenant=True),
    "/api/v1/tools/<uuid:tool_id>/try": Declared("by_id", ("POST",), {"tool_id": "tool"}, of_tenant=True),
    "/api/v1/tools/usage": Declared("own"),
    "/api/v1/tools/config": Declared("own", ("GET", "PUT")),
    "/api/v1/conversations": Declared("own", ("GET", "POST")),
    "/api/v1/conversations/<uuid:conversation_id>": Declared(
        "by_id", ("GET", "PATCH", "DELETE"), {"conversation_id": "conversation"}, {"title": "stolen"}
    ),
    "/api/v1/conversations/<uuid:conversation_id>/restore": Declared(
        "by_id", ("POST",), {"conversation_id": "deleted_conversation"}
    ),
    "/api/v1/conversations/<uuid:conversation_id>/messages": Declared("by_id", ids={"conversation_id": "conversation"}),
    "/api/v1/conversations/<uuid:conversation_id>/files": Declared(
        "by_id", ("GET", "POST"), {"conversation_id": "conversation"}
    ),
    "/api/v1/conversations/<uuid:conversation_id>/files/<uuid:file_id>": Declared(
        "by_id", ("GET", "DELETE"), {"conversation_id": "conversation", "file_id": "file"}
    ),
    "/api/v1/ws-ticket": Declared("own", ("POST",)),
    "/api/v1/audit": Declared("own"),
    "/api/v1/audit/export": Declared("own"),
    "/settings/audit/": Declared("own", page=True),
    # model providers
    "/api/v1/providers": Declared("own", ("GET", "POST")),
    "/api/v1/providers/kinds": Declared("own"),
    "/api/v1/providers/test": Declared("own", ("POST",)),
    "/api/v1/providers/<uuid:provider_id>": Declared(
        "by_id", ("GET", "PATCH", "DELETE"), {"provider_id": "provider"}, {"enabled": True}, of_tenant=True
    ),
    "/api/v1/providers/<uuid:provider_id>/models": Declared("by_id", ids={"provider_id": "provider"}, of_tenant=True),
    "/api/v1/providers/<uuid:provider_id>/test": Declared(
        "by_id", ("POST",), {"provider_id": "provider"}, of_tenant=True
    ),
    "/settings/providers/": Declared("own", page=True),
    "/settings/providers/new/": Declared("own", ("GET", "POST"), page=True),
    "/settings/providers/<uuid:provider_id>/": Declared(
        "by_id", ("GET", "POST"), {"provider_id": "provider"}, page=True, of_tenant=True
    ),
    # pages of agents, tools and MCP servers
    "/settings/agents/": Declared("own", page=True),
    "/settings/new-agent/": Declared("own", ("GET", "POST"), page=True),
    "/settings/agent-imports/": Declared("own", ("GET", "POST"), page=True),
    "/settings/agents/<str:slug>/": Declared(
        "by_id", ("GET", "POST"), {"slug": "agent_slug"}, page=True, of_tenant=True
    ),
    "/settings/agents/<str:slug>/discard/": Declared(
        "by_id", ("POST",), {"slug": "agent_slug"}, page=True, of_tenant=True
    ),
    "/settings/agents/<str:slug>/publish/": Declared(
        "by_id", ("GET", "POST"), {"slug": "agent_slug"}, page=True, of_tenant=True
    ),
    "/settings/agents/<str:slug>/versions/": Declared(
        "by_id", ("GET",), {"slug": "agent_slug"}, page=True, of_tenant=True
    ),
    "/settings/agents/<str:slug>/rollback/": Declared(
        "by_id", ("POST",), {"slug": "agent_slug"}, {"version": "1"}, page=True, of_tenant=True
    ),
    "/settings/agents/<str:slug>/export/": Declared(
        "by_id", ("GET",), {"slug": "agent_slug"}, page=True, of_tenant=True
    ),
    "/settings/agents/<str:slug>/feedback/": Declared(
        "by_id", ("GET",), {"slug": "agent_slug"}, page=True, of_tenant=True
    ),
    "/settings/agents/<str:slug>/archive/": Declared(
        "by_id", ("POST",), {"slug": "agent_slug"}, page=True, of_tenant=True
    ),
    "/settings/agents/<str:slug>/restore/": Declared(
        "by_id", ("POST",), {"slug": "archived_agent"}, page=True, of_tenant=True
    ),
    "/settings/tools/": Declared("own", page=True),
    "/settings/tools/named/<str:name>/": Declared(
        "by_id", ("GET", "POST"), {"name": "tool_name"}, page=True, of_tenant=True
    ),
    "/settings/tools/new/": Declared("own", ("GET", "POST"), page=True),
    "/settings/tools/<uuid:tool_id>/": Declared(
        "by_id", ("GET", "POST"), {"tool_id": "tool"}, page=True, of_tenant=True
    ),
    "/settings/tools/<uuid:tool_id>/try/": Declared("by_id", ("POST",), {"tool_id": "tool"}, page=True, of_tenant=True),
    "/settings/tools/<uuid:tool_id>/switch/": Declared(
        "by_id", ("POST",), {"tool_id": "tool"}, {"on": "1"}, page=True, of_tenant=True
    ),
    "/settings/tools/<uuid:tool_id>/delete/": Declared(
        "by_id", ("POST",), {"tool_id": "tool"}, {"sure": "on"}, page=True, of_tenant=True
    ),
    "/settings/mcp/": Declared("own", page=True),
    "/settings/mcp/new/": Declared("own", ("GET", "POST"), page=True),
    "/settings/mcp/<uuid:server_id>/": Declared(
        "by_id", ("GET", "POST"), {"server_id": "mcp_server"}, page=True, of_tenant=True
    ),
    "/settings/mcp/<uuid:server_id>/refresh/": MCP_SERVER_BUTTON,
    "/settings/mcp/<uuid:server_id>/approve/": MCP_SERVER_BUTTON,
    "/settings/mcp/<uuid:server_id>/connect/": MCP_SERVER_BUTTON,
    "/settings/mcp/<uuid:server_id>/disconnect/": MCP_SERVER_BUTTON,
    "/settings/mcp/<uuid:server_id>/delete/": Declared(
        "by_id", ("POST",), {"server_id": "mcp_server"}, {"sure": "on"}, page=True, of_tenant=True
    ),
    # limits
    "/api/v1/quotas": Declared("own"),
    "/api/v1/limits": Declared("own", ("GET", "PUT")),
    "/api/v1/limits/<uuid:limit_id>": Declared("by_id", ("DELETE",), {"limit_id": "limit"}, of_tenant=True),
    "/settings/limits/": Declared("own", ("GET", "POST"), page=True),
    # usage and bills
    "/api/v1/usage/statement": Declared("own"),
    "/api/v1/usage/invoices": Declared("own"),
    "/api/v1/usage/invoices/<str:number>": Declared("by_id", ids={"number": "invoice"}, of_tenant=True),
    "/settings/billing/": Declared("own", page=True),
    "/settings/billing/invoices/<str:number>/": Declared("by_id", ids={"number": "invoice"}, page=True, of_tenant=True),
    "/impersonate/": Declared("public", page=True),
    "/impersonate/end/": Declared("public", ("POST",), page=True),
    # people
    "/api/v1/members": Declared("own"),
    "/api/v1/members/leave": Declared("own", ("POST",)),
    "/api/v1/members/<uuid:user_id>": Declared(
        "by_id", ("PATCH", "DELETE"), {"user_id": "person"}, {"role": "viewer"}, of_tenant=True
    ),
    "/api/v1/owner-transfer": Declared("own", ("POST",)),
    "/api/v1/invitations": Declared("own", ("GET", "POST")),
    "/api/v1/invitations/<uuid:invitation_id>": Declared(
        "by_id", ("DELETE",), {"invitation_id": "invitation"}, of_tenant=True
    ),
    "/api/v1/invitations/<uuid:invitation_id>/resend": Declared(
        "by_id", ("POST",), {"invitation_id": "invitation"}, of_tenant=True
    ),
    "/settings/members/": Declared("own", ("GET", "POST"), page=True),
    "/settings/members/leave/": Declared("shell", ("GET", "POST"), page=True),
    "/settings/members/transfer/": Declared("own", ("POST",), page=True),
    "/settings/members/<uuid:user_id>/role/": Declared(
        "by_id", ("POST",), {"user_id": "person"}, page=True, of_tenant=True
    ),
    "/settings/members/<uuid:user_id>/remove/": Declared(
        "by_id", ("POST",), {"user_id": "person"}, page=True, of_tenant=True
    ),
    "/settings/invitations/<uuid:invitation_id>/resend/": Declared(
        "by_id", ("POST",), {"invitation_id": "invitation"}, page=True, of_tenant=True
    ),
    "/settings/invitations/<uuid:invitation_id>/revoke/": Declared(
        "by_id", ("POST",), {"invitation_id": "invitation"}, page=True, of_tenant=True
    ),
    "/invitations/<str:token>/": Declared("public", ("GET", "POST"), {"token": "invitation_link"}, page=True),
    # the workspace itself
    "/settings/workspace/": Declared("own", ("GET", "POST"), page=True),
    "/branding.css": Declared("public", page=True),
    "/branding/logo": Declared("public", page=True),
    # signing in; a person's profile
    "/login/platform/": Declared("public", page=True),
    "/login/forgot/": Declared("public", ("GET", "POST"), page=True),
    "/login/reset/<str:code>/": Declared("public", ("GET", "POST"), {"code": "reset_code"}, page=True),
    "/profile/": Declared("own", ("GET", "POST"), page=True),
    "/profile/email/<str:code>/": Declared("by_id", ("GET", "POST"), {"code": "email_code"}, page=True),
    "/profile/sessions/<uuid:session_id>/end/": Declared("by_id", ("POST",), {"session_id": "session"}, page=True),
    "/profile/sessions/end-all/": Declared("own", ("POST",), page=True),
    "/api/v1/me/sessions": Declared("own", people=True),
    "/api/v1/me/sessions/<uuid:session_id>": Declared("by_id", ("DELETE",), {"session_id": "session"}, people=True),
    "/api/v1/me/sign-out-everywhere": Declared("own", ("POST",), people=True),
    # the second factor
    "/login/code/": Declared("public", ("GET", "POST"), page=True),
    "/login/code/passkey/": Declared("public", ("POST",), page=True),
    "/profile/security/": Declared("own", page=True),
    "/profile/security/app/": Declared("own", ("GET", "POST"), page=True),
    "/profile/security/app/start/": Declared("own", ("POST",), page=True),
    "/profile/security/app/remove/": Declared("own", ("POST",), page=True),
    "/profile/security/codes/": Declared("own", ("POST",), page=True),
    "/profile/security/passkeys/": Declared("own", ("POST",), page=True),
    "/profile/security/passkeys/start/": Declared("own", ("POST",), page=True),
    "/profile/security/passkeys/remove/": Declared("own", ("POST",), page=True),
    # sign-in for programs
    "/api/auth/login": Declared("own", ("POST",), body={"email": "rival@globex.test", "password": "wrong-on-purpose"}),
    "/api/auth/login/tenant": Declared(
        "own", ("POST",), body={"email": "rival@globex.test", "password": "wrong", "tenant_id": "0" * 32}
    ),
    "/api/auth/refresh": Declared("own", ("POST",), body={"refresh_token": "a.b.c"}),
    "/api/auth/logout": Declared("own", ("POST",)),
    # API keys
    "/api/v1/keys": Declared("own", ("GET", "POST")),
    "/api/v1/keys/<uuid:key_id>": Declared(
        "by_id", ("GET", "PATCH", "DELETE"), {"key_id": "api_key"}, {"name": "stolen"}, of_tenant=True
    ),
    "/api/v1/keys/<uuid:key_id>/rotate": Declared("by_id", ("POST",), {"key_id": "api_key"}, of_tenant=True),
    "/settings/keys/": Declared("own", page=True),
    "/settings/keys/new/": Declared("own", ("GET", "POST"), page=True),
    "/settings/keys/<uuid:key_id>/": Declared(
        "by_id", ("GET", "POST"), {"key_id": "api_key"}, page=True, of_tenant=True
    ),
    "/settings/keys/<uuid:key_id>/rotate/": Declared(
        "by_id", ("POST",), {"key_id": "api_key"}, page=True, of_tenant=True
    ),
    "/settings/keys/<uuid:key_id>/revoke/": Declared(
        "by_id", ("POST",), {"key_id": "api_key"}, page=True, of_tenant=True
    ),
    # sign-in with providers
    "/login/oidc/": Declared("public", page=True),
    "/login/oidc/<str:key>/": Declared("public", ids={"key": "identity_provider"}, page=True),
    "/profile/identities/": Declared("own", ("GET", "POST"), page=True),
    "/settings/sign-in/": Declared("own", page=True),
    "/settings/sign-in/new/": Declared("own", ("GET", "POST"), page=True),
    "/settings/sign-in/<uuid:provider_id>/": Declared(
        "by_id", ("GET", "POST"), {"provider_id": "identity_provider"}, page=True, of_tenant=True
    ),
    "/settings/sign-in/<uuid:provider_id>/test/": Declared(
        "by_id", ("POST",), {"provider_id": "identity_provider"}, page=True, of_tenant=True
    ),
    "/api/v1/identity-providers": Declared("own", ("GET", "POST")),
    "/api/v1/identity-providers/<uuid:provider_id>": Declared(
        "by_id", ("GET", "PATCH", "DELETE"), {"provider_id": "identity_provider"}, {"name": "stolen"}, of_tenant=True
    ),
    # branches of a conversation; schedules
    "/api/v1/conversations/<uuid:conversation_id>/active": Declared(
        "by_id", ("POST",), {"conversation_id": "conversation"}, {"message_id": "0" * 32}
    ),
    "/api/v1/schedules": Declared("own", ("GET", "POST"), people=True),
    "/api/v1/schedules/<uuid:schedule_id>": Declared(
        "by_id", ("GET", "PATCH", "DELETE"), {"schedule_id": "schedule"}, {"name": "stolen"}, people=True
    ),
    "/api/v1/schedules/<uuid:schedule_id>/run-now": Declared(
        "by_id", ("POST",), {"schedule_id": "schedule"}, people=True
    ),
    "/api/v1/schedules/<uuid:schedule_id>/runs": Declared("by_id", ids={"schedule_id": "schedule"}, people=True),
    "/settings/approvals/": Declared("own", page=True),
    "/settings/approvals/<uuid:approval_id>/": Declared(
        "by_id", ("GET", "POST"), {"approval_id": "approval"}, page=True, of_tenant=True
    ),
    "/settings/schedules/": Declared("own", page=True),
    "/settings/schedules/new/": Declared("own", ("GET", "POST"), page=True),
    "/settings/schedules/<uuid:schedule_id>/": Declared(
        "by_id", ("GET", "POST"), {"schedule_id": "schedule"}, page=True
    ),
    "/settings/schedules/<uuid:schedule_id>/pause/": Declared(
        "by_id", ("POST",), {"schedule_id": "schedule"}, page=True
    ),
    "/settings/schedules/<uuid:schedule_id>/run-now/": Declared(
        "by_id", ("POST",), {"schedule_id": "schedule"}, page=True
    ),
    "/settings/schedules/<uuid:schedule_id>/delete/": Declared(
        "by_id", ("POST",), {"schedule_id": "schedule"}, page=True
    ),
    # making and releasing agents; feedback
    "/api/v1/agent-imports": Declared("own", ("POST",)),
    "/api/v1/agents/<str:slug>": Declared("by_id", ("GET", "DELETE"), {"slug": "agent_slug"}, of_tenant=True),
    "/api/v1/agents/<str:slug>/restore": Declared("by_id", ("POST",), {"slug": "archived_agent"}, of_tenant=True),
    "/api/v1/agents/<str:slug>/draft": Declared(
        "by_id", ("GET", "PATCH", "DELETE"), {"slug": "agent_slug"}, {"model": "stolen"}, of_tenant=True
    ),
    "/api/v1/agents/<str:slug>/versions": Declared("by_id", ids={"slug": "agent_slug"}, of_tenant=True),
    "/api/v1/agents/<str:slug>/versions/<str:number>": Declared(
        "by_id", ids={"slug": "agent_slug", "number": "agent_version"}, of_tenant=True
    ),
    "/api/v1/agents/<str:slug>/diff": Declared("by_id", ids={"slug": "agent_slug"}, of_tenant=True),
    "/api/v1/agents/<str:slug>/publish": Declared("by_id", ("POST",), {"slug": "agent_slug"}, of_tenant=True),
    "/api/v1/agents/<str:slug>/rollback": Declared(
        "by_id", ("POST",), {"slug": "agent_slug"}, {"version": 1}, of_tenant=True
    ),
    "/api/v1/agents/<str:slug>/export": Declared("by_id", ids={"slug": "agent_slug"}, of_tenant=True),
    "/api/v1/agents/<str:slug>/feedback": Declared("by_id", ids={"slug": "agent_slug"}, of_tenant=True),
    "/api/v1/messages/<uuid:message_id>/feedback": Declared(
        "by_id", ("PUT", "DELETE"), {"message_id": "answer"}, {"rating": "down"}
    ),
    # what agents noted about a person
    "/api/v1/memories": Declared("own", ("GET", "DELETE"), people=True),
    "/api/v1/memories/export": Declared("own", people=True),
    "/api/v1/memories/setting": Declared("own", ("GET", "PUT"), body={"enabled": True}, people=True),
    "/api/v1/memories/<uuid:memory_id>": Declared("by_id", ("DELETE",), {"memory_id": "memory"}, people=True),
    "/settings/memory/": Declared("own", ("GET", "POST"), page=True),
    "/settings/memory/<uuid:memory_id>/delete/": Declared("by_id", ("POST",), {"memory_id": "memory"}, page=True),
    # MCP servers
    # knowledge
    "/api/v1/knowledge": Declared("own", ("GET", "POST")),
    "/api/v1/knowledge/<str:slug>": Declared(
        "by_id", ("GET", "PATCH", "DELETE"), {"slug": "knowledge"}, {"name": "stolen"}, of_tenant=True
    ),
    "/api/v1/knowledge/<str:slug>/search": Declared(
        "by_id", ("POST",), {"slug": "knowledge"}, {"query": "x"}, of_tenant=True
    ),
    "/api/v1/knowledge/<str:slug>/files": Declared("by_id", ("POST",), {"slug": "knowledge"}, of_tenant=True),
    "/api/v1/knowledge/<str:slug>/documents": Declared(
        "by_id", ("GET", "POST"), {"slug": "knowledge"}, {"text": "x"}, of_tenant=True
    ),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>": Declared(
        "by_id",
        ("GET", "PATCH", "DELETE"),
        {"slug": "knowledge", "document_id": "document"},
        {"title": "stolen"},
        of_tenant=True,
    ),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>/files": Declared(
        "by_id", ("POST",), {"slug": "knowledge", "document_id": "document"}, of_tenant=True
    ),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>/retry": Declared(
        "by_id", ("POST",), {"slug": "knowledge", "document_id": "document"}, of_tenant=True
    ),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>/cancel": Declared(
        "by_id", ("POST",), {"slug": "knowledge", "document_id": "document"}, of_tenant=True
    ),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>/chunks": Declared(
        "by_id", ids={"slug": "knowledge", "document_id": "document"}, of_tenant=True
    ),
    "/api/v1/mcp-servers": Declared("own", ("GET", "POST")),
    "/api/v1/mcp-servers/<uuid:server_id>": Declared(
        "by_id", ("GET", "PATCH", "DELETE"), {"server_id": "mcp_server"}, {"name": "stolen"}, of_tenant=True
    ),
    "/api/v1/mcp-servers/<uuid:server_id>/refresh": Declared(
        "by_id", ("POST",), {"server_id": "mcp_server"}, of_tenant=True
    ),
    "/api/v1/mcp-servers/<uuid:server_id>/approve": Declared(
        "by_id", ("POST",), {"server_id": "mcp_server"}, {"tools": []}, of_tenant=True
    ),
    "/api/v1/mcp-servers/<uuid:server_id>/connection": Declared(
        "by_id", ("POST", "DELETE"), {"server_id": "mcp_server"}, of_tenant=True, people=True
    ),
    # Whose it is, says its state, which tests/agents/test_mcp_oauth.py brings from everywhere.
    "/settings/mcp-servers/callback/": Declared("public", page=True),
    "/api/": Declared("public"),
}
DOORS: dict[str, Declared] = {
    "/v1/models": Declared("own"),
    "/v1/models/<slug>": Declared("by_id", ids={"slug": "agent_slug"}),
    "/v1/chat/completions": Declared("own", ("POST",)),
    # responses
    "/v1/responses": Declared("own", ("POST",)),
    "/v1/responses/<response>": Declared("by_id", ("GET", "DELETE"), {"response": "response"}),
    "/v1/responses/<response>/cancel": Declared("by_id", ("POST",), {"response": "response"}),
    "/v1/responses/<response>/input_items": Declared("by_id", ids={"response": "response"}),
    "/v1/embeddings": Declared("own", ("POST",)),
    "/api/v1/runs": Declared("own", ("POST",)),
    "/api/v1/runs/<run>": Declared("by_id", ids={"run": "run"}),
    "/api/v1/runs/<run>/events": Declared("by_id", ids={"run": "run"}),
    "/api/v1/runs/<run>/trace": Declared("by_id", ids={"run": "run"}),
    "/api/v1/approvals": Declared("own"),
    "/api/v1/approvals/<approval>": Declared("by_id", ("GET", "POST"), {"approval": "approval"}, of_tenant=True),
    "/api/v1/runs/<run>/cancel": Declared("by_id", ("POST",), {"run": "live_run"}),
    # MCP
    "/mcp": Declared("own", ("POST",)),
    # Phase 1
    "/api/v1/chat/completions": Declared("own", ("POST",)),
    "/api/v1/chat/history?session_id=<session>": Declared("by_id", ids={"session": "conversation"}),
    # Archiving is the API's, at the same address.
    "/api/v1/agents/<slug>": Declared("by_id", ("GET", "DELETE"), {"slug": "agent_slug"}, of_tenant=True),
    "/api/v1/agents/<slug>/execute": Declared(
        "by_id", ("POST",), {"slug": "agent_slug"}, {"task": "x"}, of_tenant=True
    ),
    "/api/v1/sessions": Declared("own", ("GET", "POST")),
    "/api/v1/sessions/<session>": Declared("by_id", ("GET", "DELETE"), {"session": "conversation"}),
}
# Paths and pieces of paths in the sources of the doors, which are no URLconf.
DOOR_SOURCES: dict[str, set[str]] = {
    "paas/asgi.py": {"/ws/chat/", "/v1/", "/v1/responses", "/v1/responses/", "/api/v1/runs", "/api/v1/approvals", "/mcp"},
    "chat/transports/mcp.py": set(),
    "chat/transports/approvals.py": {"/api/v1/approvals", "/api/v1/approvals/([0-9a-fA-F-]{36})"},
    "chat/transports/openai.py": {"/v1/models", "/v1/models/", "/v1/chat/completions", "/v1/embeddings"},
    "chat/transports/responses.py": {
        "/v1/responses", "/v1/responses/([^/]+)(/cancel|/input_items)?", "/cancel", "/input_items"
    },
    "chat/transports/sse.py": {
        "/api/v1/runs", "/api/v1/runs/([0-9a-fA-F-]{36})(/events|/cancel|/trace)?", "/cancel", "/events", "/trace"
    },
    "chat/transports/phase1.py": {
        "/api/v1/chat/completions", "/api/v1/chat/history", "/api/v1/agents", "/api/v1/agents/([^/]+)(/execute)?",
        "/api/v1/sessions", "/api/v1/sessions/([^/]+)",
    },
}  # fmt: skip
# Frames that a client may send on the websocket -> the field with an id, and of what.
FRAMES: dict[str, tuple[str, str] | None] = {
    "turn.start": ("conversation_id", "conversation"),
    "run.follow": ("run_id", "live_run"),
    "run.unfollow": ("run_id", "live_run"),
    "run.cancel": ("run_id", "live_run"),
    "approval.decide": ("approval_id", "approval"),
    "ping": None,
}


def routes() -> Iterator[str]:
    """Every route of a tenant's host, as `/api/v1/conversations/<uuid:conversation_id>`."""

    def walk(patterns: list[Any], before: str) -> Iterator[str]:
        for pattern in patterns:
            text = before + re.sub(r"[\^$]|\\Z", "", str(pattern.pattern))
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, text)
            elif isinstance(pattern, URLPattern):
                yield text

    yield from walk(get_resolver(settings.TENANT_URLCONF).url_patterns, "/")


def paths_in(source: str) -> set[str]:
    """The texts in a source that look like the beginning or a piece of a path."""
    return {
        node.value
        for node in ast.walk(ast.parse((ROOT / source).read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.match(r"^\^?/\w", node.value)
    }


def frames_in(source: str) -> set[str]:
    """The values that the socket's `kind == "..."` tests know."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / source).read_text())):
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Name) and node.left.id == "kind":
            found |= {one.value for one in node.comparators if isinstance(one, ast.Constant)}
    return found


def filled(route: str, declared: Declared, ids: dict[str, str]) -> str:
    """The route's path with these ids of things."""
    path = route
    for name, thing in declared.ids.items():
        path = re.sub(rf"<(?:\w+:)?{name}>", ids[thing], path)
    return path


def unknown_ids(like: dict[str, str]) -> dict[str, str]:
    """An id that never was for each id that is: of the same form."""
    return {
        thing: str(uuid.uuid4())
        if _is_uuid(known)
        else f"resp_{uuid.uuid4().hex}"
        if known.startswith("resp_")
        else f"x{uuid.uuid4().hex[:8]}"
        for thing, known in like.items()
    }


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def words(body: str, *ids: dict[str, str]) -> str:
    """A body without what may differ: the ids that were asked for and what numbers the request."""
    for each in ids:
        for known in each.values():
            body = body.replace(known, "<id>")
    body = re.sub(r'"request_id":\s*(?:"[^"]*"|null)', '"request_id":"-"', body)
    return re.sub(r'(csrfmiddlewaretoken" value=|"csrfToken":\s*|nonce=)"[^"]*"', r'\1"-"', body)
