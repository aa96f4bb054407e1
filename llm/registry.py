"""The providers: a table of kinds, and the way from an account to a client of its vendor.

A new provider is one small class in llm/providers/ and one row in PROVIDERS. The class is imported when
the kind is first used, so that a process pays only for what its tenants use.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import Protocol

from core.errors import PaasError
from llm.deltas import Delta, ModelRequest
from llm.embeddings import EmbeddingRequest, Embeddings
from llm.rerank import Reranked, RerankRequest

# Kinds whose vendor has one address of its own, and so needs a key and nothing else; with their names for people.
KEYED = {
    "zhipu": "Zhipu",
    "openai": "OpenAI",
    "anthropic": "Anthropic",
    "deepseek": "DeepSeek",
    "qwen": "Qwen",
    "moonshot": "Moonshot",
}
NAMES = KEYED | {"openai_compatible": "OpenAI-compatible", "local": "Local model", "scripted": "Scripted model"}

PROVIDERS: dict[str, str] = {
    "openai_compatible": "llm.providers.openai_compatible.OpenAICompatible",
    "zhipu": "llm.providers.zhipu.Zhipu",
    "openai": "llm.providers.vendors.OPENAI_VENDOR",
    "anthropic": "llm.providers.anthropic.Anthropic",
    "deepseek": "llm.providers.vendors.DEEPSEEK",
    "qwen": "llm.providers.vendors.QWEN",
    "moonshot": "llm.providers.vendors.MOONSHOT",
    "local": "llm.providers.local.Local",
    "scripted": "llm.providers.scripted.Scripted",
}


@dataclass(frozen=True, slots=True)
class ProviderRef:
    """A provider account as a value, with its key in the clear: keep it in memory, never store it."""

    id: uuid.UUID
    kind: str
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    allow_private: bool = False
    updated_at: datetime | None = None


class ChatClient(Protocol):
    """The ways to ask for an answer. Errors are PaasError."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """The answer in pieces; close the generator to stop the vendor."""
        ...

    async def complete(self, request: ModelRequest) -> list[Delta]:
        """The answer in one piece, as deltas."""
        ...


class ModelClient(ChatClient, Protocol):
    """What every provider gives: the ways to ask a model."""

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """The vectors of an embeddings model."""
        ...

    async def rerank(self, request: RerankRequest) -> Reranked:
        """The scores of a reranker."""
        ...


class Provider(Protocol):
    """One vendor: how an account of this kind becomes a client."""

    @property
    def kind(self) -> str:
        """The kind's name in PROVIDERS."""
        ...

    def client(self, account: ProviderRef) -> ModelClient:
        """A client for this account; cheap, without any connection yet."""
        ...


def client_for(account: ProviderRef) -> ModelClient:
    """The client of an account. Raises PaasError provider_not_configured for a kind that does not exist."""
    return provider(account.kind).client(account)


@cache
def provider(kind: str) -> Provider:
    """The provider of a kind, imported on first use. Raises PaasError provider_not_configured."""
    try:
        module, _, name = PROVIDERS[kind].rpartition(".")
    except KeyError:
        raise PaasError("provider_not_configured", f"There is no provider of the kind {kind!r}.") from None
    found = getattr(import_module(module), name)
    made: Provider = found() if isinstance(found, type) else found
    return made
