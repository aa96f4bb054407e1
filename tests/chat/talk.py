"""Turns without a door: start one, read its log."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import Any

from agents.runtime.events import REASONING_DELTA, TERMINAL, TEXT_DELTA, Event
from chat import turns
from chat.follow import follow
from chat.turns import StartedTurn, TurnRequest


@dataclass
class Told:
    """A run's log as a follower got it."""

    run_id: uuid.UUID
    events: list[tuple[int, Event]] = field(default_factory=list)
    started: StartedTurn | None = None

    @property
    def numbers(self) -> list[int]:
        return [number for number, _ in self.events]

    @property
    def kinds(self) -> list[str]:
        return [kind for _, (kind, _) in self.events]

    def _joined(self, wanted: str) -> str:
        return "".join(data["text"] for _, (kind, data) in self.events if kind == wanted)

    @property
    def text(self) -> str:
        return self._joined(TEXT_DELTA)

    @property
    def reasoning(self) -> str:
        return self._joined(REASONING_DELTA)

    @property
    def end(self) -> dict[str, Any]:
        """The data of the one terminal event, which is the last."""
        assert [kind in TERMINAL for kind in self.kinds] == [False] * (len(self.kinds) - 1) + [True], self.kinds
        return self.events[-1][1][1]

    @property
    def conversation_id(self) -> uuid.UUID:
        assert self.started is not None
        assert self.started.conversation_id is not None
        return self.started.conversation_id


async def start(actor: Any, message: str = "hi", *, agent: str = "assistant", **fields: Any) -> StartedTurn:
    """A turn that runs."""
    if fields.get("retry") or fields.get("messages") is not None:
        message = ""
    return await turns.start_turn(actor, TurnRequest(door="test", agent=agent, message=message, **fields))


async def read(tenant: Any, run_id: uuid.UUID, after: int = 0, *, limit: int | None = None) -> Told:
    """The log from `after` to its end, or its next `limit` events."""
    told = Told(run_id)
    batches = follow(tenant, run_id, after)
    async with asyncio.timeout(20):
        async for first, events in batches:
            told.events += [(first + offset, event) for offset, event in enumerate(events)]
            if limit is not None and len(told.events) >= limit:
                del told.events[limit:]
                break
    await batches.aclose()
    return told


async def ask(actor: Any, message: str = "hi", **fields: Any) -> Told:
    """A turn and its whole log."""
    started = await start(actor, message, **fields)
    told = await read(actor.tenant, started.run_id)
    told.started = started
    return told
