"""How well and how fast knowledge is found: `python -m bench.knowledge`.

Quality: questions in English and Chinese with the passage that answers each, among all others; recall and mean
reciprocal rank of words alone, vectors alone, and both. The vectors are the hashing embedder's: what is measured is
the search and not a vendor's model.
Speed: random passages, searched one after the other; recall@10 against the exact order, without a filter and with one
that keeps 1 %.
--ingest: whole documents instead (bench/knowledge/ingest.py).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

from bench.knowledge.ingest import measure
from bench.leaks.services import own_services
from bench.machine import describe

QUESTIONS = Path(__file__).parent / "questions.json"
WAYS = {"words": (0.0, 1.0), "vectors": (1.0, 0.0), "both": (0.7, 0.3)}
DIMENSION = 256
ROUNDS = 100


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.knowledge", description=__doc__)
    parser.add_argument(
        "--chunks", type=int, default=5_000, help="passages of the speed part (default 5000; 0: leave out)"
    )
    parser.add_argument("--ingest", action="store_true", help="how long whole documents take, and nothing else")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    with own_services():
        report = {"machine": describe()} | _measured(options.chunks, options.ingest)
    print(json.dumps(report, indent=2, ensure_ascii=False))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2))
    return 0


def _measured(chunks: int, ingest: bool) -> dict[str, Any]:
    os.environ["DATABASE_LOGIN"] = "owner"
    import django

    django.setup()
    from django.core.management import call_command

    from accounts.actors import Actor
    from accounts.policies import actions_of_role
    from core.ids import uuid7
    from tenants import scope
    from tenants.migrate import migrate_all
    from tenants.provisioning import tenant_create

    call_command("init_database", verbosity=0, stdout=sys.stderr)
    migrate_all(lambda line: None)
    tenant = tenant_create(slug="bench", name="Bench").ref()
    actor = Actor(tenant, uuid7(), None, "owner", actions_of_role("owner"))
    with scope.bind(tenant):
        if ingest:
            return {"ingest": measure(actor)}
        return {"quality": _quality(actor)} | ({"speed": _speed(actor, chunks)} if chunks else {})


def _base(slug: str) -> Any:
    from knowledge.models import KnowledgeBase

    return KnowledgeBase.objects.create(slug=slug, name=slug)


def _quality(actor: Any) -> dict[str, Any]:
    from knowledge.search import Question, search

    pairs = json.loads(QUESTIONS.read_text())
    base = _base("questions")
    for number, (passage, _) in enumerate(pairs):
        _add(base, [passage], title=str(number))
    report = {}
    for way, (near, words) in WAYS.items():
        places = []
        for number, (_, question) in enumerate(pairs):
            asked = Question(question, top_k=10, vector_weight=near, keyword_weight=words)
            titles = [one["title"] for one in search(actor, "questions", asked)]
            places.append(titles.index(str(number)) + 1 if str(number) in titles else 0)
        report[way] = {
            "recall@1": _share(places, 1),
            "recall@5": _share(places, 5),
            "mrr": round(sum(1 / place for place in places if place) / len(places), 3),
        }
    return {"questions": len(pairs)} | report


def _share(places: list[int], most: int) -> float:
    return round(sum(0 < place <= most for place in places) / len(places), 3)


def _add(base: Any, texts: list[str], title: str, vectors: Any = None, tags: Any = ()) -> Any:
    from django.contrib.postgres.search import SearchVector
    from django.db.models import Value

    from knowledge.hashing import vector_of
    from knowledge.models import Chunk, Document
    from knowledge.words import words_of

    document = Document.objects.create(
        base=base, title=title, source="text", state="ready", live_version=1, tags=list(tags)
    )
    made = []
    for ordinal, text in enumerate(texts, 1):
        words = SearchVector(Value(" ".join(words_of(text))), config="simple")
        vector = vectors[ordinal - 1] if vectors else vector_of(text)
        made.append(
            Chunk(
                base=base, document=document, version=1, ordinal=ordinal, text=text, digest=hash(text),
                tsv=words, dimension=DIMENSION, embedding=vector,
            )
        )  # fmt: skip
    Chunk.objects.bulk_create(made)
    return document


def _speed(actor: Any, chunks: int) -> dict[str, Any]:
    """Passages of 60 words each, in documents of 100; one document in a hundred has the tag `rare`."""
    from django.db import connection

    from knowledge.search import Question, search

    chance = random.Random(7)
    words = [f"word{number}" for number in range(5000)]
    base = _base("many")
    begun = time.perf_counter()
    for number in range(max(chunks // 100, 1)):
        texts = [" ".join(chance.choices(words, k=60)) for _ in range(100)]
        _add(base, texts, title=f"many {number}", tags=["rare"] if number % 100 == 0 else [])
    built = time.perf_counter() - begun
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE knowledge_chunk")
    report: dict[str, Any] = {"chunks": chunks, "built_s": round(built, 1)}
    for name, tags in (("all", ()), ("1%", ("rare",))):
        spent, shares = [], []
        for _ in range(ROUNDS):
            asked = Question(" ".join(chance.choices(words, k=6)), top_k=10, tags=tags)
            begun = time.perf_counter()
            search(actor, "many", asked)
            spent.append((time.perf_counter() - begun) * 1000)
            shares.append(_recall(actor, base, asked))
        report[name] = {
            "p50_ms": round(sorted(spent)[len(spent) // 2], 1),
            "p95_ms": round(sorted(spent)[len(spent) * 95 // 100], 1),
            "recall@10": round(sum(shares) / len(shares), 3),
        }
    return report


def _recall(actor: Any, base: Any, asked: Any) -> float:
    """How many of the ten nearest, by the exact order, the vectors' part finds."""
    from dataclasses import replace

    from django.db import connection

    from knowledge.fields import as_text
    from knowledge.hashing import vector_of
    from knowledge.search import search

    found = {one["chunk_id"] for one in search(actor, "many", replace(asked, vector_weight=1, keyword_weight=0))}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.id::text FROM knowledge_chunk c JOIN knowledge_document d ON d.id = c.document_id "
            "WHERE c.base_id = %s AND d.tags @> %s::jsonb ORDER BY (c.embedding <=> %s::halfvec) + 0 LIMIT 10",
            [base.id, json.dumps(list(asked.tags)), as_text(vector_of(asked.query))],
        )
        exact = {row[0] for row in cursor.fetchall()}
    return len(found & exact) / max(len(exact), 1)


if __name__ == "__main__":
    sys.exit(main())
