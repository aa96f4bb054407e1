"""Putting documents into a base, replacing, retrying, cancelling and deleting them. Bound to their tenant.

What is put in is stored and queued; knowledge/ingest.py makes it searchable.
"""

from __future__ import annotations

import io
import uuid
from dataclasses import dataclass, field
from typing import IO, Any

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models.functions import Now
from yarl import URL

from accounts import audit
from accounts.actors import Actor
from core.documents.kinds import HEAD_BYTES, inert_name, kind_of
from core.egress import check_url
from core.errors import PaasError
from core.ids import uuid7
from core.storable import storable
from knowledge.access import base_for, document_for
from knowledge.files import drop, drop_after_commit
from knowledge.models import Chunk, Document, KnowledgeBase
from tenants import jobs, limits, scope
from tenants.egress import egress_policy

MOST_DOCUMENTS = 20_000  # of a base
MOST_AT_ONCE = 100
MOST_TAGS = 20
MOST_TAG = 60
MOST_METADATA = 4_000  # characters as JSON
WAITING = (Document.State.QUEUED, Document.State.PARSING, Document.State.EMBEDDING)
INGEST = "knowledge.ingest"


@dataclass(frozen=True, slots=True)
class Source:
    """A document as it came: a file (content: open, at its beginning), or an address to fetch it from.

    key: the file's name in the tenant's storage, where it lies there already.
    """

    title: str
    size: int = 0
    content: IO[bytes] | None = None
    url: str = ""
    source: str = Document.Source.UPLOAD
    key: str = ""

    @property
    def room(self) -> int:
        """How many bytes it takes that are not stored yet."""
        return 0 if self.key else self.size


@dataclass(frozen=True, slots=True)
class Labels:
    """What documents are found by besides their text."""

    tags: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)


def text_source(title: str, text: str) -> Source:
    """A text that somebody typed, in Markdown."""
    data = text.encode("utf-8", "replace")
    return Source(f"{title.strip() or 'Text'}.md", len(data), io.BytesIO(data), source=Document.Source.TEXT)


def documents_add(*, actor: Actor, slug: str, sources: list[Source], labels: Labels) -> list[Document]:
    """Put documents into a base: all of them or none; they wait to be made searchable.

    Raises permission_denied, not_found, validation_failed, file_unsupported, file_too_large, storage_full,
    egress errors for an address that is not asked.
    """
    base = base_for(actor, slug, write=True)
    if not sources or len(sources) > MOST_AT_ONCE:
        raise PaasError("validation_failed", f"Send 1 to {MOST_AT_ONCE} documents.", details={"param": "file"})
    check_labels(labels)
    kinds = [_kind(one) for one in sources]
    stored: list[str] = []
    try:
        with transaction.atomic():
            limits.one_at_a_time("storage")
            limits.check_storage(sum(one.room for one in sources))
            if base.documents.count() + len(sources) > MOST_DOCUMENTS:
                raise PaasError("validation_failed", f"A knowledge base has at most {MOST_DOCUMENTS:,} documents.")
            made = [_row(actor, base, one, kind, stored) for one, kind in zip(sources, kinds, strict=True)]
            for one in made:
                one.tags, one.metadata = list(labels.tags), dict(labels.metadata)
            Document.objects.bulk_create(made)
            audit.record("document.added", actor=actor.label, target=slug, count=len(made))
            wake()
    except BaseException:
        drop(stored)
        raise
    return made


def document_replace(*, actor: Actor, slug: str, document_id: uuid.UUID, source: Source) -> Document:
    """Another version of a document; the one before is found until the new one is ready. Raises as `documents_add`."""
    document_for(actor, slug, document_id, write=True)
    kind = _kind(source)
    stored: list[str] = []
    try:
        with transaction.atomic():
            limits.one_at_a_time("storage")
            found = Document.objects.select_for_update().select_related("base").get(id=document_id)
            limits.check_storage(source.room, replaces=found.size)
            fresh = _row(actor, found.base, source, kind, stored)
            before = [found.key] if found.key else []
            for name in ("title", "source", "url", "kind", "key", "size", "user_id", "key_id"):
                setattr(found, name, getattr(fresh, name))
            found.chunks.exclude(version=found.live_version).delete()
            found.version += 1
            _queued(found)
            audit.record("document.replaced", actor=actor.label, target=slug, document=str(found.id))
            wake()
            drop_after_commit(before)
    except BaseException:
        drop(stored)
        raise
    return found


@transaction.atomic
def document_label(*, actor: Actor, slug: str, document_id: uuid.UUID, fields: dict[str, Any]) -> Document:
    """Change title, tags or metadata. Raises permission_denied, not_found, validation_failed."""
    found = document_for(actor, slug, document_id, write=True)
    check_labels(Labels(fields.get("tags", found.tags), fields.get("metadata", found.metadata)))
    found.title = inert_name(str(fields.get("title", found.title)))[:200]
    found.tags, found.metadata = fields.get("tags", found.tags), fields.get("metadata", found.metadata)
    found.save(update_fields=["title", "tags", "metadata", "updated_at"])
    audit.record("document.changed", actor=actor.label, target=slug, document=str(found.id), fields=sorted(fields))
    return found


@transaction.atomic
def document_retry(*, actor: Actor, slug: str, document_id: uuid.UUID) -> Document:
    """Try again what has failed or was cancelled; what was done already is kept. Raises also conflict."""
    document_for(actor, slug, document_id, write=True)
    found = Document.objects.select_for_update().get(id=document_id)
    if found.state not in (Document.State.FAILED, Document.State.CANCELLED):
        raise PaasError("validation_failed", "Only a document that failed or was cancelled is tried again.")
    found.user_id, found.key_id = actor.user_id, actor.key_id
    _queued(found)
    audit.record("document.retried", actor=actor.label, target=slug, document=str(found.id))
    wake()
    return found


