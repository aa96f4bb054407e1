"""Carries out a model's calls of an agent's tools, whatever the tools do (A57, P56).

A call that names no tool, does not fit, fails, takes too long or gives back junk is told to the model in a sentence,
and the run goes on. Nothing of a tool's own exceptions is told: they may hold secrets (P52).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from agents.runtime import spans
from agents.runtime.limits import Tally
from agents.runtime.spec import ModelCall
from agents.runtime.trace import Step
from agents.tools.arguments import problem_with
from agents.tools.gate import AwaitsApproval, Gate
from agents.tools.journal import Journal
from agents.tools.spec import BoundTool, RunLimits, ToolContext, ToolResult, ToolSpec
from core import cancelling, metrics, tracing
from core.errors import PaasError

log = structlog.get_logger(__name__)

MOST_RESULT_CHARS = 16_000
CUT = "\n[Cut here: the result has {count:,} characters.]"
# What was begun before the run waited and has no end (P48).
UNKNOWN = "This call was begun before, and nobody knows what came of it. It was not made again."
# (the next call of the model, the most it may write) -> how much it may write. Raises PaasError where nothing is left.
Extend = Callable[[ModelCall, int], Awaitable[int]]


@dataclass(frozen=True)
class Toolbox:
    """The tools of one run. extend: asked before every call of the model. journal: where each call is written down.
    gate: what says which calls wait for a person; without one, none does. tally: counts what is done, where others
    count along."""

    tools: tuple[BoundTool, ...]
    context: ToolContext
    limits: RunLimits
    extend: Extend
    journal: Journal | None = None
    gate: Gate | None = None
    tally: Tally | None = None

    @property
    def offers(self) -> list[dict[str, Any]]:
        """The tools as a model is offered them."""
        return [tool.offer for tool in self.tools]

    def named(self, name: str) -> ToolSpec | None:
        """The tool of that name."""
        return next((one.spec for one in self.tools if one.spec.name == name), None)

    async def call(self, step: Step) -> ToolResult:
        """What the tool says to the call of `step`. Raises nothing of the tool's; database_unavailable, when it cannot
        be written down; AwaitsApproval."""
        name, arguments = step.name, step.input
        tool = next((one for one in self.tools if one.spec.name == name), None)
        if tool is None:
            return _error(f"There is no tool {name[:64]!r}. The tools are: {', '.join(self._names)}.")
        if not isinstance(arguments, dict):
            return _error("The arguments are not a JSON object. Call the tool again with one.")
        if problem := problem_with(arguments, tool.spec.parameters):
            return _error(f"The arguments do not fit: {problem}")
        if step.sent and tool.spec.effect != "read":
            return _error(UNKNOWN)
        if self.gate is not None and (refused := await self.gate.refusal(tool, step)):
            return _error(refused)
        if self.journal is None or tool.spec.delegates:
            return await self._made(tool, step)
        call_id, refused = await self.journal.begin(self.context, tool.spec)
        if refused:
            return _error(refused)
        begun = time.perf_counter()
        result = await self._made(tool, step)
        spent = round((time.perf_counter() - begun) * 1000)
        await self.journal.end(self.context, call_id, ok=not result.is_error, milliseconds=spent)
        return result

    async def _made(self, tool: BoundTool, step: Step) -> ToolResult:
        step.sent, step.tainted = True, tool.spec.tainted
        with spans.tool_call(step, tool.spec.effect) as span:
            result = _bounded(await self._carried_out(tool, step))
            span.set({"gen_ai.tool.call.result": tracing.content(result.text)})
            if result.is_error:
                span.failed("tool_error")
        whose = "member" if tool.spec.delegates else tool.spec.kind
        label = metrics.tool_label(step.name if whose == "builtin" else whose)
        metrics.TOOL_CALLS.labels(label, "error" if result.is_error else "ok").inc()
        # Once it has answered, and not before: what was asked side by side with it was asked without knowing.
        self.context.state.tainted = self.context.state.tainted or step.tainted
        return result

    @property
    def _names(self) -> Sequence[str]:
        return [tool.spec.name for tool in self.tools]

    async def _carried_out(self, tool: BoundTool, step: Step) -> Any:
        context = replace(self.context, settings=tool.settings, number=step.index)
        seconds = None if tool.spec.delegates else self.limits.tool_seconds
        # A task of its own: one that does not end when it is cancelled keeps the run waiting for a moment only.
        work = asyncio.create_task(self._called(tool, context, step.input))
        try:
            done, _ = await asyncio.wait({work}, timeout=seconds)
        except asyncio.CancelledError:
            cancelling.cancel([work])
            await asyncio.wait({work}, timeout=0.5)
            raise
        if not done:
            cancelling.cancel([work])
            work.add_done_callback(_looked_at)
            return _error(f"The tool took more than {seconds} seconds and was stopped.")
        if work.cancelled():
            return _error("The tool stopped by itself.")
        error = work.exception()
        if error is None:
            return work.result()
        if isinstance(error, AwaitsApproval):  # of a member that is asked as a tool
            raise error
        if isinstance(error, PaasError):
            return _error(error.message)
        log.error("a tool has failed", tool=tool.spec.name, exc_info=error)
        return _error("The tool has failed.")

    async def _called(self, tool: BoundTool, context: ToolContext, arguments: dict[str, Any]) -> Any:
        return await tool.spec.call(context, arguments)


def _looked_at(work: asyncio.Future[Any]) -> None:
    if not work.cancelled():
        work.exception()


def _error(sentence: str) -> ToolResult:
    return ToolResult(sentence, is_error=True)


def _bounded(result: Any) -> ToolResult:
    """A result that can be stored, sent and read: text without NUL and half characters, cut at MOST_RESULT_CHARS."""
    if not isinstance(result, ToolResult) or not isinstance(result.text, str):
        return _error("The tool gave back something that is not a text.")
    kept = (
        result.text[:MOST_RESULT_CHARS].encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
    )
    if len(result.text) > MOST_RESULT_CHARS:
        kept += CUT.format(count=len(result.text))
    return ToolResult(kept, is_error=result.is_error, sources=result.sources)
