"""Reads of conversations and runs, bound to their tenant, for an actor. Foreign ids are simply not found."""

from __future__ import annotations

import base64
import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery

from accounts.actors import Actor
from accounts.policies import CHAT_READ
from agents.runtime.events import Event
from agents.runtime.spec import AgentSpec
from agents.specs import spec_of_run_version
from chat.file_notes import taken_apart
from chat.log import decode_events
from chat.models import UNFINISHED, Conversation, IdempotencyKey, Message, Run, RunSegment
from chat.tree import Tree
from core.errors import PaasError


def owns(actor: Actor, other: Actor) -> bool:
    """Whether both are the same person or key of the same tenant."""
    return (actor.tenant.id, actor.user_id, actor.key_id) == (other.tenant.id, other.user_id, other.key_id)


def run_of_key(actor: Actor, key: str) -> uuid.UUID | None:
    """The run that the actor began under this idempotency key."""
    caller = actor.user_id or actor.key_id
    assert caller is not None
    found = IdempotencyKey.objects.filter(caller_id=caller, key=key)
    return found.values_list("run_id", flat=True).first()


def own_rows(actor: Actor) -> Q:
    """That a conversation or a run is the actor's own. Raises permission_denied."""
    actor.require(CHAT_READ)
    return Q(user_id=actor.user_id, key_id=actor.key_id)


def conversations_for(actor: Actor) -> QuerySet[Conversation]:
    """The actor's conversations that are not deleted, newest first, with `active_run_id` and `active_status`."""
    running = Run.objects.filter(conversation=OuterRef("pk"), status__in=UNFINISHED)
    return (
        Conversation.objects.select_related("agent")
        .filter(own_rows(actor), deleted_at=None)
        .annotate(
            active_run_id=Subquery(running.values("id")[:1]), active_status=Subquery(running.values("status")[:1])
        )
        .order_by("-updated_at", "-id")
    )


def conversation_page(
    actor: Actor, cursor: str, limit: int, *, pinned: bool = False
) -> tuple[list[Conversation], str | None]:
    """One page, of all or of the pinned ones, and the cursor of the next, or None. Raises validation_failed for a
    cursor that is not ours."""
    found = conversations_for(actor)
    if pinned:
        found = found.filter(pinned_at__isnull=False)
    return one_page(found, cursor, limit)


def one_page(found: QuerySet[Conversation], cursor: str, limit: int) -> tuple[list[Conversation], str | None]:
    """As `conversation_page`, of any conversations that are in its order."""
    if cursor:
        moment, last = _decode_cursor(cursor)
        found = found.filter(Q(updated_at__lt=moment) | Q(updated_at=moment, id__lt=last))
    page = list(found[: limit + 1])
    more = len(page) > limit
    page = page[:limit]
    return page, _encode_cursor(page[-1]) if more else None


def _encode_cursor(conversation: Conversation) -> str:
    text = f"{conversation.updated_at.isoformat()} {conversation.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode_cursor(cursor: str) -> tuple[datetime, uuid.UUID]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        moment, _, last = text.partition(" ")
        found = datetime.fromisoformat(moment)
        if found.tzinfo is None:
            raise ValueError("a moment without its zone")
        return found, uuid.UUID(last)
    except ValueError:
        raise PaasError("validation_failed", "This cursor is not valid.", details={"param": "cursor"}) from None


def conversation_for(actor: Actor, conversation_id: uuid.UUID, *, deleted: bool = False) -> Conversation:
    """One of the actor's conversations. Raises not_found."""
    found = (
        Conversation.objects.select_related("agent")
        .annotate(active=Exists(Run.objects.filter(conversation=OuterRef("pk"), status__in=UNFINISHED)))
        .filter(own_rows(actor), id=conversation_id, deleted_at__isnull=not deleted)
        .first()
    )
    if found is None:
        raise PaasError("not_found")
    return found


def agent_of_conversation(actor: Actor, conversation_id: uuid.UUID) -> str:
    """The slug of a conversation's agent. Raises not_found."""
    return conversation_for(actor, conversation_id).agent.slug


def agent_of_answer(actor: Actor, conversation_id: uuid.UUID, message_id: uuid.UUID) -> str:
    """The slug of the agent that wrote an answer of this conversation. Raises not_found."""
    own = Conversation.objects.filter(own_rows(actor), id=conversation_id, deleted_at=None)
    found = Message.objects.filter(id=message_id, conversation__in=own, role="assistant")
    slug = found.values_list("run__agent__slug", flat=True).first()
    if slug is None:
        raise PaasError("not_found")
    return str(slug)


def tree_of(conversation: Conversation) -> Tree:
    """How the conversation's messages hang together; one query, without their texts."""
    rows = Message.objects.filter(conversation=conversation).order_by("id")
    return Tree(rows.values_list("id", "parent_id", "superseded"), conversation.leaf_id)


def messages_of(conversation: Conversation, ids: list[uuid.UUID] | None = None) -> list[Message]:
    """The shown messages (or those of `ids`) in order, each with its run and how much its trace has; where it was
    continued, with `earlier`: the runs before."""
    order = tree_of(conversation).path if ids is None else ids
    # All of them and not by a list of ids: there are few that are not shown.
    rows = Message.objects.select_related("run__agent").filter(conversation=conversation)
    counts = {"trace_tools": F("run__trace__tools"), "trace_members": F("run__trace__members")}
    rows = rows.annotate(version_number=F("run__version__number"), **counts)
    found = {message.id: message for message in rows}
    messages: list[Message] = [found[one] for one in order if one in found]
    earlier = Run.objects.filter(conversation=conversation, message_id__isnull=False).exclude(
        id__in=rows.filter(role="assistant").values("run_id")
    )
    for run in earlier.annotate(trace_tools=F("trace__tools"), trace_members=F("trace__members")).order_by("id"):
        message = found.get(run.message_id) if run.message_id else None
        if message is not None and not run.unfinished:
            message.earlier = [*getattr(message, "earlier", []), run]  # type: ignore[attr-defined]
    return messages