@transaction.atomic
def documents_retry(*, actor: Actor, slug: str) -> int:
    """Try again all documents of a base that have failed; how many these are. Raises permission_denied, not_found."""
    base = base_for(actor, slug, write=True)
    failed = base.documents.filter(state=Document.State.FAILED)
    queued = {"state": Document.State.QUEUED, "progress": 0, "step": "", "error": "", "updated_at": Now()}
    count = failed.update(**queued, user_id=actor.user_id, key_id=actor.key_id, lease=None, leased_until=None)
    if count:
        audit.record("documents.retried", actor=actor.label, target=slug, count=count)
        wake()
    return count


@transaction.atomic
def document_cancel(*, actor: Actor, slug: str, document_id: uuid.UUID) -> Document:
    """Stop working on a document. A version that is found already stays. Raises permission_denied, not_found."""
    document_for(actor, slug, document_id, write=True)
    found = Document.objects.select_for_update().get(id=document_id)
    if found.state in WAITING:
        found.chunks.exclude(version=found.live_version).delete()
        found.state, found.step, found.lease, found.leased_until = Document.State.CANCELLED, "", None, None
        found.save(update_fields=["state", "step", "lease", "leased_until", "updated_at"])
        audit.record("document.cancelled", actor=actor.label, target=slug, document=str(found.id))
    return found


@transaction.atomic
def document_delete(*, actor: Actor, slug: str, document_id: uuid.UUID) -> None:
    """Delete a document with its passages, vectors and file. Raises permission_denied, not_found."""
    found = document_for(actor, slug, document_id, write=True)
    keys = [found.key] if found.key else []
    found.delete()
    audit.record("document.deleted", actor=actor.label, target=slug, document=str(document_id))
    drop_after_commit(keys)


def wake() -> None:
    """Have a worker look at the tenant's documents once the present transaction commits."""
    jobs.enqueue(INGEST, queueing_lock=f"{INGEST}:{scope.current_tenant().id}")


def document_view(found: Document) -> dict[str, Any]:
    """A document as the API shows it."""
    shown = ("title", "source", "url", "kind", "size", "state", "progress", "step", "error", "version", "tags")
    about = {name: getattr(found, name) for name in (*shown, "metadata")}
    times = {"created_at": found.created_at.isoformat(), "updated_at": found.updated_at.isoformat()}
    return {"id": str(found.id)} | about | {"chunks": found.chunk_count, "searchable": found.live_version > 0} | times


def chunk_views(found: Document, after: int, most: int) -> list[dict[str, Any]]:
    """Passages of the version that is found, in their order."""
    rows = Chunk.objects.filter(document=found, version=found.live_version, ordinal__gt=after).order_by("ordinal")
    names = ("id", "ordinal", "page", "heading", "text")
    return [one | {"id": str(one["id"])} for one in rows.values(*names)[:most]]


def _queued(found: Document) -> None:
    found.state, found.progress, found.step, found.error = Document.State.QUEUED, 0, "", ""
    found.lease = found.leased_until = None
    found.save()


def _row(actor: Actor, base: KnowledgeBase, one: Source, kind: str, stored: list[str]) -> Document:
    made = Document(base=base, source=one.source, url=one.url, kind=kind, size=one.size)
    made.title = (one.url or inert_name(one.title))[:200]
    made.user_id, made.key_id = actor.user_id, actor.key_id
    if one.key:
        made.key = one.key
    elif one.content is not None:
        stored.append(default_storage.save(str(uuid7()), File(one.content)))
        made.key = stored[-1]
    return made


def _kind(one: Source) -> str:
    if one.content is None:
        check_url(_url(one.url), egress_policy())
        return ""
    param = {"param": "file", "name": inert_name(one.title)}
    if one.size > settings.MAX_FILE_BYTES:
        raise PaasError("file_too_large", details=param | {"limit": settings.MAX_FILE_BYTES})
    head = one.content.read(HEAD_BYTES)
    one.content.seek(0)
    if not head.strip():
        raise PaasError("validation_failed", "The document is empty.", details=param)
    kind = document_kind(one.title, head)
    if kind is None:
        raise PaasError("file_unsupported", details=param)
    return kind


def document_kind(name: str, head: bytes) -> str | None:
    """As core.documents.kinds.kind_of; of texts also which are web pages."""
    kind = kind_of(name, head)
    start = head[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return "html" if kind == "text" and start.startswith((b"<!doctype html", b"<html")) else kind


def _url(text: str) -> URL:
    try:
        found = URL(text)
    except ValueError:
        found = URL()
    if found.scheme not in ("http", "https") or not found.host or len(text) > 2000:
        raise PaasError("validation_failed", "Give a whole address, such as https://example.com/page.")
    return found


def check_labels(labels: Labels) -> None:
    """Raise validation_failed for what is no tag, or no metadata."""
    tags, metadata = labels.tags, labels.metadata
    fits = isinstance(tags, list) and len(tags) <= MOST_TAGS
    if not fits or not all(isinstance(one, str) and 0 < len(one) <= MOST_TAG and one.isprintable() for one in tags):
        sentence = f"Give at most {MOST_TAGS} tags of 1 to {MOST_TAG} characters."
        raise PaasError("validation_failed", sentence, details={"param": "tags"})
    plain = isinstance(metadata, dict) and all(
        isinstance(value, str | int | float | bool) for value in metadata.values()
    )
    if not plain or not storable(metadata) or len(str(metadata)) > MOST_METADATA:
        raise PaasError("validation_failed", "Metadata is an object of texts, numbers and true or false.")
