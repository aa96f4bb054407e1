"""The routes of agents, their versions, feedback and memory on a tenant's host: for whom they are, and what they do with foreign ids."""

from __future__ import annotations

from accounts.policies import AGENTS_MANAGE, CHAT_READ, CHAT_WRITE
from tests.contracts.declaring import PERSON, Access, Declared, api, page

ACCESS: dict[str, Access] = {
    "/api/v1/agents": api(GET=CHAT_READ, POST=AGENTS_MANAGE),
    "/settings/agents/": page(GET=AGENTS_MANAGE),
    "/settings/new-agent/": page(GET=AGENTS_MANAGE, POST=AGENTS_MANAGE),
    "/settings/agent-imports/": page(GET=AGENTS_MANAGE, POST=AGENTS_MANAGE),
    "/settings/agents/<str:slug>/": page(GET=AGENTS_MANAGE, POST=AGENTS_MANAGE),
    "/settings/agents/<str:slug>/discard/": page(POST=AGENTS_MANAGE),
    "/settings/agents/<str:slug>/publish/": page(GET=AGENTS_MANAGE, POST=AGENTS_MANAGE),
    "/settings/agents/<str:slug>/versions/": page(GET=AGENTS_MANAGE),
    "/settings/agents/<str:slug>/rollback/": page(POST=AGENTS_MANAGE),
    "/settings/agents/<str:slug>/export/": page(GET=AGENTS_MANAGE),
    "/settings/agents/<str:slug>/feedback/": page(GET=AGENTS_MANAGE),
    "/settings/agents/<str:slug>/archive/": page(POST=AGENTS_MANAGE),
    "/settings/agents/<str:slug>/restore/": page(POST=AGENTS_MANAGE),
    "/api/v1/agent-imports": api(POST=AGENTS_MANAGE),
    "/api/v1/agents/<str:slug>": api(GET=CHAT_READ, DELETE=AGENTS_MANAGE),
    "/api/v1/agents/<str:slug>/restore": api(POST=AGENTS_MANAGE),
    "/api/v1/agents/<str:slug>/draft": api(GET=AGENTS_MANAGE, PATCH=AGENTS_MANAGE, DELETE=AGENTS_MANAGE),
    "/api/v1/agents/<str:slug>/versions": api(GET=AGENTS_MANAGE),
    "/api/v1/agents/<str:slug>/versions/<str:number>": api(GET=AGENTS_MANAGE),
    "/api/v1/agents/<str:slug>/diff": api(GET=AGENTS_MANAGE),
    "/api/v1/agents/<str:slug>/publish": api(POST=AGENTS_MANAGE),
    "/api/v1/agents/<str:slug>/rollback": api(POST=AGENTS_MANAGE),
    "/api/v1/agents/<str:slug>/export": api(GET=AGENTS_MANAGE),
    "/api/v1/agents/<str:slug>/feedback": api(GET=AGENTS_MANAGE),
    "/api/v1/messages/<uuid:message_id>/feedback": api(
        PUT=f"{CHAT_WRITE} {CHAT_READ}", DELETE=f"{CHAT_WRITE} {CHAT_READ}"
    ),
    "/api/v1/memories": api(GET=f"{CHAT_READ} {PERSON}", DELETE=f"{CHAT_READ} {PERSON}"),
    "/api/v1/memories/export": api(GET=f"{CHAT_READ} {PERSON}"),
    "/api/v1/memories/setting": api(GET=f"{CHAT_READ} {PERSON}", PUT=f"{CHAT_READ} {PERSON}"),
    "/api/v1/memories/<uuid:memory_id>": api(DELETE=f"{CHAT_READ} {PERSON}"),
    "/settings/memory/": page(GET=CHAT_READ, POST=CHAT_READ),
    "/settings/memory/<uuid:memory_id>/delete/": page(POST=CHAT_READ),
}
TENANCY: dict[str, Declared] = {
    "/api/v1/agents": Declared("own", ("GET", "POST")),
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
    "/api/v1/memories": Declared("own", ("GET", "DELETE"), people=True),
    "/api/v1/memories/export": Declared("own", people=True),
    "/api/v1/memories/setting": Declared("own", ("GET", "PUT"), body={"enabled": True}, people=True),
    "/api/v1/memories/<uuid:memory_id>": Declared("by_id", ("DELETE",), {"memory_id": "memory"}, people=True),
    "/settings/memory/": Declared("own", ("GET", "POST"), page=True),
    "/settings/memory/<uuid:memory_id>/delete/": Declared("by_id", ("POST",), {"memory_id": "memory"}, page=True),
}
