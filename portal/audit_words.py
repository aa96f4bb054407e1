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
    "session.all_ended": _("%(actor)s signed out everywhere"),
    "password.changed": _("%(actor)s changed the password"),
    "password.reset": _("%(actor)s set a new password by mail"),
    "person.updated": _("%(actor)s changed the profile"),
    "person.email_change_asked": _("%(actor)s asked for another e-mail address"),
    "person.email_changed": _("%(actor)s changed the e-mail address"),
    "api_key.created": _("%(actor)s made the API key %(name)s"),
    "api_key.updated": _("%(actor)s changed the API key %(name)s"),
    "api_key.revoked": _("%(actor)s revoked the API key %(name)s"),
    "api_key.rotated": _("%(actor)s gave the API key %(name)s a new token"),
    "api_key.imported": _("%(actor)s took over the API key %(name)s"),
    "agent.created": _("%(actor)s made the agent %(target)s"),
    "agent.updated": _("%(actor)s changed the agent %(target)s"),
    "agent.drafted": _("%(actor)s changed the draft of the agent %(target)s"),
    "agent.draft_discarded": _("%(actor)s threw the draft of the agent %(target)s away"),
    "agent.published": _("%(actor)s published version %(version)s of the agent %(target)s: %(note)s"),
    "agent.rolled_back": _("%(actor)s put the agent %(target)s back to version %(restores)s: %(note)s"),
    "agent.archived": _("%(actor)s archived the agent %(target)s"),
    "agent.restored": _("%(actor)s restored the agent %(target)s"),
    "tool.created": _("%(actor)s built the tool %(target)s"),
    "tool.updated": _("%(actor)s changed the tool %(target)s"),
    "tool.deleted": _("%(actor)s deleted the tool %(target)s"),
    "tool.tried": _("%(actor)s tried the tool %(target)s"),
    "tool.configured": _("%(actor)s changed the settings of the tool %(target)s"),
    "mcp_server.created": _("%(actor)s added the MCP server %(name)s"),
    "mcp_server.updated": _("%(actor)s changed the MCP server %(name)s"),
    "mcp_server.refreshed": _("%(actor)s asked the MCP server %(name)s for its tools"),
    "mcp_server.approved": _("%(actor)s approved tools of the MCP server %(name)s"),
    "mcp_server.deleted": _("%(actor)s removed the MCP server %(name)s"),
    "memory.cleared": _("%(actor)s deleted %(count)s notes of agents about them"),
    "memory.switched": _("%(actor)s switched memory on or off for themselves"),
    "file.added": _("%(actor)s put %(count)s files into a conversation"),
    "file.deleted": _("%(actor)s deleted a file of a conversation"),
    "knowledge.created": _("%(actor)s made the knowledge base %(target)s"),
    "knowledge.changed": _("%(actor)s changed the knowledge base %(target)s"),
    "knowledge.deleted": _("%(actor)s deleted the knowledge base %(target)s with %(documents)s documents"),
    "knowledge.reindexed": _("%(actor)s had %(documents)s documents of the knowledge base %(target)s read anew"),
    "document.added": _("%(actor)s put %(count)s documents into the knowledge base %(target)s"),
    "document.replaced": _("%(actor)s replaced a document of the knowledge base %(target)s"),
    "document.changed": _("%(actor)s changed title, tags or metadata of a document of the knowledge base %(target)s"),
    "document.retried": _("%(actor)s had a document of the knowledge base %(target)s read again"),
    "documents.retried": _("%(actor)s had %(count)s documents of the knowledge base %(target)s read again"),
    "document.cancelled": _("%(actor)s cancelled a document of the knowledge base %(target)s"),
    "document.deleted": _("%(actor)s deleted a document of the knowledge base %(target)s"),
    "approval.approved": _("%(actor)s approved a call of %(tool)s with the arguments %(arguments_hash)s: %(note)s"),
    "approval.denied": _("%(actor)s denied a call of %(tool)s with the arguments %(arguments_hash)s: %(note)s"),
    "limit.set": _("%(actor)s set a limit for %(target)s: %(amount)s %(currency)s, %(metric)s"),
    "limit.removed": _("%(actor)s removed a limit of %(target)s: %(metric)s"),
    "usage.overrun": _("A model provider reported %(overrun)s tokens more than were held for a run"),
    "provider.created": _("%(actor)s added the model provider %(name)s"),
    "provider.updated": _("%(actor)s changed the model provider %(name)s"),
    "provider.tested": _("%(actor)s tested a key of a model provider"),
    "provider.deleted": _("%(actor)s removed the model provider %(name)s"),
    "mcp_server.connecting": _("%(actor)s began to connect the MCP server %(name)s with %(issuer)s"),
    "mcp_server.connected": _("%(actor)s connected the MCP server %(name)s with %(issuer)s"),
    "mcp_server.disconnected": _("%(actor)s disconnected the MCP server %(name)s"),
    "mcp_server.connection_lost": _("%(issuer)s has ended the connection of an MCP server"),
    "identity_provider.created": _("%(actor)s added the sign-in provider %(name)s"),
    "identity_provider.updated": _("%(actor)s changed the sign-in provider %(name)s"),
    "identity_provider.deleted": _("%(actor)s removed the sign-in provider %(name)s"),
    "identity.connected": _("%(actor)s connected %(provider)s to sign in with"),
    "identity.disconnected": _("%(actor)s disconnected %(provider)s"),
    "tenant.requested": _("%(actor)s asked for the workspace"),
    "tenant.created": _("%(actor)s made the workspace"),
    "tenant.moved": _("%(actor)s changed the address from %(before)s to %(after)s"),
    "tenant.deleted": _("%(actor)s deleted the workspace; it is kept until %(until)s"),
    "tenant.restored": _("%(actor)s restored the workspace"),
    "tenant.restored_from_backup": _("%(actor)s restored the workspace from the backup of %(backup)s"),
    "tenant.updated": _("%(actor)s changed the workspace"),
    "tenant.suspended": _("%(actor)s suspended the workspace"),
    "tenant.resumed": _("%(actor)s resumed the workspace"),
    "tenant.imported": _("%(actor)s imported data of Phase 1"),
    "audit.exported": _("%(actor)s exported the audit log"),
    "token.refused": _("An access token of another workspace was refused"),
    "token.reused": _("A used refresh token of %(actor)s was sent again; that sign-in was ended"),
    "mfa.totp_added": _("%(actor)s set up an authenticator app"),
    "mfa.passkey_added": _("%(actor)s added the passkey %(name)s"),
    "mfa.recovery_codes_made": _("%(actor)s made new recovery codes"),
    "mfa.removed": _("%(actor)s removed a second factor"),
    "mfa.refused": _("A wrong second factor was sent for %(target)s"),
    "schedule.created": _("%(actor)s scheduled the question %(name)s"),
    "schedule.updated": _("%(actor)s changed the schedule %(name)s"),
    "schedule.paused": _("%(actor)s paused the schedule %(name)s"),
    "schedule.resumed": _("%(actor)s let the schedule %(name)s go on"),
    "schedule.run": _("%(actor)s ran the schedule %(name)s by hand"),
    "schedule.deleted": _("%(actor)s deleted the schedule %(name)s"),
    "schedule.stopped": _("The schedule %(name)s was stopped: %(reason)s"),
    "impersonation.started": _("The operator %(operator)s began to act as %(target)s: %(reason)s"),
    "impersonation.ended": _("The operator %(operator)s stopped acting as %(target)s"),
}
# What the page's filter offers.
SUBJECTS: tuple[tuple[str, str | Promise], ...] = (
    ("", _("Everything")),
    ("session.", _("Sign-in")),
    ("mfa.", _("Second factor")),
    ("token.", _("Access tokens")),
    ("member.", _("Members")),
    ("owner.", _("Owners")),
    ("invitation.", _("Invitations")),
    ("api_key.", _("API keys")),
    ("agent.", _("Agents")),
    ("tool.", _("Tools")),
    ("mcp_server.", _("MCP servers")),
    ("limit.", _("Limits")),
    ("usage.", _("Usage")),
    ("provider.", _("Model providers")),
    ("identity_provider.", _("Sign-in providers")),
    ("identity.", _("Connected sign-in services")),
    ("tenant.", _("Workspace")),
    ("audit.", _("Audit log")),
    ("schedule.", _("Schedules")),
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
