"""The routes of tools, MCP servers and model providers on a tenant's host: for whom they are, and what they do with foreign ids."""

from __future__ import annotations

from accounts.policies import ADMIN_SETTINGS, AGENTS_MANAGE, CHAT_READ, USAGE_READ
from tests.contracts.declaring import PERSON, Access, Declared, api, page

ACCESS: dict[str, Access] = {
    "/api/v1/tools": api(GET=CHAT_READ, POST=AGENTS_MANAGE),
    "/api/v1/tools/<uuid:tool_id>": api(GET=AGENTS_MANAGE, PATCH=AGENTS_MANAGE, DELETE=AGENTS_MANAGE),
    "/api/v1/tools/<uuid:tool_id>/try": api(POST=AGENTS_MANAGE),
    "/api/v1/tools/usage": api(GET=USAGE_READ),
    "/api/v1/tools/config": api(GET=ADMIN_SETTINGS, PUT=ADMIN_SETTINGS),
    "/api/v1/providers": api(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    "/api/v1/providers/kinds": api(GET=ADMIN_SETTINGS),
    "/api/v1/providers/test": api(POST=ADMIN_SETTINGS),
    "/api/v1/providers/<uuid:provider_id>": api(GET=ADMIN_SETTINGS, PATCH=ADMIN_SETTINGS, DELETE=ADMIN_SETTINGS),
    "/api/v1/providers/<uuid:provider_id>/models": api(GET=ADMIN_SETTINGS),
    "/api/v1/providers/<uuid:provider_id>/test": api(POST=ADMIN_SETTINGS),
    "/settings/providers/": page(GET=ADMIN_SETTINGS),
    "/settings/providers/new/": page(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    "/settings/providers/<uuid:provider_id>/": page(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    "/settings/tools/": page(GET=ADMIN_SETTINGS),
    "/settings/tools/named/<str:name>/": page(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    "/settings/tools/new/": page(GET=AGENTS_MANAGE, POST=AGENTS_MANAGE),
    "/settings/tools/<uuid:tool_id>/": page(GET=AGENTS_MANAGE, POST=AGENTS_MANAGE),
    "/settings/tools/<uuid:tool_id>/try/": page(POST=AGENTS_MANAGE),
    "/settings/tools/<uuid:tool_id>/switch/": page(POST=AGENTS_MANAGE),
    "/settings/tools/<uuid:tool_id>/delete/": page(POST=AGENTS_MANAGE),
    "/settings/mcp/": page(GET=ADMIN_SETTINGS),
    "/settings/mcp/new/": page(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    "/settings/mcp/<uuid:server_id>/": page(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    "/settings/mcp/<uuid:server_id>/refresh/": page(POST=ADMIN_SETTINGS),
    "/settings/mcp/<uuid:server_id>/approve/": page(POST=ADMIN_SETTINGS),
    "/settings/mcp/<uuid:server_id>/delete/": page(POST=ADMIN_SETTINGS),
    "/settings/mcp/<uuid:server_id>/connect/": page(POST=ADMIN_SETTINGS),
    "/settings/mcp/<uuid:server_id>/disconnect/": page(POST=ADMIN_SETTINGS),
    "/api/v1/mcp-servers": api(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    "/api/v1/mcp-servers/<uuid:server_id>": api(GET=ADMIN_SETTINGS, PATCH=ADMIN_SETTINGS, DELETE=ADMIN_SETTINGS),
    "/api/v1/mcp-servers/<uuid:server_id>/refresh": api(POST=ADMIN_SETTINGS),
    "/api/v1/mcp-servers/<uuid:server_id>/approve": api(POST=ADMIN_SETTINGS),
    "/api/v1/mcp-servers/<uuid:server_id>/connection": api(POST=f"{ADMIN_SETTINGS} {PERSON}", DELETE=ADMIN_SETTINGS),
    "/settings/mcp-servers/callback/": page(GET=ADMIN_SETTINGS),
}
MCP_SERVER_BUTTON = Declared("by_id", ("POST",), {"server_id": "mcp_server"}, page=True, of_tenant=True)
TENANCY: dict[str, Declared] = {
    "/api/v1/tools": Declared("own", ("GET", "POST")),
    "/api/v1/tools/<uuid:tool_id>": Declared("by_id", ("GET", "PATCH", "DELETE"), {"tool_id": "tool"}, of_tenant=True),
    "/api/v1/tools/<uuid:tool_id>/try": Declared("by_id", ("POST",), {"tool_id": "tool"}, of_tenant=True),
    "/api/v1/tools/usage": Declared("own"),
    "/api/v1/tools/config": Declared("own", ("GET", "PUT")),
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
}
