"""Files that arrive in pieces: begun, gone on with after a break, and made documents when they are whole.

Whoever begins the same file again (by its checksum) is told how much of it is there, so nothing has to be remembered
where it comes from. Bound to their tenant.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import F, QuerySet, Sum
from django.db.models.functions import Now

from accounts.actors import Actor
from accounts.policies import KNOWLEDGE_READ, KNOWLEDGE_WRITE
from core.documents.kinds import inert_name
from core.errors import PaasError
from core.ids import uuid7
from knowledge.access import base_for, document_for
from knowledge.documents import Labels, Source, check_labels, document_replace, documents_add
from knowledge.files import checksum, drop, drop_after_commit, opened
from knowledge.models import Document, KnowledgeBase, Upload
from tenants import limits

PIECE_BYTES = 1024 * 1024  # a slow line sends it well within the time that a body may take (launch/receipt.py)
MOST_OPEN = 500  # of one person or key in a base
KEPT = timedelta(hours=24)  # since the last piece
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Announced:
    """What somebody says that they will send. sha256: of all of it, in hex, or "". replaces: see Upload."""

    name: str
    size: int
    sha256: str = ""
    labels: Labels = field(default_factory=Labels)
    replaces: uuid.UUID | None = None


def uploads_of(actor: Actor, slug: str) -> QuerySet[Upload]:
    """What the actor has begun to send to a base and not finished. Raises permission_denied, not_found."""
    return _own(actor, base_for(actor, slug, write=True)).filter(document=None)


def upload_for(actor: Actor, slug: str, upload_id: uuid.UUID) -> Upload:
    """One of the actor's, lately finished ones too. Raises permission_denied, not_found: in the same words for one of
    somebody else's and for a base that never was."""
    actor.require(KNOWLEDGE_READ)
    actor.require(KNOWLEDGE_WRITE)  # and so may see every base
    own = Upload.objects.select_related("base").filter(user_id=actor.user_id, key_id=actor.key_id)
    found = own.filter(id=upload_id).first()
    if found is None or found.base.slug != slug:
        raise PaasError("not_found", "There is no such upload. Begin it again.")
    return found


def upload_begin(*, actor: Actor, slug: str, file: Announced) -> Upload:
    """Begin a file, or find what has arrived of the same one. There is room for all of it, or it is not begun.

    Raises permission_denied, not_found (also for the document that it replaces), validation_failed, file_too_large,
    storage_full.
    """
    base = base_for(actor, slug, write=True)
    _check(file)
    if file.replaces is not None:
        document_for(actor, slug, file.replaces, write=True)
    key = ""
    try:
        with transaction.atomic():
            # Whoever puts files in waits here, so that two do not both find room for one (A52).
            limits.one_at_a_time("storage")
            if (found := _begun(actor, base, file)) is not None:
                return found
            if _own(actor, base).filter(document=None).count() >= MOST_OPEN:
                sentence = f"{MOST_OPEN} files are on their way already. Finish some of them first."
                raise PaasError("validation_failed", sentence)
            on_their_way = Upload.objects.aggregate(bytes=Sum(F("size") - F("offset")))["bytes"] or 0
            limits.check_storage(file.size + on_their_way)
            key = default_storage.save(str(uuid7()), ContentFile(b""))
            return Upload.objects.create(
                base=base,
                name=inert_name(file.name)[:200],
                size=file.size,
                sha256=file.sha256,
                key=key,
                tags=list(file.labels.tags),
                metadata=dict(file.labels.metadata),
                replaces=file.replaces,
                user_id=actor.user_id,
                key_id=actor.key_id,
            )
    except BaseException:
        drop([key] if key else [])
        raise


def upload_piece(*, actor: Actor, slug: str, upload_id: uuid.UUID, offset: int, data: bytes) -> Upload | Document:
    """Take the next piece in; with the last one the file becomes a document, and that is returned.

    Raises permission_denied, not_found, edited_meanwhile with `details.offset`, where to go on, validation_failed; of
    a whole file also what `documents_add` raises, and then all of it is gone.
    """
    upload_for(actor, slug, upload_id)
    found = _written(upload_id, offset, data)
    if found.document is not None:
        return document_for(actor, slug, found.document, write=True)
    return found if found.offset < found.size else _finished(actor, slug, found)


@transaction.atomic
def upload_delete(*, actor: Actor, slug: str, upload_id: uuid.UUID) -> None:
    """Forget an upload with what has arrived of it. Raises permission_denied, not_found."""
    found = upload_for(actor, slug, upload_id)
    _forget(list(Upload.objects.select_for_update().filter(id=found.id)))


