"""A whole answer put together from deltas."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from llm.deltas import Delta, Finish, ReasoningDelta, TextDelta, ToolCallDelta, UsageReport


@dataclass(slots=True)
class ToolCall:
    """One call that the model asks for; `arguments` is JSON text as the model wrote it."""

    id: str = ""
    name: str = ""
    arguments: str = ""


class Answer:
    """Collects deltas. `finish_reason` and `usage` stay None until they come; the last report counts."""

    __slots__ = ("_calls", "_text", "_thoughts", "finish_reason", "usage")

    def __init__(self, deltas: Iterable[Delta] = ()) -> None:
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._calls: dict[int, ToolCall] = {}
        self.finish_reason: str | None = None
        self.usage: UsageReport | None = None
        self.add(deltas)

    def add(self, deltas: Iterable[Delta]) -> None:
        """Take the deltas of one network read."""
        for delta in deltas:
            kind = delta.__class__
            if kind is TextDelta:
                self._text.append(delta[0])  # type: ignore[arg-type]  # the class was compared, for speed
            elif kind is ReasoningDelta:
                self._thoughts.append(delta[0])  # type: ignore[arg-type]
            elif isinstance(delta, ToolCallDelta):
                self._add_call(delta)
            elif isinstance(delta, Finish):
                self.finish_reason = delta.reason
            elif isinstance(delta, UsageReport):
                self.usage = delta

    @property
    def text(self) -> str:
        """The answer's text so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """The reasoning so far."""
        return "".join(self._thoughts)

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The tool calls so far, in the model's order; arguments may be incomplete before the end."""
        return [self._calls[index] for index in sorted(self._calls)]

    def _add_call(self, delta: ToolCallDelta) -> None:
        call = self._calls.setdefault(delta.index, ToolCall())
        call.id = call.id or delta.id or ""
        call.name = call.name or delta.name or ""
        call.arguments += delta.arguments
