"""What the stand-in vendor answers to `POST .../rerank`.

rerank-words        the share of the question's words that a passage has
rerank-last         the later a passage was given, the better
rerank-silent       as rerank-words, without a word about usage
rerank-short        one score too few
fault-...           as for chat (answers.py)
"""

from __future__ import annotations

from typing import Any

from bench.embeddings import tokens_of

MODELS = frozenset({"rerank-words", "rerank-last", "rerank-silent", "rerank-short"})


def document_of(asked: dict[str, Any]) -> dict[str, Any] | None:
    """The answer's document, the best passage first; None when no such model exists. One token for each byte."""
    model, query, passages = str(asked.get("model")), str(asked.get("query")), list(asked.get("documents") or [])
    if model not in MODELS:
        return None
    words = set(query.lower().split())
    scores = [
        (index + 1) / len(passages)
        if model == "rerank-last"
        else len(words & set(passage.lower().split())) / max(len(words), 1)
        for index, passage in enumerate(passages)
    ]
    results = [{"index": index, "relevance_score": round(score, 4)} for index, score in enumerate(scores)]
    results.sort(key=lambda row: -row["relevance_score"])
    document: dict[str, Any] = {"model": model, "results": results[1:] if model == "rerank-short" else results}
    if model != "rerank-silent":
        tokens = tokens_of([query, *passages])
        document["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return document
