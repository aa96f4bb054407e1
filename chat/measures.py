"""What is told of runs: counted for Prometheus, and as the attributes of their spans."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agents.runtime import spans
from chat.finish import Outcome
from core import metrics
from core.tracing import Span
from llm.catalog import listed_at

if TYPE_CHECKING:
    from chat.host import LiveRun

TOKENS = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cached_tokens": "cached",
    "reasoning_tokens": "reasoning",
}


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended. provider: the kind of the account that answered, "" for a built-in agent's. kinds: of all
    accounts that a team asks, by their names."""

    tenant_id: uuid.UUID
    door: str
    provider: str
    model: str
    outcome: Outcome
    kinds: Mapping[str, str] = field(default_factory=dict)


def count(ended: Ended) -> None:
    """Count an end, wherever the run had begun."""
    metrics.RUNS.labels(ended.door, ended.outcome.status).inc()
    if ended.outcome.error is not None:
        metrics.RUN_FAILURES.labels(ended.outcome.error.code).inc()
    metrics.TENANT_RUNS.labels(metrics.tenant_label(ended.tenant_id)).inc()
    for call in ended.outcome.usage.get("calls") or [ended.outcome.usage]:
        kind = ended.kinds.get(call.get("provider", ""), ended.provider)
        count_usage(ended.tenant_id, kind, call.get("model") or ended.model, call)


def count_usage(tenant_id: uuid.UUID, provider: str, model: str, usage: dict[str, Any]) -> None:
    """Count tokens and cost of a call. usage: as public.usage_settle takes it."""
    if not usage:
        return
    tenant = metrics.tenant_label(tenant_id)
    metrics.TENANT_TOKENS.labels(tenant).inc(usage["input_tokens"] + usage["output_tokens"])
    labels = model_labels(provider, model)
    for name, kind in TOKENS.items():
        if usage.get(name):
            metrics.TOKENS.labels(*labels, kind).inc(usage[name])
    if usage["cost"]:
        metrics.COST.labels(*labels, metrics.currency_label(usage["currency"])).inc(float(usage["cost"]))


def model_labels(kind: str, model: str) -> tuple[str, str]:
    """(provider, model) as metrics tell them: models of the catalogue by its names, others are one."""
    listed = listed_at(kind, model) if kind else None
    return metrics.model_labels(kind or "builtin", listed[1] if listed else metrics.OTHER)


def span_of(run: LiveRun) -> Span:
    """The span of a run that executes here."""
    spec, conversation = run.spec, run.conversation_id
    values = {
        "gen_ai.agent.id": str(spec.agent_id),
        "gen_ai.agent.name": spec.slug,
        "gen_ai.agent.version": str(spec.version_id),
        "gen_ai.provider.name": spans.provider_of(spec.provider.kind) if spec.answer is None else "agent-paas",
        "gen_ai.request.model": spec.model,
        "gen_ai.conversation.id": str(conversation) if conversation else None,
        "paas.run.id": str(run.log.run_id),
        "paas.tenant.id": str(run.log.tenant.id),
        "paas.door": run.door,
        "paas.resumed": run.resumed or None,
    }
    return spans.agent_run(spec.slug, values, run.turn)


def _token_seconds(run: LiveRun) -> float | None:
    """Mean time between two tokens; None with fewer, and of a run that calls tools, which take theirs."""
    spoken, gaps = run.log.spoken_at, run.transcript.deltas - 1
    if spoken is None or gaps < 1 or run.trace is not None:
        return None
    return max(0.0, run.silent_at - spoken) / gaps


def ended_here(run: LiveRun, outcome: Outcome, span: Span) -> None:
    """A run that executed here has ended."""
    spec, usage = run.spec, outcome.usage
    kind = spec.provider.kind if spec.answer is None else ""
    kinds = {one.provider_name: one.provider.kind for one in spec.askable}
    count(Ended(run.log.tenant.id, run.door, kind, spec.model, outcome, kinds))
    first = run.first_seconds
    if first is not None:
        metrics.FIRST_TOKEN.labels(run.door).observe(first)
    if (between := _token_seconds(run)) is not None:
        metrics.TOKEN_SECONDS.labels(run.door).observe(between)
    if not run.resumed:
        metrics.RUN_SECONDS.labels(run.door).observe(max(0.0, time.perf_counter() - run.asked_at))
    counts = (usage[name] for name in TOKENS)
    told: dict[str, Any] = spans.usage_values(*counts) | {
        "gen_ai.response.model": spec.model,
        "gen_ai.response.finish_reasons": [outcome.finish_reason],
        "gen_ai.output.messages": spans.answer_of(outcome.content),
        "paas.run.status": outcome.status,
        "paas.run.tainted": outcome.tainted or None,
        "paas.usage.cost": usage["cost"],
        "paas.usage.currency": usage["currency"] if usage["cost"] else None,
    }
    if first is not None:
        told["gen_ai.response.time_to_first_chunk"] = first
    span.set(told)
    if outcome.error is not None:
        span.failed(outcome.error.code)
