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
    """What is expected of a route. ids: what its parameters are ids of. body: what a write sends."""

    kind: str
    methods: tuple[str, ...] = ("GET",)
    ids: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)
    page: bool = False


ROUTES: dict[str, Declared] = {
    "/": Declared("shell", page=True),
    "/login/": Declared("public", ("GET", "POST"), page=True),
    "/logout/": Declared("public", ("POST",), page=True),
    "/chat/": Declared("shell", page=True),
    "/chat/<uuid:conversation_id>/": Declared("shell", ids={"conversation_id": "conversation"}, page=True),
    "/i18n/setlang/": Declared("public", ("POST",), page=True),
    "/api/v1/me": Declared("own"),
    "/api/v1/agents": Declared("own"),
    "/api/v1/conversations": Declared("own"),
    "/api/v1/conversations/<uuid:conversation_id>": Declared(
        "by_id", ("GET", "PATCH", "DELETE"), {"conversation_id": "conversation"}, {"title": "stolen"}
    ),
    "/api/v1/conversations/<uuid:conversation_id>/restore": Declared(
        "by_id", ("POST",), {"conversation_id": "deleted_conversation"}
    ),
    "/api/v1/conversations/<uuid:conversation_id>/messages": Declared("by_id", ids={"conversation_id": "conversation"}),
    "/api/v1/ws-ticket": Declared("own", ("POST",)),
    "/api/v1/audit": Declared("own"),
    "/api/v1/audit/export": Declared("own"),
    "/settings/audit/": Declared("own", page=True),
    # usage and bills
    "/api/v1/usage/statement": Declared("own"),
    "/api/v1/usage/invoices": Declared("own"),
    "/api/v1/usage/invoices/<str:number>": Declared("by_id", ids={"number": "invoice"}),
    "/settings/billing/": Declared("own", page=True),
    "/settings/billing/invoices/<str:number>/": Declared("by_id", ids={"number": "invoice"}, page=True),
    "/impersonate/": Declared("public", page=True),
    "/impersonate/end/": Declared("public", ("POST",), page=True),
    "/api/": Declared("public"),
}
DOORS: dict[str, Declared] = {
    "/v1/models": Declared("own"),
    "/v1/models/<slug>": Declared("by_id", ids={"slug": "agent_slug"}),
    "/v1/chat/completions": Declared("own", ("POST",)),
    "/api/v1/runs": Declared("own", ("POST",)),
    "/api/v1/runs/<run>": Declared("by_id", ids={"run": "run"}),
    "/api/v1/runs/<run>/events": Declared("by_id", ids={"run": "run"}),
    "/api/v1/runs/<run>/cancel": Declared("by_id", ("POST",), {"run": "live_run"}),
}
# Paths and pieces of paths in the sources of the doors, which are no URLconf.
DOOR_SOURCES: dict[str, set[str]] = {
    "paas/asgi.py": {"/ws/chat/", "/v1/", "/api/v1/runs"},
    "chat/transports/openai.py": {"/v1/models", "/v1/models/", "/v1/chat/completions"},
    "chat/transports/sse.py": {
        "/api/v1/runs", "/api/v1/runs/([0-9a-fA-F-]{36})(/events|/cancel)?", "/cancel"
    },
}  # fmt: skip
# Frames that a client may send on the websocket -> the field with an id, and of what.
FRAMES: dict[str, tuple[str, str] | None] = {
    "turn.start": ("conversation_id", "conversation"),
    "run.follow": ("run_id", "live_run"),
    "run.unfollow": ("run_id", "live_run"),
    "run.cancel": ("run_id", "live_run"),
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
        thing: str(uuid.uuid4()) if _is_uuid(known) else f"x{uuid.uuid4().hex[:8]}" for thing, known in like.items()
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
