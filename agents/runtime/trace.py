"""The steps of a run as values: what its models were asked, what its tools did, what it waited for.

A trace is also the run's journal. One that is made of earlier steps gives each of them back at the same place, ended:
so a run that waited goes on without asking a model or calling a tool again (P48).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import orjson

Kind = Literal["model", "tool", "agent", "approval", "query"]

# Of a trace as it is kept for people: characters of one input or output, of all of them, and steps.
MOST_TEXT = 16_000
MOST_CHARS = 400_000
MOST_STEPS = 400
CUT = "\n[Cut here: it has {count:,} characters.]"
USAGE = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "counted", "cost", "currency")


@dataclass(slots=True, eq=False)
class Step:
    """One step.

    path: of the agent that made it; "" is the run's own, "0.research/1.checker" a member's member. index: in its path,
    by when steps began. key: what it is found by in its path, beside its kind. name: the model, the tool, or the
    member's slug. input: of a tool its arguments, of a member its path, name and task. output: of a model what `said`
    makes, of a tool its result as text, of a query what was made of it, of what failed an error's code or a sentence.
    ok: None until it has ended.
    effect: of a tool. tainted: its result comes from outside, so nobody vouches for it. usage: of a model's call, as
    public.usage_settle takes it. started_ms: from the run's beginning, not counting when it waited. approval_id: what a
    tool's call waits for, or waited for. sent: the tool was called, whatever came of it.
    """

    path: str
    index: int
    kind: Kind
    key: str
    name: str
    input: Any = None
    output: Any = None
    ok: bool | None = None
    effect: str = ""
    tainted: bool = False
    usage: dict[str, Any] | None = None
    started_ms: int = 0
    duration_ms: int | None = None
    approval_id: str = ""
    sent: bool = False
    again: bool = field(default=False, compare=False)  # it was begun before the run waited

    @property
    def call_id(self) -> str:
        """Of a tool's call: as the model's answer has it. Another answer of the path may have the same."""
        return self.key.partition(":")[2]

    @property
    def done(self) -> bool:
        """Whether it has ended, so that nothing is asked or called for it any more."""
        return self.ok is not None


class Trace:
    """The steps of one run. earlier: those of before it waited. spent_ms: how long it had run by then."""

    def __init__(self, earlier: Iterable[Step] = (), spent_ms: int = 0) -> None:
        self.steps: list[Step] = list(earlier)
        self._before = spent_ms
        self.start()
        self._known = {(one.path, one.kind, one.key): one for one in self.steps}
        self._lengths: dict[str, int] = {}
        for one in self.steps:
            one.again = True
            self._lengths[one.path] = max(self._lengths.get(one.path, 0), one.index + 1)

    def start(self) -> None:
        """The run begins now, or goes on."""
        self._begun = time.perf_counter() - self._before / 1000

    @property
    def spent_ms(self) -> int:
        """How long the run has run, not counting when it waited."""
        return max(0, round((time.perf_counter() - self._begun) * 1000))

    def at(self, path: str) -> Steps:
        """The steps of a path, from its first one on."""
        return Steps(self, path)

    def step(self, path: str, kind: Kind, key: str, name: str) -> Step:
        """The step that is known there, or a new one."""
        known = self._known.get((path, kind, key))
        if known is not None:
            return known
        index = self._lengths.get(path, 0)
        self._lengths[path] = index + 1
        made = Step(path, index, kind, key, name, started_ms=self.spent_ms)
        self._known[path, kind, key] = made
        self.steps.append(made)
        return made

    def end(self, step: Step, output: Any, *, ok: bool = True) -> None:
        """A step has ended with this."""
        step.output, step.ok = output, ok
        step.duration_ms = max(0, self.spent_ms - step.started_ms)

    def end_all(self, why: str) -> None:
        """The run has ended: whatever is open has failed with it."""
        for step in self.steps:
            if not step.done:
                self.end(step, why, ok=False)

    # --- to go on from ------------------------------------------------------------------------------------------
    def journal(self) -> dict[str, Any]:
        """The whole of it as JSON, for `from_journal`."""
        steps = [{name: value for name, value in asdict(one).items() if name != "again"} for one in self.steps]
        return {"steps": steps, "spent_ms": self.spent_ms}

    @classmethod
    def from_journal(cls, journal: dict[str, Any]) -> Trace:
        """The trace that goes on after what `journal` says."""
        return cls([Step(**one) for one in journal["steps"]], journal["spent_ms"])

    # --- to be read ---------------------------------------------------------------------------------------------
    def document(self) -> dict[str, Any]:
        """The trace as people read it, bounded: {"steps": [...], "cut": whether anything was left out}."""
        return document_of(self.steps)


class Steps:
    """The steps of one path of a trace, asked for in the order in which they come."""

    def __init__(self, trace: Trace, path: str) -> None:
        self.trace = trace
        self.path = path
        self.answers = 0  # calls of the path's model so far, those of before the run waited included

    def recorded(self) -> Iterator[Step]:
        """The path's calls of its model that have ended, in order."""
        return (one for one in self.trace.steps if one.path == self.path and one.kind == "model" and one.done)

    def model(self, name: str, messages: int) -> Step:
        """The next call of the path's model; messages: how many it reads."""
        self.answers += 1
        step = self.trace.step(self.path, "model", str(self.answers), name)
        if not step.done:
            step.input, step.name = {"messages": messages}, name
        return step

    def tool(self, call_id: str, name: str, arguments: Any, effect: str = "") -> Step:
        """A call that the model has asked for in its last answer."""
        step = self.trace.step(self.path, "tool", f"{self.answers}:{call_id}", name)
        if not step.done:
            step.input, step.effect = arguments, effect
        return step

    def agent(self, path: str, slug: str, name: str, task: str) -> Step:
        """A member that is asked, whose own steps are those of `path`. name: what people call it."""
        step = self.trace.step(self.path, "agent", path, slug)
        if not step.done:
            step.input = {"path": path, "name": name, "task": task}
        return step

    def query(self, number: int, name: str, asked: str) -> Step:
        """That the path's model is asked to word what the tool's call of step `number` looks for."""
        step = self.trace.step(self.path, "query", str(number), name)
        if not step.done:
            step.input = {"query": asked}
        return step

    def approval(self, approval_id: str, tool: str, asked: Any) -> Step:
        """That a call waited for a person."""
        step = self.trace.step(self.path, "approval", approval_id, tool)
        step.input = asked
        return step

    def end(self, step: Step, output: Any, *, ok: bool = True) -> None:
        """As `Trace.end`."""
        self.trace.end(step, output, ok=ok)


