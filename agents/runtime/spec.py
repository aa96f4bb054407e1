"""What the engine is given: an agent as a value, a turn, and where its results go."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from agents.runtime.events import REASONING_DELTA, TEXT_DELTA, TOOL_CALLED, TOOL_DELTA, Event
from agents.runtime.trace import Step, Steps
from agents.tools.spec import BoundTool, RunLimits
from core.errors import PaasError
from llm.answer import ToolCall
from llm.catalog import ModelInfo
from llm.deltas import Delta, Finish, ReasoningDelta, TextDelta, ToolCallDelta, UsageReport
from llm.registry import ProviderRef

Emit = Callable[[Sequence[Event]], None]
Mode = Literal["sequential", "parallel", "iterative", "supervisor"]
DEFAULT_OUTPUT_TOKENS = 4096  # of an answer, where neither caller, agent nor model says how long it may be
DEFAULT_CONTEXT_TOKENS = 8192  # of a model that nobody knows
# An agent written in Python: what it says to a turn (agents/registry.py).
Answer = Callable[["Turn"], AsyncGenerator[Delta, None]]


@dataclass(frozen=True, slots=True)
class Choice:
    """A model of an account, with what it costs."""

    provider: ProviderRef
    provider_name: str
    model: str
    info: ModelInfo

    @property
    def key(self) -> str:
        """Which one it is, as text."""
        return f"{self.provider.id}/{self.model}"


@dataclass(frozen=True, slots=True)
class Member:
    """An agent of a team. role: what it is to do there."""

    spec: AgentSpec
    role: str = ""


@dataclass(frozen=True, slots=True)
class TeamSpec:
    """Agents that work on one task together (agents/runtime/team.py).

    rounds: of an iterative team, at most. combiner: of a parallel one, who makes one answer of all results; without
    one they are joined. info: what the team takes as a whole: the least that those can read and do who are given the
    caller's messages, and no price where one of its models has none.
    """

    mode: Mode
    members: tuple[Member, ...]
    info: ModelInfo
    rounds: int
    combiner: Member | None = None

    @property
    def everybody(self) -> tuple[Member, ...]:
        """The members, and the combiner."""
        return (*self.members, self.combiner) if self.combiner else self.members


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """One version of an agent, with everything needed to run it. answer: of one in Python, which asks no model.

    team: of one that is a team. Unless it has a supervisor, its provider, model and info are its first member's.
    """

    agent_id: uuid.UUID
    version_id: uuid.UUID
    slug: str
    name: str
    description: str
    model: str
    instructions: str
    parameters: dict[str, Any]
    provider: ProviderRef
    provider_name: str
    info: ModelInfo
    requests_per_minute: int | None = None  # a limit of the agent's own
    answer: Answer | None = None
    fallbacks: tuple[Choice, ...] = ()  # asked in this order while its own model cannot answer
    tools: tuple[BoundTool, ...] = ()
    limits: RunLimits = field(default_factory=RunLimits)
    memory: bool = False  # it may note things about people (agents/tools/memory.py)
    output_schema: dict[str, Any] = field(default_factory=dict)  # what its answers fit; {} is none
    team: TeamSpec | None = None

    @property
    def choice(self) -> Choice:
        """Its own model."""
        return Choice(self.provider, self.provider_name, self.model, self.info)

    @property
    def asks(self) -> bool:
        """Whether its own model is asked, and not only those of its members."""
        return self.team is None or self.team.mode == "supervisor"

    @property
    def askable(self) -> tuple[AgentSpec, ...]:
        """All whose own model may be asked in a run: itself, and its members at any depth."""
        below = self.team.everybody if self.team else ()
        own = (self,) if self.asks else ()
        return (*own, *(one for member in below for one in member.spec.askable))

    @property
    def joins(self) -> bool:
        """Whether no model writes its answer: it is joined of what members say."""
        team = self.team
        if team is None or team.mode in ("supervisor", "iterative"):
            return False
        return team.everybody[-1].spec.joins if team.mode == "sequential" or team.combiner else True

    @property
    def taken(self) -> ModelInfo:
        """What its caller may bring along, and how much of it."""
        return self.team.info if self.team else self.info

    def answered_by(self, choice: Choice) -> AgentSpec:
        """The same agent with another model."""
        name = choice.provider_name
        return replace(self, provider=choice.provider, provider_name=name, model=choice.model, info=choice.info)


@dataclass(frozen=True, slots=True)
class Turn:
    """What is asked: messages in OpenAI's chat shape (instructions first), and the most output allowed.

    stream False: the caller wants the answer whole, so the vendor is asked for it whole. client_tools: the caller's
    own, in OpenAI's shape: a call of one ends the turn, and the caller asks again with what the tool said. options:
    what the caller sets for an agent written in Python, as it came. memory: it may note things about who asks.
    tainted: what it is told of that may be somebody else's word. instructions: how many of the messages come before
    the history. output_schema, output_mode: see agents/runtime/structured.py.
    """

    messages: list[dict[str, Any]]
    max_output_tokens: int
    parameters: dict[str, Any]
    stream: bool = True
    client_tools: tuple[dict[str, Any], ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    fallbacks: tuple[str, ...] = ()  # the keys of those of the agent's that may answer this caller
    may_wait: bool = False  # for a person's approval: whoever asked need not be there any more
    memory: bool = False
    tainted: bool = False
    instructions: int = 0
    output_schema: dict[str, Any] = field(default_factory=dict)
    output_mode: str = "live"


@dataclass(slots=True)
class ModelCall:
    """What one of a run's calls of the model used: as its vendor reported it, or (report None) as it can be counted.

    input_estimate: of what it reads. deltas: pieces of its answer, calls of tools included. step: of the run's trace.
    booked: what it used, once it has ended and was written down; that never changes any more. The rest is of calls in a
    team: choice: who is asked. path: by which member. speaks: its words are the run's answer. since: how many events
    the run had before. granted: what it may write. ended: nothing more comes.
    """

    input_estimate: int
    deltas: int = 0
    report: UsageReport | None = None
    tool_calls: int = 0
    step: Step | None = None
    booked: dict[str, Any] | None = None
    choice: Choice | None = None
    path: str = ""
    speaks: bool = True
    since: int = 0
    granted: int = 0
    ended: bool = False

    @property
    def tokens(self) -> int:
        """What it has used, or, while it is being made, may use."""
        if not self.ended:
            return self.input_estimate + max(self.granted, self.deltas)
        return sum(self.report[:2]) if self.report else (self.input_estimate + self.deltas if self.deltas else 0)

    def book(self, batch: Iterable[Delta]) -> list[Delta]:
        """Take in what a batch of its answer used; returns the batch without what is no part of the answer."""
        said: list[Delta] = []
        for delta in batch:
            if isinstance(delta, UsageReport):
                self.report = delta
                continue
            self.deltas += not isinstance(delta, Finish)
            said.append(delta)
        return said


@dataclass(slots=True)
class Transcript:
    """What a run has produced so far; readable at any moment, also when the run is cut short.

    hands_out: the caller has tools, so calls are events; without any, a call is an error of the vendor's.
    model_calls: of a run with tools, one after the other; empty for a run that asks once. steps: where it is written
    down what was asked and called; None for a run that only asks once.
    """

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    finish_reason: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    deltas: int = 0
    hands_out: bool = False
    calls: dict[int, ToolCall] = field(default_factory=dict)
    model_calls: list[ModelCall] = field(default_factory=list)
    steps: Steps | None = None

    def follow(self, steps: Steps, *, last_only: bool = False) -> None:
        """Write `steps`, beginning with what those of before the run waited have said; last_only: each takes the place
        of the one before, as where an answer is to fit a schema."""
        self.steps = steps
        for step in steps.recorded():
            if last_only:
                self.text.clear()
            if step.ok:
                said = step.output
                if said["text"]:
                    self.text.append(("\n\n" if self.text else "") + said["text"])
                if said["reasoning"]:
                    self.reasoning.append(said["reasoning"])
                self.finish_reason = said["finish_reason"]

    @property
    def content(self) -> str:
        """The answer so far."""
        return "".join(self.text)

    @property
    def reported(self) -> bool:
        """Whether the vendor said what the call used."""
        return self.input_tokens is not None

    def absorb(self, batch: Iterable[Delta], emit: Emit) -> None:
        """Take a batch of deltas in, and emit their events."""
        events: list[Event] = []
        for delta in batch:
            if isinstance(delta, TextDelta):
                text = _storable(delta.text)
                self.text.append(text)
                events.append((TEXT_DELTA, {"text": text}))
            elif isinstance(delta, ReasoningDelta):
                text = _storable(delta.text)
                self.reasoning.append(text)
                events.append((REASONING_DELTA, {"text": text}))
            elif isinstance(delta, Finish):
                self.finish_reason = delta.reason
            elif isinstance(delta, UsageReport):
                self.input_tokens, self.output_tokens = delta.input_tokens, delta.output_tokens
                self.cached_tokens, self.reasoning_tokens = delta.cached_tokens, delta.reasoning_tokens
            elif self.hands_out:
                events.append(self._piece(delta))
            else:
                raise PaasError("provider_bad_response", "The model asked for a tool that this agent does not have.")
        self.deltas += len(events)
        if events:
            emit(events)

    def finish(self, emit: Emit) -> None:
        """The vendor has ended: emit the calls as wholes, and settle why it stopped."""
        if self.calls:
            emit([
                (TOOL_CALLED, {"index": index, "call_id": call.id, "name": call.name, "arguments": call.arguments})
                for index, call in enumerate(self.calls.values())
            ])  # fmt: skip
        if not self.finish_reason or (self.calls and self.finish_reason == "stop"):  # some vendors say so
            self.finish_reason = "tool_calls" if self.calls else "stop"

    def _piece(self, delta: ToolCallDelta) -> Event:
        """A piece of a call. The first one names it. Where the vendor gives no id, one is made: callers need it."""
        arguments = _storable(delta.arguments)
        call = self.calls.get(delta.index)
        if call is not None:
            call.arguments += arguments
            return TOOL_DELTA, {"index": list(self.calls).index(delta.index), "arguments": arguments}
        if not delta.name:
            raise PaasError("provider_bad_response", "The model asked for a tool without naming it.")
        call = ToolCall(_storable(delta.id or f"call_{uuid.uuid4().hex[:24]}"), _storable(delta.name), arguments)
        self.calls[delta.index] = call
        first = {"index": len(self.calls) - 1, "call_id": call.id, "name": call.name}
        return TOOL_DELTA, first | {"arguments": arguments}


def _storable(text: str) -> str:
    """`text` without NUL, which PostgreSQL's text cannot hold."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}") if "\x00" in text else text
