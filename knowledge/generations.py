"""Reading a base anew: with its settings as they are now, or with another embeddings model. Bound to their tenant.

With the same model each document changes over as soon as it is ready. With another one all do together, when the last
is: vectors of two models cannot be compared. Until then searches ask the former model, and find what it made.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from accounts import audit
from accounts.actors import Actor
from core.errors import PaasError
from knowledge.access import base_for
from knowledge.bases import model_of
from knowledge.documents import WAITING, wake
from knowledge.models import Chunk, Document, KnowledgeBase, PageText

State = Document.State


@transaction.atomic
def base_reindex(*, actor: Actor, slug: str, model: dict[str, Any] | None = None) -> int:
    """Read, cut and embed anew what is in a base; returns how many documents. Passages that say the same keep their
    vectors. model: `provider`, `model` and `dimension` of another embeddings model. What was cancelled before it was
    ready stays so.

    Raises permission_denied, not_found, validation_failed.
    """
    base = base_for(actor, slug, write=True)
    if model:
        _aim(base, model)
    wanted = base.documents.exclude(state=State.CANCELLED, live_version=0)
    if not base.next_model:
        wanted = wanted.exclude(state__in=WAITING)
    fresh = {
        "state": State.QUEUED,
        "progress": 0,
        "step": "",
        "error": "",
        "said": {},
        "failures": 0,
        "not_before": None,
    }
    count = wanted.update(version=F("version") + 1, lease=None, leased_until=None, updated_at=Now(), **fresh)
    audit.record("knowledge.reindexed", actor=actor.label, target=slug, documents=count)
    wake()
    switch(base)
    return count


def _aim(base: KnowledgeBase, model: dict[str, Any]) -> None:
    probe = KnowledgeBase(slug=base.slug)
    if faults := model_of(probe, model):
        told = " ".join(sentence for sentences in faults.values() for sentence in sentences)
        raise PaasError("validation_failed", told, details={"fields": faults})
    same = (probe.provider_id, probe.model, probe.dimension) == (base.provider_id, base.model, base.dimension)
    base.next_provider = None if same else probe.provider
    base.next_model, base.next_dimension = ("", 0) if same else (probe.model, probe.dimension)
    base.save(update_fields=["next_provider", "next_model", "next_dimension"])


def switch_where_due() -> None:
    """Change over the bases whose last document was cancelled or deleted, or has failed."""
    for base in KnowledgeBase.objects.exclude(next_model=""):
        switch(base)


@transaction.atomic
def switch(base: KnowledgeBase) -> bool:
    """Let a base have its next model, if no document is waited for any more. What failed is not found after that."""
    found = KnowledgeBase.objects.select_for_update(no_key=True).filter(id=base.id).exclude(next_model="").first()
    if found is None or found.documents.filter(state__in=WAITING).exists():
        return False
    found.provider_id, found.model, found.dimension = found.next_provider_id, found.next_model, found.next_dimension
    found.next_provider_id, found.next_model, found.next_dimension = None, "", 0
    found.save(update_fields=["provider", "model", "dimension", "next_provider", "next_model", "next_dimension"])
    found.documents.filter(state=State.READY).update(live_version=F("version"))
    found.documents.exclude(state=State.READY).update(live_version=0)
    Chunk.objects.filter(~Q(version=F("document__live_version")), base=found).delete()
    PageText.objects.filter(document__base=found).delete()
    return True
