"""Agents written in Python, registered under a slug by a decorator. Every tenant has all of them.

    @python_agent("echo_agent", name="Echo", description="Answers with what it was told.")
    async def echo_agent(turn: Turn) -> AsyncGenerator[Delta, None]:
        yield TextDelta(f"Echo: {task_of(turn)}")

Such an agent streams, is recorded, reserves and settles tokens and is listed like one made in the portal; it costs
nothing, because no model is asked. `model_agent` registers one that asks the tenant's own default model instead. An
agent of a tenant's own with the same slug takes its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agents.runtime.spec import Answer, Turn

KIND = "builtin"


@dataclass(frozen=True, slots=True)
class BuiltinAgent:
    """One registered agent. answer None: the tenant's default model answers, under `instructions`, with `tools`
    (agents/tools/registry.py), if it is known to use tools."""

    slug: str
    name: str
    description: str
    module: str
    class_name: str
    answer: Answer | None = None
    instructions: str = ""
    tools: tuple[str, ...] = ()


_agents: dict[str, BuiltinAgent] = {}


def python_agent(slug: str, *, name: str, description: str) -> Callable[[Answer], Answer]:
    """Registers the decorated async generator as the agent `slug`. Raises ValueError for a slug that is taken."""

    def register(answer: Answer) -> Answer:
        _add(BuiltinAgent(slug, name, description, answer.__module__, _class_name(slug), answer))
        return answer

    return register


def model_agent(
    slug: str, *, name: str, description: str, instructions: str, module: str, tools: tuple[str, ...] = ()
) -> None:
    """Registers an agent that answers with the tenant's default model. Raises ValueError for a slug that is taken."""
    _add(BuiltinAgent(slug, name, description, module, _class_name(slug), None, instructions, tools))


def builtin(slug: str) -> BuiltinAgent | None:
    """The registered agent with this slug, or None."""
    return _agents.get(slug)


def builtins() -> list[BuiltinAgent]:
    """All registered agents, in the order of their registration."""
    return list(_agents.values())


def task_of(turn: Turn) -> str:
    """What the caller said last."""
    asked = [message["content"] for message in turn.messages if message.get("role") == "user"]
    content = asked[-1] if asked else ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if isinstance(part, dict))


def _add(agent: BuiltinAgent) -> None:
    if agent.slug in _agents:
        raise ValueError(f"There is an agent {agent.slug!r} already.")
    _agents[agent.slug] = agent


def _class_name(slug: str) -> str:
    """As clients of Phase 1 are shown it: `echo_agent` is EchoAgent."""
    return "".join(word.capitalize() for word in slug.split("_"))
