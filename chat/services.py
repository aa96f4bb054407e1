"""Writes of conversations (turns are chat.turns'), bound to their tenant."""

from __future__ import annotations

import uuid

from django.db import transaction
from django.db.models import F, Func, IntegerField, UUIDField

from accounts.actors import Actor
from accounts.policies import CHAT_WRITE
from chat import selectors
from chat.models import Conversation
from core import clock
from core.errors import PaasError

MOST_PINNED = 50


def conversation_update(
    *, actor: Actor, conversation_id: uuid.UUID, title: str | None = None, pinned: bool | None = None
) -> Conversation:
    """Give one of the actor's conversations another title, pin it or unpin it; None leaves it as it is.

    Raises not_found, permission_denied, and validation_failed when as many are pinned as may be.
    """
    actor.require(CHAT_WRITE)
    found = selectors.conversation_for(actor, conversation_id)
    changed = []
    if title is not None:
        found.title = title
        changed.append("title")
    if pinned is not None and pinned != (found.pinned_at is not None):
        if pinned and selectors.conversations_for(actor).filter(pinned_at__isnull=False).count() >= MOST_PINNED:
            sentence = f"{MOST_PINNED} conversations are pinned, and more may not be: unpin one first."
            raise PaasError("validation_failed", sentence, details={"param": "pinned"})
        found.pinned_at = clock.now() if pinned else None
        changed.append("pinned_at")
    if changed:
        found.save(update_fields=changed)
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


def conversation_show(*, actor: Actor, conversation_id: uuid.UUID, message_id: uuid.UUID) -> Conversation:
    """Show the branch of a message: the path through it to the newest message below it.

    Raises not_found, permission_denied, and run_in_progress while an answer is being written.
    """
    actor.require(CHAT_WRITE)
    selectors.conversation_for(actor, conversation_id)
    with transaction.atomic():
        found = Conversation.objects.select_for_update(of=("self",)).select_related("agent").get(id=conversation_id)
        if selectors.active_run(found) is not None:
            raise PaasError("run_in_progress")
        if found.leaf_id is None:
            _link(found)
        tree = selectors.tree_of(found)
        if message_id not in tree:
            raise PaasError("not_found")
        found.leaf_id = tree.newest_below(message_id)
        found.save(update_fields=["leaf_id"])
    return found


def _link(conversation: Conversation) -> None:
    """Make a tree of what an earlier release left as a list (link_messages in migrations/0005_branches.sql)."""
    ids = Func(F("id"), template="ARRAY[%(expressions)s]", output_field=UUIDField())
    link = Func(ids, function="link_messages", output_field=IntegerField())
    Conversation.objects.filter(id=conversation.id).annotate(linked=link).values_list("linked").get()
