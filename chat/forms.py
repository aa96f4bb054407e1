"""How a turn's answer comes to fit its agent's schema: what its model is told, and what is shown meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from agents.output import asked_for
from agents.runtime.spec import AgentSpec, Choice
from chat import client_tools

if TYPE_CHECKING:
    from chat.turns import TurnRequest

# Doors whose clients put together what they get, and know no way to take something back.
FINAL = frozenset({"openai", "responses", "phase1", "mcp"})


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """schema, mode: as agents.runtime.spec.Turn has them. prompt: what comes to the instructions. parameters: what the
    vendor is asked for."""

    schema: dict[str, Any] = field(default_factory=dict)
    mode: str = "live"
    prompt: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)


def without_form(spec: AgentSpec, request: TurnRequest) -> TurnRequest:
    """The request without the caller's own `response_format`, where the agent has a schema: JSON it is anyway.

    Raises unsupported_parameter for another schema: an answer cannot be held to both.
    """
    form = request.parameters.get("response_format")
    if not spec.output_schema or form is None:
        return request
    if form["type"] == "json_schema":
        raise client_tools.unsupported("response_format", "This agent answers in a schema of its own. Leave it out.")
    kept = {name: value for name, value in request.parameters.items() if name != "response_format"}
    return replace(request, parameters=kept)


def form_of(spec: AgentSpec, request: TurnRequest, stand_ins: tuple[Choice, ...], stream: bool) -> AnswerForm:
    """The form of a turn's answer. One that is continued is not judged: it is half of an answer."""
    schema = spec.output_schema
    if not schema:
        return AnswerForm()
    prompt, parameters = asked_for(schema, (spec.taken, *(one.info for one in stand_ins)))
    if request.continues is not None:
        return AnswerForm(prompt=prompt)
    # What is said between two calls of tools is taken back, so that a run with tools cannot show it either.
    shown = stream and not prompt and not (spec.tools or spec.memory or spec.team)
    mode = "live" if request.door not in FINAL else "once" if shown else "held"
    return AnswerForm(schema, mode, prompt, parameters)
