"""Ends a run, exactly once: message, status, settled tokens, usage record and log in one transaction."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from psycopg.types.json import Jsonb

from agents.runtime.events import MESSAGE_COMPLETED, RUN_CANCELLED, RUN_COMPLETED, RUN_FAILED, Event
from agents.runtime.spec import ModelCall, Transcript
from chat.log import RunLog, encode_events
from core.errors import PaasError
from core.ids import uuid7
from llm.catalog import ModelInfo
from llm.deltas import UsageReport
from tenants.db import aio
from usage.money import Counts, Rates, call_cost

if TYPE_CHECKING:
    from chat.host import LiveRun

log = structlog.get_logger(__name__)

FINISH_SQL = "SELECT finish_turn(%s, %s)"
RETRY_SECONDS = 0.5
MOST_TOKENS = 10**9  # of one run; the longest contexts are a thousandth of it
MESSAGE_STATUS = {"completed": "complete", "cancelled": "stopped", "failed": "failed"}


@dataclass(frozen=True, slots=True)
class Continued:
    """The answer that a run continues, and what it said before."""

    message_id: uuid.UUID
    content: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended and what it leaves."""

    status: str
    finish_reason: str
    error: PaasError | None
    content: str
    reasoning: str
    conversation_id: uuid.UUID | None
    message_id: uuid.UUID | None
    usage: dict[str, Any]  # as public.usage_settle takes it
    before: str = ""  # what the answer said already, where it was continued; `content` is what came to it
    trace: dict[str, Any] | None = None  # agents.runtime.trace.Trace.document
    tainted: bool = False  # something that it read came from outside
    first_ms: int | None = None  # from the turn's start to its first token

    @property
    def shown_usage(self) -> dict[str, Any]:
        """The `usage` of the terminal event."""
        names = (
            "input_tokens",
            "output_tokens",
            "cached_tokens",
            "reasoning_tokens",
            "counted",
            "cost",
            "currency",
        )
        shown = {name: self.usage[name] for name in names}
        return shown | ({"costs": self.usage["costs"]} if "costs" in self.usage else {})

    def events(self) -> list[Event]:
        """The run's last two events."""
        message = {
            "message_id": str(self.message_id) if self.message_id else None,
            "content": self.before + self.content,
            "finish_reason": self.finish_reason,
        }
        usage = self.shown_usage
        if self.status == "completed":
            end: Event = (RUN_COMPLETED, {"finish_reason": self.finish_reason, "usage": usage})
        elif self.status == "cancelled":
            end = (RUN_CANCELLED, {"usage": usage})
        else:
            error = self.error or PaasError("internal_error")
            end = (
                RUN_FAILED,
                {"code": error.code, "message": error.message, "retryable": error.retryable, "usage": usage},
            )
        return [(MESSAGE_COMPLETED, message), end]


def outcome_of(run: LiveRun, error: PaasError | None) -> Outcome:
    """What a live run ends as: stopped by a person, failed with `error`, or completed."""
    stopped = run.stop_code == "cancelled"
    status = "cancelled" if stopped else "failed" if error else "completed"
    reason = {"cancelled": "cancelled", "failed": "error"}.get(status, run.transcript.finish_reason)
    actor, spec, trace = run.actor, run.spec, run.trace
    usage = usage_of(run.transcript, run.input_estimate, spec.info, run.earlier)
    if trace is not None:
        trace.end_all(error.code if error else status)
    who = {"user_id": actor.user_id, "key_id": actor.key_id, "agent_id": spec.agent_id}
    return Outcome(
        status=status,
        finish_reason=reason,
        error=error,
        content=run.transcript.content,
        reasoning="".join(run.transcript.reasoning),
        conversation_id=run.conversation_id,
        message_id=message_id_for(run.conversation_id, run.continued),
        usage=usage | who,
        before=run.continued.content if run.continued else "",
        trace=trace.document() if trace else None,
        tainted=run.tainted,
        first_ms=None if run.first_seconds is None else round(run.first_seconds * 1000),
    )


def message_id_for(conversation_id: uuid.UUID | None, continued: Continued | None) -> uuid.UUID | None:
    """The answer that a run leaves: the one it continues, a new one, or none."""
    if continued is not None:
        return continued.message_id
    return uuid7() if conversation_id else None


