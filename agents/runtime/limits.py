"""Where a run ends at the latest: what an agent has done of what its limits allow, and its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from agents.runtime.spec import ModelCall
from agents.tools.spec import RunLimits
from core.errors import PaasError


@dataclass(slots=True)
class Tally:
    """What an agent has done; above: the tally of the team that it is a member of, where all of it counts too."""

    limits: RunLimits
    above: Tally | None = None
    steps: int = 0
    tool_calls: int = 0
    calls: list[ModelCall] = field(default_factory=list)

    def step(self) -> None:
        """A model is about to be asked. Raises too_many_steps."""
        for one in self._line():
            if one.steps >= one.limits.steps:
                raise PaasError("too_many_steps", details={"limit": one.limits.steps})
        for one in self._line():
            one.steps += 1

    def tools(self, count: int) -> None:
        """So many tools are about to be called. Raises too_many_tool_calls."""
        for one in self._line():
            if one.tool_calls + count > one.limits.tool_calls:
                raise PaasError("too_many_tool_calls", details={"limit": one.limits.tool_calls})
        for one in self._line():
            one.tool_calls += count

    def fitting(self, call: ModelCall, wanted: int) -> int:
        """How much of `wanted` the call may write, so that no limit on tokens is passed. Raises run_token_limit."""
        for one in self._line():
            if one.limits.tokens is not None:
                used = sum(other.tokens for other in one.calls if other is not call)
                wanted = min(wanted, one.limits.tokens - used - call.input_estimate)
        if wanted < 1:
            raise PaasError("run_token_limit")
        for one in self._line():
            one.calls.append(call)
        call.granted = wanted
        return wanted

    def _line(self) -> Iterator[Tally]:
        one: Tally | None = self
        while one is not None:
            yield one
            one = one.above


@asynccontextmanager
async def in_time(limits: RunLimits, spent_ms: int = 0) -> AsyncIterator[None]:
    """The block has what is left of `limits.seconds`. Raises run_too_long."""
    deadline = asyncio.timeout(max(0.0, limits.seconds - spent_ms / 1000))
    try:
        async with deadline:
            yield
    except TimeoutError:
        if not deadline.expired():
            raise
        raise PaasError("run_too_long") from None
