"""Embeddings models: a tenant has those that its provider accounts declare (`embeddings: true`), and no agent for them.
So for rerankers (`rerank: true`), which only knowledge bases use.

A model's id is `<account>/<model>`. A key may be limited to models by name; one that is limited to agents, and to no
models, has none of these.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from accounts.actors import Actor
from accounts.policies import AGENTS_EXECUTE
from agents.charges import charged_info
from core.errors import PaasError
from core.remembered import Remembered
from llm.catalog import ModelInfo, answers
from llm.registry import ProviderRef
from llm.selectors import provider_ref, providers
from tenants import scope
from tenants.scope import TenantRef

TTL_SECONDS = 2.0  # as agents.access


@dataclass(frozen=True, slots=True)
class EmbeddingSpec:
    """An embeddings model, or a reranker, with everything needed to call it."""

    model: str
    provider: ProviderRef
    provider_name: str
    info: ModelInfo
    created_at: datetime

    @property
    def id(self) -> str:
        """Its name in the API."""
        return f"{self.provider_name}/{self.model}"


_known: Remembered[uuid.UUID, tuple[EmbeddingSpec, ...]] = Remembered(TTL_SECONDS)


async def embedding_models_for(actor: Actor) -> list[EmbeddingSpec]:
    """The models that the actor may use, by id."""
    tenant = actor.tenant
    found = await _known.get(tenant.id, lambda: scope.run_in_tenant(tenant, _declared))
    return [spec for spec in found if spec.info.embeddings and _may_use(actor, spec.model)]


async def embedding_model_for(actor: Actor, name: str) -> EmbeddingSpec:
    """The model with this id, or the only one with this name. Raises permission_denied, model_not_found."""
    actor.require(AGENTS_EXECUTE)
    usable = await embedding_models_for(actor)
    found = [spec for spec in usable if spec.id == name] or [spec for spec in usable if spec.model == name]
    if len(found) != 1:
        message = "There is no such embeddings model in this workspace. GET /v1/models lists those that you may use."
        raise PaasError("model_not_found", message, details={"param": "model"})
    return found[0]


async def embedding_model_of(tenant: TenantRef, account: str, model: str) -> EmbeddingSpec:
    """A model of an account, whoever asks. Raises model_not_found."""
    found = await _known.get(tenant.id, lambda: scope.run_in_tenant(tenant, _declared))
    for spec in found:
        if (spec.provider_name, spec.model) == (account, model):
            return spec
    raise PaasError("model_not_found", f"The provider {account} has no model {model} any more, or is switched off.")


def forget_all() -> None:
    """Empty the memory (after an own change, and between tests)."""
    _known.clear()


def _may_use(actor: Actor, model: str) -> bool:
    return actor.agents is None if actor.models is None else model in actor.models


def _declared() -> tuple[EmbeddingSpec, ...]:
    found = []
    for account in (one for one in providers() if one.enabled):
        for model in sorted(account.models or {}):
            if answers(account.models[model]) or not account.allows(model):
                continue
            try:
                provider = provider_ref(account, model)
            except PaasError:  # the plan has it no more
                continue
            info = charged_info(account, model)
            found.append(EmbeddingSpec(model, provider, account.name, info, account.created_at))
    return tuple(found)
