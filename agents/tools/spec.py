"""What a tool is, as a value. The engine knows nothing else about one, wherever it comes from."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from accounts.actors import Actor
from tenants.scope import TenantRef

Effect = Literal["read", "write", "egress"]
# When a call waits for a person, from the loosest to the strictest: never; where what was read could have asked for it
# and it does more than read; always.
APPROVALS = ("never", "tainted", "always")


@dataclass(frozen=True)
class ToolResult:
    """What a tool says to the model. data: the same for programs, if there is more to it than text. sources: the
    passages in it, as events.SourceCitedData."""

    text: str
    data: Any = None
    is_error: bool = False
    sources: tuple[dict[str, Any], ...] = ()


@dataclass
class RunState:
    """What the calls of one run share. tainted: the model has read what nobody vouches for (ToolSpec.tainted).

    numbers: of the passages that it was shown, by the passages' ids.
    """

    tainted: bool = False
    numbers: dict[str, int] = field(default_factory=dict)


class Beside(Protocol):
    """The agent's own model, for what a tool asks it beside the conversation (agents/runtime/aside.py)."""

    @property
    def conversation(self) -> list[tuple[str, str]]:
        """(`user` or `assistant`, what they said), the oldest first: the last is what is being answered."""
        ...

    async def ask(self, number: int, asked: str, messages: Sequence[dict[str, Any]], most_tokens: int) -> str:
        """What it says. Raises PaasError, also where too few tokens are left."""
        ...


@dataclass(frozen=True)
class ToolContext:
    """For whom a tool works: the actor of the run, whose rights are all it has, and the agent's settings for it.

    number: which of the agent's steps in this run the call is; the same one when the run goes on after it has waited.
    beside: None where no agent calls the tool.
    """

    tenant: TenantRef
    actor: Actor
    run_id: uuid.UUID
    agent_slug: str
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    agent_id: uuid.UUID | None = None
    conversation_id: uuid.UUID | None = None
    state: RunState = field(default_factory=RunState)
    number: int = 0
    beside: Beside | None = None


@dataclass(frozen=True)
class ToolSpec:
    """One tool that a model can be offered.

    name: 1 to 64 letters, digits, _ or -. parameters: a JSON schema of an object. effect: what a call does to the
    world: it reads what is here, changes something, or asks a host outside. tainted: what it returns comes from
    outside, so nobody vouches for it. call: raises PaasError with a sentence for the model, or anything else, which
    is only logged; it is cancelled when the run is stopped or its time is up. delegates: another agent of the run does
    it, so it has the run's time and no entry of its own among the calls of tools. kind: whose it is: `builtin`, else
    of what kind (`http`, `mcp`), which is all that metrics tell of it. definition: of a workspace's own tool a digest
    of all that decides what a call sends where; an approval is of this, too. "": the platform's.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    effect: Effect
    call: Callable[[ToolContext, dict[str, Any]], Awaitable[ToolResult]]
    tainted: bool = False
    kind: str = "builtin"
    delegates: bool = False
    definition: str = ""


@dataclass(frozen=True)
class BoundTool:
    """A tool as one version of an agent has it. settings: what the version says about it. approval: of APPROVALS."""

    spec: ToolSpec
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    approval: str = "tainted"

    @property
    def offer(self) -> dict[str, Any]:
        """As models are offered it, in the shape of OpenAI's chat completions."""
        spec = self.spec
        shown = {"name": spec.name, "description": spec.description, "parameters": spec.parameters}
        return {"type": "function", "function": shown}


@dataclass(frozen=True)
class RunLimits:
    """Where a run with tools ends, at the latest (P56). steps: calls of the model. seconds: of the whole run.

    tool_seconds: of one call of a tool; the model is told, and the run goes on.
    """

    steps: int = 10
    tool_calls: int = 20
    seconds: int = 300
    tokens: int | None = None
    tool_seconds: int = 30
