"""Whose model answers a run: its agent's own, or one of those that stand in for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from accounts.actors import Actor
from agents.runtime.chain import Chain
from agents.runtime.events import model_changed
from agents.runtime.python import client_of
from agents.runtime.spec import AgentSpec, Choice
from chat import client_tools
from core.errors import PaasError
from llm.breaker import breaker_for
from llm.features import TOOLS
from llm.registry import ChatClient
from tenants.db import aio

if TYPE_CHECKING:
    from chat.host import LiveRun
    from chat.turns import TurnRequest

log = structlog.get_logger(__name__)

# Before the vendor is asked, so that whoever ends this run bills the model that answered, also after a crash.
CHANGE_SQL = (
    "UPDATE public.usage_reservation SET provider = %s, model = %s "
    "WHERE run_id = %s AND fence = %s AND state = 'held' RETURNING run_id"
)


def usable(actor: Actor, spec: AgentSpec, request: TurnRequest) -> tuple[Choice, ...]:
    """The fallbacks, of a team also its members', that this caller may be answered by and that can do what is asked."""
    return tuple(
        one
        for agent in spec.askable
        for one in agent.fallbacks
        if actor.may_use(spec.slug, one.model) and _can(one, agent, request)
    )


def _can(choice: Choice, spec: AgentSpec, request: TurnRequest) -> bool:
    if (spec.tools or spec.memory or spec.team) and TOOLS not in choice.info.features:
        return False
    try:
        client_tools.check_model(choice.info, request.messages, request.tools, request.parameters)
    except PaasError:
        return False
    return True


def check_vendors(spec: AgentSpec, stand_ins: tuple[Choice, ...]) -> None:
    """Raises provider_unavailable, and when to come back, where each of the models is being left alone by this process:
    before anything is held or written, for nothing could answer. A team's members are looked at when they are asked."""
    if spec.answer is None and spec.asks:
        asked = ((spec.provider, spec.model), *((one.provider, one.model) for one in stand_ins))
        if wait := min(breaker_for(provider, model).wait for provider, model in asked):
            raise PaasError("provider_unavailable", retry_after=wait)


def client_of_run(run: LiveRun) -> ChatClient:
    """Who answers the run. With every change of the model the run's reservation, its spec and its log follow."""
    spec = run.spec
    if spec.answer is not None:
        return client_of(spec, run.turn)
    choices = [spec.choice, *(one for one in spec.fallbacks if one.key in run.turn.fallbacks)]

    async def change(choice: Choice, error: PaasError) -> None:
        params = [choice.provider_name, choice.model, run.log.run_id, run.log.fence]
        if await aio.database().fetch_one(run.log.tenant, CHANGE_SQL, params) is None:
            raise PaasError("run_interrupted")
        run.spec = spec.answered_by(choice)
        changed(run, choice, error)

    return Chain(choices, change)


def changed(run: LiveRun, choice: Choice, error: PaasError, path: str = "") -> None:
    """Tell that another model is asked; path: for which member of a team."""
    run.log.append([model_changed(choice.model, error.code, path)])
    log.info("another model answers", run=str(run.log.run_id), model=choice.model, error=error.code)
