"""The order of what is found, and why: by comparing all passages, and by the indexes where there are many."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from django.db import connection, transaction

from core.errors import PaasError
from knowledge import reranking, search
from knowledge.neighbours import joined_text
from knowledge.search import Question
from tests.chat.ledger import Ledger
from tests.contracts.sampling import sampled
from tests.knowledge.conftest import bound, ingested, make, put

TEXT = {
    "pump.md": b"The pump is blocked: clean the filter of the pump.",
    "copy.md": b"The  PUMP is blocked: clean the filter of the pump.",
    "order.md": b"An order is cancelled in the shop, where all orders are.",
    "shop.md": b"The shop has the usual things, and the shop is open.",
}
PARTS = b"# Guide\n\nFirst part.\n\n## Second\n\nThe badger lives here.\n\n## Third\n\nLast part.\n"


def asked(who: Any, query: str, slug: str = "docs", **more: Any) -> list[dict[str, Any]]:
    return list(bound(who, lambda: search.search(who, slug, Question(query, **more))))


@pytest.mark.parametrize("few", sampled([0, search.FEW], lambda few: few == 0))
async def test_both_ways_find_and_explain_the_same(
    host: Any, actor: Any, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(search, "FEW", few)
    owner = actor("owner")
    make(owner)
    put(owner, "docs", *TEXT.items(), tags=["a"])
    put(owner, "docs", ("other.md", b"Clean the pump."), tags=["b"], metadata={"year": 2026})
    await ingested(owner)
    best, *rest = asked(owner, "Which filters of blocked pumps?", tags=("a",))
    assert (best["title"], best["score"]) == ("pump.md", 1.0) or best["title"] == "copy.md"
    why = best["why"]
    assert why["keyword"]["rank"] == why["vector"]["rank"] == 1
    assert set(why["keyword"]["words"]) == {"filters", "blocked", "pumps"}
    assert why["vector"]["distance"] == pytest.approx(1 - why["vector"]["similarity"], abs=1e-3)
    assert why["fused"] == best["score"]
    # The same text twice is one passage, and the other one is named.
    (double,) = why["duplicates"]
    assert double["document_id"] not in {one["document_id"] for one in (best, *rest)}
    assert {one["title"] for one in rest} == {"order.md", "shop.md"}
    only = asked(owner, "pump", tags=("b",), metadata={"year": 2026}, vector_weight=0)
    assert [(one["title"], one["why"]["vector"]) for one in only] == [("other.md", None)]
    # Words that are everywhere say where to look if there are no others; and none of them finds nothing.
    assert asked(owner, "the shop", vector_weight=0)[0]["title"] == "shop.md"
    assert asked(owner, "cancelling", vector_weight=0)[0]["title"] == "order.md"
    assert asked(owner, "the of ?!", vector_weight=0) == asked(owner, "zebra", vector_weight=0) == []
    assert asked(owner, "pump", tags=("a", "b")) == []


async def test_common_words_are_known_by_the_statistics(
    host: Any, actor: Any, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FEW", 0)
    owner = actor("owner")
    make(owner, chunk_size=50, chunk_overlap=0)
    # A heading begins a passage: sixty of them, of which one has the rare word.
    lines = (
        f"# Part {number}\n\nMotor {number} runs{' past a badger' if number == 7 else ''}.\n" for number in range(60)
    )
    put(owner, "docs", ("motors.md", "\n".join(lines).encode()))
    await ingested(owner)
    ledger.rows(f'ANALYZE "{owner.tenant.schema}".knowledge_chunk')  # as autovacuum does
    best = asked(owner, "badger motors", vector_weight=0, top_k=3)
    assert "badger" in best[0]["text"]
    assert best[0]["why"]["keyword"]["words"] == ["badger", "motors"], "the rarest first"
    assert len(asked(owner, "motor", vector_weight=0, top_k=3)) == 3
    # Common words only, of which not all passages are read: those with all of them are.
    monkeypatch.setattr(search, "OF_WORD", 5)
    best = asked(owner, "motors and parts running 59", vector_weight=0, top_k=1)
    assert "Motor 59 runs" in best[0]["text"]
    together = asked(owner, "motor runs", vector_weight=0, top_k=50)
    assert len(together) == 5
    assert all(one["why"]["keyword"]["words"] == ["motor", "runs"] for one in together)


async def test_neighbours_are_joined(host: Any, actor: Any) -> None:
    owner = actor("owner")
    make(owner, neighbours=True, vector_weight=0, keyword_weight=1)
    put(owner, "docs", ("guide.md", PARTS))
    await ingested(owner)
    (one,) = asked(owner, "badger", neighbours=True)
    assert one["why"]["joined"] == [1, 3]
    assert one["context"].splitlines() == ["First part.", "The badger lives here.", "Last part."]
    (bare,) = asked(owner, "badger", neighbours=False)
    assert "context" not in bare
    assert "joined" not in bare["why"]
    (found,) = await search.search_bases(owner, ["docs"], Question("badger", neighbours=None))
    assert "First part." in found["context"], "as the base says"
    assert joined_text("a\nb\nc", "b\nc\nd") == "a\nb\nc\nd"
    assert joined_text("head\n1", "head\n2") == "head\n1\n2"
    assert (joined_text("", "a"), joined_text("a", ""), joined_text("a", "a")) == ("a", "a", "a")


async def test_a_reranker_puts_in_order_and_is_billed(
    host: Any, actor: Any, vendor: Any, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llm.services import provider_create

    monkeypatch.setattr(reranking, "SECONDS", 30.0)  # machines that run tests are slow at times
    owner = actor("owner")
    price = {"rerank": True, "embedding_price": "1", "currency": "USD"}
    names = ("rerank-last", "rerank-silent", "rerank-short", "fault-500", "fault-hang")
    account = f"ranks-{uuid.uuid4().hex[:8]}"
    kept = {"name": account, "kind": "openai_compatible", "base_url": vendor.base_url}
    bound(owner, lambda: provider_create(actor="t", by_operator=True, models=dict.fromkeys(names, price), **kept))
    for wrong in ({"reranker": "nobody", "rerank_model": "x"}, {"reranker": account, "rerank_model": "gpt"},
                  {"rerank_model": "rerank-last"}):  # fmt: skip
        with pytest.raises(PaasError, match="rerank"):
            make(owner, **wrong)
    make(owner, vector_weight=0, keyword_weight=1)
    put(owner, "docs", *((f"{number}.md", b"The pump costs %d." % number) for number in range(3)))
    await ingested(owner)
    plain = asked(owner, "pump")
    assert len(plain) == 3, "what differs in a number only is no duplicate"

    def set_model(model: str) -> None:
        from knowledge.bases import base_update

        bound(owner, lambda: base_update(actor=owner, slug="docs", fields={"reranker": account, "rerank_model": model}))

    async def found(**more: Any) -> list[dict[str, Any]]:
        return await asyncio.to_thread(lambda: asked(owner, "pump", **more))

    set_model("rerank-last")
    best, *_ = await found(top_k=2)
    assert best["chunk_id"] == plain[-1]["chunk_id"], "it brings up what the search had last, below top_k"
    assert best["why"]["rerank"] == {"rank": 1, "score": 1.0, "fused_rank": 3}
    assert (best["score"], best["why"]["fused"]) == (1.0, plain[-1]["score"])
    (billed,) = ledger.rows("SELECT kind, user_id, cost FROM usage_usagerecord")
    assert (billed["kind"], billed["user_id"], billed["cost"] > 0) == ("embeddings", owner.user_id, True)
    assert [one["chunk_id"] for one in await found(rerank=False)] == [one["chunk_id"] for one in plain]
    set_model("rerank-silent")
    assert "score" in (await found())[0]["why"]["rerank"]
    assert ledger.value("SELECT count(*) FROM usage_usagerecord WHERE cost > 0") == 2, "what nobody reports is counted"
    # Without its answer the order of the search stands, and says so; agents find as before.
    for model, code in (
        ("rerank-short", "provider_bad_response"),
        ("fault-500", "provider_"),
        ("fault-hang", "provider_"),
    ):
        monkeypatch.setattr(reranking, "SECONDS", 0.1 if model == "fault-hang" else 30.0)
        set_model(model)
        kept_order = await search.search_bases(owner, ["docs"], Question("pump", top_k=2))
        assert [one["chunk_id"] for one in kept_order] == [one["chunk_id"] for one in plain[:2]]
        assert {one["why"]["rerank"]["failed"].startswith(code) for one in kept_order} == {True}
    assert ledger.value("SELECT count(*) FROM usage_usagerecord") == 2


async def test_a_search_among_many_leaves_the_transaction_as_it_was(
    host: Any, actor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps the planner from sorting all distances, for itself only."""
    owner = actor("owner")
    make(owner)
    put(owner, "docs", ("a.md", b"The badger lives here."))
    await ingested(owner)
    seen: list[str] = []

    def asked(few: int) -> list[str]:
        monkeypatch.setattr(search, "FEW", few)
        with transaction.atomic(), connection.cursor() as cursor:
            found = search.search(owner, "docs", Question("badger"))
            cursor.execute("SELECT current_setting('enable_sort')")
            seen.append(cursor.fetchone()[0])
        return [one["title"] for one in found]

    assert bound(owner, lambda: asked(0)) == bound(owner, lambda: asked(1500)) == ["a.md"]
    assert seen == ["on", "on"]
