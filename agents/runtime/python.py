"""Runs an agent written in Python as if it were a model: same deltas, same events, same end, same budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import structlog

from agents.runtime.spec import AgentSpec, Answer, Turn
from core.errors import PaasError
from llm.deltas import Delta, Finish, ModelRequest, ReasoningDelta, TextDelta, ToolCallDelta, UsageReport
from llm.registry import ChatClient, client_for
from llm.tokens import BYTES_PER_TOKEN, estimate_messages

log = structlog.get_logger(__name__)


class AgentFailure(Exception):
    """What an agent raises to fail with a sentence that its caller is to read. Any other exception is only logged."""


def client_of(spec: AgentSpec, turn: Turn) -> ChatClient:
    """Who answers for `spec`: its own Python, or its provider's model. Raises provider_not_configured."""
    return PythonClient(spec.answer, turn) if spec.answer else client_for(spec.provider)


class PythonClient:
    """A ChatClient over an `Answer`: says no more than the turn's tokens, reports usage as llm.tokens counts it."""

    def __init__(self, answer: Answer, turn: Turn) -> None:
        self._answer = answer
        self._turn = turn

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """The agent's deltas, one at a time. Raises agent_failed."""
        room = (request.max_tokens or self._turn.max_output_tokens) * BYTES_PER_TOKEN
        said = 0
        finish: Delta = Finish("stop")
        source = self._answer(self._turn)
        try:
            async for delta in source:
                if isinstance(delta, TextDelta | ReasoningDelta):
                    fitting = delta.text.encode("utf-8", "replace")[: room - said]
                    said += len(fitting)
                    yield [type(delta)(fitting.decode("utf-8", "ignore"))]
                    if said >= room:
                        finish = Finish("length")
                        break
                elif isinstance(delta, Finish):
                    finish = delta
                elif isinstance(delta, ToolCallDelta):
                    raise AgentFailure("This agent asked for a tool, and agents written in Python call their own.")
                await asyncio.sleep(0)  # an agent that never waits must not keep the others from their turn
        except PaasError:
            raise
        except Exception as error:
            raise _failed(error) from error
        finally:
            await source.aclose()
        yield [finish, UsageReport(estimate_messages(request.messages), -(-said // BYTES_PER_TOKEN), 0, 0)]

    async def complete(self, request: ModelRequest) -> list[Delta]:
        """The whole of what `stream` yields."""
        return [delta async for deltas in self.stream(request) for delta in deltas]


def _failed(error: Exception) -> PaasError:
    if isinstance(error, AgentFailure):
        return PaasError("agent_failed", str(error))
    log.error("an agent written in Python has failed", exc_info=error)
    return PaasError("agent_failed")
