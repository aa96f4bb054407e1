"""What a tool asks its agent's own model beside the conversation: a short call, held and paid like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from agents.runtime.chain import BRIEFLY
from agents.runtime.spec import ModelCall, Transcript, Turn
from agents.runtime.trace import Steps
from agents.tools.toolbox import Toolbox
from core.errors import PaasError
from llm.deltas import ModelRequest, TextDelta
from llm.registry import ChatClient
from llm.sse import flat_text
from llm.tokens import estimate_messages

SECONDS = 10.0  # somebody waits for the answer
SPEAKERS = ("user", "assistant")


class Aside:
    """An `agents.tools.spec.Beside` of one agent in a run. Its calls come one after the other."""

    def __init__(
        self, client: ChatClient, model: str, turn: Turn, transcript: Transcript, toolbox: Toolbox, steps: Steps
    ) -> None:
        self._client, self._model, self._turn = client, model, turn
        self._transcript, self._toolbox, self._steps = transcript, toolbox, steps
        self._one = asyncio.Lock()

    @property
    def conversation(self) -> list[tuple[str, str]]:
        """(who, what they said), the oldest first; without instructions and calls of tools."""
        said = [(one.get("role", ""), flat_text(one.get("content") or "")) for one in self._turn.messages]
        return [(role, text) for role, text in said if role in SPEAKERS and text.strip()]

    async def ask(self, number: int, asked: str, messages: Sequence[dict[str, Any]], most_tokens: int) -> str:
        """What the model says, without its thoughts. number: of the tool's call. asked: what it is about, which the
        trace shows.

        Raises PaasError: as vendors fail, provider_timeout, and quota_exceeded where less is left than this call and
        the answer after it may take.
        """
        async with self._one:
            step = self._steps.query(number, self._model, asked)
            if step.done:
                if not step.ok:
                    raise PaasError(step.output)
                return str(step.output)
            call = ModelCall(estimate_messages(messages), step=step)
            try:
                text = await self._answer(call, list(messages), most_tokens)
            except PaasError as error:
                self._steps.end(step, error.code, ok=False)
                raise
            finally:
                call.ended = True
            self._steps.end(step, text)
            return text

    async def _answer(self, call: ModelCall, messages: list[dict[str, Any]], most_tokens: int) -> str:
        turn = self._turn
        # Held with the least that the agent needs to go on, so that what a tool asks never takes an answer's tokens.
        wanted = most_tokens + estimate_messages(turn.messages, self._toolbox.offers) + turn.max_output_tokens
        if await self._toolbox.extend(call, wanted) < wanted:
            raise PaasError("quota_exceeded")
        call.granted = most_tokens
        self._transcript.model_calls.append(call)
        request = ModelRequest(self._model, messages, most_tokens, BRIEFLY)
        said: list[str] = []
        try:
            async with asyncio.timeout(SECONDS), aclosing(self._client.stream(request)) as batches:
                async for batch in batches:
                    said += [delta.text for delta in call.book(batch) if isinstance(delta, TextDelta)]
        except TimeoutError:
            raise PaasError("provider_timeout") from None
        return "".join(said).replace("\0", " ")
