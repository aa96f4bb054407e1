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
from core.documents.kinds import HEAD_BYTES, inert_name, whole_kind_of
from core.egress import check_url
from core.errors import PaasError
from core.ids import uuid7
from core.storable import storable
from knowledge.access import base_for, document_for
from knowledge.counts import check_documents
from knowledge.files import checksum, drop, drop_after_commit
from knowledge.models import Chunk, Document, KnowledgeBase, PageText
from tenants import jobs, limits, scope
from tenants.egress import egress_policy

MOST_DOCUMENTS = 20_000  # of a base
MOST_AT_ONCE = 100
MOST_TAGS = 20
MOST_TAG = 60
MOST_METADATA = 4_000  # characters as JSON
MOST_PASSAGES = 300  # of a document that are read at once
WAITING = (Document.State.QUEUED, Document.State.PARSING, Document.State.EMBEDDING)
INGEST = "knowledge.ingest"
UNSUPPORTED = (
    "This kind of file cannot be read here. Send PDF, Word (.docx), PowerPoint (.pptx), Excel (.xlsx), CSV, HTML, "
    "JSON, Markdown, plain text, or a picture (PNG, JPEG, WEBP, GIF, TIFF)."
)


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
    plan_limit_reached, egress errors for an address that is not asked.
    """
    base = base_for(actor, slug, write=True)
    if not sources or len(sources) > MOST_AT_ONCE:
        raise PaasError("validation_failed", f"Send 1 to {MOST_AT_ONCE} documents.", details={"param": "file"})
    check_labels(labels)
    kinds = [kind_of(one) for one in sources]
    stored: list[str] = []
    try:
        with transaction.atomic():
            limits.one_at_a_time("storage")
            limits.check_storage(sum(one.room for one in sources))
            check_documents(len(sources))
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
    kind = kind_of(source)
    stored: list[str] = []
    try:
        with transaction.atomic():
            limits.one_at_a_time("storage")
            found = Document.objects.select_for_update().select_related("base").get(id=document_id)
            limits.check_storage(source.room, replaces=found.size)
            fresh = _row(actor, found.base, source, kind, stored)
            before = [found.key] if found.key else []
            for name in ("title", "source", "url", "kind", "key", "size", "checksum", "user_id", "key_id"):
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


def document_refetch(*, actor: Actor, slug: str, document_id: uuid.UUID) -> Document:
    """Fetch a document's address again, as another version of it. Raises as `document_replace`; validation_failed for
    one that came from no address."""
    found = document_for(actor, slug, document_id, write=True)
    if found.source != Document.Source.URL:
        raise PaasError("validation_failed", "Only a document that was fetched from an address is fetched again.")
    again = Source(found.url, url=found.url, source=Document.Source.URL)
    return document_replace(actor=actor, slug=slug, document_id=document_id, source=again)


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
    queued = {"state": Document.State.QUEUED, "progress": 0, "step": "", "error": "", "said": {}, "updated_at": Now()}
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
        PageText.objects.filter(document=found).delete()
        found.state, found.step, found.cut_version = Document.State.CANCELLED, "", found.live_version
        found.said = {}
        found.lease = found.leased_until = found.not_before = None
        changed = ("state", "step", "said", "cut_version", "lease", "leased_until", "not_before", "updated_at")
        found.save(update_fields=changed)
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
    return {"id": str(found.id)} | about | {
        "chunks": found.chunk_count, "pages": found.pages, "checksum": found.checksum,
        "searchable": found.live_version > 0,
    } | times  # fmt: skip


def chunk_views(found: Document, after: int, most: int) -> list[dict[str, Any]]:
    """Passages of the version that is found, in their order."""
    rows = Chunk.objects.filter(document=found, version=found.live_version, ordinal__gt=after).order_by("ordinal")
    names = ("id", "ordinal", "page", "heading", "text")
    return [one | {"id": str(one["id"])} for one in rows.values(*names)[:most]]


def document_text(found: Document, after: int, most: int) -> tuple[str, int | None]:
    """(the text of the version that is found, from behind passage `after` on; the number of the last passage in it
    where it goes on, else None). most: characters, about; one passage is told in any case.

    Neighbouring passages share lines; these are told once. A new page and a new heading have a line of their own.
    """
    rows = Chunk.objects.filter(document=found, version=found.live_version, ordinal__gt=after).order_by("ordinal")
    told: list[str] = []
    size, last = 0, None
    for one in rows[: MOST_PASSAGES + 1]:
        if last is not None and (size + len(one.text) > most or one.ordinal > after + MOST_PASSAGES):
            return "\n".join(told).strip("\n"), last.ordinal
        lines = _unshared(last.text.split("\n") if last else [], one.text.split("\n"))
        if one.heading and (last is None or one.heading != last.heading):
            lines = ["", f"## {one.heading}", *lines]
        if one.page and (last is None or one.page != last.page):
            lines = ["", f"[Page {one.page}]", *lines]
        told += lines
        size, last = size + len(one.text), one
    return "\n".join(told).strip("\n"), None


def _unshared(before: list[str], lines: list[str]) -> list[str]:
    """`lines` without those at their beginning with which `before` ends."""
    for count in range(min(len(before), len(lines)), 0, -1):
        if before[-count:] == lines[:count]:
            return lines[count:]
    return lines


def _queued(found: Document) -> None:
    found.state, found.progress, found.step, found.error = Document.State.QUEUED, 0, "", ""
    found.said = {}
    found.lease = found.leased_until = found.not_before = None
    found.failures = 0
    found.save()


def _row(actor: Actor, base: KnowledgeBase, one: Source, kind: str, stored: list[str]) -> Document:
    made = Document(base=base, source=one.source, url=one.url, kind=kind, size=one.size)
    made.title = (one.url or inert_name(one.title))[:200]
    made.user_id, made.key_id = actor.user_id, actor.key_id
    if one.content is not None:
        made.checksum = checksum(one.content)
    if one.key:
        made.key = one.key
    elif one.content is not None:
        stored.append(default_storage.save(str(uuid7()), File(one.content)))
        made.key = stored[-1]
    return made


def kind_of(one: Source) -> str:
    """What a document is, by its bytes; "" for an address. Raises as `documents_add` for one that is not read."""
    if one.content is None:
        check_url(_url(one.url), egress_policy())
        return ""
    param = {"param": "file", "name": inert_name(one.title)}
    if one.size > settings.MAX_FILE_BYTES:
        raise PaasError("file_too_large", details=param | {"limit": settings.MAX_FILE_BYTES})
    head = one.content.read(HEAD_BYTES)
    one.content.seek(max(one.size - HEAD_BYTES, 0))
    tail = one.content.read(HEAD_BYTES)
    one.content.seek(0)
    if not head.strip():
        raise PaasError("validation_failed", "The document is empty.", details=param)
    kind = whole_kind_of(one.title, head, tail)
    if kind is None:
        raise PaasError("file_unsupported", UNSUPPORTED, details=param)
    return kind


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
