"""Who may do what at every address: what the attack matrix expects (T4, A22, A66).

One line a route says who it is for and which action of `accounts.policies` each of its methods needs; what every
identity may and may not do follows from that line and from `policies.TABLE`. Ids and bodies are those of
`tests/contracts/tenancy.py`. Routes are read from the URLconfs, the doors' sources, the socket and the worker's
tasks, so what is new fails until somebody has said here for whom it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver

from accounts.policies import (
    ADMIN_AUDIT,
    ADMIN_KEYS,
    ADMIN_MEMBERS,
    ADMIN_OWNER,
    ADMIN_SETTINGS,
    AGENTS_EXECUTE,
    AGENTS_MANAGE,
    APPROVALS_DECIDE,
    CHAT_READ,
    CHAT_WRITE,
    KEY_ACTIONS,
    KNOWLEDGE_READ,
    KNOWLEDGE_WRITE,
    USAGE_READ,
    actions_of_role,
    actions_of_scopes,
)

# Who a route is for:
#   public   everybody, also nobody at all
#   page     people of the tenant with a session; anybody else is sent to sign in
#   api      people and programs of the tenant; anybody else is told so with 401
#   signed   whoever is signed in on the platform's host
#   console  operators, on the platform's host
KINDS = ("public", "page", "api", "signed", "console")
ANY = ""  # any member, or any key
OPERATOR = "operator"  # on the platform's host, in an action's place: an operator with a session
PERSON = "person"  # beside actions: who asks is a person; a key is refused, whatever its scopes are
KNOWLEDGE = f"{KNOWLEDGE_WRITE} {KNOWLEDGE_READ}"
ASKING = f"{CHAT_READ} {CHAT_WRITE} {AGENTS_EXECUTE} {PERSON}"


@dataclass(frozen=True)
class Access:
    """kind: as above. needs: method -> the actions that it takes, as words (and PERSON). leads: hosts a redirect may lead to besides
    its own ("platform", "tenant", "elsewhere"). skip: methods that nobody who may use them tries here (each has a test
    of its own), because they would end the very identity that asks. proof: writing asks for the password too; without it, 401.
    """

    kind: str
    needs: dict[str, str] = field(default_factory=dict)
    leads: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    proof: bool = False

    def allows(self, method: str, who: Identity) -> bool:
        """Whether `who` gets past the door with `method`."""
        if self.kind == "public":
            return True
        if who.actions is None or (self.kind in ("page", "signed") and not who.browser):
            return False
        return set(self.needs[method].split()) <= who.actions


@dataclass(frozen=True)
class Identity:
    """Somebody who knocks. actions: with PERSON for people; None for who is nobody here. browser: comes with a session,
    so may open pages. token: an API key, or an access token of a person."""

    name: str
    actions: frozenset[str] | None = None
    browser: bool = False
    session: str = ""
    token: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """What goes with every request, CSRF token included: nobody is refused for the lack of one."""
        cookies = [f"{settings.CSRF_COOKIE_NAME}={CSRF}"]
        if self.session:
            cookies.append(f"{settings.SESSION_COOKIE_NAME}={self.session}")
        found = {"Cookie": "; ".join(cookies), "X-CSRFToken": CSRF, "Accept": "text/html, application/json"}
        return found | ({"Authorization": f"Bearer {self.token}"} if self.token else {})


CSRF = "c" * 32


def public(*methods: str, leads: tuple[str, ...] = (), skip: tuple[str, ...] = ()) -> Access:
    return Access("public", dict.fromkeys(methods or ("GET",), ANY), leads, skip)


def page(skip: tuple[str, ...] = (), proof: bool = False, **needs: str) -> Access:
    return Access("page", needs, (), skip, proof)


def api(skip: tuple[str, ...] = (), **needs: str) -> Access:
    return Access("api", needs, (), skip)


def signed(skip: tuple[str, ...] = (), proof: bool = False, **needs: str) -> Access:
    return Access("signed", needs, (), skip, proof)


TENANT: dict[str, Access] = {
    "/": public(),
    "/login/": public("GET", "POST"),
    "/logout/": public("POST", skip=("POST",)),
    "/chat/": page(GET=ANY),
    "/chat/<uuid:conversation_id>/": page(GET=ANY),
    "/i18n/setlang/": public("POST"),
    "/api/v1/me": api(GET=ANY, PATCH=PERSON),
    "/api/v1/agents": api(GET=CHAT_READ, POST=AGENTS_MANAGE),
    # tools
    "/api/v1/tools": api(GET=CHAT_READ, POST=AGENTS_MANAGE),
    "/api/v1/tools/<uuid:tool_id>": api(GET=AGENTS_MANAGE, PATCH=AGENTS_MANAGE, DELETE=AGENTS_MANAGE),
    "/api/v1/tools/<uuid:tool_id>/try": api(POST=AGENTS_MANAGE),
    "/api/v1/tools/usage": api(GET=USAGE_READ),
    "/api/v1/tools/config": api(GET=ADMIN_SETTINGS, PUT=ADMIN_SETTINGS),
    "/api/v1/conversations": api(GET=CHAT_READ, POST=f"{CHAT_WRITE} {CHAT_READ} {AGENTS_EXECUTE}"),
    "/api/v1/conversations/<uuid:conversation_id>": api(
        GET=CHAT_READ, PATCH=f"{CHAT_WRITE} {CHAT_READ}", DELETE=f"{CHAT_WRITE} {CHAT_READ}"
    ),
    "/api/v1/conversations/<uuid:conversation_id>/restore": api(POST=f"{CHAT_WRITE} {CHAT_READ}"),
    "/api/v1/conversations/<uuid:conversation_id>/messages": api(GET=CHAT_READ),
    "/api/v1/conversations/<uuid:conversation_id>/files": api(GET=CHAT_READ, POST=f"{CHAT_WRITE} {CHAT_READ}"),
    "/api/v1/conversations/<uuid:conversation_id>/files/<uuid:file_id>": api(
        GET=CHAT_READ, DELETE=f"{CHAT_WRITE} {CHAT_READ}"
    ),
    "/api/v1/ws-ticket": api(POST=ANY),
    "/api/v1/audit": api(GET=ADMIN_AUDIT),
    "/api/v1/audit/export": api(GET=ADMIN_AUDIT),
    "/settings/audit/": page(GET=ADMIN_AUDIT),
    "/impersonate/": public(),
    "/impersonate/end/": public("POST", skip=("POST",)),
    # signing in; a person's profile
    "/login/platform/": public(leads=("platform",)),
    "/login/forgot/": public("GET", "POST"),
    "/login/reset/<str:code>/": public("GET", "POST"),
    "/profile/": page(GET=ANY, POST=ANY),
    "/profile/email/<str:code>/": page(GET=ANY, POST=ANY),
    "/profile/sessions/<uuid:session_id>/end/": page(POST=ANY),
    "/profile/sessions/end-all/": page(POST=ANY, skip=("POST",)),
    "/api/v1/me/sessions": api(GET=PERSON),
    "/api/v1/me/sessions/<uuid:session_id>": api(DELETE=PERSON),
    "/api/v1/me/sign-out-everywhere": api(POST=PERSON, skip=("POST",)),
    "/login/code/": public("GET", "POST"),
    "/login/code/passkey/": public("POST"),
    "/login/oidc/": public(),
    "/login/oidc/<str:key>/": public(leads=("elsewhere",)),
    "/profile/identities/": page(GET=ANY, POST=ANY),
    "/profile/security/": page(GET=ANY),
    "/profile/security/app/": page(GET=ANY, POST=ANY, proof=True),
    "/profile/security/app/start/": page(POST=ANY, proof=True),
    "/profile/security/app/remove/": page(POST=ANY, proof=True),
    "/profile/security/codes/": page(POST=ANY, proof=True),
    "/profile/security/passkeys/": page(POST=ANY, proof=True),
    "/profile/security/passkeys/start/": page(POST=ANY, proof=True),
    "/profile/security/passkeys/remove/": page(POST=ANY, proof=True),
    # sign-in for programs
    "/api/auth/login": public("POST"),
    "/api/auth/login/tenant": public("POST"),
    "/api/auth/refresh": public("POST"),
    "/api/auth/logout": public("POST", skip=("POST",)),
    # people and invitations
    "/api/v1/members": api(GET=ADMIN_MEMBERS),
    "/api/v1/members/<uuid:user_id>": api(PATCH=ADMIN_MEMBERS, DELETE=ADMIN_MEMBERS),
    "/api/v1/members/leave": api(POST=PERSON, skip=("POST",)),
    "/api/v1/owner-transfer": api(POST=ADMIN_OWNER),
    "/api/v1/invitations": api(GET=ADMIN_MEMBERS, POST=ADMIN_MEMBERS),
    "/api/v1/invitations/<uuid:invitation_id>": api(DELETE=ADMIN_MEMBERS),
    "/api/v1/invitations/<uuid:invitation_id>/resend": api(POST=ADMIN_MEMBERS),
    "/invitations/<str:token>/": public("GET", "POST", leads=("platform",)),
    "/settings/members/": page(GET=ADMIN_MEMBERS, POST=ADMIN_MEMBERS),
    "/settings/members/<uuid:user_id>/remove/": page(POST=ADMIN_MEMBERS),
    "/settings/members/<uuid:user_id>/role/": page(POST=ADMIN_MEMBERS),
    "/settings/members/leave/": page(GET=ANY, POST=ANY, skip=("POST",)),
    "/settings/members/transfer/": page(POST=ADMIN_OWNER),
    "/settings/invitations/<uuid:invitation_id>/resend/": page(POST=ADMIN_MEMBERS),
    "/settings/invitations/<uuid:invitation_id>/revoke/": page(POST=ADMIN_MEMBERS),
    # keys
    "/api/v1/keys": api(GET=ADMIN_KEYS, POST=ADMIN_KEYS),
    "/api/v1/keys/<uuid:key_id>": api(GET=ADMIN_KEYS, PATCH=ADMIN_KEYS, DELETE=ADMIN_KEYS),
    "/api/v1/keys/<uuid:key_id>/rotate": api(POST=ADMIN_KEYS),
    "/settings/keys/": page(GET=ADMIN_KEYS),
    "/settings/keys/new/": page(GET=ADMIN_KEYS, POST=ADMIN_KEYS),
    "/settings/keys/<uuid:key_id>/": page(GET=ADMIN_KEYS, POST=ADMIN_KEYS),
    "/settings/keys/<uuid:key_id>/revoke/": page(POST=ADMIN_KEYS),
    "/settings/keys/<uuid:key_id>/rotate/": page(POST=ADMIN_KEYS),
    # the workspace and its sign-in
    "/branding.css": public(),
    "/branding/logo": public(),
    "/settings/workspace/": page(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    "/api/v1/identity-providers": api(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    "/api/v1/identity-providers/<uuid:provider_id>": api(
        GET=ADMIN_SETTINGS, PATCH=ADMIN_SETTINGS, DELETE=ADMIN_SETTINGS
    ),
    "/settings/sign-in/": page(GET=ADMIN_SETTINGS),
    "/settings/sign-in/new/": page(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    "/settings/sign-in/<uuid:provider_id>/": page(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    "/settings/sign-in/<uuid:provider_id>/test/": page(POST=ADMIN_SETTINGS),
    # model providers
    "/api/v1/providers": api(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    "/api/v1/providers/kinds": api(GET=ADMIN_SETTINGS),
    "/api/v1/providers/test": api(POST=ADMIN_SETTINGS),
    "/api/v1/providers/<uuid:provider_id>": api(GET=ADMIN_SETTINGS, PATCH=ADMIN_SETTINGS, DELETE=ADMIN_SETTINGS),
    "/api/v1/providers/<uuid:provider_id>/models": api(GET=ADMIN_SETTINGS),
    "/api/v1/providers/<uuid:provider_id>/test": api(POST=ADMIN_SETTINGS),
    "/settings/providers/": page(GET=ADMIN_SETTINGS),
    "/settings/providers/new/": page(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    "/settings/providers/<uuid:provider_id>/": page(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    # pages of agents, tools and MCP servers
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
    # limits
    "/api/v1/quotas": api(GET=ANY),
    "/api/v1/limits": api(GET=ADMIN_SETTINGS, PUT=ADMIN_SETTINGS),
    "/api/v1/limits/<uuid:limit_id>": api(DELETE=ADMIN_SETTINGS),
    "/settings/limits/": page(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    # usage and bills
    "/api/v1/usage/statement": api(GET=USAGE_READ),
    "/api/v1/usage/invoices": api(GET=USAGE_READ),
    "/api/v1/usage/invoices/<str:number>": api(GET=USAGE_READ),
    "/settings/billing/": page(GET=USAGE_READ),
    "/settings/billing/invoices/<str:number>/": page(GET=USAGE_READ),
    # branches of a conversation; schedules
    "/api/v1/conversations/<uuid:conversation_id>/active": api(POST=f"{CHAT_WRITE} {CHAT_READ}"),
    "/api/v1/schedules": api(GET=f"{CHAT_READ} {PERSON}", POST=ASKING),
    "/api/v1/schedules/<uuid:schedule_id>": api(GET=f"{CHAT_READ} {PERSON}", PATCH=ASKING, DELETE=ASKING),
    "/api/v1/schedules/<uuid:schedule_id>/run-now": api(POST=ASKING),
    "/api/v1/schedules/<uuid:schedule_id>/runs": api(GET=f"{CHAT_READ} {PERSON}"),
    "/settings/approvals/": page(GET=APPROVALS_DECIDE),
    "/settings/approvals/<uuid:approval_id>/": page(GET=APPROVALS_DECIDE, POST=APPROVALS_DECIDE),
    "/settings/schedules/": page(GET=AGENTS_EXECUTE),
    "/settings/schedules/new/": page(GET=AGENTS_EXECUTE, POST=AGENTS_EXECUTE),
    "/settings/schedules/<uuid:schedule_id>/": page(GET=AGENTS_EXECUTE, POST=AGENTS_EXECUTE),
    "/settings/schedules/<uuid:schedule_id>/pause/": page(POST=AGENTS_EXECUTE),
    "/settings/schedules/<uuid:schedule_id>/run-now/": page(POST=AGENTS_EXECUTE),
    "/settings/schedules/<uuid:schedule_id>/delete/": page(POST=AGENTS_EXECUTE),
    # making and releasing agents; feedback
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
    # what agents noted about a person
    "/api/v1/memories": api(GET=f"{CHAT_READ} {PERSON}", DELETE=f"{CHAT_READ} {PERSON}"),
    "/api/v1/memories/export": api(GET=f"{CHAT_READ} {PERSON}"),
    "/api/v1/memories/setting": api(GET=f"{CHAT_READ} {PERSON}", PUT=f"{CHAT_READ} {PERSON}"),
    "/api/v1/memories/<uuid:memory_id>": api(DELETE=f"{CHAT_READ} {PERSON}"),
    "/settings/memory/": page(GET=CHAT_READ, POST=CHAT_READ),
    "/settings/memory/<uuid:memory_id>/delete/": page(POST=CHAT_READ),
    # MCP servers
    # knowledge
    "/api/v1/knowledge": api(GET=KNOWLEDGE_READ, POST=KNOWLEDGE_WRITE),
    "/api/v1/knowledge/<str:slug>": api(GET=KNOWLEDGE_READ, PATCH=KNOWLEDGE, DELETE=KNOWLEDGE),
    "/api/v1/knowledge/<str:slug>/search": api(POST=KNOWLEDGE_READ),
    "/api/v1/knowledge/<str:slug>/files": api(POST=KNOWLEDGE),
    "/api/v1/knowledge/<str:slug>/documents": api(GET=KNOWLEDGE_READ, POST=KNOWLEDGE),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>": api(
        GET=KNOWLEDGE_READ, PATCH=KNOWLEDGE, DELETE=KNOWLEDGE
    ),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>/files": api(POST=KNOWLEDGE),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>/retry": api(POST=KNOWLEDGE),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>/cancel": api(POST=KNOWLEDGE),
    "/api/v1/knowledge/<str:slug>/documents/<uuid:document_id>/chunks": api(GET=KNOWLEDGE_READ),
    "/api/v1/mcp-servers": api(GET=ADMIN_SETTINGS, POST=ADMIN_SETTINGS),
    "/api/v1/mcp-servers/<uuid:server_id>": api(GET=ADMIN_SETTINGS, PATCH=ADMIN_SETTINGS, DELETE=ADMIN_SETTINGS),
    "/api/v1/mcp-servers/<uuid:server_id>/refresh": api(POST=ADMIN_SETTINGS),
    "/api/v1/mcp-servers/<uuid:server_id>/approve": api(POST=ADMIN_SETTINGS),
    "/api/v1/mcp-servers/<uuid:server_id>/connection": api(POST=f"{ADMIN_SETTINGS} {PERSON}", DELETE=ADMIN_SETTINGS),
    "/settings/mcp-servers/callback/": page(GET=ADMIN_SETTINGS),
    "/api/": public(),
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
    "/api/v1/approvals": api(GET=CHAT_READ),
    "/api/v1/approvals/<approval>": api(GET=CHAT_READ, POST=f"{CHAT_READ} {CHAT_WRITE} {PERSON}"),
    "/api/v1/runs/<run>/cancel": api(POST=f"{CHAT_WRITE} {CHAT_READ}"),
    "/mcp": api(POST=f"{CHAT_WRITE} {AGENTS_EXECUTE}"),
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
    "/admin/jsi18n/",
    "/admin/search/",  # of the side bar: the names of pages that they may open
)
CONSOLE_MODELS = {
    "accounts.auditevent",
    "accounts.impersonation",
    "accounts.user",
    "procrastinate.procrastinatejob",
    "tenants.limit",
    "tenants.plan",
    "tenants.platformprovider",
    "tenants.tenant",
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
    "knowledge.ingest": "job",
    "knowledge.resume": "every",
    "mail.send": "platform_job",
    "tenant.create": "platform_job",
    "tenant.erase": "platform_job",
    "tenants.resume": "every",
    "usage.invoices": "every",
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
