"""What is said of the calls that are open in the log of a run that ends without having ended them: its process died, or
nobody has decided.

A call is written into the journal before it is made and after it (P48), and its end goes into the log behind that. So
the journal knows of a call what the log does not, and where it does not know the end either, nobody does.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable
from typing import Any

from agents.models import ToolCall
from agents.runtime.events import (
    APPROVAL_DECIDED,
    APPROVAL_REQUESTED,
    TOOL_FINISHED,
    TOOL_STARTED,
    Event,
    approval_decided,
)

CLOSED = "The run has ended before this call did."
NOT_MADE = "The run has ended before this call was made."
UNKNOWN = "The run has ended during this call, and nobody knows whether it took place. Look there before you ask again."

# (tool, how the journal says that a call of it has ended: None, it does not) -> how many
Journalled = Counter[tuple[str, bool | None]]


def journalled(run_id: uuid.UUID) -> Journalled:
    """The calls of a run that were about to be made. Bound to the tenant."""
    return Counter(ToolCall.objects.filter(run_id=run_id).values_list("name", "ok"))


def closing(events: Iterable[Event], made: Journalled) -> list[Event]:
    """What closes what is open: its approvals, and its calls."""
    approvals: dict[str, dict[str, Any]] = {}
    calls: dict[tuple[str, str], dict[str, Any]] = {}
    succeeded: Counter[str] = Counter()
    for kind, data in events:
        if kind == TOOL_STARTED:
            calls[data.get("path", ""), data["call_id"]] = data
        elif kind == TOOL_FINISHED:
            calls.pop((data.get("path", ""), data["call_id"]), None)
            succeeded[data["name"]] += data.get("ok", True)
        elif kind == APPROVAL_REQUESTED:
            approvals[data["approval_id"]] = data
        elif kind == APPROVAL_DECIDED:
            approvals.pop(data["approval_id"], None)
    decided = [
        approval_decided(_named(data, "approval_id", "call_id", "path"), "expired", None, "")
        for data in approvals.values()
    ]
    return decided + [_closed(data, made, succeeded[data["name"]]) for data in calls.values()]


def _closed(call: dict[str, Any], made: Journalled, succeeded: int) -> Event:
    name = call["name"]
    # Of calls that failed the log may know another reason than the journal, so one of those says nothing for sure.
    uncertain = made[name, None] or made[name, False] or made[name, True] > succeeded
    error = CLOSED if call.get("effect", "read") == "read" else UNKNOWN if uncertain else NOT_MADE
    told = {"result": None, "error": error, "ok": False, "duration_ms": 0}
    return TOOL_FINISHED, _named(call, "call_id", "name", "effect", "path") | told


def _named(data: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: data[name] for name in names if name in data}
