"""Who finds what: in lists, searches and answers of agents (P54, P55, A9); and nobody what is another tenant's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from chat import phase1_wire, traces
from core.errors import PaasError
from knowledge import access, search
from knowledge.search import Question
from llm.deltas import Finish, ToolCallDelta
from llm.providers.scripted import ScriptedModel
from tests.chat.talk import ask
from tests.knowledge.conftest import bound, ingested, make, put

CANARY = "canary-5f1d"


async def test_a_base_is_for_whom_it_says(host: Any, actor: Any, agents: Callable[..., str]) -> None:
    owner, admin, member, viewer, rival = map(actor, ("owner", "admin", "member", "viewer", "rival"))
    make(owner, "open")
    make(owner, "board", access="restricted", roles=["admin"], people=[str(viewer.user_id)])
    make(rival, "board")
    put(owner, "open", ("open.md", b"The holiday list is open."))
    put(owner, "board", ("board.md", f"The salary list is {CANARY}.".encode()))
    put(rival, "board", ("rival.md", b"The salary list of globex."))
    await ingested(owner)
    await ingested(rival)

    def seen(who: Any) -> list[str]:
        return bound(who, lambda: sorted(one.slug for one in access.bases_for(who)))  # type: ignore[no-any-return]

    assert [seen(who) for who in (owner, admin, viewer, member, rival)] == [
        ["board", "open"], ["board", "open"], ["board", "open"], ["open"], ["board"],
    ]  # fmt: skip
    with pytest.raises(PaasError) as refused:
        bound(member, lambda: search.search(member, "board", Question("salary")))
    assert refused.value.code == "not_found"
    # The statement itself refuses, whatever the code before it has let through.
    base = bound(owner, lambda: access.base_for(owner, "board"))
    vector = [1.0] + [0.0] * 255
    assert bound(owner, lambda: search._found(owner, [base], Question("salary"), vector))
    assert bound(member, lambda: search._found(member, [base], Question("salary"), vector)) == []
    for who, hit in ((owner, True), (viewer, True), (member, False), (rival, False)):
        found = await search.search_bases(who, ["open", "board"], Question("salary list", top_k=50))
        assert (CANARY in str(found)) is hit, who.email

    # An agent has the rights of who asks it, and the run is tainted by what it read.
    slug = agents("demo", knowledge=["open", "board"])

    async def told(who: Any) -> tuple[list[tuple[str, Any]], str]:
        nonlocal run_id
        call = ToolCallDelta(0, "c", "search_knowledge", json.dumps({"query": "salary list"}))
        ScriptedModel.enqueue([call, Finish("tool_calls")])
        last = ScriptedModel.enqueue(["It says so [1]."])
        outcome = await ask(who, "What is the salary list?", agent=slug)
        run_id = outcome.run_id
        return [event for _, event in outcome.events], str(last.request.messages)

    run_id: Any = None
    events, model_saw = await told(admin)
    cited = [data for kind, data in events if kind == "source.cited"]
    assert [(one["n"], one["knowledge"], one["title"]) for one in cited][:1] == [(1, "board", "board.md")]
    assert CANARY in cited[0]["quote"]
    assert (cited[0]["ordinal"], cited[0]["keyword_rank"]) == (1, 1)
    assert CANARY in model_saw
    (finished,) = [data for kind, data in events if kind == "tool.finished"]
    assert (finished["ok"], finished["tainted"], finished["effect"]) == (True, True, "read")
    # The page asks for them again when the answer is history; of colleagues, nobody.
    kept = bound(admin, lambda: traces.sources_of(admin, run_id))
    assert kept == {"run_id": str(run_id), "sources": cited}
    with pytest.raises(PaasError, match="not yours"):
        bound(owner, lambda: traces.sources_of(owner, run_id))
    events, model_saw = await told(member)
    assert CANARY not in model_saw
    assert {one["knowledge"] for kind, one in events if kind == "source.cited"} == {"open"}


async def test_the_built_in_agent_and_versions(host: Any, actor: Any, agents: Callable[..., str]) -> None:
    from django.core.exceptions import ValidationError

    from agents.services import agent_set
    from llm.models import ProviderAccount

    owner = actor("owner")
    make(owner, "open")

    def unknown() -> None:
        account = ProviderAccount.objects.first()
        assert account is not None
        agent_set(slug="x", provider=account, model="demo", actor="test", fields={"knowledge": ["nowhere"]})

    with pytest.raises(ValidationError, match="no knowledge base 'nowhere'"):
        bound(owner, unknown)
    ScriptedModel.enqueue([ToolCallDelta(0, "c", "search_knowledge", '{"query": "x"}'), Finish("tool_calls")])
    last = ScriptedModel.enqueue(["Nothing."])
    agents("demo")
    await ask(owner, "x", agent="rag_agent")
    assert "Nothing was found" in str(last.request.messages[-1])


async def test_clients_of_phase_1_that_ask_are_told() -> None:
    source = {"n": 1, "chunk_id": "c", "document_id": "d", "score": 0.9, "title": "t", "quote": "q"}

    async def told(*wanted: str) -> str:
        async def batches() -> Any:
            yield 1, [("source.cited", source)]

        return b"".join([part async for part in phase1_wire.encoded(batches(), None, 0.0, wanted)]).decode()

    assert await told() == await told("tool") == ""
    both = await told("source", "retrieval_score")
    assert both.splitlines()[0] == "event: source"
    assert 'event: retrieval_score\ndata: {"n":1,"chunk_id":"c","document_id":"d","score":0.9}' in both
