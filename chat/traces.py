"""The trace of a run, as its owner reads it.

A run with tools leaves one when it ends (chat/finish.py), or waits. One that only asked its model needs none, and one
whose process died left none, or one of before: theirs is what the log says.
"""

from __future__ import annotations

import uuid
from typing import Any

import orjson

from accounts.actors import Actor
from agents.runtime.events import SOURCE_CITED
from chat import selectors
from chat.log_trace import trace_in_log
from chat.models import Run, RunTrace
from core.errors import PaasError


def trace_of(actor: Actor, run_id: uuid.UUID) -> dict[str, Any]:
    """The trace of one of the actor's runs, as the API shows it. Raises not_found, permission_denied."""
    run = _shown(actor, run_id)
    kept = RunTrace.objects.filter(run_id=run_id).first()
    if kept is not None:
        found, tainted = orjson.loads(kept.document), kept.tainted
    # What is open in the trace of a run that has ended is of when it waited last: others have ended it.
    if kept is None or (not run.unfinished and any(one["ok"] is None for one in found["steps"])):
        found, tainted = trace_in_log(run)
    return {
        "run_id": str(run.id),
        "agent": {"slug": run.agent.slug, "name": run.agent.name, "version": run.version.number},
        "status": run.status,
        "tainted": tainted,
        "usage": run.usage,
        "created_at": run.created_at.isoformat(),
        "finished_at": run.finished_at.isoformat() if run.finished_at else None,
        **found,
    }


def sources_of(actor: Actor, run_id: uuid.UUID) -> dict[str, Any]:
    """The passages that one of the actor's runs was shown, as its log has them: `source.cited` by n, each once for each
    agent of a team. Raises not_found, permission_denied."""
    run = _shown(actor, run_id)
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for _, stretch in selectors.stored_events(run.id, 0):
        for kind, data in stretch:
            if kind == SOURCE_CITED:
                found.setdefault((data.get("path", ""), data["n"]), data)
    return {"run_id": str(run.id), "sources": list(found.values())}


def _shown(actor: Actor, run_id: uuid.UUID) -> Run:
    """A run that the actor may look into. Raises not_found, permission_denied."""
    selectors.run_for(actor, run_id)
    run = Run.objects.select_related("agent", "version", "conversation").get(id=run_id)
    if run.conversation is not None and run.conversation.deleted_at is not None:
        raise PaasError("not_found")
    return run
