"""What tools cost: ours per tool call, and per token of a stream, beside a run without tools (`python -m bench.tools`).

In this process with the scripted model and no database. What a call adds where one is (its approval looked at, written
down before and after it: three statements for a run's first call, two for the others), `python -m bench.tools
--database` measures, on a PostgreSQL of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from typing import Any

from agents.runtime import engine
from agents.runtime.spec import ModelCall, Transcript, Turn
from agents.runtime.trace import Trace
from agents.tools.spec import BoundTool, RunLimits, ToolContext, ToolResult, ToolSpec
from agents.tools.toolbox import Toolbox
from core.ids import uuid7
from llm.deltas import Delta, Finish, TextDelta, ToolCallDelta, UsageReport
from llm.providers.scripted import ScriptedModel

TOKENS = 2000
CALLS = 8
ROUNDS = 30
CALLED = 300


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


async def in_database(tenant: Any) -> None:
    """Print what a call of a tool costs with everything that is asked and written for it, the tool itself apart."""
    from accounts.actors import Actor
    from agents.tools.gate import Gate
    from agents.tools.journal import Journal
    from tenants.db import aio

    async def begins_tainted() -> bool:
        row = await aio.database().fetch_one(tenant, "SELECT run_taint(%s)", [run_id])
        return row is None or bool(row[0])

    run_id = uuid7()
    actor = Actor(tenant, uuid7(), None, "member", frozenset())
    writes = BoundTool(ToolSpec("nothing", "Does nothing.", {"type": "object"}, "write", _nothing))
    spent: dict[str, list[float]] = {"first call": [], "later call": [], "bare statement": []}
    async with aio.opened():
        for _ in range(CALLED):
            box = Toolbox(
                (writes,),
                ToolContext(tenant, actor, run_id, "bench"),
                RunLimits(),
                _extend,
                Journal(),
                Gate(run_id, begins_tainted),
            )
            steps = Trace().at("")
            for which, found in spent.items():
                begun = time.perf_counter()
                if which.endswith("call"):
                    await box.call(steps.tool(which, "nothing", {}, "write"))
                else:
                    await aio.database().fetch_one(tenant, "SELECT 1", [])
                found.append(time.perf_counter() - begun)
    for which, found in spent.items():
        low, *_, high = parts = [part * 1e3 for part in statistics.quantiles(found, n=20)]
        print(f"{which:14} {parts[9]:6.2f} ms at the median, {low:.2f} and {high:.2f} at the 5th and 95th percentile")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.tools", description=__doc__)
    parser.add_argument("--database", action="store_true")
    if parser.parse_args().database:
        from bench.leaks.services import own_services
        from bench.quota import own_tenant

        with own_services():
            asyncio.run(in_database(own_tenant()))
    else:
        asyncio.run(main())
