"""Between the calls of the model of one run: what they used is written down, what the next one may use is held.

So a run never uses more than what is held for it, however often it calls its model, and when its process dies, what
was used is known (chat/recovery.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from psycopg.types.json import Jsonb

from agents.runtime.spec import AgentSpec, Turn
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
STEP_SQL = "SELECT public.usage_step(%s, %s, %s, %s, %s, %s, %s)"


def toolbox_of(run: LiveRun) -> Toolbox | None:
    """The tools of a run that executes here; None for an agent that asks its model once."""
    spec = run.spec
    tools = tools_of(spec, run.turn)
    if not tools and not run.turn.output_schema:
        return None
    tenant, run_id = run.log.tenant, run.log.run_id
    state = RunState(tainted=run.turn.tainted or run.tainted)
    context = ToolContext(
        tenant,
        run.actor,
        run_id,
        spec.slug,
        agent_id=spec.agent_id,
        conversation_id=run.conversation_id,
        state=state,
    )

    async def begins_tainted() -> bool:
        if tainting(run.turn.messages):
            return True
        row = await aio.database().fetch_one(tenant, TAINT_SQL, [run_id])
        return row is None or bool(row[0])

    run.gate = Gate(run_id, begins_tainted, run.turn.may_wait, run.decisions, state)

    async def extend(estimate: int, wanted: int) -> int:
        return await _extend(run, estimate, wanted)

    return Toolbox(tools, context, spec.limits, extend, Journal(), run.gate)


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


async def _extend(run: LiveRun, estimate: int, wanted: int) -> int:
    """How much the next call may write. Raises quota_exceeded, run_token_limit, run_interrupted."""
    row = await aio.database().fetch_one(
        run.log.tenant,
        STEP_SQL,
        [
            run.log.run_id,
            run.log.fence,
            estimate,
            wanted,
            run.spec.limits.tokens,
            Jsonb(calls_of(run), dumps=orjson.dumps),
            Jsonb(terms_of(run.spec.info)),
        ],
    )
    answer: dict[str, Any] | None = row[0] if row is not None else None
    if answer is None:
        raise PaasError("run_interrupted")
    if answer.get("code") == "quota_exceeded":
        raise refusal("quota_exceeded", answer.get("limit"), estimate)
    if "code" in answer:
        raise PaasError(answer["code"])
    return int(answer["granted"])
