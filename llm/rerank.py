"""A call of a vendor's reranker: a question and passages in, how well each answers it out.

`POST .../rerank` as Jina and Cohere have it, which Zhipu and most servers of open models share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from llm import wire
from llm.deltas import OPENAI, Dialect, Endpoint
from llm.faults import bad_response, vendor_error
from llm.tokens import estimate_tokens


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """What is asked for: a score for each of the passages."""

    model: str
    query: str
    passages: Sequence[str]

    @property
    def estimate(self) -> int:
        """Tokens, about: vendors read the question beside each passage."""
        return sum(map(estimate_tokens, self.passages)) + estimate_tokens(self.query) * len(self.passages) or 1


@dataclass(frozen=True, slots=True)
class Reranked:
    """One score a passage, in the passages' order; more is better. input_tokens None: the vendor is silent."""

    scores: list[float]
    input_tokens: int | None


async def rerank(endpoint: Endpoint, request: RerankRequest, dialect: Dialect = OPENAI) -> Reranked:
    """The scores of a vendor's model. Raises PaasError as wire.complete does."""
    body = {
        "model": request.model,
        "query": request.query,
        "documents": list(request.passages),
        "top_n": len(request.passages),
    }
    return parsed(await wire.post(endpoint, "/rerank", body, dialect), request, dialect, endpoint.api_key)


def parsed(body: bytes, request: RerankRequest, dialect: Dialect = OPENAI, secret: str = "") -> Reranked:
    """A vendor's document as scores.

    Raises PaasError: the vendor's error when it is one, provider_bad_response when it is not one score a passage.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise bad_response("its answer is not JSON", body) from None
    if isinstance(document, dict) and "results" not in document and ("error" in document or "code" in document):
        raise vendor_error(document, dialect, secret)
    try:
        scores = {row["index"]: float(row["relevance_score"]) for row in document["results"]}
        if sorted(scores) != list(range(len(request.passages))) or not all(map(math.isfinite, scores.values())):
            raise ValueError("not one score a passage")
        used: Any = document.get("usage") or (document.get("meta") or {}).get("tokens") or {}
        tokens = used.get("total_tokens", used.get("input_tokens"))
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
        raise bad_response("its answer has another shape than a reranker's") from None
    known = type(tokens) is int and 0 <= tokens < 2**53
    return Reranked([scores[index] for index in range(len(scores))], tokens if known else None)
