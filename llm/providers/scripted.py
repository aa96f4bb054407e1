"""A model without a vendor: it answers in this process, the same to the same question.

It serves demonstrations without any key, and tests, which script it:

    script = ScriptedModel.enqueue(["Hel", "lo", gate, PaasError("provider_stream_cut")])

Each call takes the oldest script, and without one the demo answer. A step is
- a string (a TextDelta), any delta, or a list of deltas (one network read);
- an exception, which is raised;
- an asyncio.Event, which is waited for: the way to hold an answer at one place.
A Finish and a UsageReport are added where a script has none.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import orjson

from llm.deltas import Delta, Finish, ModelRequest, ReasoningDelta, TextDelta, ToolCallDelta, UsageReport
from llm.embeddings import EmbeddingRequest, Embeddings, Input, parsed
from llm.registry import ModelClient, ProviderRef
from llm.rerank import Reranked, RerankRequest
from llm.sse import flat_text
from llm.tokens import estimate_messages, estimate_tokens

Step = str | Delta | Sequence[Delta] | BaseException | asyncio.Event

DEMO_DIMENSIONS = 64
DEMO_ANSWER = (
    "You wrote: “{question}”\n\n"
    "This is the scripted demo model. It needs no key and no network, and it always answers like this, so "
    "that you can try conversations, quotas and the API before you connect a model provider."
)


@dataclass(eq=False)
class Script:
    """One scripted answer and what became of it.

    request: the call that took it. closed: that call has ended, by its end, an error or a cancellation.
    """

    steps: tuple[Step, ...]
    request: ModelRequest | None = None
    closed: bool = False
    _ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    async def wait_closed(self) -> None:
        """Return when the call that took this script has ended."""
        await self._ended.wait()

    def close(self) -> None:
        """Mark the call as ended."""
        self.closed = True
        self._ended.set()


class ScriptedModel:
    """The scripts that wait for a call, of the whole process, and the client that plays them."""

    _waiting: ClassVar[deque[Script]] = deque()

    @classmethod
    def enqueue(cls, steps: Sequence[Step]) -> Script:
        """Play `steps` for the next call that no earlier script takes."""
        script = Script(tuple(steps))
        cls._waiting.append(script)
        return script

    @classmethod
    def reset(cls) -> None:
        """Drop the scripts that no call took."""
        cls._waiting.clear()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """Play the next script, or the demo answer word by word."""
        script = self._waiting.popleft() if self._waiting else Script(_demo(request))
        script.request = request
        played: list[Delta] = []
        try:
            for step in script.steps:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                    continue
                if isinstance(step, BaseException):
                    raise step
                deltas = _deltas(step)
                played += deltas
                yield deltas
                await asyncio.sleep(0)  # others run between two steps, as they would with a network
            if ending := _ending(request, played):
                yield ending
        finally:
            script.close()

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Vectors that follow from the digests of the inputs: equal texts are near, others are anywhere."""
        size = request.dimensions or DEMO_DIMENSIONS
        vectors: list[list[float] | str] = [_demo_vector(one, size) for one in request.inputs]
        document = {
            "data": [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)],
            "usage": {"prompt_tokens": request.estimate},
        }
        return parsed(orjson.dumps(document), request)

    async def rerank(self, request: RerankRequest) -> Reranked:
        """The share of the question's words that each passage has."""
        words = set(request.query.lower().split())
        found = [words & set(passage.lower().split()) for passage in request.passages]
        return Reranked([len(one) / max(len(words), 1) for one in found], request.estimate)

    async def complete(self, request: ModelRequest) -> list[Delta]:
        """The whole of what `stream` plays."""
        return [delta async for deltas in self.stream(request) for delta in deltas]


class Scripted:
    """Needs nothing: neither key nor address."""

    kind = "scripted"

    def client(self, account: ProviderRef) -> ModelClient:
        """The one scripted model."""
        return ScriptedModel()


def _demo_vector(one: Input, size: int) -> list[float]:
    seed = hashlib.shake_256(orjson.dumps(one)).digest(size)
    length = math.sqrt(sum((byte - 127.5) ** 2 for byte in seed))
    return [(byte - 127.5) / length for byte in seed]


def _demo(request: ModelRequest) -> tuple[Step, ...]:
    """The demo answer; with `max_tokens`, cut there as a vendor would."""
    asked = [message for message in request.messages if message.get("role") == "user"]
    question = flat_text(asked[-1].get("content") or "") if asked else ""
    words = re.findall(r"\S+\s*", DEMO_ANSWER.format(question=question[:200]))
    if request.max_tokens is not None and request.max_tokens < len(words):
        return (*words[: request.max_tokens], Finish("length"))
    return tuple(words)


def _deltas(step: Any) -> list[Delta]:
    if isinstance(step, str):
        return [TextDelta(step)]
    # A delta is a tuple itself, so only a list is taken for several.
    return list(step) if isinstance(step, list) else [step]


def _ending(request: ModelRequest, played: list[Delta]) -> list[Delta]:
    """The Finish and UsageReport that the script left out; usage by llm.tokens."""
    ending: list[Delta] = []
    if not any(isinstance(delta, Finish) for delta in played):
        calls = any(isinstance(delta, ToolCallDelta) for delta in played)
        ending.append(Finish("tool_calls" if calls else "stop"))
    if not any(isinstance(delta, UsageReport) for delta in played):
        texts = [delta.text for delta in played if isinstance(delta, TextDelta)]
        thoughts = [delta.text for delta in played if isinstance(delta, ReasoningDelta)]
        arguments = [delta.arguments for delta in played if isinstance(delta, ToolCallDelta)]
        reasoning = estimate_tokens("".join(thoughts))
        output = estimate_tokens("".join(texts)) + estimate_tokens("".join(arguments)) + reasoning
        ending.append(UsageReport(estimate_messages(request.messages, request.tools), output, 0, reasoning))
    return ending
