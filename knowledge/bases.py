"""Making, changing and deleting knowledge bases. Bound to their tenant."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count

from accounts import audit
from accounts.actors import Actor
from accounts.policies import KNOWLEDGE_WRITE, ROLE_ACTIONS
from core.errors import PaasError
from core.storable import storable
from knowledge import hashing
from knowledge.access import base_for
from knowledge.files import drop_after_commit
from knowledge.models import DIMENSIONS, Document, KnowledgeBase
from llm.selectors import provider_named

CHANGEABLE = (
    *("name", "description", "chunk_size", "chunk_overlap", "vector_weight", "keyword_weight", "top_k"),
    *("neighbours", "access", "roles", "people", "ocr", "ocr_chars"),
)
RERANK = ("reranker", "rerank_model")  # changeable too, but an account is given by its name
FIXED = ("provider", "model", "dimension")
ANEW = "For another embeddings model have all documents read anew (API: reindex); here it cannot be changed."
RESERVED = frozenset({"new"})  # what stands in a base's place in addresses of pages
MOST_BASES = 200
MOST_PEOPLE = 500


def base_create(*, actor: Actor, slug: str, fields: dict[str, Any]) -> KnowledgeBase:
    """A new base. fields: CHANGEABLE, RERANK and FIXED; provider is an account's name, "" the hashing embedder;
    reranker too, "" for none.

    Raises permission_denied, already_exists, or validation_failed with what is wrong in `details.fields`.
    """
    actor.require(KNOWLEDGE_WRITE)
    return _created(actor.label, slug, fields)


@transaction.atomic
def _created(label: str, slug: str, fields: dict[str, Any]) -> KnowledgeBase:
    base = KnowledgeBase(slug=slug, created_by=label, name=slug)
    faults = _given(base, {name: value for name, value in fields.items() if name not in FIXED})
    faults |= model_of(base, fields) | _reranker(base, fields)
    if slug in RESERVED:
        faults["slug"] = ["This name is taken by a page. Choose another one."]
    _check(base, faults)
    if KnowledgeBase.objects.filter(slug=slug).exists():
        raise PaasError("already_exists", "There is a knowledge base of this name.", details={"param": "slug"})
    if KnowledgeBase.objects.count() >= MOST_BASES:
        raise PaasError("validation_failed", f"There are {MOST_BASES} knowledge bases already. Delete one first.")
    base.save(force_insert=True)
    audit.record("knowledge.created", actor=label, target=slug, model=base.model, access=base.access)
    return base


@transaction.atomic
def base_update(*, actor: Actor, slug: str, fields: dict[str, Any]) -> KnowledgeBase:
    """Change some of CHANGEABLE and RERANK. Chunk sizes and OCR count for what is read next (knowledge.generations).

    Raises permission_denied, not_found, validation_failed.
    """
    return _updated(actor.label, base_for(actor, slug, write=True), fields)


def _updated(label: str, base: KnowledgeBase, fields: dict[str, Any]) -> KnowledgeBase:
    fixed = {name: [ANEW] for name in FIXED if name in fields}
    before = _settings(base)
    given = {name: value for name, value in fields.items() if name not in FIXED}
    _check(base, fixed | _given(base, given) | _reranker(base, fields))
    changed = sorted(name for name, value in _settings(base).items() if value != before[name])
    if changed:
        base.save(update_fields=changed)
        audit.record("knowledge.changed", actor=label, target=base.slug, fields=changed)
    return base


def base_set(*, actor: str, slug: str, fields: dict[str, Any]) -> str:
    """As the declaration says it: "created", "updated" or "unchanged". Raises PaasError as the two above."""
    with transaction.atomic():
        base = KnowledgeBase.objects.select_related("provider", "reranker").filter(slug=slug).first()
        if base is None:
            _created(actor, slug, fields)
            return "created"
        now = {
            "provider": base.provider.name if base.provider else "",
            "model": base.model,
            "dimension": base.dimension,
        }
        if any(fields.get(name, now[name]) != now[name] for name in FIXED):
            raise PaasError("validation_failed", f"Knowledge base {slug}: {ANEW}")
        before = _settings(base)
        _updated(actor, base, {name: value for name, value in fields.items() if name not in FIXED})
        return "unchanged" if _settings(base) == before else "updated"


@transaction.atomic
def base_delete(*, actor: Actor, slug: str) -> None:
    """Delete a base with all that is in it: rows, vectors and files. Raises permission_denied, not_found."""
    base = base_for(actor, slug, write=True)
    keys = list(base.documents.exclude(key="").values_list("key", flat=True))
    keys += base.uploads.exclude(key="").values_list("key", flat=True)
    count = base.documents.count()
    base.delete()
    audit.record("knowledge.deleted", actor=actor.label, target=slug, documents=count)
    drop_after_commit(keys)


def _settings(base: KnowledgeBase) -> dict[str, Any]:
    """What can be changed, as it is."""
    return {name: getattr(base, name) for name in (*CHANGEABLE, *RERANK)}


def _given(base: KnowledgeBase, fields: dict[str, Any]) -> dict[str, list[str]]:
    known = (*CHANGEABLE, *RERANK)
    faults = {name: ["Not a field of a knowledge base."] for name in fields if name not in known}
    for name in CHANGEABLE:
        if name in fields and not storable(fields[name]):
            faults[name] = ["This has characters that cannot be stored."]
        elif name in fields:
            setattr(base, name, fields[name])
    if not _texts(base.roles) or set(base.roles) - set(ROLE_ACTIONS):
        faults["roles"] = [f"A list of roles: {', '.join(ROLE_ACTIONS)}."]
    if not _texts(base.people) or len(base.people) > MOST_PEOPLE:
        faults["people"] = [f"A list of at most {MOST_PEOPLE} ids of members or keys."]
    return faults


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and len(one) <= 40 for one in value)


def model_of(base: KnowledgeBase, fields: dict[str, Any]) -> dict[str, list[str]]:
    """Put an embeddings model into a base, unsaved; what is wrong with it."""
    name, model = str(fields.get("provider") or ""), str(fields.get("model") or "")
    if not name:
        if model not in ("", hashing.MODEL):
            return {"provider": ["Say whose model this is: the name of a model provider of this workspace."]}
        base.model, base.dimension = hashing.MODEL, hashing.DIMENSION
        given = fields.get("dimension") or hashing.DIMENSION
        return {} if given == hashing.DIMENSION else {"dimension": [f"Hashing vectors have {hashing.DIMENSION}."]}
    account = provider_named(name)
    if account is None or not account.enabled:
        return {"provider": [f"There is no model provider {name[:60]!r} in this workspace that is switched on."]}
    declared = (account.models or {}).get(model)
    if not isinstance(declared, dict) or not declared.get("embeddings") or not account.allows(model):
        return {"model": [f"{account.name} has no embeddings model {model[:60]!r} (`embeddings: true`)."]}
    if fields.get("dimension") not in DIMENSIONS:
        return {"dimension": [f"How many numbers a vector of the model has: {', '.join(map(str, DIMENSIONS))}."]}
    base.provider, base.model, base.dimension = account, model, fields["dimension"]
    return {}


def _reranker(base: KnowledgeBase, fields: dict[str, Any]) -> dict[str, list[str]]:
    """Put the reranker in; what is wrong with it. A base keeps one whose account is switched off meanwhile."""
    if not set(RERANK) & set(fields):
        return {}
    name = str(fields.get("reranker", base.reranker.name if base.reranker else "") or "")
    model = str(fields.get("rerank_model", base.rerank_model) or "")
    if not name and fields.get("rerank_model"):
        return {"reranker": ["Say whose model this is: the name of a model provider of this workspace."]}
    if not name:
        base.reranker, base.rerank_model = None, ""
        return {}
    account = provider_named(name)
    if account is None or not account.enabled:
        return {"reranker": [f"There is no model provider {name[:60]!r} in this workspace that is switched on."]}
    declared = (account.models or {}).get(model)
    if not isinstance(declared, dict) or not declared.get("rerank") or not account.allows(model):
        return {"rerank_model": [f"{account.name} has no reranker {model[:60]!r} (`rerank: true`)."]}
    base.reranker, base.rerank_model = account, model
    return {}


def _check(base: KnowledgeBase, faults: dict[str, list[str]]) -> None:
    try:
        base.full_clean(validate_unique=False, exclude=["roles", "people"])
    except ValidationError as error:
        faults = error.message_dict | faults
    except TypeError:
        faults = faults | {"chunk_size": ["Sizes and weights are numbers."]}
    if not faults and base.chunk_overlap * 2 > base.chunk_size:
        faults["chunk_overlap"] = ["At most half of the chunk size."]
    if not faults and base.vector_weight + base.keyword_weight <= 0:
        faults["vector_weight"] = ["One of the weights is above 0."]
    if faults:
        told = " ".join(f"{name}: {' '.join(sentences)}" for name, sentences in sorted(faults.items()))
        raise PaasError("validation_failed", told, details={"fields": faults})


def base_view(base: KnowledgeBase, counts: dict[str, int] | None = None) -> dict[str, Any]:
    """A base as the API shows it. counts: state -> how many documents."""
    shown = {name: getattr(base, name) for name in CHANGEABLE}
    fixed = {
        "provider": base.provider.name if base.provider else None,
        "model": base.model,
        "dimension": base.dimension,
        "reranker": base.reranker.name if base.reranker else None,
        "rerank_model": base.rerank_model,
    }
    fixed["next_model"] = base.next_model or None
    about = {"slug": base.slug, "created_at": base.created_at.isoformat(), "documents": counts or {}}
    return about | shown | fixed


def counts_of(ids: list[uuid.UUID]) -> dict[uuid.UUID, dict[str, int]]:
    """How many documents in each state these bases have."""
    found: dict[uuid.UUID, dict[str, int]] = {}
    rows = Document.objects.filter(base_id__in=ids).order_by().values_list("base_id", "state")
    for base_id, state, count in rows.annotate(count=Count("id")):
        found.setdefault(base_id, {})[state] = count
    return found
