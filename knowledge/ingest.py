"""Makes documents searchable: read in the confined process, cut, embedded in batches; a step at a time.

A turn takes one document of the bound tenant and works on it for a while. Whatever it has done is written down, so a
turn that is killed is taken up where it stopped: passages that have no vector yet are what is left. A document belongs
to the turn whose lease it carries; every write says so, and one that was cancelled, replaced or deleted meanwhile is
let go.

Fair between tenants: a tenant has at most LANES turns at once, and one job in the queue; a turn that leaves something
to do puts the next one at the queue's end, behind those of the other tenants.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from aiohttp import ClientError
from django.contrib.postgres.search import SearchVector
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Q, Value
from django.db.models.functions import Now

from accounts.actors import Actor
from core.documents import confined
from core.documents.asked import Unreadable
from core.errors import PaasError
from core.ids import uuid7
from knowledge import embedding, files
from knowledge.chunks import MOST_CHUNKS, Passage, passages
from knowledge.documents import WAITING, document_kind, wake
from knowledge.models import Chunk, Document, KnowledgeBase
from knowledge.words import words_of
from tenants import limits, scope
from tenants.pages import fetched
from tenants.scope import TenantRef

log = structlog.get_logger(__name__)

LANES = 2
LEASE = timedelta(minutes=5)  # longer than reading (a minute) or a batch with its tries takes
BATCH = 32  # texts of one request for vectors
BATCHES = 10  # of one turn
PAUSES = (1.0, 4.0)  # seconds before a batch is tried again
FETCH_SECONDS = 20.0
# What ends by itself: the document waits and nothing is said against it.
PASSING = frozenset({"server_stopping", "database_unavailable"})
OUR_FAULT = "It could not be read because of a fault here. Try again; if it fails again, tell an administrator."
State = Document.State


class Gone(Exception):
    """The document is not this turn's any more."""


@dataclass(frozen=True, slots=True)
class Held:
    """A document that a turn has. made: passages of this version are there already."""

    id: uuid.UUID
    lease: uuid.UUID
    base: KnowledgeBase
    title: str
    kind: str
    key: str
    url: str
    version: int
    made: bool
    payer: Actor

    @property
    def rows(self) -> Any:
        """The document's row, as long as this turn has it."""
        return Document.objects.filter(id=self.id, lease=self.lease)

    @property
    def own(self) -> Any:
        """The passages of the version that is being made."""
        return Chunk.objects.filter(document_id=self.id, version=self.version)


async def turn(tenant: TenantRef) -> bool:
    """Work on the tenant's oldest waiting document for a while. False: there was none, or it has its turns already."""
    held = await scope.run_in_tenant(tenant, _take, tenant)
    if held is None:
        return False
    try:
        if not held.made:
            await _read(tenant, held)
        if await _embed(tenant, held):
            await scope.run_in_tenant(tenant, _ready, held)
    except Gone:
        pass
    except Unreadable as error:
        await scope.run_in_tenant(tenant, _failed, held, str(error))
    except PaasError as error:
        if error.code in PASSING:
            await scope.run_in_tenant(tenant, _let_go, held)
            raise
        await scope.run_in_tenant(tenant, _failed, held, error.message)
    except Exception:
        log.exception("a document could not be made searchable", document=str(held.id))
        await scope.run_in_tenant(tenant, _failed, held, OUR_FAULT)
    return True


async def work(tenant: TenantRef) -> None:
    """A turn, and the next one at the end of the queue while something waits."""
    if await turn(tenant):
        await scope.run_in_tenant(tenant, wake_if_waiting)


def wake_if_waiting() -> bool:
    """Have a worker look, if something waits that nobody works on."""
    waits = bool(_free().exists())
    if waits:
        with transaction.atomic():
            wake()
    return waits


def _free() -> Any:
    return Document.objects.filter(Q(leased_until=None) | Q(leased_until__lt=Now()), state__in=WAITING)


@transaction.atomic
def _take(tenant: TenantRef) -> Held | None:
    if Document.objects.filter(state__in=WAITING, leased_until__gt=Now()).count() >= LANES:
        return None
    free = _free().select_for_update(skip_locked=True, of=("self",)).select_related("base__provider")
    found = free.order_by("id").first()
    if found is None:
        return None
    lease = uuid7()
    Document.objects.filter(id=found.id).update(lease=lease, leased_until=Now() + LEASE)
    made = found.chunks.filter(version=found.version).exists()
    who = found.user_id if found.key_id is None else None
    payer = Actor(tenant, who, found.key_id, "key" if found.key_id else "", frozenset())
    about = (found.title, found.kind, found.key, found.url, found.version)
    return Held(found.id, lease, found.base, *about, made, payer)


def _say(held: Held, state: str, progress: int, step: str) -> None:
    """Where it stands; raises Gone."""
    said = {"state": state, "progress": progress, "step": step, "error": ""}
    if not held.rows.update(leased_until=Now() + LEASE, updated_at=Now(), **said):
        raise Gone


# --- reading ------------------------------------------------------------------------------------------------------
async def _read(tenant: TenantRef, held: Held) -> None:
    if not held.key:
        await scope.run_in_tenant(tenant, _say, held, State.PARSING, 2, "fetching the page")
        held = await _fetch(tenant, held)
    await scope.run_in_tenant(tenant, _say, held, State.PARSING, 5, "reading")
    source = await scope.run_in_tenant(tenant, files.opened, held.key)
    try:
        blocks = await confined.read_whole(source, held.kind, held.title)
    finally:
        source.close()
    await scope.run_in_tenant(tenant, _say, held, State.PARSING, 20, "cutting into passages")
    await scope.run_in_tenant(tenant, _cut, held, blocks)


