"""What the members of a team are told, and how what they say is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from agents.parameters import passed_on
from agents.runtime.spec import DEFAULT_CONTEXT_TOKENS, DEFAULT_OUTPUT_TOKENS, AgentSpec, Turn
from core.errors import PaasError
from llm.sse import flat_text
from llm.tokens import BYTES_PER_TOKEN, estimate_messages

MOST_TOLD_CHARS = 16_000  # of a member's words in an event
MOST_TASK_CHARS = 2_000
LEAST_RESULT_BYTES = 600
CUT = "\n[Cut here.]"
NOTHING = "(It said nothing.)"
PART = "Your part in this team: {role}"
RESULTS = "What the team has so far:"
# A line of its own at the very end. No word that somebody may want to say, and no tool, which not every model can call.
FINISH = "[[FINISH]]"
UNTIL_DONE = (
    "The members of this team work on the answer in turns. Give the whole answer as you would leave it. When it needs "
    f"no more work, end with a line that is exactly {FINISH}"
)
_FINISH = re.compile(r"(?:^|\n)[ \t`*]*\[\[FINISH\]\][ \t`*.]*\s*\Z", re.IGNORECASE)

Messages = list[dict[str, Any]]


class Said(NamedTuple):
    """What a member said, and why its model stopped. failed: it is the error that it ended with."""

    name: str
    text: str
    reason: str = "stop"
    failed: bool = False


def turn_of(spec: AgentSpec, messages: Messages, guidance: Sequence[str], whole: Turn, *, answers: bool) -> Turn:
    """What one agent of a team is asked. whole: the team's turn. answers: it may give the run's answer, so the caller's
    parameters and the length asked for are its own.

    Raises context_too_long.
    """
    system = "\n\n".join(text for text in (spec.instructions, *guidance) if text)
    asked = [{"role": "system", "content": system}, *messages] if system else list(messages)
    schema = (whole.output_schema if answers else {}) or spec.output_schema
    limits = [spec.parameters.get("max_tokens"), spec.info.max_output_tokens]
    wanted = min((limit for limit in limits if limit), default=DEFAULT_OUTPUT_TOKENS)
    room = _context(spec) - estimate_messages(asked, [tool.offer for tool in spec.tools])
    if room < 1:
        raise PaasError("context_too_long", details={"param": "messages"})
    return Turn(
        messages=asked,
        max_output_tokens=min(wanted, room, whole.max_output_tokens) if answers else min(wanted, room),
        parameters=passed_on(spec.parameters) | (whole.parameters if answers else {}),
        stream=whole.stream,
        options=whole.options,
        fallbacks=whole.fallbacks,
        output_schema=schema,
        output_mode=whole.output_mode if answers and whole.output_schema else "held",
    )


def with_results(messages: Messages, results: Sequence[Said], spec: AgentSpec) -> Messages:
    """The messages for `spec`, with what others have said, which is cut to half of what it can read."""
    if not results:
        return messages
    room = (_context(spec) // 2 - estimate_messages(messages)) * BYTES_PER_TOKEN
    share = max(LEAST_RESULT_BYTES, room // len(results))
    told = [f"## {one.name}\n{_cut(one.text, share) or NOTHING}" for one in results]
    return _noted(messages, "\n\n".join((RESULTS, *told)))


def joined(results: Sequence[Said]) -> str:
    """The results of members side by side as one answer, under their names."""
    return "\n\n".join(f"## {one.name}\n\n{one.text or NOTHING}" for one in results)


def finished(text: str) -> tuple[str, bool]:
    """(what a member said, whether it says that nothing is left to do)."""
    found = _FINISH.search(text)
    return (text[: found.start()].rstrip(), True) if found else (text, False)


def task_in(messages: Messages) -> str:
    """What is asked, for people to read."""
    asked = [message for message in messages if message.get("role") == "user"]
    return told(flat_text(asked[-1].get("content") or "") if asked else "", MOST_TASK_CHARS)


def told(text: str, most: int = MOST_TOLD_CHARS) -> str:
    """A text as an event has it."""
    return text if len(text) <= most else text[:most] + CUT


def _context(spec: AgentSpec) -> int:
    return spec.taken.context_tokens or DEFAULT_CONTEXT_TOKENS


def _cut(text: str, share: int) -> str:
    encoded = text.encode("utf-8", "replace")
    return text if len(encoded) <= share else encoded[:share].decode("utf-8", "ignore") + CUT


def _noted(messages: Messages, note: str) -> Messages:
    """With a note at the end of the last message, where that is a person's: some vendors want turns to alternate."""
    last = messages[-1] if messages else {}
    content = last.get("content")
    if last.get("role") != "user" or not content:
        return [*messages, {"role": "user", "content": note}]
    added = f"{content}\n\n{note}" if isinstance(content, str) else [*content, {"type": "text", "text": note}]
    return [*messages[:-1], {**last, "content": added}]
