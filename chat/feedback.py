"""Thumbs and comments on answers: given by whoever asked, listed for those who make the agent.

Those see what was said of an answer, by whom and of which version; the conversation stays its owner's. What is deleted
with a conversation is out of their sight with it.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.db import transaction
from django.db.models import Count, F, Q, QuerySet

from accounts.actors import Actor
from accounts.policies import AGENTS_MANAGE, CHAT_WRITE
from agents.editing import agent_named
from chat import selectors
from chat.models import Conversation, Feedback, Message
from core import clock
from core.errors import PaasError

MOST_CHARS = 2000


def feedback_put(*, actor: Actor, message_id: uuid.UUID, rating: str, comment: str = "") -> Feedback:
    """What the actor thinks of an answer in a conversation of their own, in the place of what they said before.

    Raises permission_denied, not_found (also for a message that is no answer).
    """
    actor.require(CHAT_WRITE)
    author = _author(actor)
    with transaction.atomic():
        message = _answers(actor).select_related("run").select_for_update(of=("self",)).filter(id=message_id).first()
        if message is None:
            raise PaasError("not_found")
        said = {"rating": rating, "comment": comment, "version_id": message.run.version_id}
        found = Feedback.objects.filter(message=message, author_id=author).first()
        if found is None:
            by_key = actor.key_id is not None
            return Feedback.objects.create(message=message, author_id=author, by_key=by_key, **said)
        for name, value in said.items():
            setattr(found, name, value)
        found.updated_at = clock.now()
        found.save(update_fields=[*said, "updated_at"])
    return found


def feedback_delete(*, actor: Actor, message_id: uuid.UUID) -> None:
    """Take it back; nothing where there is none. Raises permission_denied, not_found."""
    actor.require(CHAT_WRITE)
    if not _answers(actor).filter(id=message_id).exists():
        raise PaasError("not_found")
    Feedback.objects.filter(message_id=message_id, author_id=_author(actor)).delete()


def feedback_of(actor: Actor, conversation: Conversation) -> dict[uuid.UUID, Feedback]:
    """What the actor said of the answers of a conversation of theirs, by message."""
    found = Feedback.objects.filter(message__conversation=conversation, author_id=_author(actor))
    return {one.message_id: one for one in found}


def feedback_page(
    actor: Actor, slug: str, *, version: int | None, rating: str, before: uuid.UUID | None, limit: int
) -> tuple[list[Feedback], uuid.UUID | None]:
    """What was said of an agent's answers, newest first, with `number` of the version, and the id of the next page.

    version: only of this one (0: of drafts that were tried). Raises permission_denied, agent_not_found.
    """
    found = _of_agent(actor, slug)
    if version is not None:
        found = found.filter(version__number=version)
    if rating:
        found = found.filter(rating=rating)
    if before is not None:
        found = found.filter(id__lt=before)
    found = found.select_related("message__conversation").annotate(number=F("version__number"))
    page: list[Feedback] = list(found.order_by("-id")[: limit + 1])
    return page[:limit], page[limit - 1].id if len(page) > limit else None


def feedback_counts(actor: Actor, slug: str) -> list[dict[str, Any]]:
    """How many of each rating each version has, newest version first. Raises permission_denied, agent_not_found."""
    of_each = _of_agent(actor, slug).order_by().values(number=F("version__number"))
    rows = of_each.annotate(
        up=Count("id", filter=Q(rating="up")),
        down=Count("id", filter=Q(rating="down")),
        comments=Count("id", filter=~Q(comment="")),
    ).order_by("-number")
    return [{"version": row["number"], **{name: row[name] for name in ("up", "down", "comments")}} for row in rows]


def feedback_sums(actor: Actor) -> dict[uuid.UUID, tuple[int, int]]:
    """(thumbs up, thumbs down) of each agent that has some, by its id. Raises permission_denied."""
    actor.require(AGENTS_MANAGE)
    rows = Feedback.objects.filter(message__conversation__deleted_at=None).values("version__agent_id")
    sums = rows.annotate(up=Count("id", filter=Q(rating="up")), down=Count("id", filter=Q(rating="down")))
    return {row["version__agent_id"]: (row["up"], row["down"]) for row in sums}


def may_read(actor: Actor, found: Feedback) -> bool:
    """Whether the answer stands in a conversation of the actor's own."""
    return found.message.conversation.user_id == actor.user_id and actor.user_id is not None


def _of_agent(actor: Actor, slug: str) -> QuerySet[Feedback]:
    agent = agent_named(actor, slug)
    return Feedback.objects.filter(version__agent=agent, message__conversation__deleted_at=None)


def _answers(actor: Actor) -> QuerySet[Message]:
    own = Conversation.objects.filter(selectors.own_rows(actor), deleted_at=None)
    return Message.objects.filter(conversation__in=own, role="assistant")


def _author(actor: Actor) -> uuid.UUID:
    author = actor.user_id or actor.key_id
    assert author is not None
    return author
