"""What each role and each API-key scope allows: the one table behind API, sockets and pages.

An action is `<subject>:<verb>`. API keys are given the same words as scopes; `<subject>:*` stands for every
action of the subject, and `*` for all that a key may ever do.
"""

from __future__ import annotations

CHAT_READ = "chat:read"
CHAT_WRITE = "chat:write"
AGENTS_EXECUTE = "agents:execute"
AGENTS_MANAGE = "agents:manage"
APPROVALS_DECIDE = "approvals:decide"  # on calls of tools that other people's and keys' runs wait with
KNOWLEDGE_READ = "knowledge:read"
KNOWLEDGE_WRITE = "knowledge:write"
USAGE_READ = "usage:read"
ADMIN_MEMBERS = "admin:members"  # people, their roles, invitations
ADMIN_KEYS = "admin:keys"
ADMIN_AUDIT = "admin:audit"
ADMIN_SETTINGS = "admin:settings"  # name, branding, sign-in, model providers
ADMIN_OWNER = "admin:owner"  # what only an owner may: other owners, the address, deletion

# action -> the roles that may do it
TABLE: dict[str, str] = {
    CHAT_READ: "viewer member admin owner",
    KNOWLEDGE_READ: "viewer member admin owner",
    CHAT_WRITE: "member admin owner",
    AGENTS_EXECUTE: "member admin owner",
    AGENTS_MANAGE: "admin owner",
    APPROVALS_DECIDE: "admin owner",
    KNOWLEDGE_WRITE: "admin owner",
    USAGE_READ: "admin owner",
    ADMIN_MEMBERS: "admin owner",
    ADMIN_KEYS: "admin owner",
    ADMIN_AUDIT: "admin owner",
    ADMIN_SETTINGS: "admin owner",
    ADMIN_OWNER: "owner",
}
ACTIONS = frozenset(TABLE)
# No program deletes a workspace or makes an owner, or stands in for the person who is to look, whatever its scopes.
KEY_ACTIONS = ACTIONS - {ADMIN_OWNER, APPROVALS_DECIDE}
ROLE_ACTIONS: dict[str, frozenset[str]] = {
    role: frozenset(action for action, roles in TABLE.items() if role in roles.split())
    for role in ("viewer", "member", "admin", "owner")
}
# What an operator may do who acts as somebody: look.
READS = frozenset({CHAT_READ, KNOWLEDGE_READ, USAGE_READ, ADMIN_AUDIT})
_WIDE = frozenset(f"{action.partition(':')[0]}:*" for action in KEY_ACTIONS)
SCOPES = KEY_ACTIONS | _WIDE | {"*"}


def actions_of_role(role: str) -> frozenset[str]:
    """What a role may do; an unknown role may do nothing."""
    return ROLE_ACTIONS.get(role, frozenset())


def actions_of_scopes(scopes: list[str]) -> frozenset[str]:
    """What a key's scopes allow; an unknown word allows nothing."""
    if "*" in scopes:
        return KEY_ACTIONS
    subjects = {scope.partition(":")[0] for scope in scopes if scope in _WIDE}
    return frozenset(action for action in KEY_ACTIONS if action in scopes or action.partition(":")[0] in subjects)


def unknown_scopes(scopes: list[str]) -> list[str]:
    """The words among `scopes` that are no scope."""
    return sorted(set(scopes) - SCOPES)
