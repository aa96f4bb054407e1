"""The client of every vendor that speaks chat completions over HTTP: an endpoint, a dialect, and wire."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace

from core.errors import PaasError
from llm import wire
from llm.deltas import OPENAI, Delta, Dialect, Endpoint, ModelRequest
from llm.embeddings import EmbeddingRequest, Embeddings, embed
from llm.registry import ProviderRef
from llm.rerank import Reranked, RerankRequest, rerank
from tenants.egress import egress_policy


@dataclass(frozen=True, slots=True)
class WireClient:
    """A ModelClient over llm.wire.

    adapt: turns our request into the vendor's. key: the bearer token of one call, for vendors that want a
    signed one; without it the endpoint's own key is sent.
    """

    endpoint: Endpoint
    dialect: Dialect = OPENAI
    adapt: Callable[[ModelRequest], ModelRequest] | None = None
    key: Callable[[], str] | None = None

    def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """As wire.stream; no layer of its own between two deltas."""
        return wire.stream(self._keyed(), self._adapted(request), self.dialect)

    async def complete(self, request: ModelRequest) -> list[Delta]:
        """As wire.complete."""
        return await wire.complete(self._keyed(), self._adapted(request), self.dialect)

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """As embeddings.embed. Raises model_not_found where the vendor has no such models."""
        if self.dialect.form is not None:
            raise PaasError("model_not_found", "This model provider has no embeddings models. Use another one.")
        return await embed(self._keyed(), request, self.dialect)

    async def rerank(self, request: RerankRequest) -> Reranked:
        """As rerank.rerank. Raises model_not_found where the vendor has no such models."""
        if self.dialect.form is not None:
            raise PaasError("model_not_found", "This model provider has no rerankers. Use another one.")
        return await rerank(self._keyed(), request, self.dialect)

    def _adapted(self, request: ModelRequest) -> ModelRequest:
        return self.adapt(request) if self.adapt else request

    def _keyed(self) -> Endpoint:
        return replace(self.endpoint, api_key=self.key()) if self.key else self.endpoint


def endpoint_of(account: ProviderRef, default_url: str = "") -> Endpoint:
    """The account's endpoint; without a base URL of its own, `default_url`."""
    return Endpoint(
        base_url=account.base_url or default_url,
        api_key=account.api_key,
        allow_private=account.allow_private,
        egress=egress_policy(),
    )
