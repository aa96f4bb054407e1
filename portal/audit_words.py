"""What happened, as sentences: one for each action that is known; others are shown by their name."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as translate
from django.utils.translation import gettext_lazy as _

from accounts.audit_selectors import Row

# action -> a sentence with %(actor)s, %(target)s and the names of the row's data.
SENTENCES: dict[str, str | Promise] = {
    "session.created": _("%(actor)s signed in"),
    "session.refused": _("A sign-in as %(email)s was refused"),
    "session.ended": _("%(actor)s signed out"),
    "session.revoked": _("%(actor)s ended a session"),
    "member.set": _("%(actor)s made %(email)s a member with the role %(role)s"),
    "member.role_changed": _("%(actor)s gave %(target)s the role %(role)s"),
    "member.removed": _("%(actor)s removed %(target)s"),
    "member.left": _("%(actor)s left the workspace"),
    "member.joined": _("%(actor)s joined the workspace"),
    "owner.transferred": _("%(actor)s made %(target)s the owner"),
    "invitation.created": _("%(actor)s invited %(email)s"),
    "invitation.sent": _("%(actor)s sent the invitation of %(email)s again"),
    "invitation.revoked": _("%(actor)s took the invitation of %(email)s back"),
    "invitation.accepted": _("%(actor)s accepted an invitation"),
    "password.changed": _("%(actor)s changed the password"),
    "api_key.created": _("%(actor)s made the API key %(name)s"),
    "api_key.updated": _("%(actor)s changed the API key %(name)s"),
    "api_key.revoked": _("%(actor)s revoked the API key %(name)s"),
    "agent.created": _("%(actor)s made the agent %(target)s"),
    "agent.updated": _("%(actor)s changed the agent %(target)s"),
    "provider.created": _("%(actor)s added the model provider %(name)s"),
    "provider.updated": _("%(actor)s changed the model provider %(name)s"),
    "provider.deleted": _("%(actor)s removed the model provider %(name)s"),
    "tenant.requested": _("%(actor)s asked for the workspace"),
    "tenant.created": _("%(actor)s made the workspace"),
    "tenant.moved": _("%(actor)s changed the address from %(before)s to %(after)s"),
    "tenant.deleted": _("%(actor)s deleted the workspace; it is kept until %(until)s"),
    "tenant.restored": _("%(actor)s restored the workspace"),
    "tenant.updated": _("%(actor)s changed the workspace"),
    "tenant.suspended": _("%(actor)s suspended the workspace"),
    "tenant.resumed": _("%(actor)s resumed the workspace"),
    "audit.exported": _("%(actor)s exported the audit log"),
    "impersonation.started": _("The operator %(operator)s began to act as %(target)s: %(reason)s"),
    "impersonation.ended": _("The operator %(operator)s stopped acting as %(target)s"),
}
# What the page's filter offers.
SUBJECTS: tuple[tuple[str, str | Promise], ...] = (
    ("", _("Everything")),
    ("session.", _("Sign-in")),
    ("member.", _("Members")),
    ("invitation.", _("Invitations")),
    ("api_key.", _("API keys")),
    ("agent.", _("Agents")),
    ("provider.", _("Model providers")),
    ("tenant.", _("Workspace")),
    ("audit.", _("Audit log")),
    ("impersonation.", _("Operators acting as members")),
)
ACTORS: dict[str, str | Promise] = {
    "anonymous": _("Somebody"),
    "command": _("The operator's command line"),
    "job": _("The platform"),
    "operator": _("An operator"),
    "user": _("A former member"),
    "key": _("A former API key"),
}


def sentence(row: Row) -> str:
    """What the row says, in the present language. Plain text: the template escapes it."""
    event = row.event
    words: defaultdict[str, Any] = defaultdict(lambda: "–")
    words |= {name: _flat(value) for name, value in event.data.items()}
    words |= {"actor": actor(row), "target": row.target_name or event.target or "–"}
    known = SENTENCES.get(event.action)
    if known is None:
        return translate("%(actor)s: %(action)s") % {"actor": words["actor"], "action": event.action}
    return str(known) % words


def actor(row: Row) -> str:
    """Who it was, for people."""
    if row.actor_name:
        return row.actor_name
    kind = row.event.actor.partition(":")[0]
    return str(ACTORS.get(kind, row.event.actor))


def _flat(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
