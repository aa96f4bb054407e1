"""Vectors of texts, by the model of a base.

A vendor's model is asked by the room above that counts and bills (chat/embeddings.py); it puts itself into `use`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from accounts.actors import Actor
from core.errors import PaasError
from knowledge import hashing
from knowledge.models import KnowledgeBase
from llm.embeddings import EmbeddingRequest, Embeddings

# (for whom, the provider account's name, what is asked) -> vectors, held, paid and settled.
Ask = Callable[[Actor, str, EmbeddingRequest], Awaitable[Embeddings]]
# Runs a coroutine where `Ask` can be awaited, and waits for it in this thread.
FromThread = Callable[[Coroutine[Any, Any, Any]], Any]


@dataclass
class _Used:
    ask: Ask | None = None
    from_thread: FromThread | None = None


_used = _Used()


def use(ask: Ask, from_thread: FromThread) -> None:
    """Set, once, who asks vendors."""
    _used.ask, _used.from_thread = ask, from_thread


async def vectors(actor: Actor, base: KnowledgeBase, texts: Sequence[str]) -> list[list[float]]:
    """A vector of `base.dimension` numbers for each text; `base.provider` is loaded already.

    Raises PaasError: as vendors fail, quota_exceeded, model_not_found where the account has the model no more.
    """
    if base.provider is None:
        return [hashing.vector_of(text, base.dimension) for text in texts]
    assert _used.ask is not None
    request = EmbeddingRequest(base.model, list(texts), dimensions_asked(base))
    found = (await _used.ask(actor, base.provider.name, request)).vectors
    made = [one for one in found if isinstance(one, list) and len(one) == base.dimension]
    if len(made) != len(texts):
        length = len(found[0]) if found else 0
        raise PaasError(
            "provider_bad_response",
            f"The model {base.model} gave vectors of {length} numbers; this knowledge base was made for "
            f"{base.dimension}.",
        )
    return made


def vector(actor: Actor, base: KnowledgeBase, text: str) -> list[float]:
    """The vector of one text, from a thread. Raises as `vectors`."""
    if base.provider is None:
        return hashing.vector_of(text, base.dimension)
    found: list[list[float]] = waited(vectors(actor, base, [text]))
    return found[0]


def waited(work: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine that asks vendors gives, waited for in this thread."""
    assert _used.from_thread is not None
    return _used.from_thread(work)


def dimensions_asked(base: KnowledgeBase) -> int | None:
    """What a vendor is told of the dimension: those that can cut their vectors are asked to."""
    declared = (base.provider.models or {}).get(base.model, {}) if base.provider else {}
    return base.dimension if declared.get("dimensions") or base.model.startswith("embedding-3") else None
