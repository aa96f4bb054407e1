"""Puts found passages into a better order, by the reranker of a base: a model that reads question and passage together.

As with embeddings, a vendor's model is asked by the room above that counts and bills (chat/embeddings.py). Without its
answer the search's own order stands, and every passage says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from accounts.actors import Actor
from core.errors import PaasError
from knowledge.models import KnowledgeBase
from llm.rerank import Reranked, RerankRequest

log = structlog.get_logger(__name__)

SECONDS = 4.0  # somebody waits for the answer, and there is an order already
CANDIDATES = 40  # passages that are read; at most as many as a search gives
MOST_CHARS = 4000  # of one passage: more is refused by Zhipu

# (for whom, the provider account's name, what is asked) -> scores, held, paid and settled.
Ask = Callable[[Actor, str, RerankRequest], Awaitable[Reranked]]
Found = list[dict[str, Any]]
_asks: list[Ask] = []


def use(ask: Ask) -> None:
    """Set, once, who asks vendors."""
    _asks[:] = [ask]


async def reordered(actor: Actor, base: KnowledgeBase, query: str, found: Found, top_k: int) -> Found:
    """The best `top_k` of the passages, with `score` and `why.rerank` by the reranker. Never fails."""
    if not found:
        return found
    assert base.reranker is not None
    texts = [f"{one['heading']}\n{one['text']}".strip()[:MOST_CHARS] for one in found]
    try:
        async with asyncio.timeout(SECONDS):
            answer = await _asks[0](actor, base.reranker.name, RerankRequest(base.rerank_model, query, texts))
    except TimeoutError:
        return _as_found(found[:top_k], "provider_timeout")
    except PaasError as error:
        log.info("passages stay in the order of the search", code=error.code, model=base.rerank_model)
        return _as_found(found[:top_k], error.code)
    order = sorted(range(len(found)), key=lambda place: (-answer.scores[place], place))[:top_k]
    for rank, place in enumerate(order, 1):
        score = round(answer.scores[place], 4)
        found[place]["score"] = score
        found[place]["why"]["rerank"] = {"rank": rank, "score": score, "fused_rank": place + 1}
    return [found[place] for place in order]


def _as_found(found: Found, code: str) -> Found:
    for one in found:
        one["why"]["rerank"] = {"failed": code}
    return found
