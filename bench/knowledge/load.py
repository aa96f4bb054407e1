"""Puts many passages into a base within minutes: COPY, and the large indexes made afterwards."""

from __future__ import annotations

import struct
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from bench.knowledge.made import OF_DOCUMENT, RARE, Made, packed
from bench.knowledge.place import base_of

# What has no type here that psycopg knows is sent as bytes: the column's own function receives it.
COLUMNS = {
    "id": "uuid", "base_id": "uuid", "document_id": "uuid", "version": "int4", "ordinal": "int4", "heading": "text",
    "text": "text", "digest": "int8", "tsv": "bytea", "dimension": "int2", "embedding": "bytea",
}  # fmt: skip
KEPT = 400  # vectors to make questions near to


@dataclass
class Loaded:
    """seconds: of writing rows, and of each index. near: some of the vectors, with their language."""

    base: Any
    made: Made
    seconds: dict[str, float] = field(default_factory=dict)
    near: list[tuple[list[int], str]] = field(default_factory=list)


def loaded(admin: Any, chunks: int, dimension: int) -> Loaded:
    """A base with so many passages. admin: a connection of the superuser's, for tenants make no indexes."""
    found = Loaded(base_of("many", dimension), Made(dimension))
    documents = _documents(found.base, -(-chunks // OF_DOCUMENT))
    admin.execute("SET maintenance_work_mem = '1GB'")
    indexes = admin.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() AND indexname = ANY(%s)",
        [[f"knowledge_chunk_near_{dimension}", "knowledge_chunk_words"]],
    ).fetchall()
    for name, _ in indexes:
        admin.execute(f'DROP INDEX "{name}"')
    begun = time.perf_counter()
    _copy(admin, found, documents, chunks)
    found.seconds["rows"] = round(time.perf_counter() - begun, 1)
    for name, definition in indexes:
        begun = time.perf_counter()
        admin.execute(definition)
        found.seconds[name] = round(time.perf_counter() - begun, 1)
    admin.execute("VACUUM ANALYZE knowledge_chunk, knowledge_document")
    return found


def _documents(base: Any, count: int) -> list[Any]:
    from knowledge.models import Document

    made = [
        Document(
            base=base, title=f"many {number}", source="text", state="ready", live_version=1, chunk_count=OF_DOCUMENT,
            tags=["rare"] if number % RARE == 0 else ["usual"], metadata={"number": number},
        )
        for number in range(count)
    ]  # fmt: skip
    return list(Document.objects.bulk_create(made, batch_size=1000))


def _copy(admin: Any, found: Loaded, documents: list[Any], chunks: int) -> None:
    every = max(chunks // KEPT, 1)
    number = 0
    with admin.cursor().copy(f"COPY knowledge_chunk ({', '.join(COLUMNS)}) FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(list(COLUMNS.values()))
        for document, (language, passages) in zip(documents, found.made.documents(chunks), strict=True):
            for ordinal, (words, vector) in enumerate(passages, 1):
                if number % every == 0:
                    found.near.append((vector, language))
                number += 1
                text = ("" if language == "zh" else " ").join(words)
                place = (uuid.uuid4(), found.base.id, document.id, 1, ordinal, "", text, number)
                copy.write_row((*place, _tsvector(words), found.made.dimension, packed(vector)))


def _tsvector(words: list[str]) -> bytes:
    """Words with their places as PostgreSQL receives a tsvector."""
    places: dict[str, list[int]] = {}
    for place, word in enumerate(words, 1):
        places.setdefault(word, []).append(place)
    parts = [struct.pack(">i", len(places))]
    for word, at in places.items():
        parts.append(word.encode() + b"\0" + struct.pack(f">{len(at) + 1}H", len(at), *at))
    return b"".join(parts)
