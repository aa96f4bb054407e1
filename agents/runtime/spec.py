"""What the engine is given: an agent as a value, a turn, and where its results go."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.runtime.events import REASONING_DELTA, TEXT_DELTA, Event
from core.errors import PaasError
from llm.catalog import ModelInfo
from llm.deltas import Delta, Finish, ReasoningDelta, TextDelta, UsageReport
from llm.registry import ProviderRef

Emit = Callable[[Sequence[Event]], None]
# An agent written in Python: what it says to a turn (agents/registry.py).
Answer = Callable[["Turn"], AsyncGenerator[Delta, None]]


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """One version of an agent, with everything needed to run it. answer: of one in Python, which asks no model."""

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
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What is asked: messages in OpenAI's chat shape (instructions first), and the most output allowed.

    stream False: the caller wants the answer whole, so the vendor is asked for it whole. tools: LangChain
    tools; with any, the agent runs as a graph (agents/runtime/graph.py). options: what the caller sets for an agent
    written in Python, as it came.
    """

    messages: list[dict[str, Any]]
    max_output_tokens: int
    parameters: dict[str, Any]
    stream: bool = True
    tools: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Transcript:
    """What a run has produced so far; readable at any moment, also when the run is cut short."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    finish_reason: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    deltas: int = 0

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
            else:
                raise PaasError("provider_bad_response", "The model asked for a tool that this agent does not have.")
        self.deltas += len(events)
        if events:
            emit(events)


def _storable(text: str) -> str:
    """`text` without NUL, which PostgreSQL's text cannot hold."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}") if "\x00" in text else text
