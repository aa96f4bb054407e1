"""What the log of a run tells of its steps, where it has left no trace of its own: its process died, others
have ended it while it waited, or it only asked its model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from agents import teams
from agents.runtime.events import (
    AGENT_DELTA,
    AGENT_FINISHED,
    AGENT_STARTED,
    APPROVAL_DECIDED,
    APPROVAL_REQUESTED,
    MODEL_CHANGED,
    REASONING_DELTA,
    TEXT_DELTA,
    TOOL_FINISHED,
    TOOL_STARTED,
)
from agents.runtime.trace import Kind, Step, document_of, said
from chat import selectors
from chat.models import Run

SAID = {TEXT_DELTA: "text", REASONING_DELTA: "reasoning"}


def trace_in_log(run: Run) -> tuple[dict[str, Any], bool]:
    """(the document, as agents.runtime.trace.document_of; whether anything was tainted). Bound to the tenant.

    What each of several calls of models used is not in a log, nor when a step began.
    """
    told = _Told(run)
    for _, stretch in selectors.stored_events(run.id, 0):
        for kind, data in stretch:
            told.event(kind, data)
    if not run.unfinished:
        told.end()
    return document_of(told.steps), any(one.tainted for one in told.steps)


def _models(team: dict[str, Any]) -> dict[str, str]:
    """What the members of a team ask, by their slugs, and theirs."""
    found: dict[str, str] = {}
    for version in teams.versions_named(teams.names_in(team)).values():
        found |= {version.agent.slug: version.model} | _models(version.team)
    return found


class _Told:
    """The steps so far. Words without a path are those of the member that works and speaks: the innermost one."""

    def __init__(self, run: Run) -> None:
        team = run.version.team
        self.steps: list[Step] = []
        self._run = run
        self._asks = not team or teams.supervised(team)  # the run's own agent has a model
        self._of_slug = _models(team)
        self._models = {"": run.version.model}  # by path
        self._members: dict[str, Step] = {}
        self._approvals: dict[str, Step] = {}
        self._working: list[str] = []  # paths, the innermost last
        self._calls: dict[tuple[str, str], Step] = {}
        self._last: dict[str, Step] = {}  # step of a path
        self._lengths: Counter[str] = Counter()
        self._steps_of: dict[str, Callable[[str, dict[str, Any]], None]] = {
            AGENT_STARTED: self._member,
            AGENT_FINISHED: self._member_ends,
            TOOL_STARTED: self._call,
            TOOL_FINISHED: self._call_ends,
            APPROVAL_REQUESTED: self._asked,
            APPROVAL_DECIDED: self._decided,
        }

    def event(self, kind: str, data: dict[str, Any]) -> None:
        """The next event of the log."""
        path = data.get("path", "")
        if kind in SAID:
            speaking = self._working[-1] if self._working else ""
            if speaking or self._asks:
                self._answer(speaking).output[SAID[kind]] += data["text"]
        elif kind == AGENT_DELTA:
            self._answer(path).output["reasoning" if data.get("reasoning") else "text"] += data["text"]
        elif kind == MODEL_CHANGED:
            self._models[path] = data["model"]
        elif kind in self._steps_of:
            self._steps_of[kind](path, data)

    def end(self) -> None:
        """The run has ended."""
        if self._asks:
            last = self._answer("")
            last.ok, last.output["finish_reason"] = self._run.status == Run.Status.COMPLETED, self._run.finish_reason
        if len(self.steps) == 1:
            self.steps[0].usage = self._run.usage

    def _member(self, path: str, data: dict[str, Any]) -> None:
        step = self._step(path.rpartition("/")[0], "agent", path, data["slug"])
        step.input = {"path": path, "name": data["name"], "task": data["task"]}
        self._members[path] = step
        self._models[path] = self._of_slug.get(data["slug"], "")
        self._working.append(path)

    def _member_ends(self, path: str, data: dict[str, Any]) -> None:
        step, last = self._members.get(path), self._last.get(path)
        if step is None:
            return
        if last is not None and last.kind == "model" and not last.done:
            last.ok = data["ok"]
        spoken = last.output["text"] if last is not None and last.kind == "model" else ""
        step.ok, step.duration_ms = data["ok"], data["duration_ms"]
        step.output = {"text": data["content"] or spoken} if data["ok"] else {"message": data["error"]}
        if path in self._working:
            self._working.remove(path)

    def _call(self, path: str, data: dict[str, Any]) -> None:
        last = self._last.get(path)
        if last is None or last.kind == "model":  # the next one of the same answer comes right behind it
            self._answer(path).ok = True
        step = self._step(path, "tool", f":{data['call_id']}", data["name"])
        step.input, step.effect = data["arguments"], data.get("effect", "")
        self._calls[path, data["call_id"]] = step

    def _call_ends(self, path: str, data: dict[str, Any]) -> None:
        if (step := self._calls.get((path, data["call_id"]))) is not None:
            step.ok, step.duration_ms = data.get("ok", True), data.get("duration_ms")
            step.output, step.tainted = data.get("error") or data.get("result"), data.get("tainted", False)

    def _asked(self, path: str, data: dict[str, Any]) -> None:
        step = self._step(path, "approval", data["approval_id"], data["name"])
        step.input = {name: data[name] for name in ("call_id", "arguments_hash", "reason")}
        self._approvals[data["approval_id"]] = step
        if call := self._calls.get((path, data["call_id"])):
            call.approval_id = data["approval_id"]

    def _decided(self, path: str, data: dict[str, Any]) -> None:
        if (step := self._approvals.get(data["approval_id"])) is not None:
            step.ok = data["decision"] == "approved"
            step.output = {name: data[name] for name in ("decision", "by", "note")}

    def _answer(self, path: str) -> Step:
        """The model's answer that is being read there; a new one behind calls of tools."""
        last = self._last.get(path)
        if last is not None and last.kind == "model" and not last.done:
            return last
        step = self._step(path, "model", "", self._models.get(path, ""))
        step.output = said("", "", "")
        return step

    def _step(self, path: str, kind: Kind, key: str, name: str) -> Step:
        step = Step(path, self._lengths[path], kind, key, name)
        self._lengths[path] += 1
        self._last[path] = step
        self.steps.append(step)
        return step
