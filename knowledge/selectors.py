"""What pages show of bases and documents. Bound to their tenant; whoever asks has the base already (access)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, F, Func, Q, QuerySet, Sum, TextField

from accounts.actors import Actor
from knowledge.documents import WAITING
from knowledge.models import Chunk, Document, KnowledgeBase, Upload

MOST_TAGS = 200
MOST_COPIES = 5
PICTURED = {"kind": "pdf"}  # documents whose pages can be shown


def knowledge_names() -> dict[str, str]:
    """The names of all bases, by slug; for whoever makes agents, which find no more in them than who asks may see."""
    return dict(KnowledgeBase.objects.values_list("slug", "name"))


@dataclass
class Content:
    """What is in a base. counts: documents by state; searchable: those that are found; bytes: of their files."""

    counts: dict[str, int] = field(default_factory=dict)
    searchable: int = 0
    bytes: int = 0
    passages: int = 0

    @property
    def documents(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    @property
    def waiting(self) -> int:
        """Those that are being made searchable, or wait for it."""
        return sum(self.counts.get(state, 0) for state in WAITING)

    @property
    def failed(self) -> int:
        """Those that could not be read."""
        return self.counts.get(Document.State.FAILED, 0)


def contents(bases: Iterable[uuid.UUID]) -> dict[uuid.UUID, Content]:
    """What is in these bases; one query."""
    found = {one: Content() for one in bases}
    rows = Document.objects.filter(base_id__in=found).order_by().values("base_id", "state")
    live = Count("id", filter=Q(live_version__gt=0))
    for row in rows.annotate(count=Count("id"), live=live, bytes=Sum("size"), passages=Sum("chunk_count")):
        content = found[row["base_id"]]
        content.counts[row["state"]] = row["count"]
        content.searchable += row["live"]
        content.bytes += row["bytes"]
        content.passages += row["passages"]
    return found


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which documents. text: in the title; state: one of Document.State, or "waiting"; before: an id."""

    text: str = ""
    tag: str = ""
    state: str = ""
    before: uuid.UUID | None = None


def documents_page(base: KnowledgeBase, wanted: Wanted, limit: int) -> tuple[list[Document], uuid.UUID | None]:
    """Documents, newest first, and after which the next page begins."""
    found: QuerySet[Document] = base.documents.order_by("-id")
    if wanted.text:
        found = found.filter(title__icontains=wanted.text)
    if wanted.tag:
        found = found.filter(tags__contains=[wanted.tag])
    if wanted.state:
        found = found.filter(state__in=WAITING if wanted.state == "waiting" else [wanted.state])
    if wanted.before:
        found = found.filter(id__lt=wanted.before)
    page = list(found[: limit + 1])
    return page[:limit], page[limit - 1].id if len(page) > limit else None


def tags_of(base: KnowledgeBase) -> list[str]:
    """The tags of a base's documents, at most MOST_TAGS."""
    each = Func(F("tags"), function="jsonb_array_elements_text", output_field=TextField())
    each.set_returning = True  # a row for each of them
    tags = base.documents.order_by().annotate(tag=each).values_list("tag", flat=True).distinct()
    return sorted(tags[:MOST_TAGS])


def unfinished(actor: Actor, base: KnowledgeBase) -> list[Upload]:
    """The actor's files that have not arrived whole."""
    return list(Upload.objects.filter(base=base, user_id=actor.user_id, key_id=actor.key_id, document=None)[:50])


def passages_page(document: Document, first: int, limit: int) -> list[Chunk]:
    """Passages of what is found of a document, from the one with this ordinal on, without their vectors."""
    rows = Chunk.objects.filter(document=document, version=document.live_version, ordinal__gte=first)
    return list(rows.only("id", "ordinal", "page", "heading", "text", "document_id").order_by("ordinal")[:limit])


def passage_count(document: Document) -> int:
    """How many passages are found of a document."""
    return Chunk.objects.filter(document=document, version=document.live_version).count()


def has_pictures(document: Document) -> bool:
    """Whether pages of the document can be shown. While the next version is read its file is not that of the passages
    any more."""
    return bool(document.key and document.kind == PICTURED["kind"]) and (document.version == document.live_version)


def pictured(ids: Iterable[str]) -> set[str]:
    """Those of the documents with these ids of which `has_pictures` is so."""
    found = Document.objects.filter(**PICTURED, id__in=list(ids), version=F("live_version")).exclude(key="")
    return {str(one) for one in found.values_list("id", flat=True)}


def copies_of(base: KnowledgeBase, passages: list[dict[str, Any]]) -> dict[str, list[Chunk]]:
    """Other passages of the base that say the same, in space and case at most otherwise: by the id of a passage."""
    digests = dict(Chunk.objects.filter(id__in=[one["chunk_id"] for one in passages]).values_list("id", "digest"))
    others = (
        Chunk.objects.filter(base=base, digest__in=set(digests.values()), version=F("document__live_version"))
        .exclude(id__in=digests)
        .select_related("document")
        .only("id", "digest", "ordinal", "page", "document__title")
    )[: MOST_COPIES * len(digests)]
    same: dict[int, list[Chunk]] = {}
    for one in others:
        same.setdefault(one.digest, []).append(one)
    return {str(chunk): same[digest][:MOST_COPIES] for chunk, digest in digests.items() if digest in same}
