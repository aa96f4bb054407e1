"""What is kept of /v1/responses beside the runs: reads and removal. What is another's is simply not found."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.db import transaction
from django.db.models import QuerySet

from accounts.actors import Actor
from accounts.policies import CHAT_READ, CHAT_WRITE
from agents.runtime.events import Event
from chat.log import decode_events
from chat.models import Response, Run, RunSegment, RunTask
from core.errors import PaasError


@dataclass(frozen=True, slots=True)
class Kept:
    """What a turn's start writes for a response; see `chat.models.Response`."""

    previous_id: uuid.UUID | None
    stored: bool
    request: str
    items: str


def _stored(actor: Actor) -> QuerySet[Response]:
    actor.require(CHAT_READ)
    return Response.objects.select_related("run").filter(
        stored=True, run__user_id=actor.user_id, run__key_id=actor.key_id
    )


def response_for(actor: Actor, run_id: uuid.UUID) -> Response:
    """One of the actor's stored responses, with its run. Raises not_found, permission_denied."""
    found = _stored(actor).filter(run_id=run_id).first()
    if found is None:
        raise PaasError("not_found")
    return found


def responses_with_logs(actor: Actor, run_ids: set[uuid.UUID]) -> dict[uuid.UUID, tuple[Response, list[Event]]]:
    """Those of the actor's stored responses that are there, each with its log if its run has ended; two queries."""
    found = {response.run_id: response for response in _stored(actor).filter(run_id__in=run_ids)}
    logs: dict[uuid.UUID, list[Event]] = {run_id: [] for run_id in found}
    ended = [run_id for run_id, response in found.items() if response.run.finished_at is not None]
    if ended:
        for segment in RunSegment.objects.filter(run_id__in=ended).order_by("run_id", "first_seq"):
            logs[segment.run_id] += decode_events(bytes(segment.events))
    return {run_id: (response, logs[run_id]) for run_id, response in found.items()}


def response_with_log(actor: Actor, run_id: uuid.UUID) -> tuple[Response, list[Event]]:
    """One of the actor's stored responses, and its log if its run has ended. Raises not_found, permission_denied."""
    found = responses_with_logs(actor, {run_id}).get(run_id)
    if found is None:
        raise PaasError("not_found")
    return found


def response_delete(*, actor: Actor, run_id: uuid.UUID) -> bool:
    """Remove a response: what was asked, its context and its log. True: its run has not ended; the rest goes then.

    The run's row stays: who asked, when, and what it used. Raises not_found, permission_denied.
    """
    actor.require(CHAT_WRITE)
    with transaction.atomic():
        response_for(actor, run_id)
        run = Run.objects.select_for_update().get(id=run_id)  # its end waits, or has come
        if run.finished_at is None:
            Response.objects.filter(run_id=run_id).update(stored=False)
            return True
        RunSegment.objects.filter(run_id=run_id).delete()
        RunTask.objects.filter(run_id=run_id).delete()
        Response.objects.filter(run_id=run_id).delete()
        Run.objects.filter(id=run_id).update(input=None)
        return False