@transaction.atomic
def uploads_forget() -> int:
    """Forget what has stopped arriving for longer than KEPT; how many these were."""
    stale = list(Upload.objects.select_for_update(skip_locked=True).filter(updated_at__lt=Now() - KEPT))
    _forget(stale)
    return len(stale)


def upload_view(found: Upload) -> dict[str, Any]:
    """An upload as the API shows it."""
    shown = {name: getattr(found, name) for name in ("name", "size", "offset", "sha256", "tags", "metadata")}
    about = {"replaces": found.replaces, "document": found.document, "piece_bytes": PIECE_BYTES}
    return {"id": str(found.id)} | shown | about


def _own(actor: Actor, base: KnowledgeBase) -> QuerySet[Upload]:
    return Upload.objects.filter(base=base, user_id=actor.user_id, key_id=actor.key_id)


def _begun(actor: Actor, base: KnowledgeBase, file: Announced) -> Upload | None:
    if not file.sha256:
        return None  # what only has the same name and size may be another file
    same = {"sha256": file.sha256, "size": file.size, "name": inert_name(file.name)[:200], "replaces": file.replaces}
    return _own(actor, base).filter(**same, document=None).first()


def _check(file: Announced) -> None:
    name = inert_name(file.name)
    if file.size < 1:
        raise PaasError("validation_failed", "The document is empty.", details={"param": "size", "name": name})
    if file.size > settings.MAX_FILE_BYTES:
        raise PaasError("file_too_large", details={"param": "size", "name": name, "limit": settings.MAX_FILE_BYTES})
    if file.sha256 and not _SHA256.match(file.sha256):
        sentence = "A checksum is the file's SHA-256 in 64 small hexadecimal digits."
        raise PaasError("validation_failed", sentence, details={"param": "sha256"})
    check_labels(file.labels)


@transaction.atomic
def _written(upload_id: uuid.UUID, offset: int, data: bytes) -> Upload:
    found = Upload.objects.select_for_update().filter(id=upload_id).first()
    if found is None:
        raise PaasError("not_found", "There is no such upload. Begin it again.")
    if found.document is not None:  # the answer to its last piece was lost
        return found
    if offset != found.offset:
        sentence = f"{found.offset} bytes of this file are there. Go on with the next one."
        raise PaasError("edited_meanwhile", sentence, details={"offset": found.offset})
    room = min(PIECE_BYTES, found.size - found.offset)
    if len(data) > room or (not data and room):
        sentence = f"A piece has 1 to {room} bytes here."
        raise PaasError("validation_failed", sentence, details={"param": "body"})
    with default_storage.open(found.key, "r+b") as content:
        content.seek(offset)  # not at the file's end: a piece whose transaction failed may lie there
        content.write(data)
    found.offset += len(data)
    found.save(update_fields=["offset", "updated_at"])
    return found


def _finished(actor: Actor, slug: str, found: Upload) -> Document:
    try:
        with opened(found.key) as content, transaction.atomic():
            now = Upload.objects.select_for_update().filter(id=found.id).first()
            if now is None:
                raise PaasError("not_found", "There is no such upload. Begin it again.")
            if now.document is not None:  # another request has finished it
                return document_for(actor, slug, now.document, write=True)
            if found.sha256 and checksum(content) != found.sha256:
                sentence = "The file has arrived other than it was sent. Send it again."
                raise PaasError("validation_failed", sentence, details={"param": "sha256"})
            made = _document(actor, slug, found, Source(found.name, found.size, content, key=found.key))
            found.document, found.key = made.id, ""
            found.save(update_fields=["document", "key", "updated_at"])
            return made
    except PaasError as error:
        if not error.retryable:
            with transaction.atomic():
                _forget(list(Upload.objects.select_for_update().filter(id=found.id, document=None)))
        raise


def _document(actor: Actor, slug: str, found: Upload, source: Source) -> Document:
    if found.replaces is not None:
        return document_replace(actor=actor, slug=slug, document_id=found.replaces, source=source)
    labels = Labels(found.tags, found.metadata)
    return documents_add(actor=actor, slug=slug, sources=[source], labels=labels)[0]


def _forget(uploads: list[Upload]) -> None:
    """Of rows that are locked: the file of one that is finished meanwhile is its document's."""
    Upload.objects.filter(id__in=[one.id for one in uploads]).delete()
    drop_after_commit([one.key for one in uploads if one.key])
