"""What a run is to do, as values that another process can pick up: a turn, to and from JSON."""

from __future__ import annotations

import uuid
from dataclasses import fields, replace
from typing import Any

import orjson
from psycopg.types.json import Jsonb

from agents.runtime.spec import Turn
from agents.tools import memory
from core import tracing
from tenants.db import aio
from tenants.scope import TenantRef

# The `host` of reservations that no process holds: any worker may take them. Also where workers hear that there is one.
WORKER = "worker"
APPROVAL = "approval"  # those that wait for a person (chat/parking.py)
RESUME = "resume"  # those that waited: for workers that know how to go on, which those of the release before do not
UNHELD = (WORKER, APPROVAL, RESUME)
# How long a run may wait until a worker takes it; afterwards chat.recovery ends it.
BACKGROUND_LEASE_SECONDS = 24 * 3600
WORKER_LEASE_SECONDS = 600  # of one that somebody waits for

STORE_SQL = (
    "INSERT INTO chat_runtask (run_id, task) VALUES (%s, %s) ON CONFLICT (run_id) DO UPDATE SET task = excluded.task"
)
# Only by whoever holds the run; both are asked of the same row, so one of them comes too late.
BEGUN_SQL = (
    "DELETE FROM chat_runtask t USING public.usage_reservation r "
    "WHERE t.run_id = %s AND r.run_id = t.run_id AND r.fence = %s AND r.state = 'held' RETURNING t.run_id"
)
# The fence rises, so that nothing is written from here any more. Nobody goes on with one that waits for a person.
HAND_OVER_SQL = (
    "WITH t AS (SELECT run_id, task ? 'journal' AS goes_on FROM chat_runtask t WHERE run_id = %s AND NOT EXISTS ("
    "SELECT 1 FROM chat_approval a WHERE a.run_id = t.run_id AND a.status = 'pending') FOR UPDATE) "
    "UPDATE public.usage_reservation r SET host = CASE WHEN t.goes_on THEN 'resume' ELSE 'worker' END, "
    "fence = r.fence + 1, lease_until = now() + %s * interval '1 second' "
    "FROM t WHERE r.run_id = t.run_id AND r.fence = %s AND r.state = 'held' RETURNING r.fence"
)


def lease_seconds(background: bool) -> int:
    """How long a run may wait until a worker takes it."""
    return BACKGROUND_LEASE_SECONDS if background else WORKER_LEASE_SECONDS


def task_of(turn: Turn) -> dict[str, Any]:
    """A turn whose history is not known yet, as JSON.

    `start_turn` adds what only it knows: history, granted, input_tokens; and memories, for a person who is remembered.
    With a trace, `traceparent` says where in it the run goes on.
    """
    return {one.name: getattr(turn, one.name) for one in fields(turn)} | tracing.carried()


def with_history(turn: Turn, history: list[dict[str, Any]] | None, granted: int) -> Turn:
    """The turn as it is run: with the conversation's history, and the output that was granted."""
    before, new = turn.messages[: turn.instructions], turn.messages[turn.instructions :]
    messages = before + (history or []) + new
    return replace(turn, messages=messages, max_output_tokens=granted)


def with_memories(turn: Turn, memories: list[dict[str, Any]] | None) -> Turn:
    """The turn with what its agent noted about who asks.

    memories: as `memories_for` found them; None: the person has switched memory off.
    """
    if memories is None:
        return replace(turn, memory=False)
    if not memories:
        return turn
    first = turn.messages[0]["content"] + "\n\n" if turn.instructions else ""
    told = {"role": "system", "content": first + memory.told(memories)}
    tainted = any(one["tainted"] for one in memories)
    messages = [told, *turn.messages[turn.instructions :]]
    return replace(turn, messages=messages, tainted=tainted, instructions=1)


def turn_of(task: dict[str, Any]) -> Turn:
    """The turn of a stored task."""
    names = {one.name for one in fields(Turn)}
    turn = Turn(**{name: value for name, value in task.items() if name in names})
    if "memories" in task:
        turn = with_memories(turn, task["memories"])
    return with_history(turn, task["history"], task["granted"])


def whole(turn: Turn, input_tokens: int) -> dict[str, Any]:
    """A turn whose history is known, as JSON."""
    known = {"history": [], "granted": turn.max_output_tokens, "input_tokens": input_tokens}
    return task_of(turn) | known


async def store(tenant: TenantRef, run_id: uuid.UUID, turn: Turn, input_tokens: int) -> None:
    """Write down what a run that waits is to do, so that a worker can go on with it."""
    task = whole(turn, input_tokens)
    await aio.database().fetch_one(tenant, STORE_SQL, [run_id, Jsonb(task, dumps=orjson.dumps)])


async def begun(tenant: TenantRef, run_id: uuid.UUID, fence: int) -> bool:
    """From now on nobody may begin this run again: its model may be called. False: it is somebody else's already."""
    return await aio.database().fetch_one(tenant, BEGUN_SQL, [run_id, fence]) is not None


async def hand_over(tenant: TenantRef, run_id: uuid.UUID, fence: int) -> bool:
    """Leave a run that has not begun to the workers; whether there was one that the caller could leave."""
    found = await aio.database().fetch_one(tenant, HAND_OVER_SQL, [run_id, BACKGROUND_LEASE_SECONDS, fence])
    return found is not None
