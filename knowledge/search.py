"""Finds passages: by meaning and by words, fused, filtered by who asks, each with why it was found.

All of it is one statement, `knowledge_find` in knowledge/migrations/0006_find.sql.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db.models import Func, JSONField, QuerySet, TextField, UUIDField, Value

from accounts.actors import Actor
from core import metrics
from core.errors import PaasError
from knowledge import access, embedding, reranking
from knowledge.fields import as_text
from knowledge.models import KnowledgeBase
from knowledge.neighbours import with_context
from knowledge.words import terms_of
from tenants import scope

MOST_QUERY = 2000
MOST_RESULTS = 50
FEW = 1500  # so many passages are compared one by one: about 10 us each for a vector of 1,024 numbers
CANDIDATES = 400  # of the vectors' index at once; with 150 one question in twenty ended among the wrong ones of 100,000
READ = 1500  # passages that are read because of their words, about: 8 us each
OF_WORD = 1000  # of these for one word, however common it is


@dataclass(frozen=True, slots=True)
class Question:
    """top_k, vector_weight, keyword_weight None: as the base says. tags: all of them; metadata: equal to all of it.

    neighbours: whether what stands before and after comes with each passage; None: as its base says. rerank False: not
    even where the base has a reranker.
    """

    query: str
    top_k: int | None = None
    vector_weight: float | None = None
    keyword_weight: float | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    neighbours: bool | None = False
    rerank: bool = True


def search(actor: Actor, slug: str, question: Question) -> list[dict[str, Any]]:
    """Passages of a base, the best first; bound to the tenant, in a thread.

    Raises permission_denied, not_found, validation_failed, and what the base's embeddings model raises.
    """
    base = access.base_for(actor, slug)
    _check(question)
    vector = embedding.vector(actor, base, question.query) if _weights(base, question)[0] else None
    found = _found(actor, [base], question, vector)
    if _reranks(base, question):
        found = embedding.waited(reranking.reordered(actor, base, question.query, found, _top([base], question)))
    return [with_context(one) for one in found]


async def search_bases(actor: Actor, slugs: list[str], question: Question) -> list[dict[str, Any]]:
    """Passages of those of the bases that the actor finds anything in, the best first. Raises as `search`, but for
    not_found."""
    _check(question)

    def usable() -> list[KnowledgeBase]:
        return list(access.bases_for(actor).select_related("provider", "reranker").filter(slug__in=slugs))

    groups: dict[tuple[Any, ...], list[KnowledgeBase]] = {}
    for base in await scope.run_in_tenant(actor.tenant, usable):
        model = (base.provider_id, base.model, base.dimension, base.reranker_id, base.rerank_model)
        groups.setdefault(model, []).append(base)
    found: list[dict[str, Any]] = []
    for group in groups.values():  # what one model has made is comparable: its bases are one search
        base = group[0]
        asks = _weights(base, question)[0] > 0
        vector = (await embedding.vectors(actor, base, [question.query]))[0] if asks else None
        some = await scope.run_in_tenant(actor.tenant, _found, actor, group, question, vector)
        if _reranks(base, question):
            some = await reranking.reordered(actor, base, question.query, some, _top(group, question))
        found += some
    if len(groups) > 1:
        found.sort(key=lambda one: (-one["score"], one["chunk_id"]))
        del found[question.top_k or max(base.top_k for group in groups.values() for base in group) :]
    return [with_context(one) for one in found]


def _check(question: Question) -> None:
    if not question.query.strip():
        raise PaasError("validation_failed", "Say what to look for.", details={"param": "query"})
    if len(question.query) > MOST_QUERY:
        sentence = f"Ask with at most {MOST_QUERY:,} characters."
        raise PaasError("validation_failed", sentence, details={"param": "query"})


def _weights(base: KnowledgeBase, question: Question) -> tuple[float, float]:
    near = base.vector_weight if question.vector_weight is None else question.vector_weight
    words = base.keyword_weight if question.keyword_weight is None else question.keyword_weight
    if near + words <= 0:
        raise PaasError("validation_failed", "One of the weights is above 0.", details={"param": "vector_weight"})
    return near, words


def _top(group: list[KnowledgeBase], question: Question) -> int:
    return min(question.top_k or max(one.top_k for one in group), MOST_RESULTS)


def _reranks(base: KnowledgeBase, question: Question) -> bool:
    return base.reranker is not None and question.rerank


@metrics.SEARCH_SECONDS.time()
def _found(
    actor: Actor, group: list[KnowledgeBase], question: Question, vector: list[float] | None
) -> list[dict[str, Any]]:
    """One search of bases with the same model; the first one's weights count where the question has none."""
    return list(_call(actor, group, question, vector).first() or [])


def _call(
    actor: Actor, group: list[KnowledgeBase], question: Question, vector: list[float] | None, *, explain: bool = False
) -> QuerySet[KnowledgeBase, Any]:
    """The statement. explain: its plan instead of passages, for bench/knowledge."""
    base = group[0]
    near, words = _weights(base, question)
    top_k = _top(group, question)
    if _reranks(base, question):  # it may bring up what is further down
        top_k = max(top_k, reranking.CANDIDATES)
    asked = access.rights(actor) | {
        "dimension": base.dimension,
        "words": [asdict(one) | {"query": one.query} for one in terms_of(question.query)] if words else [],
        "vector_weight": near,
        "keyword_weight": words,
        "top_k": top_k,
        "few": FEW,
        "candidates": CANDIDATES,
        "read": READ,
        "of_word": OF_WORD,
        "tags": list(question.tags),
        "metadata": question.metadata,
        "neighbours": question.neighbours,
    }
    asked |= {"explain": True} if explain else {}
    asked_vector = Value(None if vector is None else as_text(vector), TextField())
    ids = Value([str(one.id) for one in group], ArrayField(UUIDField()))
    call = Func(ids, Value(asked, JSONField()), asked_vector, function="knowledge_find", output_field=JSONField())
    return KnowledgeBase.objects.filter(id=base.id).annotate(found=call).values_list("found", flat=True)
