"""What agents note about people: noted by a tool (agents/tools/memory.py), told again at the start of a turn
(`memories_for` in agents/migrations/0007_memory.sql), and the person's own to see and to delete.

Everything here works on the bound tenant, and on the memories of one person.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from accounts import audit
from accounts.actors import Actor
from accounts.policies import CHAT_READ
from agents.models import Memory, MemoryPause
from core.errors import PaasError

MOST_CHARS = 500
_MARKS = str.maketrans("<>", "‹›")  # so that no note ends the marks between which it is told
MOST_NOTED = 200  # about one person, by one agent; calls side by side may leave a few more


@dataclass(frozen=True, slots=True)
class Noted:
    """Who notes: where a memory comes from stays with it (P55)."""

    agent_id: uuid.UUID
    run_id: uuid.UUID
    tainted: bool


def person_of(actor: Actor) -> uuid.UUID:
    """Whose memories an actor may see. Raises permission_denied: a key is no person, and nothing is noted of one."""
    actor.require(CHAT_READ)
    if actor.user_id is None:
        raise PaasError("permission_denied")
    return actor.user_id


def memories_of(actor: Actor, agent: str = "") -> QuerySet[Memory]:
    """What was noted about the actor, newest first; by one agent (a slug), or by all."""
    found = Memory.objects.select_related("agent").filter(user_id=person_of(actor)).order_by("-id")
    return found.filter(agent__slug=agent) if agent else found


def is_paused(actor: Actor) -> bool:
    """Whether the actor has switched memory off."""
    return MemoryPause.objects.filter(user_id=person_of(actor)).exists()


def memory_add(*, user_id: uuid.UUID, text: str, noted: Noted) -> Memory:
    """Note something, in one line; what is noted already stays as it is. Raises tool_failed with a sentence."""
    kept = " ".join("".join(one if one.isprintable() else " " for one in text).split()).translate(_MARKS)
    if not kept or len(kept) > MOST_CHARS:
        raise PaasError("tool_failed", f"Note something of 1 to {MOST_CHARS} characters.")
    if MemoryPause.objects.filter(user_id=user_id).exists():
        raise PaasError("tool_failed", "This person has switched memory off.")
    own = Memory.objects.filter(user_id=user_id, agent_id=noted.agent_id)
    if (known := own.filter(text=kept).first()) is not None:
        return known
    if own.count() >= MOST_NOTED:
        raise PaasError(
            "tool_failed", f"{MOST_NOTED} things are noted already. Forget one that does not matter any more."
        )
    try:
        with transaction.atomic():
            return Memory.objects.create(
                user_id=user_id, agent_id=noted.agent_id, text=kept, run_id=noted.run_id, tainted=noted.tainted
            )
    except IntegrityError:  # the same, at the same moment
        return own.get(text=kept)


def memory_drop(*, user_id: uuid.UUID, agent_id: uuid.UUID, memory_id: uuid.UUID) -> bool:
    """Forget one thing, for the agent that noted it; whether there was one."""
    return Memory.objects.filter(user_id=user_id, agent_id=agent_id, id=memory_id).delete()[0] > 0


def memory_delete(*, actor: Actor, memory_id: uuid.UUID) -> None:
    """Delete one of the actor's memories. Raises not_found."""
    if not Memory.objects.filter(user_id=person_of(actor), id=memory_id).delete()[0]:
        raise PaasError("not_found")


@transaction.atomic
def memories_clear(*, actor: Actor, agent: str = "") -> int:
    """Delete all that was noted about the actor (by one agent); returns how many."""
    count = memories_of(actor, agent).order_by().delete()[0]
    if count:
        audit.record("memory.cleared", actor=actor.label, target=str(actor.user_id), agent=agent, count=count)
    return count


@transaction.atomic
def memory_switch(*, actor: Actor, enabled: bool) -> None:
    """Switch memory off or on again for the actor. What is noted stays, untold, until it is deleted."""
    user_id = person_of(actor)
    if enabled:
        changed = MemoryPause.objects.filter(user_id=user_id).delete()[0] > 0
    else:
        changed = MemoryPause.objects.get_or_create(user_id=user_id)[1]
    if changed:
        audit.record("memory.switched", actor=actor.label, target=str(user_id), enabled=enabled)


def forget_person(user_id: uuid.UUID) -> None:
    """Erase all of somebody who is no member any more."""
    Memory.objects.filter(user_id=user_id).delete()
    MemoryPause.objects.filter(user_id=user_id).delete()


def memory_view(memory: Memory) -> dict[str, Any]:
    """A memory as the API shows it."""
    return {
        "id": str(memory.id),
        "agent": {"slug": memory.agent.slug, "name": memory.agent.name},
        "text": memory.text,
        "tainted": memory.tainted,
        "run_id": str(memory.run_id),
        "created_at": memory.created_at.isoformat(),
    }
