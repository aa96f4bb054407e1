"""What waits for a person: who sees it, who decides, and what a decision does (P54).

Whose run it is may decide, and whoever has approvals:decide; never a program. A decision names the hash of the
arguments that were looked at.
"""

from __future__ import annotations

import json
import unicodedata
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
import structlog
from django.db import transaction
from django.db.models import Max, Q, QuerySet
from django.db.models.functions import Now
from redis.exceptions import RedisError

from accounts import audit
from accounts.actors import Actor
from accounts.policies import APPROVALS_DECIDE, CHAT_READ, CHAT_WRITE
from agents.runtime.events import Event, approval_decided
from chat import host, tasks
from chat.log import encode_events
from chat.models import Approval, RunSegment
from core import clock
from core.errors import PaasError
from tenants import scope
from usage.models import Reservation

log = structlog.get_logger(__name__)

DECISIONS = {"approve": Approval.Status.APPROVED, "deny": Approval.Status.DENIED}
MOST_NOTE = 1000
# Unicode's categories of controls, marks without a shape, separators of lines, and what is no character.
HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person says of a call. decision: `approve` or `deny`."""

    approval_id: uuid.UUID
    decision: str
    arguments_hash: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Decided:
    approval: Approval
    number: int = 0  # of the event that tells it; 0: it was decided before
    event: Event | None = None
    goes_on: bool = False  # nothing else is waited for


def verdict_of(approval_id: uuid.UUID, body: dict[str, Any]) -> Verdict:
    """`{decision, arguments_hash, note?}` as clients send it. Raises validation_failed."""
    decision, digest, note = body.get("decision"), body.get("arguments_hash"), body.get("note", "")
    if decision not in DECISIONS:
        raise PaasError("validation_failed", "decision is approve or deny.", details={"param": "decision"})
    if not isinstance(digest, str) or not digest:
        raise PaasError(
            "validation_failed",
            "arguments_hash is that of the arguments that you have seen.",
            details={"param": "arguments_hash"},
        )
    if not isinstance(note, str) or len(note) > MOST_NOTE or "\x00" in note:
        raise PaasError(
            "validation_failed", f"note is a text of at most {MOST_NOTE:,} characters.", details={"param": "note"}
        )
    return Verdict(approval_id, decision, digest, note.strip())


def approvals_for(actor: Actor) -> QuerySet[Approval]:
    """What the actor may see: of their own runs, or of all with approvals:decide; newest first. Bound to the tenant."""
    actor.require(CHAT_READ)
    found = Approval.objects.select_related("run__agent").order_by("-id")
    return found if APPROVALS_DECIDE in actor.actions else found.filter(user_id=actor.user_id, key_id=actor.key_id)


def approval_page(
    actor: Actor, *, status: str = "", run_id: uuid.UUID | None = None, cursor: uuid.UUID | None = None, limit: int = 30
) -> tuple[list[Approval], str | None]:
    """One page and the cursor of the next, or None."""
    wanted = Q()
    for name, value in (("status", status), ("run_id", run_id), ("id__lt", cursor)):
        wanted &= Q(**{name: value}) if value else Q()
    page = list(approvals_for(actor).filter(wanted)[: limit + 1])
    return page[:limit], str(page[limit - 1].id) if len(page) > limit else None


def approval_for(actor: Actor, approval_id: uuid.UUID) -> Approval:
    """One that the actor may see. Raises not_found, permission_denied."""
    found = approvals_for(actor).filter(id=approval_id).first()
    if found is None:
        raise PaasError("not_found")
    return found


def require_person(actor: Actor) -> None:
    """Raise permission_denied unless the actor is a person who may make agents act at all."""
    if actor.user_id is None:
        raise PaasError("permission_denied", "A person decides on this. An API key cannot stand in for one.")
    actor.require(CHAT_READ)
    actor.require(CHAT_WRITE)


def may_decide(actor: Actor, approval: Approval) -> bool:
    """Whether the actor may decide on it: the person whose run it is, or one with approvals:decide."""
    if actor.user_id is None or CHAT_WRITE not in actor.actions:
        return False
    return actor.user_id == approval.user_id or APPROVALS_DECIDE in actor.actions


def shown_arguments(arguments: str) -> str:
    """The arguments for a person to look at: JSON to the letter, with numbers as they are sent. Whatever cannot be
    seen, or turns the order of what can, is an escape."""
    text = json.dumps(json.loads(arguments), ensure_ascii=False, indent=2)
    return "".join(_visible(one) for one in text)


def _visible(char: str) -> str:
    if char == "\n" or unicodedata.category(char) not in HIDDEN:
        return char
    return json.dumps(char)[1:-1]


def approval_view(actor: Actor, approval: Approval) -> dict[str, Any]:
    """An approval as the API shows it."""
    run = approval.run
    return {
        "id": str(approval.id),
        "run_id": str(run.id),
        "conversation_id": str(run.conversation_id) if run.conversation_id else None,
        "agent": {"slug": run.agent.slug, "name": run.agent.name},
        "asked_by": f"user:{approval.user_id}" if approval.user_id else f"key:{approval.key_id}",
        "call_id": approval.call_id,
        "path": approval.path,
        "name": approval.name,
        "effect": approval.effect,
        "arguments": orjson.loads(approval.arguments),
        "arguments_text": shown_arguments(approval.arguments),
        "arguments_hash": approval.arguments_hash,
        "reason": approval.reason,
        "status": approval.status,
        "may_decide": approval.status == Approval.Status.PENDING and may_decide(actor, approval),
        "decided_by": str(approval.decided_by) if approval.decided_by else None,
        "note": approval.note,
        "created_at": approval.created_at.isoformat(),
        "decided_at": approval.decided_at.isoformat() if approval.decided_at else None,
        "expires_at": approval.expires_at.isoformat(),
    }


async def answer(actor: Actor, approval_id: uuid.UUID, body: dict[str, Any]) -> dict[str, Any]:
    """As `decide`, of what a client has sent. Raises validation_failed too, to whom the approval can be shown."""
    await scope.run_in_tenant(actor.tenant, approval_for, actor, approval_id)
    return await decide(actor, verdict_of(approval_id, body))


async def decide(actor: Actor, verdict: Verdict) -> dict[str, Any]:
    """Decide on a call; the run goes on in a worker when nothing else is waited for. The same again is the same answer.

    Raises not_found, permission_denied, approval_mismatch, approval_decided, approval_expired.
    """
    decided = await scope.run_in_tenant(actor.tenant, _decide, actor, verdict)
    approval = decided.approval
    if decided.event is not None:
        here, number = host.current(), decided.number
        entry = (actor.tenant, approval.run_id, number, number, encode_events([decided.event]), False, "")
        try:
            await here.relay.write([entry])
        except RedisError:
            log.info("redis is away; followers will find the decision all the same")
        if decided.goes_on:
            await here.offer()
    return approval_view(actor, approval)


def _decide(actor: Actor, verdict: Verdict) -> _Decided:
    require_person(actor)
    found = approval_for(actor, verdict.approval_id)
    if not may_decide(actor, found):
        raise PaasError("permission_denied", "Only the person whose run it is, or an administrator, decides on this.")
    wanted = DECISIONS[verdict.decision]
    with transaction.atomic():
        # In the order of whoever parks and ends runs: the reservation, the run, then what belongs to it.
        waiting = Reservation.objects.filter(
            run_id=found.run_id, state=Reservation.State.HELD, host=tasks.APPROVAL, lease_until__gt=Now()
        )
        held = waiting.select_for_update(of=("self",)).first()
        approval = Approval.objects.select_for_update(of=("self",)).select_related("run__agent").get(id=found.id)
        if verdict.arguments_hash != approval.arguments_hash:
            raise PaasError("approval_mismatch")
        if approval.status == wanted:
            return _Decided(approval)
        if approval.status == Approval.Status.EXPIRED or (held is None and approval.status == Approval.Status.PENDING):
            raise PaasError("approval_expired")
        if approval.status != Approval.Status.PENDING or held is None:
            raise PaasError("approval_decided")
        return _written(actor, verdict, approval, held)


def _written(actor: Actor, verdict: Verdict, approval: Approval, held: Reservation) -> _Decided:
    approval.status, approval.note = DECISIONS[verdict.decision], verdict.note
    approval.decided_by, approval.decided_at = actor.user_id, clock.now()
    approval.save(update_fields=["status", "note", "decided_by", "decided_at"])
    call = {"approval_id": str(approval.id), "call_id": approval.call_id}
    call |= {"path": approval.path} if approval.path else {}
    event = approval_decided(call, approval.status, str(actor.user_id), verdict.note)
    # Nobody else writes this log now: its fence is held by no process, and the reservation is locked.
    last = RunSegment.objects.filter(run_id=approval.run_id).aggregate(last=Max("last_seq"))["last"] or 0
    number = last + 1
    RunSegment.objects.create(run_id=approval.run_id, first_seq=number, last_seq=number, events=encode_events([event]))
    goes_on = not Approval.objects.filter(run_id=approval.run_id, status=Approval.Status.PENDING).exists()
    if goes_on:
        held.host, held.lease_until = tasks.RESUME, clock.now() + timedelta(seconds=tasks.BACKGROUND_LEASE_SECONDS)
        held.save(update_fields=["host", "lease_until"])
    audit.record(
        f"approval.{approval.status}",
        actor=actor.label,
        target=f"approval:{approval.id}",
        run=str(approval.run_id),
        tool=approval.name,
        arguments_hash=approval.arguments_hash,
        note=verdict.note,
    )
    return _Decided(approval, number, event, goes_on)
