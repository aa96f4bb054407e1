"""Between the calls of the model of one run: what they used is written down, what the next one may use is held.

So a run never uses more than what is held for it, however often it calls its model, and when its process dies, what
was used is known (chat/recovery.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from psycopg.types.json import Jsonb

from agents.runtime.spec import AgentSpec, ModelCall, Turn
from agents.tools.gate import Gate, tainting
from agents.tools.journal import Journal
from agents.tools.memory import MEMORY_TOOLS
from agents.tools.spec import BoundTool, RunState, ToolContext
from agents.tools.toolbox import Toolbox
from chat.finish import usage_of_call
from chat.terms import terms_of
from core.errors import PaasError
from tenants.db import aio
from usage.standings import refusal

if TYPE_CHECKING:
    from chat.host import LiveRun

TAINT_SQL = "SELECT run_taint(%s)"
STEP_SQL = "SELECT public.usage_step(%s, %s, %s, %s, %s, %s, %s, NULL::chat_run)"


def toolbox_of(run: LiveRun) -> Toolbox | None:
    """The tools of a run that executes here; None for an agent that asks its model once."""
    spec = run.spec
    tools = tools_of(spec, run.turn)
    if not tools and not run.turn.output_schema:
        return None
    run.gate = gate = gate_of(run)

    async def extend(call: ModelCall, wanted: int) -> int:
        if call.step is None or call.step.index == 0:
            return wanted  # start_turn has held the first one
        return await step(run, NextCall(call.input_estimate, wanted, calls_of(run), terms_of(run.spec.info)))

    return Toolbox(tools, context_of(run, spec, gate), spec.limits, extend, Journal(), gate)


def gate_of(run: LiveRun) -> Gate:
    """What says which of the run's calls of tools wait for a person."""
    tenant, run_id = run.log.tenant, run.log.run_id

    async def begins_tainted() -> bool:
        if tainting(run.turn.messages):
            return True
        row = await aio.database().fetch_one(tenant, TAINT_SQL, [run_id])
        return row is None or bool(row[0])

    state = RunState(run.turn.tainted or run.tainted, run.numbers)
    return Gate(run_id, begins_tainted, run.turn.may_wait, run.decisions, state)


def context_of(run: LiveRun, spec: AgentSpec, gate: Gate) -> ToolContext:
    """For whom the tools of an agent of the run work."""
    return ToolContext(
        run.log.tenant,
        run.actor,
        run.log.run_id,
        spec.slug,
        agent_id=spec.agent_id,
        conversation_id=run.conversation_id,
        state=gate.state,
    )


def tools_of(spec: AgentSpec, turn: Turn) -> tuple[BoundTool, ...]:
    """The tools of a run: its agent's, and those of memory where it has one of who asks; they win a name."""
    if not turn.memory:
        return spec.tools
    taken = {one.spec.name for one in MEMORY_TOOLS}
    return tuple(one for one in spec.tools if one.spec.name not in taken) + MEMORY_TOOLS


def calls_of(run: LiveRun) -> list[dict[str, Any]]:
    """What the run's calls of models have used, those of before it waited first, as usage_step and usage_park keep it.

    upto: how many events of its log they account for. Only when no call is being answered.
    """
    own = [usage_of_call(call, run.spec.info) for call in run.transcript.model_calls]
    events = len(run.log.events)
    return [call | {"upto": events} for call in (*run.earlier, *own)]


@dataclass(frozen=True, slots=True)
class NextCall:
    """What a run is about to ask a model: an estimate of what that reads, the most it may write, the run's calls so far
    and the prices of this one, as public.usage_step takes them."""

    estimate: int
    wanted: int
    calls: list[dict[str, Any]]
    terms: dict[str, Any]


async def step(run: LiveRun, asked: NextCall) -> int:
    """Hold it; how much it may write. Raises quota_exceeded, model_unpriced, run_token_limit, run_interrupted."""
    row = await aio.database().fetch_one(
        run.log.tenant,
        STEP_SQL,
        [
            run.log.run_id,
            run.log.fence,
            asked.estimate,
            asked.wanted,
            run.spec.limits.tokens,
            Jsonb(asked.calls, dumps=orjson.dumps),
            Jsonb(asked.terms, dumps=orjson.dumps),
        ],
    )
    answer: dict[str, Any] | None = row[0] if row is not None else None
    if answer is None:
        raise PaasError("run_interrupted")
    code = answer.get("code")
    if code in ("quota_exceeded", "model_unpriced"):
        raise refusal(code, answer.get("limit"), asked.estimate)
    if code:
        raise PaasError(code)
    return int(answer["granted"])
