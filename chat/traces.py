"""The trace of a run, as its owner reads it.

A run with tools leaves one when it ends (chat/finish.py). One that only asked its model needs none, and one whose
process died left none: theirs is what the log says.
"""

from __future__ import annotations

import uuid
from typing import Any

import orjson

from accounts.actors import Actor
from agents.runtime.events import REASONING_DELTA, SOURCE_CITED, TEXT_DELTA, TOOL_FINISHED, TOOL_STARTED
from agents.runtime.trace import Step, document_of, said
from chat import selectors
from chat.models import Run, RunTrace
from core.errors import PaasError

SAID = {TEXT_DELTA: "text", REASONING_DELTA: "reasoning"}


def trace_of(actor: Actor, run_id: uuid.UUID) -> dict[str, Any]:
    """The trace of one of the actor's runs, as the API shows it. Raises not_found, permission_denied."""
    run = _shown(actor, run_id)
    kept = RunTrace.objects.filter(run_id=run_id).first()
    if kept is not None:
        found, tainted = orjson.loads(kept.document), kept.tainted
    else:
        found, tainted = _from_log(run)
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


def _from_log(run: Run) -> tuple[dict[str, Any], bool]:
    """(the document of what the log says, whether it was tainted). What each of several calls used is not in a log."""
    steps: list[Step] = []
    calls: dict[str, Step] = {}
    for _, stretch in selectors.stored_events(run.id, 0):
        for kind, data in stretch:
            if kind in SAID:
                _answer(run, steps).output[SAID[kind]] += data["text"]
            elif kind == TOOL_STARTED:
                if not steps or steps[-1].kind == "model":
                    _answer(run, steps).ok = True
                calls[data["call_id"]] = step = Step("", len(steps), "tool", f":{data['call_id']}", data["name"])
                step.input, step.effect = data["arguments"], data.get("effect", "")
                steps.append(step)
            elif kind == TOOL_FINISHED and data["call_id"] in calls:
                step = calls[data["call_id"]]
                step.ok, step.duration_ms = data.get("ok", True), data.get("duration_ms")
                step.output, step.tainted = data.get("error") or data.get("result"), data.get("tainted", False)
    if not run.unfinished:
        last = _answer(run, steps)
        last.ok, last.output["finish_reason"] = run.status == Run.Status.COMPLETED, run.finish_reason
        if len(steps) == 1:
            last.usage = run.usage
    return document_of(steps), any(one.tainted for one in steps)


def _answer(run: Run, steps: list[Step]) -> Step:
    """The model's answer that is being read; a new one behind calls of tools."""
    if not steps or steps[-1].kind != "model" or steps[-1].done:
        steps.append(Step("", len(steps), "model", "", run.version.model, output=said("", "", "")))
    return steps[-1]
