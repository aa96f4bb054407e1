"""Embeddings and reranking: a model call without a conversation, a run or a log, and with the same money. (Both are
billed by what is put in, as `embeddings`.)

Tokens are held before the vendor is asked and settled afterwards, exactly once. The call goes on when the client
leaves: the vendor bills it whether anybody reads the answer or not. A process that dies in the middle leaves a lease
that runs out; chat.recovery gives its tokens back.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, TypeVar

import orjson
import structlog
from psycopg.types.json import Jsonb

from accounts.actors import Actor
from accounts.policies import CHAT_WRITE
from agents.embeddings import EmbeddingSpec, embedding_model_for, embedding_model_of
from agents.runtime.spans import provider_of
from chat import host
from chat.finish import MOST_TOKENS, RETRY_SECONDS
from chat.measures import count_usage
from core import tracing
from core.errors import PaasError, from_exception
from core.ids import uuid7
from llm.breaker import breaker_for, guarded
from llm.embeddings import EmbeddingRequest, Embeddings
from llm.registry import ModelClient, client_for
from llm.rerank import Reranked, RerankRequest
from tenants.db import aio
from tenants.scope import TenantRef
from usage.money import Rates, embeddings_cost
from usage.standings import Standing, refusal, standing_of

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer", Embeddings, Reranked)

CALL_SECONDS = 40.0
LEASE_SECONDS = 60  # longer than any call takes, for nothing renews it
HOLD_SQL = (
    "SELECT public.usage_hold(%s::uuid, %s::uuid, %s::uuid, NULL, %s::bigint, 0, %s, %s * interval '1 second', "
    "'', %s, %s, %s, NULL::chat_run)"
)
SETTLE_SQL = "SELECT public.usage_settle(%s::uuid, %s::int, %s, %s, %s, NULL::chat_run)"


async def embed(
    actor: Actor, model: str, request: EmbeddingRequest
) -> tuple[EmbeddingSpec, Embeddings, Standing | None]:
    """The vectors, the model that gave them (`request.model` is put in here), and the tightest limit on tokens.

    Raises permission_denied, model_not_found, quota_exceeded, model_unpriced, provider_*, database_unavailable,
    server_stopping.
    """
    actor.require(CHAT_WRITE)
    spec = await embedding_model_for(actor, model)
    return spec, *await _embedded(actor, spec, request)


async def embed_for_base(actor: Actor, account: str, request: EmbeddingRequest) -> Embeddings:
    """Vectors for a knowledge base, whose model the workspace has chosen: the actor pays, whichever models are theirs.

    account: the provider account's name. Raises as `embed`, but for permission_denied.
    """
    spec = await embedding_model_of(actor.tenant, account, request.model)
    return (await _embedded(actor, spec, request))[0]


async def rerank_for_base(actor: Actor, account: str, request: RerankRequest) -> Reranked:
    """Scores of a knowledge base's passages; as `embed_for_base`."""
    spec = await embedding_model_of(actor.tenant, account, request.model)
    call = _Call("rerank", spec, request.estimate, lambda client: client.rerank(request))
    return (await _bought(actor, call))[0]


async def _embedded(actor: Actor, spec: EmbeddingSpec, request: EmbeddingRequest) -> tuple[Embeddings, Standing | None]:
    request = EmbeddingRequest(spec.model, request.inputs, request.dimensions, request.base64)
    return await _bought(actor, _Call("embeddings", spec, request.estimate, lambda client: client.embed(request)))


@dataclass(frozen=True, slots=True)
class _Call(Generic[Answer]):
    """What is asked of a model. name: of the operation, for traces. estimate: its tokens, about."""

    name: str
    spec: EmbeddingSpec
    estimate: int
    ask: Callable[[ModelClient], Awaitable[Answer]]


