"""A team at work in a run: whose models its members ask, and what each of their calls holds and used.

Every call is written into the run's reservation before it is made, with who is asked at which price, and what it may
use. So members that work side by side never use more together than is held, and whoever ends a run whose process died
finds all of its calls there (chat/recovery.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any

from agents.runtime.chain import Chain
from agents.runtime.events import (
    AGENT_DELTA,
    AGENT_FINISHED,
    AGENT_STARTED,
    REASONING_DELTA,
    TEXT_DELTA,
    TOOL_DELTA,
    TOOL_STARTED,
    Event,
)
from agents.runtime.python import client_of
from agents.runtime.spec import Choice, ModelCall
from agents.runtime.team import STOPPED, Speaker
from agents.runtime.trace import Trace
from agents.tools.journal import Journal
from agents.tools.spec import BoundTool
from agents.tools.toolbox import Extend, Toolbox
from chat import fallbacks
from chat.finish import usage_of_call, used_by
from chat.steps import NextCall, context_of, gate_of, step
from chat.terms import terms_of
from core.errors import PaasError
from llm.catalog import UNKNOWN, ModelInfo
from llm.features import TOOLS
from llm.registry import ChatClient
from llm.tokens import estimate_tokens

if TYPE_CHECKING:
    from chat.host import LiveRun

SPOKEN = (TEXT_DELTA, REASONING_DELTA, TOOL_DELTA)
PRICES = ("input_price", "output_price", "cached_price", "reasoning_price")


class TeamBacking:
    """An `agents.runtime.team.Backing` for a run that executes here."""

    def __init__(self, run: LiveRun, trace: Trace) -> None:
        self._run = run
        self.trace = trace
        run.gate = self._gate = gate_of(run)
        # Each step writes down all calls so far, so they come one after the other.
        self._stepping = asyncio.Lock()

    def client(self, speaker: Speaker) -> ChatClient:
        """The speaker's own model, and those of its fallbacks that may answer this caller."""
        spec, run = speaker.spec, self._run
        if spec.answer is not None:
            return client_of(spec, speaker.turn)

        async def change(choice: Choice, error: PaasError) -> None:
            call = speaker.call
            assert call is not None
            speaker.choice = call.choice = choice
            async with self._stepping:
                run.transcript.model_calls = [one for one in run.transcript.model_calls if one is not call]
                asked = call.granted
                if await self._held(call, asked) < asked:
                    raise PaasError("quota_exceeded")  # it is asked for as much already
            fallbacks.changed(run, choice, error, speaker.place.path)

        able = [one for one in spec.fallbacks if one.key in run.turn.fallbacks]
        able = [one for one in able if TOOLS in one.info.features or not (spec.tools or spec.team)]
        choices = [spec.choice, *able]
        for call in run.earlier:  # whoever has begun to answer before the run waited stays the member's model
            if call.get("path") == speaker.place.path:
                asked = (call["provider"], call["model"])
                choices = [one for one in (spec.choice, *spec.fallbacks) if (one.provider_name, one.model) == asked]
        choices = choices or [spec.choice]  # its account has another name by now
        speaker.choice = choices[0]
        return Chain(choices, change)

    def toolbox(self, speaker: Speaker, tools: tuple[BoundTool, ...], extend: Extend) -> Toolbox:
        """The speaker's tools, with the rights of whoever asked the team."""
        spec = speaker.spec
        context = context_of(self._run, spec, self._gate)
        return Toolbox(tools, context, spec.limits, extend, Journal(), self._gate, speaker.place.tally)

    async def hold(self, call: ModelCall, wanted: int) -> int:
        """As `chat.steps.step`."""
        async with self._stepping:
            return await self._held(call, wanted)

    async def _held(self, call: ModelCall, wanted: int) -> int:
        run, choice = self._run, call.choice
        assert choice is not None
        call.since = len(run.log.events)
        terms = terms_of(choice.info) | {"primary": run.spec.info.currency, "call": _written(call)}
        calls = [
            *run.earlier,
            *(_written(one) | ({} if one.ended else _hold(one)) for one in run.transcript.model_calls),
        ]
        call.granted = await step(run, NextCall(call.input_estimate, wanted, calls, terms))
        run.transcript.model_calls.append(call)
        return call.granted


def calls_of_lost(calls: list[dict[str, Any]], events: list[Event]) -> list[dict[str, Any]]:
    """What the calls of a team's run used whose process died: those that were being made are counted from its log."""
    return [_counted(call, events) if "hold_tokens" in call else call for call in calls]


def ends_of_lost(events: Iterable[Event]) -> list[Event]:
    """The ends of the members that had begun when the process died, the innermost first."""
    open_paths: dict[str, None] = {}
    for kind, data in events:
        if kind == AGENT_STARTED:
            open_paths[data["path"]] = None
        elif kind == AGENT_FINISHED:
            open_paths.pop(data["path"], None)
    end = {"ok": False, "content": None, "error": STOPPED, "duration_ms": 0}
    return [(AGENT_FINISHED, {"path": path} | end) for path in reversed(open_paths)]


def _written(call: ModelCall) -> dict[str, Any]:
    """A call as it is written down."""
    place = {"path": call.path, "speaks": call.speaks, "since": call.since, "estimate": call.input_estimate}
    return (usage_of_call if call.ended else used_by)(call, UNKNOWN) | place


def _hold(call: ModelCall) -> dict[str, int]:
    """What a call that is being made may use, as usage_step writes it for the call that it is asked for."""
    assert call.choice is not None
    terms = terms_of(call.choice.info)
    price_in, price_out = (Decimal(terms[name] or 0) * 1000 for name in ("input_price", "output_price"))
    cost = (call.input_estimate * price_in + call.granted * price_out).to_integral_value(ROUND_CEILING)
    return {"hold_tokens": call.input_estimate + call.granted, "hold_cost": int(cost)}


def _counted(written: dict[str, Any], events: list[Event]) -> dict[str, Any]:
    """A token for each piece of what the member said since, and its calls of tools as they can be estimated."""
    deltas = 0
    for kind, data in events[written["since"] :]:
        path = data.get("path", "")
        if kind == AGENT_DELTA:
            deltas += path == written["path"]
        elif kind in SPOKEN:
            deltas += written["speaks"]
        elif kind == TOOL_STARTED and path == written["path"]:
            deltas += estimate_tokens(str(data["arguments"])) + 1
    prices = {name: None if written[name] is None else Decimal(written[name]) for name in PRICES}
    info = ModelInfo(currency=written["currency"], **prices)  # type: ignore[arg-type]
    counted = usage_of_call(ModelCall(written["estimate"], deltas), info)
    return counted | {name: written[name] for name in ("provider", "model")}