def active_run(conversation: Conversation) -> Run | None:
    """The run that answers the conversation right now, if any."""
    return Run.objects.filter(conversation=conversation, status__in=UNFINISHED).first()


def run_for(actor: Actor, run_id: uuid.UUID) -> Run:
    """One of the actor's runs. Raises not_found."""
    found = Run.objects.filter(own_rows(actor), id=run_id).first()
    if found is None:
        raise PaasError("not_found")
    return found


def spec_of_run(run_id: uuid.UUID) -> AgentSpec:
    """What a run runs, as it was when it was begun. Raises not_found."""
    found = Run.objects.select_related("agent", "version__provider").filter(id=run_id).first()
    if found is None:
        raise PaasError("not_found")
    return spec_of_run_version(found.agent, found.version)


def run_state(run_id: uuid.UUID) -> tuple[str, int]:
    """(status, last stored number) of a run. Raises not_found."""
    found = Run.objects.filter(id=run_id).values_list("status", "last_seq").first()
    if found is None:
        raise PaasError("not_found")
    return found


def stored_events(run_id: uuid.UUID, after: int) -> list[tuple[int, list[Event]]]:
    """The stored stretches of a run's log that end above `after`, as (first number, events)."""
    segments = RunSegment.objects.filter(run_id=run_id, last_seq__gt=after).order_by("first_seq")
    return [(segment.first_seq, decode_events(bytes(segment.events))) for segment in segments]


def run_view(run: Run) -> dict[str, Any]:
    """A run as the API shows it."""
    return {
        "id": str(run.id),
        "status": run.status,
        "last_seq": run.last_seq,
        "background": run.background,
        "conversation_id": str(run.conversation_id) if run.conversation_id else None,
        "finish_reason": run.finish_reason or None,
        "error": {"code": run.error_code, "message": run.error_message} if run.error_code else None,
        "asked_message_id": str(run.asked_id) if run.asked_id else None,
        "message_id": str(run.message_id) if run.message_id else None,
        "usage": run.usage,
        "created_at": run.created_at.isoformat(),
        "finished_at": run.finished_at.isoformat() if run.finished_at else None,
    }


def conversation_view(conversation: Any) -> dict[str, Any]:
    """A conversation as the API shows it."""
    active = getattr(conversation, "active_run_id", None)
    return {
        "id": str(conversation.id),
        "title": conversation.title,
        "agent": {"slug": conversation.agent.slug, "name": conversation.agent.name},
        "created_at": conversation.created_at.isoformat(),
        "updated_at": conversation.updated_at.isoformat(),
        "pinned_at": conversation.pinned_at.isoformat() if conversation.pinned_at else None,
        "active_run_id": str(active) if active else None,
        "waiting": getattr(conversation, "active_status", None) == Run.Status.WAITING,
    }


def active_view(run: Run | None) -> dict[str, Any]:
    """What the view of a conversation says of the run that answers it."""
    return {
        "active_run_id": str(run.id) if run else None,
        "waiting": run is not None and run.status == Run.Status.WAITING,
    }


def message_view(message: Message, siblings: list[uuid.UUID] | None = None) -> dict[str, Any]:
    """A message as the API shows it; an answer carries its last run's error, and what all its runs used and did. What a
    person wrote carries the files that it came with."""
    content, files = (message.content, []) if message.role == "assistant" else taken_apart(message.content)
    run, answer = message.run, message.role == "assistant"
    earlier: list[Run] = getattr(message, "earlier", [])
    usages = [*(one.usage for one in earlier), run.usage]
    traces = [*map(_trace_count, earlier), _trace_count(message)] if answer else []
    return {
        "id": str(message.id),
        "parent_id": str(message.parent_id) if message.parent_id else None,
        "siblings": [str(one) for one in siblings or [message.id]],
        "role": message.role,
        "content": content,
        "files": files,
        "reasoning": message.reasoning,
        "status": message.status,
        "error": {"code": run.error_code, "message": run.error_message} if answer and run.error_code else None,
        "run_id": str(run.id),
        "created_at": message.created_at.isoformat(),
        "agent": {"slug": run.agent.slug, "name": run.agent.name} if answer else None,
        "agent_version": getattr(message, "version_number", None) if answer else None,
        "finish_reason": run.finish_reason or None if answer else None,
        "usage": _sum_of(usages) if answer else None,
        "traces": [one for one in traces if one["tools"] or one["members"]],
    }


def _trace_count(row: Run | Message) -> dict[str, Any]:
    """How much there is in a run's trace, of the run or of the message that it wrote."""
    run_id = row.id if isinstance(row, Run) else row.run_id
    counts = {name: getattr(row, f"trace_{name}", None) or 0 for name in ("tools", "members")}
    return {"run_id": str(run_id), **counts}


def _sum_of(usages: list[dict[str, Any] | None]) -> dict[str, Any] | None:
    """What several runs used together. The cost is null where one of them is unpriced, or the currencies differ."""
    known = [usage for usage in usages if usage]
    if len(known) < 2:
        return known[0] if known else None
    total = dict(known[-1])
    for name in ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"):
        total[name] = sum(usage[name] for usage in known)
    total["counted"] = any(usage["counted"] for usage in known)
    priced = all(usage["cost"] is not None and usage["currency"] == total["currency"] for usage in known)
    cost = sum((Decimal(usage["cost"]) for usage in known), Decimal()) if priced else None
    total["cost"] = None if cost is None else format(cost.normalize(), "f")
    return total