def said(text: str, reasoning: str, finish_reason: str, calls: Iterable[Any] = ()) -> dict[str, Any]:
    """The output of a model's step. calls: of the agent's tools, each with id, name and args."""
    asked = [{"id": one["id"], "name": one["name"], "args": one["args"]} for one in calls]
    return {"text": text, "reasoning": reasoning, "tool_calls": asked, "finish_reason": finish_reason}


def document_of(steps: list[Step]) -> dict[str, Any]:
    """As `Trace.document`."""
    left, cut, shown = MOST_CHARS, len(steps) > MOST_STEPS, []
    for one in steps[:MOST_STEPS]:
        view: dict[str, Any] = {name: getattr(one, name) for name in ("path", "index", "kind", "name", "ok")}
        if one.kind == "agent":
            view["title"] = one.input.get("name") or one.name
        for name in ("input", "output"):
            told, size, whole = _bounded(getattr(one, name), min(MOST_TEXT, left))
            left -= size
            view |= {name: told} | ({} if whole else {"cut": True})
            cut = cut or not whole
        if one.kind == "tool":
            view |= {"effect": one.effect, "call_id": one.call_id}
        approval_id = one.key if one.kind == "approval" else one.approval_id
        view |= {"approval_id": approval_id} if approval_id else {}
        view |= {"tainted": one.tainted, "started_ms": one.started_ms, "duration_ms": one.duration_ms}
        if one.usage is not None:
            view["usage"] = {name: one.usage.get(name) for name in USAGE}
        shown.append(view)
    return {"steps": shown, "cut": cut}


def _bounded(value: Any, most: int) -> tuple[Any, int, bool]:
    """(the value, or the beginning of its text; its size; whether it is whole), without what PostgreSQL cannot hold."""
    if value is None:
        return None, 0, True
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    if len(text) <= most:
        return value, len(text), True
    return text[: max(0, most)] + CUT.format(count=len(text)), max(0, most), False
