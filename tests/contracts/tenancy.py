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
from pathlib import Path
from typing import Any

from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver

from tests.contracts.declaring import Declared
from tests.contracts.routes import agents, chat, knowledge, money, people, tools

ROOT = Path(__file__).resolve().parent.parent.parent

ROUTES: dict[str, Declared] = {
    **agents.TENANCY,
    **chat.TENANCY,
    **knowledge.TENANCY,
    **money.TENANCY,
    **people.TENANCY,
    **tools.TENANCY,
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
    "/api/v1/runs/<run>/sources": Declared("by_id", ids={"run": "run"}),
    "/api/v1/approvals": Declared("own"),
    "/api/v1/approvals/<approval>": Declared("by_id", ("GET", "POST"), {"approval": "approval"}, of_tenant=True),
    "/api/v1/runs/<run>/cancel": Declared("by_id", ("POST",), {"run": "live_run"}),
    "/api/v1/knowledge/<knowledge>/events": Declared("by_id", ids={"knowledge": "knowledge"}, of_tenant=True),
    # MCP
    "/mcp": Declared("own", ("POST",)),
    "/mcp?search": Declared("own", ("POST",)),
    "/mcp?read": Declared("own", ("POST",)),
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
    "chat/mcp_knowledge.py": set(),
    "chat/transports/knowledge.py": {"/api/v1/knowledge/([^/]+)/events"},
    "chat/transports/approvals.py": {"/api/v1/approvals", "/api/v1/approvals/([0-9a-fA-F-]{36})"},
    "chat/transports/openai.py": {"/v1/models", "/v1/models/", "/v1/chat/completions", "/v1/embeddings"},
    "chat/transports/responses.py": {
        "/v1/responses", "/v1/responses/([^/]+)(/cancel|/input_items)?", "/cancel", "/input_items"
    },
    "chat/transports/sse.py": {
        "/api/v1/runs", "/api/v1/runs/([0-9a-fA-F-]{36})(/events|/cancel|/trace|/sources)?", "/cancel", "/events", "/sources", "/trace"
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
