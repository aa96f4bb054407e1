"""Finding conversations by what their titles and messages say. Bound to the tenant, for an actor.

Words are found by their beginnings, Chinese by its signs; all that is asked for must be in one title or one message.
Messages are searched by `messages_saying` (migrations/0017_search.sql), which also indexes those that are not yet.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

from django.db.models import Func, JSONField, Value

from accounts.actors import Actor
from chat.file_notes import taken_apart
from chat.models import Conversation, Message
from chat.selectors import conversation_view, conversations_for, own_rows

MOST_TERMS = 16
MOST_MESSAGES = 500  # the newest ones that say it; what was said of it before is not looked at
INDEXED_AT_ONCE = 500  # messages that one search indexes, at most; the others are read instead
SNIPPET = 160  # characters
_SIGNS = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_TERM = re.compile(rf"[{_SIGNS}]+|[^\W_{_SIGNS}]+")
_SIGN = re.compile(rf"[{_SIGNS}]")


def terms_of(text: str) -> list[str]:
    """What is looked for, in pieces, in small letters."""
    return list(dict.fromkeys(_TERM.findall(text.lower())))[:MOST_TERMS]


def query_of(terms: list[str]) -> str:
    """The terms as a tsquery. They are letters, digits and signs only, and each is quoted all the same."""
    words: list[str] = []
    for term in terms:
        if _SIGN.match(term) and len(term) > 1:
            words += [f"'{term[at : at + 2]}'" for at in range(len(term) - 1)]
        else:
            words.append(f"'{term}':*")
    return " & ".join(words)


def conversations_found(actor: Actor, text: str, limit: int) -> list[dict[str, Any]]:
    """Views of the actor's conversations that say `text`, newest first, each with `match`: its newest message that does
    ({message_id, role, text}), or None where only the title does. Raises permission_denied."""
    terms = terms_of(text)
    own = conversations_for(actor)
    if not terms:
        return []
    said: dict[uuid.UUID, uuid.UUID] = {}
    for conversation_id, message_id in _messages(actor, terms):
        said.setdefault(conversation_id, message_id)
    titled = own
    for term in terms:
        titled = titled.filter(title__icontains=term)
    found = {one.id: one for one in [*own.filter(id__in=list(said))[:limit], *titled[:limit]]}
    newest = sorted(found.values(), key=lambda one: (one.updated_at, one.id), reverse=True)[:limit]
    wanted = [said[one.id] for one in newest if one.id in said]
    matches = {
        conversation_id: {"message_id": str(message_id), "role": role, "text": snippet(content, terms)}
        for conversation_id, message_id, role, content in Message.objects.filter(id__in=wanted).values_list(
            "conversation_id", "id", "role", "content"
        )
    }
    return [conversation_view(one) | {"match": matches.get(one.id)} for one in newest]


def _messages(actor: Actor, terms: list[str]) -> list[tuple[uuid.UUID, uuid.UUID]]:
    """(conversation, message) of the newest messages that say it, the newest first."""
    asked = {
        "user": actor.user_id and str(actor.user_id),
        "key": actor.key_id and str(actor.key_id),
        "words": query_of(terms),
        "parts": [f"%{term}%" for term in terms],  # letters, digits and signs: no pattern in it
        "most": MOST_MESSAGES,
        "index": INDEXED_AT_ONCE,
    }
    call = Func(Value(asked, JSONField()), function="messages_saying", output_field=JSONField())
    own = Conversation.objects.filter(own_rows(actor), deleted_at=None)
    rows = list(own.annotate(said=call).values_list("said", flat=True)[:1])
    return [(uuid.UUID(conversation), uuid.UUID(message)) for row in rows for conversation, message in row]


def snippet(content: str, terms: list[str]) -> str:
    """The surroundings of the first term in a message, in one line."""
    text = " ".join(taken_apart(content)[0].split())
    small = text.lower()
    places = [at for at in (small.find(term) for term in terms) if at >= 0]
    begin = max(0, min(places, default=0) - SNIPPET // 3)
    if begin and (space := text.find(" ", begin, begin + 20)) >= 0:
        begin = space + 1
    piece = text[begin : begin + SNIPPET]
    return f"{'…' if begin else ''}{piece}{'…' if begin + SNIPPET < len(text) else ''}"
