"""What tools cost: ours per tool call, and per token of a stream, beside a run without tools (`python -m bench.tools`).

In this process with the scripted model and no database: what a step of the run's own adds (`usage_step`, `tool_begin`,
`tool_end`, one statement each) comes on top where a database is.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from typing import Any

from agents.runtime import engine
from agents.runtime.spec import ModelCall, Transcript, Turn
from agents.tools.spec import BoundTool, RunLimits, ToolContext, ToolResult, ToolSpec
from agents.tools.toolbox import Toolbox
from core.ids import uuid7
from llm.deltas import Delta, Finish, TextDelta, ToolCallDelta, UsageReport
from llm.providers.scripted import ScriptedModel

TOKENS = 2000
CALLS = 8
ROUNDS = 30


async def _nothing(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    return ToolResult("4")


NOTHING = BoundTool(ToolSpec("nothing", "Does nothing.", {"type": "object"}, "read", _nothing))


async def _extend(call: ModelCall, wanted: int) -> int:
    return wanted


async def once(scripts: Sequence[Sequence[Any]], toolbox: Toolbox | None) -> float:
    """Seconds of one run that plays `scripts`."""
    for script in scripts:
        ScriptedModel.enqueue(script)
    turn = Turn([{"role": "user", "content": "?"}], 10_000, {})
    events: list[Any] = []
    begun = time.perf_counter()
    await engine.run(ScriptedModel(), "m", turn, Transcript(), events.extend, toolbox)
    return time.perf_counter() - begun


async def main() -> None:
    """Print the medians."""
    context = ToolContext(None, None, uuid7(), "bench")  # type: ignore[arg-type]
    toolbox = Toolbox((NOTHING,), context, RunLimits(steps=50, tool_calls=100), _extend)
    report = UsageReport(1, 1, 0, 0)
    words: list[Delta] = [TextDelta("word ")] * TOKENS
    stream = [[*words, Finish("stop"), report]]
    short: list[Any] = [["done", Finish("stop"), report]]
    call = [ToolCallDelta(0, None, "nothing", "{}"), Finish("tool_calls"), report]
    await once(short, toolbox)  # imports LangChain
    plain, tooled, alone, called = [], [], [], []
    for _ in range(ROUNDS):  # side by side
        plain.append(await once(stream, None))
        alone.append(await once(short, toolbox))
        tooled.append(await once(stream, toolbox))
        called.append(await once([*[call] * CALLS, *short], toolbox))
    medians = [statistics.median(found) for found in (plain, tooled, alone, called)]
    per_token = [medians[0] / TOKENS, (medians[1] - medians[2]) / TOKENS]
    print(f"a token without tools    {per_token[0] * 1e6:8.2f} us")
    print(f"a token with tools       {per_token[1] * 1e6:8.2f} us   {per_token[1] / per_token[0]:.2f} x")
    print(f"a run with tools, fixed  {medians[2] * 1e3:8.2f} ms")
    print(f"a tool call and its step {(medians[3] - medians[2]) / CALLS * 1e3:8.2f} ms")


if __name__ == "__main__":
    asyncio.run(main())
