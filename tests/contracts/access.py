"""Who may do what at every address: what the attack matrix expects (T4, A22, A66).

One line a route says who it is for and which action of `accounts.policies` each of its methods needs; what every
identity may and may not do follows from that line and from `policies.TABLE`. Ids and bodies are those of
`tests/contracts/tenancy.py`. Routes are read from the URLconfs, the doors' sources, the socket and the worker's
tasks, so what is new fails until somebody has said here for whom it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from accounts.policies import (
    AGENTS_EXECUTE,
    AGENTS_MANAGE,
    CHAT_READ,
    CHAT_WRITE,
    KEY_ACTIONS,
    KNOWLEDGE_READ,
    actions_of_role,
    actions_of_scopes,
)
from tests.contracts.declaring import ANY, OPERATOR, PERSON, Access, api, public, signed
from tests.contracts.routes import agents, chat, knowledge, money, people, tools

TENANT: dict[str, Access] = {
    **agents.ACCESS,
    **chat.ACCESS,
    **knowledge.ACCESS,
    **money.ACCESS,
    **people.ACCESS,
    **tools.ACCESS,
}
DOORS: dict[str, Access] = {
    "/v1/models": api(GET=CHAT_READ),
    "/v1/models/<slug>": api(GET=CHAT_READ),
    "/v1/chat/completions": api(POST=f"{CHAT_WRITE} {AGENTS_EXECUTE}"),
    # responses
    "/v1/responses": api(POST=f"{CHAT_WRITE} {AGENTS_EXECUTE}"),
    "/v1/responses/<response>": api(GET=CHAT_READ, DELETE=f"{CHAT_WRITE} {CHAT_READ}"),
    "/v1/responses/<response>/cancel": api(POST=f"{CHAT_WRITE} {CHAT_READ}"),
    "/v1/responses/<response>/input_items": api(GET=CHAT_READ),
    "/v1/embeddings": api(POST=f"{CHAT_WRITE} {AGENTS_EXECUTE}"),
    "/api/v1/runs": api(POST=f"{CHAT_WRITE} {AGENTS_EXECUTE}"),
    "/api/v1/runs/<run>": api(GET=CHAT_READ),
    "/api/v1/runs/<run>/events": api(GET=CHAT_READ),
    "/api/v1/runs/<run>/trace": api(GET=CHAT_READ),
    "/api/v1/runs/<run>/sources": api(GET=CHAT_READ),
    "/api/v1/approvals": api(GET=CHAT_READ),
    "/api/v1/approvals/<approval>": api(GET=CHAT_READ, POST=f"{CHAT_READ} {CHAT_WRITE} {PERSON}"),
    "/api/v1/runs/<run>/cancel": api(POST=f"{CHAT_WRITE} {CHAT_READ}"),
    # MCP: what a message asks for says who may send it; the query only tells the lines apart
    "/api/v1/knowledge/<knowledge>/events": api(GET=KNOWLEDGE_READ),
    "/mcp": api(POST=f"{CHAT_WRITE} {AGENTS_EXECUTE}"),
    "/mcp?search": api(POST=KNOWLEDGE_READ),
    "/mcp?read": api(POST=KNOWLEDGE_READ),
    # Phase 1
    "/api/v1/chat/completions": api(POST=f"{CHAT_WRITE} {AGENTS_EXECUTE}"),
    "/api/v1/chat/history?session_id=<session>": api(GET=CHAT_READ),
    "/api/v1/agents/<slug>": api(GET=CHAT_READ, DELETE=AGENTS_MANAGE),
    "/api/v1/agents/<slug>/execute": api(POST=f"{CHAT_WRITE} {AGENTS_EXECUTE}"),
    "/api/v1/sessions": api(GET=CHAT_READ, POST=f"{CHAT_WRITE} {CHAT_READ}"),
    "/api/v1/sessions/<session>": api(GET=CHAT_READ, DELETE=f"{CHAT_WRITE} {CHAT_READ}"),
}
# What a door does on a tenant's host only, where the API has the address too: elsewhere 401 or 405.
TENANTS_OWN = (("DELETE", "/api/v1/agents/<slug>"),)
# Those that answer a key on the platform's host too, for its tenant.
BY_KEY_ANYWHERE = ("/v1/", "/mcp", "/api/v1/chat/", "/api/v1/agents/", "/api/v1/sessions")
# Bodies that the doors take to be valid, so that the right to use them is asked for and not the body's form.
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "assistant", "messages": [{"role": "user", "content": "x"}]},
    "/v1/responses": {"model": "assistant", "input": "x"},
    "/v1/embeddings": {"model": "vectors/embed-8", "input": "x"},
    "/api/v1/runs": {"agent": "assistant", "message": "x"},
    "/api/v1/chat/completions": {"agent_type": "assistant", "message": "x"},
    "/api/v1/sessions": {"agent_type": "assistant"},
    "/mcp": {
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "assistant", "arguments": {"message": "x"}}
    },
    "/mcp?search": {
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "searchKnowledge", "arguments": {"query": "x"}}
    },
    "/mcp?read": {"jsonrpc": "2.0", "id": 1, "method": "resources/list"},
}  # fmt: skip
FRAMES: dict[str, str] = {
    "turn.start": f"{CHAT_WRITE} {AGENTS_EXECUTE}",
    "run.follow": CHAT_READ,
    "run.unfollow": ANY,
    "run.cancel": f"{CHAT_WRITE} {CHAT_READ}",
    "approval.decide": f"{CHAT_READ} {CHAT_WRITE} {PERSON}",
    "ping": ANY,
}
PLATFORM: dict[str, Access] = {
    "/": public(),
    "/i18n/setlang/": public("POST"),
    "/signup/": public("GET", "POST"),
    "/signup/slug/": public(),
    "/signup/<str:token>/": public("GET", "POST"),
    "/restore/<str:code>/": public("GET", "POST"),
    "/admin/login/": public("GET", "POST"),
    # signing in; a person's workspaces and profile
    "/accounts/login/": public("GET", "POST"),
    "/accounts/logout/": public("POST", skip=("POST",)),
    "/accounts/handover/": signed(GET=ANY),
    "/accounts/forgot/": public("GET", "POST"),
    "/accounts/reset/<str:code>/": public("GET", "POST"),
    "/accounts/profile/": signed(GET=ANY, POST=ANY),
    "/accounts/profile/email/<str:code>/": signed(GET=ANY, POST=ANY),
    "/accounts/profile/sessions/<uuid:session_id>/end/": signed(POST=ANY),
    "/accounts/profile/sessions/end-all/": signed(POST=ANY, skip=("POST",)),
    "/accounts/login/code/": public("GET", "POST"),
    "/accounts/login/code/passkey/": public("POST"),
    "/accounts/oidc/": public(),
    "/accounts/oidc/<str:key>/": public(leads=("elsewhere",)),
    "/accounts/oidc/callback/<str:whose>/": public(),
    "/accounts/profile/identities/": signed(GET=ANY, POST=ANY),
    "/accounts/profile/security/": signed(GET=ANY),
    "/accounts/profile/security/app/": signed(GET=ANY, POST=ANY, proof=True),
    "/accounts/profile/security/app/start/": signed(POST=ANY, proof=True),
    "/accounts/profile/security/app/remove/": signed(POST=ANY, proof=True),
    "/accounts/profile/security/codes/": signed(POST=ANY, proof=True),
    "/accounts/profile/security/passkeys/": signed(POST=ANY, proof=True),
    "/accounts/profile/security/passkeys/start/": signed(POST=ANY, proof=True),
    "/accounts/profile/security/passkeys/remove/": signed(POST=ANY, proof=True),
    "/workspaces/": signed(GET=ANY),
    # the operator's API
    "/api/v1/tenants": api(GET=OPERATOR, POST=OPERATOR),
    "/api/v1/tenants/<uuid:tenant_id>": api(GET=OPERATOR, PATCH=OPERATOR, DELETE=OPERATOR),
    "/api/v1/tenants/<uuid:tenant_id>/progress": api(GET=OPERATOR),
    "/api/v1/tenants/<uuid:tenant_id>/suspend": api(POST=OPERATOR),
    "/api/v1/tenants/<uuid:tenant_id>/resume": api(POST=OPERATOR),
    "/api/v1/tenants/<uuid:tenant_id>/restore": api(POST=OPERATOR),
    "/api/v1/tenants/<uuid:tenant_id>/limits": api(GET=OPERATOR, PUT=OPERATOR),
    "/api/v1/tenants/<uuid:tenant_id>/limits/<uuid:limit_id>": api(DELETE=OPERATOR),
    # sign-in for programs
    "/api/auth/login": public("POST"),
    "/api/auth/login/tenant": public("POST"),
    "/api/auth/refresh": public("POST"),
    "/api/auth/logout": public("POST", skip=("POST",)),
    "/api/": public(),
}
# Everything else below /admin/ is the console's; what it shows is named, so that no tenant's content gets in (A68).
CONSOLE = Access("console", {"GET": ANY, "POST": ANY})
# Below /admin/, what any member of the staff may open who has no right to a single model.
STAFF = (
    "/admin/",
    "/admin/password_change/",
    "/admin/password_change/done/",
    "/admin/logout/",
    "/admin/proof/",
    "/admin/jsi18n/",
    "/admin/search/",  # of the side bar: the names of pages that they may open
)
CONSOLE_MODELS = {
    "accounts.auditevent",
    "accounts.impersonation",
    "accounts.user",
    "procrastinate.procrastinatejob",
    "tenants.limit",
    "tenants.notice",
    "tenants.plan",
    "tenants.platformprovider",
    "tenants.tenant",
    "tenants.tenantschema",
    "usage.invoice",
    "usage.ledgerhead",
    "usage.margin",
    "usage.price",
    "usage.quota",
    "usage.reservation",
    "usage.usagerecord",
}
# Every task of the worker and what declares it in tenants/jobs.py: `job` is a tenant's work, `platform_job` the
# platform's, `every` the platform's by the clock.
JOBS: dict[str, str] = {
    "accounts.end_impersonations": "every",
    "accounts.password_reset": "platform_job",
    "accounts.purge": "every",
    "accounts.verify_audit": "every",
    "accounts.verify_newest_audit": "every",
    "chat.end_abandoned_runs": "every",
    "chat.forget_idempotency_keys": "every",
    "chat.run_schedules": "every",
    "knowledge.forget_uploads": "every",
    "knowledge.ingest": "job",
    "knowledge.resume": "every",
    "mail.send": "platform_job",
    "tenant.create": "platform_job",
    "tenant.erase": "platform_job",
    "tenants.look_at_schemas": "every",
    "tenants.look_at_schemas_now": "platform_job",
    "tenants.migrate": "platform_job",
    "tenants.resume": "every",
    "usage.invoices": "every",
    "usage.fold": "every",
    "usage.seal": "every",
    "usage.warn": "every",
    "usage.verify": "every",
    "usage.verify_newest": "every",
}


def platform_access(route: str) -> Access | None:
    """What is declared for a route of the platform's host; None for a new one."""
    declared = PLATFORM.get(route)
    return CONSOLE if declared is None and route.startswith("/admin/") else declared


def routes_of(urlconf: str) -> Iterator[str]:
    """Every route below a URLconf, as `/signup/<str:token>/`; regular expressions as they are written."""

    def walk(patterns: list[Any], before: str) -> Iterator[str]:
        for pattern in patterns:
            text = before + re.sub(r"[\^$]|\\Z", "", str(pattern.pattern))
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, text)
            elif isinstance(pattern, URLPattern):
                yield text

    yield from walk(get_resolver(urlconf).url_patterns, "/")


def of_role(role: str) -> frozenset[str]:
    """What `policies.TABLE` gives to a role."""
    return actions_of_role(role) | {PERSON}


def of_scope(scope: str) -> frozenset[str]:
    """What a key with this one scope may do."""
    return actions_of_scopes([scope])


SINGLE_SCOPES = sorted(KEY_ACTIONS)
