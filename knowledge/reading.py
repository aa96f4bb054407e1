"""Reads a document in the confined process and writes its passages down, without vectors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import replace
from typing import IO, Any

from aiohttp import ClientError
from django.contrib.postgres.search import SearchVector
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import F, Func, IntegerField, UUIDField, Value

from core import metrics
from core.documents import confined
from core.documents.asked import Asked, Unreadable
from core.documents.blocks import Block
from core.documents.kinds import HEAD_BYTES, whole_kind_of
from core.documents.ocr import MISSING, installed
from core.ids import uuid7
from core.said import said
from knowledge import files
from knowledge.chunks import MOST_CHUNKS, Cutter, Passage
from knowledge.counts import check_pages
from knowledge.holding import Gone, Held, State, say
from knowledge.models import Chunk, Document, KnowledgeBase, PageText
from knowledge.words import words_of
from tenants import limits, scope
from tenants.pages import fetched
from tenants.scope import TenantRef

FETCH_SECONDS = 20.0
ROWS = 200  # passages that are written at once
STRETCH = 8  # pages that are looked at in one turn
CHARS_OF_A_PAGE = 3_000  # where a document has no pages
PICTURE_OFF = "It is a picture, or its pages are, and this knowledge base does not read pictures (OCR is set to never)."
Ocr = KnowledgeBase.Ocr


async def read(tenant: TenantRef, held: Held) -> bool:
    """Do the next part of reading; whether the document is read, and its passages are there."""
    if not held.key:
        await scope.run_in_tenant(tenant, say, held, State.PARSING, 2, said("fetching the page"))
        with metrics.INGEST_SECONDS.labels("fetch").time():
            held = await _fetch(tenant, held)
    may_look = held.base.ocr != Ocr.NEVER and installed()
    left = await scope.run_in_tenant(tenant, _unseen, held)
    if left and may_look:
        with metrics.INGEST_SECONDS.labels("ocr").time():
            await _look(tenant, held, left[:STRETCH])
        if len(left) > STRETCH:
            return False
    with metrics.INGEST_SECONDS.labels("read").time():
        return await _cut(tenant, held, may_look)


# --- pages of the web ---------------------------------------------------------------------------------------------
async def _fetch(tenant: TenantRef, held: Held) -> Held:
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            page = await fetched(held.url)
    except TimeoutError:
        raise Unreadable("The page took more than %(most)s seconds.", most=round(FETCH_SECONDS)) from None
    except (ClientError, ValueError, OSError):
        raise Unreadable("The page could not be read: its server cannot be reached.") from None
    if page.cut:
        raise Unreadable("The page is too large.")
    data = page.text.encode("utf-8", "replace")
    kind = whole_kind_of("page.html" if "html" in page.kind else "page.txt", data[:HEAD_BYTES])
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
            said = {"key": key, "kind": kind, "size": len(data), "checksum": files.checksum(ContentFile(data))}
            if not held.rows.update(**said):
                raise Gone
    except BaseException:
        files.drop([key] if key else [])
        raise
    return replace(held, kind=kind, key=key)


# --- pictures -----------------------------------------------------------------------------------------------------
def _unseen(held: Held) -> list[int]:
    """The pages that have to be looked at and were not yet."""
    return list(held.pictures.filter(text=None).order_by("page").values_list("page", flat=True))


def _note_pictures(held: Held, pages: Iterable[int]) -> None:
    made = [PageText(document_id=held.id, version=held.version, page=page) for page in pages]
    with transaction.atomic():
        if not held.rows.select_for_update().exists():
            raise Gone
        check_pages(held.id, len(made))
        PageText.objects.bulk_create(made, ignore_conflicts=True)


async def _look(tenant: TenantRef, held: Held, pages: list[int]) -> None:
    """Read pages by what they look like; each is kept as soon as it is read."""
    count = await scope.run_in_tenant(tenant, held.pictures.count)
    done = await scope.run_in_tenant(tenant, held.pictures.exclude(text=None).count)

    async def tell() -> None:
        step = said("%(done)s of %(all)s pictures read", done=done, all=count)
        await scope.run_in_tenant(tenant, say, held, State.PARSING, 5 + 15 * done // max(count, 1), step)

    await tell()
    kind = "ocr:image" if held.kind == "image" else "ocr:pdf"
    asked = Asked(held.title, pages=" ".join(map(str, pages)))
    async with aclosing(_blocks(tenant, held, kind, asked)) as batches:
        async for batch in batches:
            await scope.run_in_tenant(tenant, _keep_pages, held, batch)
            done += len(batch)
            await tell()


def _keep_pages(held: Held, blocks: list[Block]) -> None:
    with transaction.atomic():
        if not held.rows.select_for_update().exists():
            raise Gone
        for block in blocks:
            held.pictures.filter(page=block.page).update(text=block.text)


# --- cutting ------------------------------------------------------------------------------------------------------
async def _cut(tenant: TenantRef, held: Held, may_look: bool) -> bool:
    """Read the text and write it down as passages. False: pages of it have to be looked at first."""
    await scope.run_in_tenant(tenant, say, held, State.PARSING, 20, said("reading"))
    seen: dict[int, str] = await scope.run_in_tenant(tenant, _seen, held)
    await scope.run_in_tenant(tenant, _begin, held)
    written = _Written(held, seen)
    pictures: list[int] = []
    async with aclosing(_text_blocks(tenant, held)) as batches:
        async for batch in batches:
            pictures += [one.page for one in batch if one.picture and one.page and one.page not in seen]
            if not (pictures and may_look):
                await scope.run_in_tenant(tenant, written.keep, batch)
    if pictures:
        await scope.run_in_tenant(tenant, _note_pictures, held, pictures)
    if pictures and may_look:
        await scope.run_in_tenant(tenant, _begin, held)
        return False
    if pictures and not written.begun:
        raise Unreadable(PICTURE_OFF if held.base.ocr == Ocr.NEVER else MISSING)
    await scope.run_in_tenant(tenant, written.end)
    return True


def _seen(held: Held) -> dict[int, str]:
    return dict(held.pictures.exclude(text=None).values_list("page", "text"))


async def _text_blocks(tenant: TenantRef, held: Held) -> AsyncGenerator[list[Block], None]:
    if held.kind == "image":
        yield [Block("", 1, picture=True)]
        return
    always = held.base.ocr == Ocr.ALWAYS
    asked = Asked(held.title, few=1_000_000_000 if always else held.base.ocr_chars)
    async with aclosing(_blocks(tenant, held, f"whole:{held.kind}", asked)) as batches:
        async for batch in batches:
            yield batch


async def _blocks(tenant: TenantRef, held: Held, kind: str, asked: Asked) -> AsyncGenerator[list[Block], None]:
    source: IO[bytes] = await scope.run_in_tenant(tenant, files.opened, held.key)
    try:
        async with aclosing(confined.whole(source, kind, asked)) as batches:
            async for batch in batches:
                yield batch
    finally:
        source.close()


def _begin(held: Held) -> None:
    """What a turn that was killed has written of it is no beginning of anything."""
    with transaction.atomic():
        if not held.rows.select_for_update().exists():
            raise Gone
        held.own.delete()


class _Written:
    """The passages of a version, written as they come; the document counts as read when all of them are there."""

    def __init__(self, held: Held, seen: dict[int, str]) -> None:
        """seen: page -> what was read of a picture."""
        self._held, self._seen = held, seen
        self._cutter = Cutter(held.base.chunk_size, held.base.chunk_overlap)
        self._waiting: list[Passage] = []
        self._count = self._chars = self._page = 0

    @property
    def begun(self) -> bool:
        """Whether there was any text."""
        return self._chars > 0

    def keep(self, blocks: Iterable[Block]) -> None:
        """Write down what is whole with these. Raises Gone, Unreadable for too many."""
        for block in blocks:
            for text in self._texts(block):
                self._chars += len(text)
                self._waiting += self._cutter.add(replace(block, text=text, picture=False))
            self._page = max(self._page, block.page or 0)
            while len(self._waiting) >= ROWS:
                self._write()

    def _texts(self, block: Block) -> list[str]:
        text = self._seen.get(block.page or 0, block.text) if block.picture else block.text
        return [one for one in text.split("\n\n") if one.strip()] if block.picture else [text]

    def end(self) -> None:
        """Write the rest; from now on the document waits for vectors."""
        self._waiting += self._cutter.end()
        pages = self._page or -(-self._chars // CHARS_OF_A_PAGE)
        with transaction.atomic():
            check_pages(self._held.id, pages)
            while self._waiting:
                self._write()
            if not self._count:
                raise Unreadable("The document has no text.")
            said = {"chunk_count": self._count, "pages": pages, "cut_version": self._held.version}
            if not self._held.base.next_model:
                reuse(self._held)
            if not self._held.rows.update(state=State.EMBEDDING, **said):
                raise Gone

    def _write(self) -> None:
        some, self._waiting = self._waiting[:ROWS], self._waiting[ROWS:]
        if self._count + len(some) > MOST_CHUNKS:
            raise Unreadable("The document makes more than %(most)s passages. Split it.", most=MOST_CHUNKS)
        with transaction.atomic():
            if not self._held.rows.select_for_update().exists():
                raise Gone
            Chunk.objects.bulk_create([_chunk(self._held, n, one) for n, one in enumerate(some, self._count + 1)])
        self._count += len(some)


def reuse(held: Held) -> int:
    """Take over the vectors of passages that the version that is found has word for word. Returns how many."""
    asked = (Value(held.id, UUIDField()), Value(held.version), F("live_version"))
    call = Func(*asked, function="knowledge_reuse", output_field=IntegerField())
    found = Document.objects.filter(id=held.id).annotate(reused=call).values_list("reused", flat=True)
    return int(found.first() or 0)


def _chunk(held: Held, ordinal: int, one: Passage) -> Chunk:
    words = " ".join(words_of(f"{held.title} {one.heading} {one.text}"))
    about: dict[str, Any] = {"ordinal": ordinal, "page": one.page, "heading": one.heading, "text": one.text}
    return Chunk(
        base=held.base,
        document_id=held.id,
        version=held.version,
        digest=one.digest,
        tsv=SearchVector(Value(words), config="simple"),
        dimension=held.base.dimension,
        **about,
    )
