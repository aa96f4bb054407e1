"""Answers that fit a schema: shown as they come or once they fit, and asked for once more when they do not.

Turn.output_mode says how much of an answer its readers can bear:
  live  it is shown as it comes, and taken back (`text.discarded`) when another one takes its place
  held  nobody can take anything back, so it is shown when it fits, whole
  once  nobody can take anything back, and the vendor holds its model to the schema: it is shown as it comes, and not
        asked for again
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import orjson

from agents.runtime.events import TEXT_DELTA, TEXT_DISCARDED, Event
from agents.runtime.spec import Emit, ModelCall, Transcript, Turn
from agents.runtime.trace import Step, Trace, said
from agents.tools.arguments import problem_with
from agents.tools.toolbox import Extend
from core.errors import PaasError
from llm.deltas import ModelRequest
from llm.registry import ChatClient
from llm.tokens import estimate_messages

AGAIN = "Your answer cannot be used: {problem} Answer again: with the JSON alone, and so that it fits the schema."
MOST_CHARS = 1_000_000


class Shown:
    """What readers get of a run's text, by its turn's mode."""

    def __init__(self, turn: Turn, transcript: Transcript, emit: Emit) -> None:
        self._transcript = transcript
        self._emit = emit
        self._held = bool(turn.output_schema) and turn.output_mode == "held"

    def emit(self, events: Sequence[Event]) -> None:
        """In place of the run's own `emit`. A piece that is held is logged without its text, so that it is counted."""
        if self._held:
            events = [(kind, {"text": ""} if kind == TEXT_DELTA else data) for kind, data in events]
        self._emit(events)

    def release(self) -> None:
        """What there is now is the answer."""
        if self._held and self._transcript.text:
            self._emit([(TEXT_DELTA, {"text": self._transcript.content})])

    def discard(self, reason: str) -> None:
        """What there is now is no part of the answer."""
        if self._transcript.text and not self._held:
            self._emit([(TEXT_DISCARDED, {"reason": reason})])
        self._transcript.text.clear()


async def run_structured(
    client: ChatClient, model: str, turn: Turn, transcript: Transcript, emit: Emit, extend: Extend
) -> None:
    """As `engine.run`, of an agent without tools whose answers fit a schema. Raises also answer_not_in_schema, with the
    last answer in the transcript, and what `extend` raises."""
    shown, messages = Shown(turn, transcript, emit), list(turn.messages)
    transcript.hands_out = bool(turn.client_tools)
    steps = transcript.steps or Trace().at("")
    reason, asked = "", False
    while True:
        step = steps.model(model, len(messages))
        if step.done:
            answer = recorded(step)
        else:
            answer = transcript
            call = ModelCall(estimate_messages(messages, turn.client_tools), step=step)
            try:
                granted = await extend(call, turn.max_output_tokens)
                if asked:
                    shown.discard(reason)
                transcript.model_calls.append(call)
                request = ModelRequest(model, messages, granted, turn.parameters, list(turn.client_tools) or None)
                await _asked(client, request, turn.stream, transcript, shown, call)
            except PaasError as error:
                steps.end(step, error.code, ok=False)
                raise
            finally:
                call.ended = True
            steps.end(step, said(transcript.content, "".join(transcript.reasoning), transcript.finish_reason))
        problem = None if answer.calls else misfit(answer, turn)
        if problem is None:
            break
        if asked or turn.output_mode == "once":
            raise not_in_schema(problem)
        reason, asked = problem, True
        messages = [*messages, {"role": "assistant", "content": answer.content or "-"}, again(problem)]
    shown.release()
    transcript.finish(emit)


def recorded(step: Step) -> Transcript:
    """What was said in a step of before the run waited. Raises what it had failed with."""
    if not step.ok:
        raise PaasError(step.output)
    return Transcript(text=[step.output["text"]], finish_reason=step.output["finish_reason"])


async def _asked(
    client: ChatClient, request: ModelRequest, stream: bool, transcript: Transcript, shown: Shown, call: ModelCall
) -> None:
    if not stream:
        transcript.absorb(call.book(await client.complete(request)), shown.emit)
        return
    async with aclosing(client.stream(request)) as batches:
        async for batch in batches:
            transcript.absorb(call.book(batch), shown.emit)


def misfit(transcript: Transcript, turn: Turn) -> str | None:
    """What about the answer does not fit the turn's schema, as a sentence; None when it fits."""
    text = transcript.content
    if transcript.finish_reason == "length":
        return "it was cut off, because it was too long."
    if len(text) > MOST_CHARS:
        return f"it has more than {MOST_CHARS:,} characters."
    try:
        value = orjson.loads(text)
    except ValueError:
        return "it is not JSON."
    return problem_with(value, turn.output_schema, "answer")


def again(problem: str) -> dict[str, Any]:
    """The message that asks for another answer."""
    return {"role": "user", "content": AGAIN.format(problem=problem[0].lower() + problem[1:])}


def not_in_schema(problem: str) -> PaasError:
    """answer_not_in_schema, with what was wrong."""
    return PaasError("answer_not_in_schema", details={"problem": problem})
