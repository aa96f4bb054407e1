"""Files of a conversation: put in, listed, downloaded, deleted, and named by messages. Bound to their tenant.

A file is known by its bytes (core/documents/kinds.py) and lies in the tenant's storage under a name of our own (P17,
P60). Nobody but the conversation's own person or key has it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import QuerySet

from accounts import audit
from accounts.actors import Actor
from accounts.policies import CHAT_WRITE
from agents.runtime.spec import AgentSpec
from chat import selectors
from chat.file_notes import note_of
from chat.models import ConversationFile
from core.documents.kinds import HEAD_BYTES, inert_name, kind_of
from core.errors import PaasError
from core.ids import uuid7
from tenants import limits, scope

if TYPE_CHECKING:
    from chat.turns import TurnRequest

MOST_FILES = 50  # of a conversation
MOST_NAMED = 20  # by a message
TOOL = "read_file"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it came. content: open, at its beginning."""

    name: str
    size: int
    content: IO[bytes]


def files_of(actor: Actor, conversation_id: uuid.UUID) -> QuerySet[ConversationFile]:
    """The files of one of the actor's conversations, oldest first. Raises not_found, permission_denied."""
    found = selectors.conversation_for(actor, conversation_id)
    return ConversationFile.objects.filter(conversation=found).order_by("id")


def file_for(actor: Actor, conversation_id: uuid.UUID, file_id: uuid.UUID) -> ConversationFile:
    """One of them. Raises not_found, permission_denied."""
    found = files_of(actor, conversation_id).filter(id=file_id).first()
    if found is None:
        raise PaasError("not_found")
    return found


def check_room(actor: Actor, conversation_id: uuid.UUID) -> None:
    """Raise what there is against putting any file there, before a body is looked at: permission_denied, not_found,
    too_many_files."""
    actor.require(CHAT_WRITE)
    if files_of(actor, conversation_id).count() >= MOST_FILES:
        raise PaasError("too_many_files", details={"limit": MOST_FILES})


def files_add(*, actor: Actor, conversation_id: uuid.UUID, uploads: list[Upload]) -> list[ConversationFile]:
    """Put files into a conversation: all of them or none.

    Raises permission_denied, not_found, validation_failed, file_unsupported, file_too_large, too_many_files,
    storage_full.
    """
    actor.require(CHAT_WRITE)
    conversation = selectors.conversation_for(actor, conversation_id)
    if not uploads:
        raise PaasError("validation_failed", "Send at least one file.", details={"param": "file"})
    kinds = [_kind(upload) for upload in uploads]
    stored: list[str] = []
    try:
        with transaction.atomic():
            # Whoever puts files in waits here, so that two do not both find room for one (A52).
            limits.one_at_a_time("storage")
            limits.check_storage(sum(upload.size for upload in uploads))
            if files_of(actor, conversation_id).count() + len(uploads) > MOST_FILES:
                raise PaasError("too_many_files", details={"limit": MOST_FILES})
            made = []
            for upload, kind in zip(uploads, kinds, strict=True):
                file_id = uuid7()
                stored.append(default_storage.save(str(file_id), File(upload.content)))
                made.append(
                    ConversationFile(
                        id=file_id, conversation=conversation, name=inert_name(upload.name), kind=kind,
                        size=upload.size, key=stored[-1],
                    )
                )  # fmt: skip
            ConversationFile.objects.bulk_create(made)
            audit.record("file.added", actor=actor.label, target=str(conversation_id), count=len(made))
    except BaseException:
        for key in stored:
            default_storage.delete(key)
        raise
    return made


def _kind(upload: Upload) -> str:
    param = {"param": "file", "name": inert_name(upload.name)}
    if upload.size > settings.MAX_FILE_BYTES:
        raise PaasError("file_too_large", details=param | {"limit": settings.MAX_FILE_BYTES})
    head = upload.content.read(HEAD_BYTES)
    upload.content.seek(0)
    if not head:
        raise PaasError("validation_failed", "The file is empty.", details=param)
    kind = kind_of(upload.name, head)
    if kind is None:
        raise PaasError("file_unsupported", details=param)
    return kind


@transaction.atomic
def file_delete(*, actor: Actor, conversation_id: uuid.UUID, file_id: uuid.UUID) -> None:
    """Delete a file for good; messages go on naming it. Raises permission_denied, not_found."""
    actor.require(CHAT_WRITE)
    found = file_for(actor, conversation_id, file_id)
    key, tenant = found.key, scope.current_tenant()
    found.delete()
    audit.record("file.deleted", actor=actor.label, target=str(conversation_id))

    def drop() -> None:
        with scope.bind(tenant):
            default_storage.delete(key)

    transaction.on_commit(drop)


def content_of(found: ConversationFile) -> IO[bytes]:
    """The file, open. Raises not_found where the storage has lost it."""
    try:
        content: IO[bytes] | None = default_storage.open(found.key).file
    except FileNotFoundError:
        content = None
    if content is None:
        raise PaasError("not_found", "The file is not there any more.")
    return content


async def named_in(actor: Actor, spec: AgentSpec, request: TurnRequest) -> TurnRequest:
    """The request with the files that its message names told in it; one query, and none without files.

    Raises unsupported_parameter for an agent that cannot read them, not_found for what is no file of the conversation.
    """
    if not request.files or request.conversation_id is None:
        return request
    if not any(tool.spec.name == TOOL for agent in spec.askable for tool in agent.tools):
        sentence = f"This agent cannot read files: it does not have the tool {TOOL}."
        raise PaasError("unsupported_parameter", sentence, details={"param": "files"})
    named = await scope.run_in_tenant(actor.tenant, _named, actor, request.conversation_id, request.files)
    return replace(request, message=request.message + note_of(named))


def _named(actor: Actor, conversation_id: uuid.UUID, ids: tuple[uuid.UUID, ...]) -> list[tuple[uuid.UUID, str]]:
    rows = dict(files_of(actor, conversation_id).filter(id__in=ids).values_list("id", "name"))
    if len(rows) < len(ids):
        raise PaasError("not_found", "There is no such file in this conversation.", details={"param": "files"})
    return [(one, rows[one]) for one in ids]


def file_view(found: ConversationFile) -> dict[str, Any]:
    """A file as the API shows it."""
    return {
        "id": str(found.id),
        "name": found.name,
        "kind": found.kind,
        "size": found.size,
        "created_at": found.created_at.isoformat(),
    }
