"""How well passages are found: questions in English and Chinese (corpus/), each with the passage that answers it.

All passages of both languages are in one base. The vectors are the hashing embedder's, which knows words and no
meaning: what is measured is the search, and no vendor's model. With --weights those of a real model stand beside them.
`shown`: an agent's tool gave the model the right passage. `cited`: a reader that knows nothing, and answers with the
sentence that shares most words with the question, cites it.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.knowledge.place import base_of

CORPUS = Path(__file__).parent / "corpus"
LANGUAGES = ("english", "chinese")
WAYS = {"words": (0.0, 1.0), "vectors": (1.0, 0.0), "both": (0.7, 0.3)}
MOST = 10
Vectors = Callable[[Sequence[str]], list[list[float]]]


def quality(actor: Any, model: Vectors | None = None) -> dict[str, Any]:
    """Recall at 1, 5 and 10, the mean reciprocal rank, and what an agent is shown and would cite."""
    from knowledge.hashing import vector_of

    begun = time.perf_counter()
    vectors = model or (lambda texts: [vector_of(text) for text in texts])
    corpora = {language: json.loads((CORPUS / f"{language}.json").read_text()) for language in LANGUAGES}
    passages = [f"{language} {number}" for language in LANGUAGES for number in range(len(corpora[language]))]
    texts = [entry[0] for language in LANGUAGES for entry in corpora[language]]
    made = vectors(texts)
    base = base_of("quality" if model is None else "quality-model", len(made[0]))
    for title, text, vector in zip(passages, texts, made, strict=True):
        _add(base, title, text, vector)
    report: dict[str, Any] = {"passages": len(texts), "dimension": len(made[0])}
    for language, entries in corpora.items():
        pairs = [(f"{language} {number}", asked) for number, entry in enumerate(entries) for asked in entry[1:]]
        asked_vectors = vectors([asked for _, asked in pairs])
        found = {way: _ranked(actor, base, pairs, asked_vectors, WAYS[way]) for way in WAYS}
        report[language] = {"questions": len(pairs)} | {way: _shares(places) for way, places in found.items()}
        if model is None:
            report[language]["agent"] = asyncio.run(_grounded(actor, pairs))
    return report | {"seconds": round(time.perf_counter() - begun, 1)}


def _ranked(
    actor: Any, base: Any, pairs: list[tuple[str, str]], vectors: list[list[float]], weights: tuple[float, float]
) -> list[int]:
    """The place of each question's passage, from 1; 0: not among the first ten."""
    from knowledge.search import Question, _found

    places = []
    for (title, asked), vector in zip(pairs, vectors, strict=True):
        question = Question(asked, MOST, *weights)
        titles = [one["title"] for one in _found(actor, [base], question, vector if weights[0] else None)]
        places.append(titles.index(title) + 1 if title in titles else 0)
    return places


def _shares(places: list[int]) -> dict[str, float]:
    def share(most: int) -> float:
        return round(sum(0 < place <= most for place in places) / len(places), 3)

    mean = sum(1 / place for place in places if place) / len(places)
    return {f"recall@{most}": share(most) for most in (1, 5, MOST)} | {"mrr": round(mean, 3)}


async def _grounded(actor: Any, pairs: list[tuple[str, str]]) -> dict[str, float]:
    from agents.tools.knowledge import SEARCH_KNOWLEDGE
    from agents.tools.spec import ToolContext

    shown = cited = 0
    for title, asked in pairs:
        context = ToolContext(actor.tenant, actor, uuid.uuid4(), "bench", settings={"bases": ["quality"]})
        result = await SEARCH_KNOWLEDGE.call(context, {"query": asked})
        titles = {one["n"]: one["title"] for one in result.sources}
        shown += title in titles.values()
        cited += titles.get(_reader(asked, result.text)) == title
    return {"shown": round(shown / len(pairs), 3), "cited": round(cited / len(pairs), 3)}


def _reader(asked: str, shown: str) -> int:
    """The number of the passage that shares most words with the question, as a reader without a mind takes it."""
    from knowledge.words import words_of

    words = set(words_of(asked))
    lines = re.findall(r"^\[(\d+)\] .*?: (\".*\")$", shown, re.MULTILINE)
    return max(((len(words & set(words_of(json.loads(text)))), -int(n)) for n, text in lines), default=(0, 0))[1] * -1


def _add(base: Any, title: str, text: str, vector: list[float]) -> None:
    from django.contrib.postgres.search import SearchVector
    from django.db.models import Value

    from knowledge.chunks import Passage
    from knowledge.models import Chunk, Document
    from knowledge.words import words_of

    document = Document.objects.create(base=base, title=title, source="text", state="ready", live_version=1)
    words = SearchVector(Value(" ".join(words_of(text))), config="simple")
    whole = {"version": 1, "ordinal": 1, "text": text, "digest": Passage(text, None, "").digest, "tsv": words}
    Chunk.objects.create(base=base, document=document, dimension=len(vector), embedding=vector, **whole)
