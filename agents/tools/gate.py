"""What keeps text from outside from acting: calls that wait for a person (P54, A63).

From the first result of a tainted tool on, a run's calls of tools that write or ask hosts outside are made only when a
person has seen and approved them, argument by argument. What a workspace says of a tool may loosen or tighten that. A
tool that was changed after a call of it was approved is asked for again.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from agents.runtime.trace import Step
from agents.tools.spec import APPROVALS, BoundTool, RunState, ToolSpec
from core.ids import uuid7

Reason = Literal["tainted", "policy", "changed"]
NO_PERSON = "This call needs a person's approval, which this way of asking does not have. It was not made."
DENIED = "A person has denied this call. It was not made."
EXPIRED = "Nobody approved this call in time. It was not made."


class AwaitsApproval(Exception):
    """A run cannot go on before a person has decided on `Gate.asked`."""

    is_pause = True  # for core.tracing: nothing has failed


@dataclass(frozen=True)
class Decision:
    """What was decided on one call, with exactly these arguments, of the tool as it was. by: the person's id; "" where
    nobody did."""

    decision: Literal["approved", "denied", "expired"]
    arguments_hash: str
    by: str = ""
    note: str = ""


@dataclass(frozen=True)
class Request:
    """A call that waits. effect: what the tool does."""

    approval_id: uuid.UUID
    step: Step
    spec: ToolSpec
    arguments_hash: str
    reason: Reason

    @property
    def call_id(self) -> str:
        """The call's id, as the model's answer has it."""
        return self.step.call_id


@dataclass
class Gate:
    """Decides on the calls of one run, all members of a team together.

    begins_tainted: whether what the run began with is to be trusted as little; asked once, when it first matters.
    may_wait: the run can wait for a person; if not, such calls are refused. decisions: by approval's id. state: what
    the run's tools share; the toolbox says there when something from outside was read.
    """

    run_id: uuid.UUID
    begins_tainted: Callable[[], Awaitable[bool]]
    may_wait: bool = False
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    state: RunState = field(default_factory=RunState)
    asked: list[Request] = field(default_factory=list)
    _looked: bool = False

    async def refusal(self, tool: BoundTool, step: Step) -> str:
        """Why a call may not be made, as a sentence for the model; "" when it may. Raises AwaitsApproval."""
        digest = hash_of(self.run_id, step, tool.spec.definition)
        decided = self.decisions.get(step.approval_id)
        # An approval of another call, or of the tool before it was changed, says nothing. What was denied stays so.
        if decided is not None and (decided.arguments_hash == digest or decided.decision != "approved"):
            return _sentence(decided)
        reason = await self._reason(tool) if decided is None else "changed"
        if reason is None:
            return ""
        if not self.may_wait:
            return NO_PERSON
        request = Request(uuid7(), step, tool.spec, digest, reason)
        step.approval_id = str(request.approval_id)
        self.asked.append(request)
        raise AwaitsApproval

    @property
    def tainted(self) -> bool:
        """Whether something from outside is known to have been read."""
        return self.state.tainted

    async def _reason(self, tool: BoundTool) -> Reason | None:
        if tool.approval == "always":
            return "policy"
        if tool.approval == "never" or tool.spec.effect == "read":
            return None
        if not self.tainted and not self._looked:
            self._looked, tainted = True, await self.begins_tainted()
            self.state.tainted = self.state.tainted or tainted
        return "tainted" if self.tainted else None


def _sentence(decided: Decision) -> str:
    if decided.decision == "approved":
        return ""
    if decided.decision == "expired":
        return EXPIRED
    return f"{DENIED} They say: {decided.note}" if decided.note else DENIED


def hash_of(run_id: uuid.UUID, step: Step, definition: str = "") -> str:
    """SHA-256, in hex, of which tool is called with what in which call of which run. definition: of the tool."""
    bound = {"run": str(run_id), "path": step.path, "call": step.key, "tool": step.name, "arguments": step.input}
    bound |= {"definition": definition} if definition else {}
    return hashlib.sha256(orjson.dumps(bound, option=orjson.OPT_SORT_KEYS)).hexdigest()


def stricter(*wanted: str) -> str:
    """The strictest of what workspace and version say of a tool; what is unknown counts as the default."""
    known = [one if one in APPROVALS else "tainted" for one in wanted]
    return max(known, key=APPROVALS.index)


def tainting(messages: Iterable[Mapping[str, Any]]) -> bool:
    """Whether messages hold what a caller's tools said, or something that is not text, such as images."""
    return any(one.get("role") == "tool" or _parts(one.get("content")) for one in messages)


def _parts(content: Any) -> bool:
    if not isinstance(content, list):
        return False
    return any(not isinstance(part, dict) or part.get("type") not in ("text", "refusal") for part in content)
