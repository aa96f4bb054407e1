"""What a turn writes and what it refuses, on real PostgreSQL and Redis; only the model is scripted."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import pytest

from chat import turns
from core.errors import PaasError
from llm.deltas import Finish, ReasoningDelta, UsageReport
from llm.providers.scripted import ScriptedModel
from tests.chat.ledger import eventually
from tests.chat.talk import ask, read, start
from tests.conftest import in_thread


async def refused(actor: Any, *args: Any, **fields: Any) -> PaasError:
    with pytest.raises(PaasError) as error:
        await start(actor, *args, **fields)
    return error.value


async def test_a_new_conversation(host: Any, actor: Any, ledger: Any) -> None:
    ScriptedModel.enqueue([ReasoningDelta("Hm."), "Hel", "lo", UsageReport(7, 3, 2, 1)])
    member = actor("member")
    told = await ask(member, "  First line\nand a second\n")
    assert told.numbers == list(range(1, len(told.events) + 1))
    assert told.kinds == [
        "run.started", "reasoning.delta", "text.delta", "text.delta", "message.completed", "run.completed",
    ]  # fmt: skip
    usage = {"input_tokens": 7, "output_tokens": 3, "cached_tokens": 2, "reasoning_tokens": 1}
    assert told.end == {"finish_reason": "stop", "usage": usage | {"counted": False, "cost": None, "currency": "USD"}}
    assert told.started is not None
    assert told.started.title == "First line"
    row = ledger.one("SELECT * FROM chat_conversation")
    assert (row["id"], row["user_id"], row["key_id"], row["title"]) == (
        told.conversation_id, member.user_id, None, "First line",
    )  # fmt: skip
    assert ledger.messages(row["id"]) == [
        ("user", "  First line\nand a second\n", "complete"),
        ("assistant", "Hello", "complete"),
    ]
    run = ledger.run(told.run_id)
    assert (run["status"], run["finish_reason"], run["door"], run["last_seq"]) == ("completed", "stop", "test", 6)
    assert run["usage"] == told.end["usage"]
    assert ledger.one("SELECT reasoning FROM chat_message WHERE role = 'assistant'")["reasoning"] == "Hm."
    assert not ledger.left_behind()


async def test_history_goes_to_the_model(host: Any, actor: Any, agents: Any) -> None:
    member, slug = actor("member"), agents("demo", instructions="Be brief.")
    ScriptedModel.enqueue(["one"])
    first = await ask(member, "1?", agent=slug)
    script = ScriptedModel.enqueue(["two"])
    await ask(member, "2?", agent=slug, conversation_id=first.conversation_id)
    assert script.request is not None
    assert [(m["role"], m["content"]) for m in script.request.messages] == [
        ("system", "Be brief."), ("user", "1?"), ("assistant", "one"), ("user", "2?"),
    ]  # fmt: skip


async def test_a_conversation_goes_on_with_its_own_agent(host: Any, actor: Any, agents: Any) -> None:
    member, slug = actor("member"), agents("demo")
    first = await ask(member, "1?", agent=slug)
    second = await ask(member, "2?", agent="", conversation_id=first.conversation_id)
    assert second.started is not None
    assert second.started.spec.slug == slug


async def test_without_an_agent_the_first_one_answers(host: Any, actor: Any) -> None:
    told = await ask(actor("member"), "hi", agent="")
    assert told.started is not None
    assert told.started.spec.slug == "assistant"


async def test_retry_writes_an_answer_beside_the_last_one(host: Any, actor: Any, ledger: Any) -> None:
    member = actor("member")
    ScriptedModel.enqueue(["bad"])
    first = await ask(member, "Why?")
    script = ScriptedModel.enqueue(["good"])
    second = await ask(member, retry=True, conversation_id=first.conversation_id)
    assert script.request is not None
    assert [m["content"] for m in script.request.messages] == ["Why?"]
    assert ledger.messages(first.conversation_id) == [("user", "Why?", "complete"), ("assistant", "good", "complete")]
    assert ledger.messages(first.conversation_id, hidden=True) == [("assistant", "bad", "complete")]
    assert second.started is not None
    assert first.started is not None
    assert second.started.message_id == first.started.message_id
    assert second.started.title is None


async def test_retry_after_a_failure_and_after_an_older_exchange(host: Any, actor: Any, ledger: Any) -> None:
    member = actor("member")
    ScriptedModel.enqueue(["one"])
    first = await ask(member, "1?")
    ScriptedModel.enqueue(["tw", PaasError("provider_stream_cut")])
    failed = await ask(member, "2?", conversation_id=first.conversation_id)
    assert failed.end["code"] == "provider_stream_cut"
    script = ScriptedModel.enqueue(["two"])
    await ask(member, retry=True, conversation_id=first.conversation_id)
    assert script.request is not None
    assert [m["content"] for m in script.request.messages] == ["1?", "one", "2?"]
    assert [content for _, content, _ in ledger.messages(first.conversation_id)] == ["1?", "one", "2?", "two"]


async def test_retry_of_a_message_that_no_longer_fits(host: Any, actor: Any, agents: Any, ledger: Any) -> None:
    """A model with a smaller context may have come since: never a call without the question in it."""
    member = actor("member")
    first = await ask(member, "word " * 2000)
    small = {"kind": "scripted", "models": {"small": {"context_tokens": 500}}}
    slug = agents("small", provider=small)
    error = await refused(member, agent=slug, retry=True, conversation_id=first.conversation_id)
    assert error.code == "context_too_long"
    assert not ledger.left_behind()


async def test_a_stateless_call(host: Any, actor: Any, ledger: Any) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "?"}]},
    ]
    script = ScriptedModel.enqueue(["!"])
    told = await ask(actor("member"), messages=messages, parameters={"temperature": 0, "tools": "no"}, max_tokens=9)
    assert script.request is not None
    assert script.request.messages == messages
    assert script.request.max_tokens == 9
    assert script.request.parameters == {"temperature": 0}
    assert told.started is not None
    assert told.started.conversation_id is None
    assert told.started.message_id is None
    run = ledger.run(told.run_id)
    assert (run["conversation_id"], run["input"], run["status"]) == (None, messages, "completed")
    assert ledger.rows("SELECT 1 FROM chat_message") == []
    assert told.events[-2][1][1]["message_id"] is None


async def test_an_agents_own_parameters(host: Any, actor: Any, agents: Any) -> None:
    slug = agents("demo", parameters={"temperature": 0.5, "top_p": 0.9, "max_tokens": 50})
    script = ScriptedModel.enqueue(["!"])
    await ask(actor("member"), agent=slug, parameters={"top_p": 0.1}, max_tokens=80)
    assert script.request is not None
    assert script.request.parameters == {"temperature": 0.5, "top_p": 0.1}
    assert script.request.max_tokens == 50


@pytest.mark.parametrize(
    ("message", "title"),
    [
        ("Hello", "Hello"),
        ("\n\n  a \t b \n second", "a b"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 59 + "…"),
        ("word " * 20, ("word " * 12)[:59].rstrip() + "…"),
        ("你好" * 40, ("你好" * 40)[:59] + "…"),
        ("🦊\u2028next", "🦊"),
    ],
)
def test_titles(message: str, title: str) -> None:
    assert turns.title_of(message) == title
    assert len(title) <= turns.TITLE_CHARS


async def test_one_run_a_conversation(host: Any, actor: Any, ledger: Any) -> None:
    member, gate = actor("member"), asyncio.Event()
    first = await ask(member, "1?")
    ScriptedModel.enqueue(["a", gate])
    outcomes = await asyncio.gather(
        *(start(member, f"{n}?", conversation_id=first.conversation_id) for n in range(20)), return_exceptions=True
    )
    runs = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(runs) == 1
    assert {getattr(error, "code", error) for error in errors} == {"run_in_progress"}
    assert {error.status for error in errors} == {409}  # type: ignore[union-attr]
    gate.set()
    await read(member.tenant, runs[0].run_id)
    assert len(ledger.messages(first.conversation_id)) == 4
    assert not ledger.left_behind()


async def test_a_new_turn_may_start_as_soon_as_the_end_is_seen(host: Any, actor: Any) -> None:
    """ "completed" on the wire means committed: no run_in_progress right after it."""
    member = actor("member")
    told = await ask(member, "0?")
    for number in range(10):
        told = await ask(member, f"{number}?", conversation_id=told.conversation_id)


async def test_conversations_of_others_are_not_found(host: Any, actor: Any, db: Any) -> None:
    member, admin, rival = actor("member"), actor("admin"), actor("rival")
    theirs = (await ask(member, "1?")).conversation_id
    key = replace(member, user_id=None, key_id=uuid.uuid4())
    for somebody in (admin, rival, key):
        for agent in ("assistant", ""):
            assert (await refused(somebody, agent=agent, conversation_id=theirs)).code == "not_found"
            error = await refused(somebody, agent=agent, retry=True, conversation_id=theirs)
            assert error.code == "not_found"
    assert (await refused(member, conversation_id=uuid.uuid4())).code == "not_found"


async def test_a_deleted_conversation_is_not_found(host: Any, actor: Any, ledger: Any) -> None:
    member = actor("member")
    theirs = (await ask(member, "1?")).conversation_id
    ledger.rows("UPDATE chat_conversation SET deleted_at = now()")
    assert (await refused(member, conversation_id=theirs)).code == "not_found"
    assert (await refused(member, agent="", conversation_id=theirs)).code == "not_found"
    assert not ledger.left_behind()


async def test_who_may_write(host: Any, actor: Any, ledger: Any) -> None:
    assert (await refused(actor("viewer"))).code == "permission_denied"
    only_chat = replace(actor("member"), actions=frozenset({"chat:write"}))
    assert (await refused(only_chat)).code == "permission_denied"
    only_agents = replace(actor("member"), actions=frozenset({"agents:execute"}))
    assert (await refused(only_agents)).code == "permission_denied"
    with pytest.raises(PaasError, match="does not allow"):
        await turns.cancel_turn(actor("viewer"), uuid.uuid4())
    assert ledger.rows("SELECT 1 FROM chat_run") == []


@pytest.mark.parametrize("message", ["", "   ", "\n\t\u2003\u2028"])
async def test_an_empty_message(host: Any, actor: Any, message: str) -> None:
    error = await refused(actor("member"), message)
    assert (error.code, error.details["param"]) == ("message_empty", "message")


async def test_a_retry_with_nothing_to_answer(host: Any, actor: Any, ledger: Any) -> None:
    member = actor("member")
    told = await ask(member, "1?")
    ledger.rows("UPDATE chat_message SET superseded = true")
    ledger.rows("UPDATE chat_conversation SET leaf_id = NULL")
    assert (await refused(member, retry=True, conversation_id=told.conversation_id)).code == "message_empty"
    assert not ledger.left_behind()


async def test_a_message_that_is_too_long(host: Any, actor: Any) -> None:
    error = await refused(actor("member"), "x" * 100_001)
    assert (error.code, error.status, error.details["limit"]) == ("message_too_long", 413, 100_000)
    assert "100,001" in error.message


async def test_a_message_longer_than_the_context(host: Any, actor: Any, ledger: Any) -> None:
    error = await refused(actor("member"), "x" * 99_000)  # 33,000 tokens; an unknown model reads 8,192
    assert (error.code, error.status) == ("context_too_long", 400)
    assert ledger.rows("SELECT 1 FROM usage_reservation") == []


async def test_unknown_and_archived_agents(host: Any, actor: Any, agents: Any) -> None:
    from agents import access
    from agents.models import Agent
    from core import clock
    from tenants import scope

    member, slug = actor("member"), agents("demo")
    error = await refused(member, agent="nobody")
    assert (error.code, error.status, error.details["param"]) == ("agent_not_found", 404, "model")

    def archive() -> None:
        with scope.bind(member.tenant):
            Agent.objects.filter(slug=slug).update(archived_at=clock.now())

    in_thread(archive)
    access.forget_all()
    assert (await refused(member, agent=slug)).code == "agent_not_found"


async def test_a_foreign_tenants_agent(host: Any, actor: Any, agents: Any, db: Any) -> None:
    slug = agents("demo", tenant=db.globex)
    assert (await refused(actor("member"), agent=slug)).code == "agent_not_found"
    assert (await ask(actor("rival"), agent=slug)).end["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "text",
    [
        "你好,世界! 🦊",
        "مرحبا بالعالم \u202e",
        "e\u0301 ﷽ 👩‍👩‍👧‍👦 \ufffd",
        "a\u200bb\u2028c\td\re",
        "'; DROP TABLE x; -- %s {}",
    ],
)
async def test_every_script_survives(host: Any, actor: Any, ledger: Any, text: str) -> None:
    script = ScriptedModel.enqueue([*text])
    told = await ask(actor("member"), text)
    assert told.text == text
    assert told.events[-2][1][1]["content"] == text
    assert ledger.messages(told.conversation_id) == [("user", text, "complete"), ("assistant", text, "complete")]
    assert script.request is not None
    assert script.request.messages[-1]["content"] == text


async def test_nul_characters(host: Any, actor: Any, ledger: Any) -> None:
    """PostgreSQL cannot store them: a person's are refused, a model's are replaced."""
    member = actor("member")
    error = await refused(member, "a\x00b")
    assert (error.code, error.status) == ("validation_failed", 400)
    error = await refused(member, messages=[{"role": "user", "content": [{"type": "text", "text": "\x00"}]}])
    assert error.code == "validation_failed"
    assert (await refused(member, agent="a\x00b")).code == "agent_not_found"
    ScriptedModel.enqueue(["a\x00b", ReasoningDelta("\x00")])
    told = await ask(member)
    assert told.text == "a\ufffdb"
    assert ledger.messages(told.conversation_id)[1] == ("assistant", "a\ufffdb", "complete")
    assert not ledger.left_behind()


async def test_an_unknown_name_of_any_length_is_not_remembered(host: Any, actor: Any) -> None:
    """The memory of agents is bounded in entries; a name that no agent can have must take no place in it."""
    from agents import access

    before = len(access._known)
    assert (await refused(actor("member"), agent="x" * 1_000_000)).code == "agent_not_found"
    assert len(access._known) == before


async def test_history_is_trimmed_to_the_context(host: Any, actor: Any, agents: Any, ledger: Any) -> None:
    """A long past costs no more than the context: the newest messages that fit, oldest first."""
    member = actor("member")
    small = {"kind": "scripted", "models": {"small": {"context_tokens": 1000, "max_output_tokens": 200}}}
    slug = agents("small", provider=small)
    first = await ask(member, "start", agent=slug)
    ledger.rows(
        "INSERT INTO chat_message (id, conversation_id, run_id, role, content, reasoning, status, superseded, created_at) "
        "SELECT ('01' || substr(md5(n::text), 3, 10) || lpad(n::text, 20, '0'))::uuid, %s, %s, "
        "CASE n %% 2 WHEN 0 THEN 'user' ELSE 'assistant' END, lpad(n::text, 30, '.'), '', 'complete', false, now() "
        "FROM generate_series(1, 600) n",
        first.conversation_id,
        first.run_id,
    )
    ledger.rows("UPDATE chat_conversation SET leaf_id = NULL")  # as an earlier release left it
    newest = ledger.rows(
        "SELECT id, content FROM chat_message WHERE conversation_id = %s ORDER BY id DESC", first.conversation_id
    )
    script = ScriptedModel.enqueue(["ok"])
    told = await ask(member, "now?", agent=slug, conversation_id=first.conversation_id)
    assert script.request is not None
    history = script.request.messages[:-1]
    assert 0 < len(history) < 100
    assert [m["content"] for m in history] == [row["content"] for row in newest[: len(history)]][::-1]
    held = ledger.reservation(told.run_id)
    assert held["amount"] <= 1000
    assert held["input_estimate"] == 4 + 2 + sum(4 + -(-len(m["content"].encode()) // 3) for m in history)


async def test_stopped_and_failed_answers_are_part_of_the_history(host: Any, actor: Any, ledger: Any) -> None:
    member, gate = actor("member"), asyncio.Event()
    ScriptedModel.enqueue(["half", gate])
    started = await start(member, "1?")
    await read(member.tenant, started.run_id, limit=2)
    await turns.cancel_turn(member, started.run_id)
    assert (await read(member.tenant, started.run_id)).kinds[-1] == "run.cancelled"
    ScriptedModel.enqueue([PaasError("provider_unavailable")])
    await ask(member, "2?", conversation_id=started.conversation_id)
    script = ScriptedModel.enqueue(["ok"])
    await ask(member, "3?", conversation_id=started.conversation_id)
    assert script.request is not None
    assert [m["content"] for m in script.request.messages] == ["1?", "half", "2?", "3?"]
    assert [status for _, _, status in ledger.messages(started.conversation_id)] == [
        "complete", "stopped", "complete", "failed", "complete", "complete",
    ]  # fmt: skip


async def test_cancelling_closes_the_model_call(host: Any, actor: Any, ledger: Any) -> None:
    member, gate = actor("member"), asyncio.Event()
    script = ScriptedModel.enqueue(["a", gate])
    started = await start(member)
    await read(member.tenant, started.run_id, limit=2)
    await turns.cancel_turn(member, started.run_id)
    await asyncio.wait_for(script.wait_closed(), 5)
    told = await read(member.tenant, started.run_id)
    assert told.kinds[-2:] == ["message.completed", "run.cancelled"]
    await turns.cancel_turn(member, started.run_id)  # of a run that has ended: nothing happens
    assert ledger.run(started.run_id)["status"] == "cancelled"
    await eventually(lambda: not host.runs)
    assert not ledger.left_behind()


async def test_cancelling_a_run_that_is_not_ones_own(host: Any, actor: Any) -> None:
    gate = asyncio.Event()
    ScriptedModel.enqueue(["a", gate])
    started = await start(actor("member"))
    for somebody in ("owner", "rival"):
        with pytest.raises(PaasError) as error:
            await turns.cancel_turn(actor(somebody), started.run_id)
        assert error.value.code == "not_found"
    gate.set()
    assert (await read(actor("member").tenant, started.run_id)).kinds[-1] == "run.completed"


async def test_cancel_before_the_first_token(host: Any, actor: Any, ledger: Any) -> None:
    """Nothing was said and nothing is billed, and the run still ends properly."""
    member, gate = actor("member"), asyncio.Event()
    ScriptedModel.enqueue([gate])
    started = await start(member)
    await turns.cancel_turn(member, started.run_id)
    told = await read(member.tenant, started.run_id)
    assert told.kinds == ["run.started", "message.completed", "run.cancelled"]
    assert ledger.usage(started.run_id) == []
    assert not ledger.left_behind()


async def test_the_models_own_finish_reason(host: Any, actor: Any, ledger: Any) -> None:
    ScriptedModel.enqueue(["cut", Finish("length")])
    told = await ask(actor("member"))
    assert told.end["finish_reason"] == "length"
    assert ledger.run(told.run_id)["finish_reason"] == "length"


async def test_an_engine_that_breaks_is_an_internal_error(host: Any, actor: Any, ledger: Any, caplog: Any) -> None:
    ScriptedModel.enqueue(["a", RuntimeError("boom sk-secret-0123456789")])
    told = await ask(actor("member"))
    assert told.end["code"] == "internal_error"
    assert "boom" not in told.end["message"]
    assert not ledger.left_behind()


async def test_a_full_and_a_stopping_process_take_no_runs(
    host: Any, actor: Any, monkeypatch: pytest.MonkeyPatch, ledger: Any
) -> None:
    monkeypatch.setattr("chat.host.MAX_WAITING_HERE", 0)
    error = await refused(actor("member"))
    assert (error.code, error.retry_after) == ("too_many_runs", 2)
    host.stopping = True
    error = await refused(actor("member"))
    assert (error.code, error.status) == ("server_stopping", 503)
    assert ledger.rows("SELECT 1 FROM usage_reservation") == []
