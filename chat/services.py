"""Writes of conversations (turns are chat.turns'), bound to their tenant."""

from __future__ import annotations

import uuid

from accounts.actors import Actor
from accounts.policies import CHAT_WRITE
from chat import selectors
from chat.models import Conversation
from core import clock


def conversation_rename(*, actor: Actor, conversation_id: uuid.UUID, title: str) -> Conversation:
    """Give one of the actor's conversations another title. Raises not_found, permission_denied."""
    actor.require(CHAT_WRITE)
    found = selectors.conversation_for(actor, conversation_id)
    found.title = title
    found.save(update_fields=["title"])
    return found


def conversation_delete(*, actor: Actor, conversation_id: uuid.UUID) -> None:
    """Take a conversation out of sight; `conversation_restore` undoes it. Raises not_found, permission_denied."""
    actor.require(CHAT_WRITE)
    found = selectors.conversation_for(actor, conversation_id)
    found.deleted_at = clock.now()
    found.save(update_fields=["deleted_at"])


def conversation_restore(*, actor: Actor, conversation_id: uuid.UUID) -> Conversation:
    """Bring a deleted conversation back. Raises not_found, permission_denied."""
    actor.require(CHAT_WRITE)
    found = selectors.conversation_for(actor, conversation_id, deleted=True)
    found.deleted_at = None
    found.save(update_fields=["deleted_at"])
    return found