def usage_of(
    transcript: Transcript, input_estimate: int, info: ModelInfo, earlier: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Tokens and cost: what the vendor reported; what was counted when it never did.

    Counted: a delta is a token (vendors send one token a chunk), and the input as estimated, once the
    vendor has begun to answer. A vendor that never answered is assumed to bill nothing. A report that no call
    can have used is not believed: no counter could hold it, and the run has to end.
    A run with tools has one set of numbers for each call of the model in `calls`, and their sums. earlier: of calls
    that another process has made for this run.
    """
    if transcript.model_calls or earlier:
        own = [usage_of_call(call, info) for call in transcript.model_calls]
        if not own:
            own = [usage_of(transcript, input_estimate, info)]
        return _summed([*(earlier or ()), *own], info)
    report = None
    if transcript.input_tokens is not None:
        report = UsageReport(
            transcript.input_tokens,
            transcript.output_tokens or 0,
            transcript.cached_tokens,
            transcript.reasoning_tokens,
        )
    return usage_of_call(ModelCall(input_estimate, transcript.deltas, report), info)


def usage_of_call(call: ModelCall, info: ModelInfo) -> dict[str, Any]:
    """As `usage_of`, of one call of a model that has ended. What was said of it once stays."""
    if call.booked is None:
        call.booked = used_by(call, info)
        if call.step is not None:
            call.step.usage = call.booked
    return call.booked


def used_by(call: ModelCall, info: ModelInfo) -> dict[str, Any]:
    """What one call of a model has used so far, at the prices of the model that it names, else at those of `info`."""
    info = call.choice.info if call.choice else info
    counts = call.report
    if counts is None or any(not 0 <= count <= MOST_TOKENS for count in counts):
        counts = UsageReport(call.input_estimate if call.deltas else 0, call.deltas, 0, 0)
        reported = False
    else:
        reported = True
    tokens_in, tokens_out, cached, reasoning = counts
    cost = cost_of(info, tokens_in, tokens_out, cached, reasoning)
    return {
        "record_id": uuid7(),
        "input_tokens": tokens_in,
        "output_tokens": tokens_out,
        "cached_tokens": cached,
        "reasoning_tokens": reasoning,
        "counted": not reported,
        "input_price": _text(info.input_price),
        "output_price": _text(info.output_price),
        "cached_price": _text(info.cached_price),
        "reasoning_price": _text(info.reasoning_price),
        "currency": info.currency,
        "cost": _text(cost),
    } | _named(call)


def _named(call: ModelCall) -> dict[str, Any]:
    """Who was asked, and by which member of a team."""
    choice = call.choice
    asked = {"provider": choice.provider_name, "model": choice.model, "path": call.path} if choice else {}
    return asked | ({"tool_calls": call.tool_calls} if call.tool_calls else {})


def _summed(calls: list[dict[str, Any]], info: ModelInfo) -> dict[str, Any]:
    """The sums over a run's calls, with the calls. Unpriced, if one of them is. Those of a team may be in several
    currencies: then `costs` has their sums, and there is no one cost."""
    names = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
    sums = {name: sum(call[name] for call in calls) for name in names}
    currencies = list(dict.fromkeys(call["currency"] for call in calls if call["input_tokens"] + call["output_tokens"]))
    costs = {one: _sum([call["cost"] for call in calls if call["currency"] == one]) for one in currencies}
    several = {"costs": costs} if len(costs) > 1 else {}
    return sums | {
        "counted": any(call["counted"] for call in calls),
        "currency": info.currency if several or not currencies else currencies[0],
        "cost": None if several else _sum([call["cost"] for call in calls]),
        "calls": calls,
    } | several  # fmt: skip


def _sum(costs: list[str | None]) -> str | None:
    known = [Decimal(cost) for cost in costs if cost is not None]
    return _text(sum(known, Decimal(0))) if len(known) == len(costs) else None


def cost_of(info: ModelInfo, tokens_in: int, tokens_out: int, cached: int, reasoning: int = 0) -> Decimal | None:
    """The price of a call to the 12 places that are stored, or None when the model is unpriced; see usage/money.py."""
    rates = Rates(info.input_price, info.output_price, info.cached_price, info.reasoning_price)
    return call_cost(rates, Counts(tokens_in, tokens_out, cached, reasoning))


def _text(number: Decimal | None) -> str | None:
    return None if number is None else format(number.normalize(), "f")


async def finish(run: RunLog, outcome: Outcome) -> bool:
    """End the run in PostgreSQL and let its last events out; False when its fence no longer holds.

    While the database is away this waits and tries again: the answer is complete in memory and in
    Redis, and the statement is a compare-and-swap, so trying again is safe.
    """
    run.hold_end(outcome.events())
    async with run.storing:
        end = {
            "run": run.run_id,
            "fence": run.fence,
            "status": outcome.status,
            "finish_reason": outcome.finish_reason,
            "error_code": outcome.error.code if outcome.error else "",
            "error_message": outcome.error.message if outcome.error else "",
            "conversation": outcome.conversation_id,
            "message": outcome.message_id,
            "content": outcome.content,
            "reasoning": outcome.reasoning,
            "message_status": MESSAGE_STATUS[outcome.status],
            "usage": outcome.usage,
            "trace": orjson.dumps(outcome.trace).decode() if outcome.trace else None,
            "tainted": outcome.tainted,
            "first_ms": outcome.first_ms,
            "shown_usage": outcome.shown_usage,
            "first_seq": run.stored + 1,
            "last_seq": len(run.events),
        }
        params = [Jsonb(end, dumps=orjson.dumps), encode_events(run.events[run.stored :])]
        while True:
            try:
                row = await aio.database().fetch_one(run.tenant, FINISH_SQL, params)
                break
            except PaasError:
                log.warning("waiting for the database to end a run", run=str(run.run_id))
                await asyncio.sleep(RETRY_SECONDS)
    if row is None or not row[0]:
        run.move()
        return False
    run.release_end()
    return True
