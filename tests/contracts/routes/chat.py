"""The routes of conversations, schedules and approvals on a tenant's host: for whom they are, and what they do with foreign ids."""

from __future__ import annotations

from accounts.policies import ADMIN_SETTINGS, AGENTS_EXECUTE, APPROVALS_DECIDE, CHAT_READ, CHAT_WRITE
from tests.contracts.declaring import ANY, ASKING, PERSON, Access, Declared, api, page, public

ACCESS: dict[str, Access] = {
    "/": public(),
    "/chat/": page(GET=ANY),
    "/chat/<uuid:conversation_id>/": page(GET=ANY),
    "/i18n/setlang/": public("POST"),
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
    "/api/v1/conversations/<uuid:conversation_id>/active": api(POST=f"{CHAT_WRITE} {CHAT_READ}"),
    "/api/v1/schedules": api(GET=f"{CHAT_READ} {PERSON}", POST=ASKING),
    "/api/v1/schedules/<uuid:schedule_id>": api(GET=f"{CHAT_READ} {PERSON}", PATCH=ASKING, DELETE=ASKING),
    "/api/v1/schedules/<uuid:schedule_id>/run-now": api(POST=ASKING),
    "/api/v1/schedules/<uuid:schedule_id>/runs": api(GET=f"{CHAT_READ} {PERSON}"),
    "/settings/": page(GET=ANY),
    "/settings/guide/": page(POST=ADMIN_SETTINGS),
    "/settings/conversations/": page(GET=CHAT_READ),
    "/settings/conversations/<uuid:conversation_id>/export/": page(GET=CHAT_READ),
    "/settings/conversations/<uuid:conversation_id>/delete/": page(POST=f"{CHAT_WRITE} {CHAT_READ}"),
    "/settings/conversations/<uuid:conversation_id>/restore/": page(POST=f"{CHAT_WRITE} {CHAT_READ}"),
    "/settings/approvals/": page(GET=APPROVALS_DECIDE),
    "/settings/approvals/<uuid:approval_id>/": page(GET=APPROVALS_DECIDE, POST=APPROVALS_DECIDE),
    "/settings/schedules/": page(GET=AGENTS_EXECUTE),
    "/settings/schedules/new/": page(GET=AGENTS_EXECUTE, POST=AGENTS_EXECUTE),
    "/settings/schedules/<uuid:schedule_id>/": page(GET=AGENTS_EXECUTE, POST=AGENTS_EXECUTE),
    "/settings/schedules/<uuid:schedule_id>/pause/": page(POST=AGENTS_EXECUTE),
    "/settings/schedules/<uuid:schedule_id>/run-now/": page(POST=AGENTS_EXECUTE),
    "/settings/schedules/<uuid:schedule_id>/delete/": page(POST=AGENTS_EXECUTE),
    "/api/": public(),
}
TENANCY: dict[str, Declared] = {
    "/": Declared("shell", page=True),
    "/chat/": Declared("shell", page=True),
    "/chat/<uuid:conversation_id>/": Declared("shell", ids={"conversation_id": "conversation"}, page=True),
    "/i18n/setlang/": Declared("public", ("POST",), page=True),
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
    "/settings/": Declared("own", page=True),
    "/settings/guide/": Declared("own", ("POST",), page=True),
    "/settings/conversations/": Declared("own", page=True),
    "/settings/conversations/<uuid:conversation_id>/export/": Declared(
        "by_id", ids={"conversation_id": "conversation"}, page=True
    ),
    "/settings/conversations/<uuid:conversation_id>/delete/": Declared(
        "by_id", ("POST",), {"conversation_id": "conversation"}, page=True
    ),
    "/settings/conversations/<uuid:conversation_id>/restore/": Declared(
        "by_id", ("POST",), {"conversation_id": "deleted_conversation"}, page=True
    ),
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
    "/api/": Declared("public"),
}
