"""Planted canaries of another tenant, another base and a withdrawn version come back by no question (P55, A9)."""

from __future__ import annotations

import io
from typing import Any

import pytest

from core.errors import PaasError
from knowledge import documents, search
from knowledge.hashing import vector_of
from knowledge.models import Chunk, Document
from knowledge.search import Question
from tests.contracts.sampling import sampled
from tests.knowledge.conftest import bound, ingested, make, put

TENANT, BASE, VERSION, UNFINISHED = "canarytenant4b1", "canarybase7c2", "canaryversion9d3", "canaryunfinished6e4"
CANARIES = (TENANT, BASE, VERSION, UNFINISHED)
QUERIES = (
    *CANARIES, "salary", "canary", "the salary list", " | ".join(CANARIES), "' OR TRUE --", "'); SELECT text FROM x; --",
    "a' | 'canarybase7c2':*", "\\' %1$s %s $1 {} :* & !", "* ? % _", "工资 名单",
)  # fmt: skip
TAGS: tuple[tuple[str, ...], ...] = (
    (), ("hr",), ("' OR d.tags IS NOT NULL --",), ('"] OR "1',), ("%s", "$1"), ("hr", "board"),
)  # fmt: skip
METADATA: tuple[dict[str, Any], ...] = (
    {}, {"level": "secret"}, {"$or": "x"}, {"a": "' || (SELECT text FROM knowledge_chunk LIMIT 1) || '"},
    {"') OR TRUE OR ('": 1}, {"base_id": "x"}, {"all": True, "may": True, "role": "owner"},
)  # fmt: skip


@pytest.mark.parametrize("few", sampled([0, search.FEW], lambda few: few == 0))
async def test_no_question_brings_a_canary(host: Any, actor: Any, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(search, "FEW", few)
    owner, member, rival = map(actor, ("owner", "member", "rival"))
    make(owner, "open", neighbours=True)
    make(owner, "board", access="restricted", roles=["admin"])
    make(rival, "open")
    secret = {"tags": ["hr"], "metadata": {"level": "secret"}}
    put(owner, "open", ("old.md", f"The salary list, 工资 名单: {VERSION}.".encode()), **secret)
    put(owner, "open", ("open.md", b"The salary list is with the owner. 'OR' TRUE SELECT text"), **secret)
    put(owner, "board", ("board.md", f"The salary list, 工资 名单: {BASE}.".encode()), **secret)
    put(rival, "open", ("rival.md", f"The salary list, 工资 名单: {TENANT}.".encode()), **secret)
    await ingested(owner)
    await ingested(rival)
    bound(owner, lambda: _replace(owner))
    await ingested(owner)
    bound(owner, _unfinished)
    found_something = 0
    for number, query in enumerate(QUERIES):
        for turn in (0, 3):  # each question with two of the filters, each filter with several questions
            tags, metadata = TAGS[(number + turn) % len(TAGS)], METADATA[(number + turn) % len(METADATA)]
            weights = ((0.7, 0.3), (1.0, 0.0), (0.0, 1.0))[number % 3]
            question = Question(query, 50, *weights, tags, metadata, neighbours=True)
            found = bound(member, lambda asked=question: _everywhere(member, asked))
            found_something += bool(found)
            assert not any(canary in str(found) for canary in CANARIES), question
    for metadata in METADATA:
        found = await search.search_bases(member, ["open", "board"], Question("salary", 50, metadata=metadata))
        assert not any(canary in str(found) for canary in CANARIES), metadata
    assert found_something, "a search that finds nothing keeps every secret"
    # And they are there: who may, finds them.
    assert BASE in str(bound(owner, lambda: search.search(owner, "board", Question("salary"))))
    assert TENANT in str(bound(rival, lambda: search.search(rival, "open", Question("salary"))))


def _everywhere(member: Any, question: Question) -> list[Any]:
    """What the member finds in the open base; the other one is not there for them."""
    with pytest.raises(PaasError) as refused:
        search.search(member, "board", question)
    assert refused.value.code == "not_found"
    return search.search(member, "open", question)


def _replace(owner: Any) -> None:
    old = Document.objects.get(title="old.md")
    data = b"The salary list was withdrawn."
    source = documents.Source("old.md", len(data), io.BytesIO(data))
    documents.document_replace(actor=owner, slug="open", document_id=old.id, source=source)


def _unfinished() -> None:
    """A passage of a version that is still being made, with its vector and words, beside the one that is found."""
    live = Chunk.objects.get(document__title="open.md")
    Chunk.objects.filter(id=live.id).update(ordinal=2)  # so that the canary is its neighbour too
    text = f"The salary list, 工资 名单: {UNFINISHED}."
    Chunk.objects.create(
        base_id=live.base_id, document_id=live.document_id, version=live.version + 1, ordinal=1, text=text, digest=1,
        tsv=live.tsv, dimension=256, embedding=vector_of(text),
    )  # fmt: skip