async def _fetch(tenant: TenantRef, held: Held) -> Held:
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            page = await fetched(held.url)
    except TimeoutError:
        raise Unreadable(f"The page took more than {FETCH_SECONDS:.0f} seconds.") from None
    except (ClientError, ValueError, OSError):
        raise Unreadable("The page could not be read: its server cannot be reached.") from None
    if page.cut:
        raise Unreadable("The page is too large.")
    data = page.text.encode("utf-8", "replace")
    kind = document_kind("page.html" if "html" in page.kind else "page.txt", data[:65536])
    kind = "html" if "html" in page.kind else kind
    if kind is None or not data.strip():
        raise Unreadable("The page has no text.")
    return await scope.run_in_tenant(tenant, _keep_page, held, kind, data)


def _keep_page(held: Held, kind: str, data: bytes) -> Held:
    key = ""
    try:
        with transaction.atomic():
            limits.one_at_a_time("storage")
            limits.check_storage(len(data))
            key = default_storage.save(str(uuid7()), ContentFile(data))
            if not held.rows.update(key=key, kind=kind, size=len(data)):
                raise Gone
    except BaseException:
        files.drop([key] if key else [])
        raise
    about = (held.id, held.lease, held.base, held.title)
    return Held(*about, kind=kind, key=key, url=held.url, version=held.version, made=False, payer=held.payer)


def _cut(held: Held, blocks: list[Any]) -> None:
    """Write the passages of this version down, without vectors: all of them or none."""
    with transaction.atomic():
        if not held.rows.select_for_update().exists():
            raise Gone
        batch: list[Chunk] = []
        ordinal = 0
        for ordinal, one in enumerate(passages(blocks, held.base.chunk_size, held.base.chunk_overlap), 1):
            if ordinal > MOST_CHUNKS:
                raise Unreadable(f"The document makes more than {MOST_CHUNKS:,} passages. Split it.")
            batch.append(_chunk(held, ordinal, one))
            if len(batch) == 500:
                Chunk.objects.bulk_create(batch)
                batch = []
        Chunk.objects.bulk_create(batch)
        held.rows.update(chunk_count=ordinal, state=State.EMBEDDING)


def _chunk(held: Held, ordinal: int, one: Passage) -> Chunk:
    words = " ".join(words_of(f"{held.title} {one.heading} {one.text}"))
    return Chunk(
        base=held.base,
        document_id=held.id,
        version=held.version,
        ordinal=ordinal,
        page=one.page,
        heading=one.heading,
        text=one.text,
        digest=one.digest,
        tsv=SearchVector(Value(words), config="simple"),
        dimension=held.base.dimension,
    )


# --- vectors ------------------------------------------------------------------------------------------------------
async def _embed(tenant: TenantRef, held: Held) -> bool:
    """Vectors for what has none, at most BATCHES of them; whether that was all. Lets go of the document if not."""
    for _ in range(BATCHES):
        batch, left, count = await scope.run_in_tenant(tenant, _next_batch, held)
        if not batch:
            return True
        done = 25 + round(74 * (count - left) / max(count, 1))
        await scope.run_in_tenant(tenant, _say, held, State.EMBEDDING, done, f"{count - left} of {count} passages")
        vectors = await _vectors(held, [text for _, text in batch])
        await scope.run_in_tenant(tenant, _keep_vectors, held, [one for one, _ in batch], vectors)
    await scope.run_in_tenant(tenant, _let_go, held)
    return False


def _next_batch(held: Held) -> tuple[list[tuple[uuid.UUID, str]], int, int]:
    """(ids and texts, how many have no vector, how many there are)."""
    bare = held.own.filter(embedding=None)
    rows = bare.order_by("ordinal").values_list("id", "heading", "text")[:BATCH]
    batch = [(one, f"{heading}\n{text}" if heading else text) for one, heading, text in rows]
    return batch, bare.count(), held.own.count()


async def _vectors(held: Held, texts: list[str]) -> list[list[float]]:
    for pause in PAUSES:
        try:
            return await embedding.vectors(held.payer, held.base, texts)
        except PaasError as error:
            if not error.retryable or error.code in PASSING:
                raise
        await asyncio.sleep(pause)
    return await embedding.vectors(held.payer, held.base, texts)


def _keep_vectors(held: Held, ids: list[uuid.UUID], vectors: list[list[float]]) -> None:
    with transaction.atomic():
        if not held.rows.select_for_update().exists():
            raise Gone
        Chunk.objects.bulk_update(
            [Chunk(id=one, embedding=vector) for one, vector in zip(ids, vectors, strict=True)], ["embedding"]
        )


# --- how it ends --------------------------------------------------------------------------------------------------
@transaction.atomic
def _ready(held: Held) -> None:
    """From now on this version is found, and what was there before is gone."""
    said = {"state": State.READY, "progress": 100, "step": "", "error": "", "live_version": held.version}
    if held.rows.update(lease=None, leased_until=None, updated_at=Now(), **said):
        Chunk.objects.filter(document_id=held.id).exclude(version=held.version).delete()


def _failed(held: Held, sentence: str) -> None:
    said = {"state": State.FAILED, "step": "", "error": sentence[:500]}
    held.rows.update(lease=None, leased_until=None, updated_at=Now(), **said)


def _let_go(held: Held) -> None:
    held.rows.update(lease=None, leased_until=None)