async def _bought(actor: Actor, call: _Call[Answer]) -> tuple[Answer, Standing | None]:
    spec = call.spec
    host.current().check_capacity()
    if wait := breaker_for(spec.provider, spec.model).wait:  # before anything is held, for nothing could answer
        raise PaasError("provider_unavailable", retry_after=wait)
    call_id = uuid7()
    tightest = await _hold(actor, spec, call_id, call.estimate)
    error: PaasError | None = PaasError("run_interrupted")
    found: Answer | None = None
    try:
        found = await _answer(call)
        error = None
    except Exception as problem:
        error = from_exception(problem)
        if error.code == "internal_error":
            log.exception("a model call failed", operation=call.name)
    finally:
        usage = _usage(actor, call, found)
        count_usage(actor.tenant.id, spec.provider.kind, spec.model, usage)
        await asyncio.shield(_settle(actor.tenant, call_id, 1, error, usage))
    if found is None:
        raise error or PaasError("internal_error")
    return found, tightest


async def _answer(call: _Call[Answer]) -> Answer:
    spec = call.spec
    values = {
        "gen_ai.operation.name": call.name,
        "gen_ai.provider.name": provider_of(spec.provider.kind),
        "gen_ai.request.model": spec.model,
    }
    span = tracing.child(f"{call.name} {spec.model}", values, "client")
    with span, guarded(spec.provider, spec.model) as guard:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                found = await call.ask(client_for(spec.provider))
        except TimeoutError:
            raise PaasError("provider_timeout") from None
        guard.begun()
        span.set({"gen_ai.usage.input_tokens": found.input_tokens})
        return found


async def end_lost(tenant: TenantRef, call_id: uuid.UUID, fence: int) -> None:
    """Give back what a call held whose process died. It had no answer, and such calls are assumed to cost nothing."""
    await _settle(tenant, call_id, fence, PaasError("run_interrupted"), {})


async def _hold(actor: Actor, spec: EmbeddingSpec, call_id: uuid.UUID, tokens: int) -> Standing | None:
    price = spec.info.embedding_price
    terms = {
        "input_price": None if price is None else format(price, "f"),
        "output_price": None if price is None else "0",
        "currency": spec.info.currency,
    }
    row = await aio.database().fetch_one(
        actor.tenant,
        HOLD_SQL,
        [
            *(call_id, actor.user_id, actor.key_id, tokens, host.current().id, LEASE_SECONDS),
            *(spec.provider_name, spec.model, Jsonb(terms, dumps=orjson.dumps)),
        ],
    )
    assert row is not None
    held = row[0]
    if "code" in held:
        raise refusal(held["code"], held.get("limit"), tokens)
    return standing_of(held["limit"]) if held.get("limit") else None


def _usage(actor: Actor, call: _Call[Any], found: Embeddings | Reranked | None) -> dict[str, Any]:
    """As public.usage_settle takes it: what the vendor reported, else what was counted. No answer: nothing."""
    if found is None:
        return {}
    spec, tokens = call.spec, found.input_tokens
    reported = tokens is not None and tokens <= MOST_TOKENS
    used = tokens if tokens is not None and reported else call.estimate
    rates = Rates(embeddings=spec.info.embedding_price, currency=spec.info.currency)
    return {
        "kind": "embeddings",
        "record_id": uuid7(),
        "user_id": actor.user_id,
        "key_id": actor.key_id,
        "agent_id": None,
        "input_tokens": used,
        "output_tokens": 0,
        "counted": not reported,
        "input_price": _text(spec.info.embedding_price),
        "currency": spec.info.currency,
        "cost": _text(embeddings_cost(rates, used)),
    }


async def _settle(
    tenant: TenantRef, call_id: uuid.UUID, fence: int, error: PaasError | None, usage: dict[str, Any]
) -> None:
    """Exactly once: the statement is a compare-and-swap, so it is asked again while the database is away."""
    params = [
        *(call_id, fence, "failed" if error else "completed", error.code if error else ""),
        Jsonb(usage, dumps=orjson.dumps),
    ]
    while True:
        try:
            await aio.database().fetch_one(tenant, SETTLE_SQL, params)
            return
        except PaasError:
            log.warning("waiting for the database to settle embeddings", call=str(call_id))
            await asyncio.sleep(RETRY_SECONDS)


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount.normalize(), "f")
