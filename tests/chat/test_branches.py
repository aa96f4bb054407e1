"""The tree of a conversation: answers beside answers, messages sent again, answers that go on."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import pytest

from chat import protocol, recovery, selectors, services, turns
from chat.models import Conversation, Message, Run
from chat.tree import Tree
from core.errors import PaasError
from llm.deltas import Finish, UsageReport
from llm.providers.scripted import ScriptedModel
from tenants import scope
from tests.chat.talk import Told, ask, read, start
from tests.conftest import in_thread


def sent(script: Any) -> list[str]:
    assert script.request is not None
    return [message["content"] for message in script.request.messages]


async def refused(actor: Any, *args: Any, **fields: Any) -> str:
    with pytest.raises(PaasError) as error:
        await start(actor, *args, **fields)
    return error.value.code


def answer_of(told: Told) -> uuid.UUID:
    return uuid.UUID(told.events[-2][1][1]["message_id"])


async def talk(member: Any, *pairs: tuple[str, str], **fields: Any) -> list[Told]:
    """A conversation of these questions and answers."""
    found: list[Told] = []
    for question, answer in pairs:
        ScriptedModel.enqueue([answer])
        found.append(await ask(member, question, **fields))
        fields["conversation_id"] = found[-1].conversation_id
    return found


async def test_any_answer_is_regenerated_beside_the_old_one(host: Any, actor: Any, agents: Any, ledger: Any) -> None:
    member, other = actor("member"), agents("demo")
    first, second = await talk(member, ("1?", "one"), ("2?", "two"))
    place: dict[str, Any] = {"conversation_id": first.conversation_id, "regenerate": answer_of(first)}
    script = ScriptedModel.enqueue(["uno"])
    again = await ask(member, agent=other, **place)
    assert sent(script) == ["1?"]
    assert again.started is not None
    assert first.started is not None
    assert again.started.message_id == first.started.message_id
    assert ledger.messages(first.conversation_id) == [("user", "1?", "complete"), ("assistant", "uno", "complete")]
    assert [content for _, content, _ in ledger.messages(first.conversation_id, hidden=True)] == ["one", "2?", "two"]
    await ask(member, agent="", conversation_id=first.conversation_id, regenerate=answer_of(second))
    assert [content for _, content, _ in ledger.messages(first.conversation_id)][:3] == ["1?", "one", "2?"]
    # Nobody named: who wrote the answer writes it again.
    third = await ask(member, agent="", conversation_id=first.conversation_id, regenerate=answer_of(again))
    assert third.started is not None
    assert third.started.spec.slug == other
    for nothing in (uuid.uuid4(), first.started.message_id):
        assert await refused(member, **place | {"regenerate": nothing}) == "not_found"
        assert await refused(member, agent="", **place | {"regenerate": nothing}) == "not_found"
    assert not ledger.left_behind()


async def test_a_message_is_sent_again_with_other_words(host: Any, actor: Any, ledger: Any) -> None:
    member = actor("member")
    first, _ = await talk(member, ("1?", "one"), ("2?", "two"))
    place = {"conversation_id": first.conversation_id}
    script = ScriptedModel.enqueue(["zwei"])
    await ask(member, "2 in German?", parent_id=answer_of(first), **place)
    assert sent(script) == ["1?", "one", "2 in German?"]
    script = ScriptedModel.enqueue(["x"])
    await ask(member, "another beginning", parent_id=turns.ROOT, **place)
    assert sent(script) == ["another beginning"]
    assert [content for _, content, _ in ledger.messages(first.conversation_id)] == ["another beginning", "x"]
    script = ScriptedModel.enqueue(["y"])
    await ask(member, "and on", **place)
    assert sent(script) == ["another beginning", "x", "and on"]
    assert await refused(member, parent_id=uuid.uuid4(), **place) == "not_found"


async def stopped(member: Any, *deltas: str) -> tuple[uuid.UUID, uuid.UUID]:
    """A conversation whose answer was stopped after these: its id, and the answer's."""
    gate = asyncio.Event()
    ScriptedModel.enqueue([*deltas, gate])
    begun = await start(member, "Count.")
    await read(member.tenant, begun.run_id, limit=1 + len(deltas))
    await turns.cancel_turn(member, begun.run_id)
    told = await read(member.tenant, begun.run_id)
    assert begun.conversation_id is not None
    return begun.conversation_id, answer_of(told)


async def test_a_cut_answer_goes_on_as_one_message(host: Any, actor: Any, ledger: Any) -> None:
    """Stopped, then cut by length, then whole; each run billed for what it used, the message one."""
    member = actor("member")
    conversation, answer = await stopped(member, "1", " 2")
    script = ScriptedModel.enqueue([" 3", Finish("length"), UsageReport(11, 1, 0, 0)])
    told = await ask(member, conversation_id=conversation, continues=answer)
    assert sent(script) == ["Count.", "1 2", turns.CONTINUE]
    assert told.events[0][1][1]["continues"] == str(answer)
    assert told.text == " 3"
    assert told.events[-2][1][1] | {"finish_reason": "length"} == {
        "message_id": str(answer), "content": "1 2 3", "finish_reason": "length",
    }  # fmt: skip
    ScriptedModel.enqueue([" 4", UsageReport(13, 1, 0, 0)])
    await ask(member, conversation_id=conversation, continues=answer)
    assert ledger.messages(conversation) == [("user", "Count.", "complete"), ("assistant", "1 2 3 4", "complete")]
    records = ledger.rows("SELECT input_tokens, output_tokens, counted FROM usage_usagerecord ORDER BY at")
    assert [(row["output_tokens"], row["counted"]) for row in records] == [(2, True), (1, False), (1, False)]

    def shown() -> dict[str, Any]:
        found = selectors.messages_of(Conversation.objects.get(id=conversation))
        return selectors.message_view(found[-1])

    usage = (await scope.run_in_tenant(member.tenant, shown))["usage"]
    assert (usage["output_tokens"], usage["counted"]) == (4, True)
    assert usage["input_tokens"] == sum(row["input_tokens"] for row in records)
    assert await refused(member, conversation_id=conversation, continues=answer) == "not_continuable"
    assert not ledger.left_behind()


async def test_what_cannot_be_continued(host: Any, actor: Any, ledger: Any) -> None:
    member = actor("member")
    conversation, answer = await stopped(member, "1")
    place = {"conversation_id": conversation, "continues": answer}
    question = ledger.value("SELECT id FROM chat_message WHERE role = 'user'")
    assert await refused(member, **place | {"continues": question}) == "not_found"
    assert await refused(member, **place | {"continues": uuid.uuid4()}) == "not_found"
    assert await refused(replace(member, user_id=uuid.uuid4()), **place) == "not_found"
    assert await refused(actor("rival"), **place) == "not_found"
    await ask(member, "go on without", conversation_id=conversation)
    assert await refused(member, **place) == "not_continuable"  # something follows it


async def test_a_killed_continuation_is_ended_by_recovery(host: Any, actor: Any, ledger: Any) -> None:
    member, gate = actor("member"), asyncio.Event()
    conversation, answer = await stopped(member, "1")
    ScriptedModel.enqueue([" 2", gate])
    begun = await start(member, conversation_id=conversation, continues=answer)
    await read(member.tenant, begun.run_id, limit=2)
    ledger.rows(
        "UPDATE usage_reservation SET lease_until = now() - interval '1 second' WHERE run_id = %s", begun.run_id
    )
    await recovery.sweep(host)
    assert ledger.messages(conversation)[-1] == ("assistant", "1 2", "failed")
    assert ledger.run(begun.run_id)["message_id"] == answer
    gate.set()
    told = await read(member.tenant, begun.run_id)
    assert told.events[-2][1][1]["content"] == "1 2"
    assert ledger.messages(conversation)[-1] == ("assistant", "1 2", "failed")


async def test_the_shown_branch_is_chosen(host: Any, actor: Any, ledger: Any) -> None:
    member = actor("member")
    first, _ = await talk(member, ("1?", "one"), ("2?", "two"))
    place: dict[str, Any] = {"conversation_id": first.conversation_id}
    again = await ask(member, regenerate=answer_of(first), **place)

    def show(who: Any, message: uuid.UUID) -> list[str]:
        found = services.conversation_show(actor=who, conversation_id=first.conversation_id, message_id=message)
        return [message.content for message in selectors.messages_of(found)]

    async def showing(who: Any, message: uuid.UUID) -> list[str]:
        return await scope.run_in_tenant(who.tenant, show, who, message)

    # The whole branch comes back, to its newest message.
    assert await showing(member, answer_of(first)) == ["1?", "one", "2?", "two"]
    script = ScriptedModel.enqueue(["x"])
    await ask(member, "3?", **place)
    assert sent(script) == ["1?", "one", "2?", "two", "3?"]
    for who, message in (
        (member, uuid.uuid4()),
        (actor("owner"), answer_of(first)),
        (actor("rival"), answer_of(first)),
    ):
        with pytest.raises(PaasError, match="nothing here"):
            await showing(who, message)
    gate = asyncio.Event()
    ScriptedModel.enqueue(["a", gate])
    running = await start(member, "4?", **place)
    with pytest.raises(PaasError) as error:
        await showing(member, answer_of(again))
    assert error.value.code == "run_in_progress"
    gate.set()
    await read(member.tenant, running.run_id)
    assert len(await showing(member, answer_of(again))) == 2


async def test_conversations_of_earlier_releases_become_trees(host: Any, actor: Any, ledger: Any) -> None:
    """As the last release left them: a list, with answers that a retry had replaced."""
    member = actor("member")
    first, second = await talk(member, ("1?", "one"), ("2?", "two"))
    again = await ask(member, retry=True, conversation_id=first.conversation_id)
    ledger.rows("UPDATE chat_message SET parent_id = NULL, superseded = (id = %s)", answer_of(second))
    ledger.rows("UPDATE chat_conversation SET leaf_id = NULL")

    def path() -> list[uuid.UUID]:
        return selectors.tree_of(Conversation.objects.get(id=first.conversation_id)).path

    listed = await scope.run_in_tenant(member.tenant, path)
    assert listed[-1] == answer_of(again)
    assert answer_of(second) not in listed
    linked = ledger.value("SELECT link_messages(array_agg(id)) FROM chat_conversation")
    assert linked == 1
    assert ledger.value("SELECT link_messages(array_agg(id)) FROM chat_conversation") == 0
    assert await scope.run_in_tenant(member.tenant, path) == listed
    parents = {row["id"]: row["parent_id"] for row in ledger.rows("SELECT id, parent_id FROM chat_message")}
    assert parents[answer_of(second)] == parents[answer_of(again)]
    assert parents[listed[0]] is None


def test_the_tree() -> None:
    a, b, c, d, e, f = (uuid.UUID(int=n) for n in range(1, 7))
    tree = Tree([(a, None, False), (b, a, False), (c, a, False), (d, c, False), (e, None, False), (f, b, False)], d)
    assert tree.path == [a, c, d]
    assert (tree.siblings(b), tree.siblings(a), tree.siblings(d)) == ([b, c], [a, e], [d])
    assert (tree.newest_below(a), tree.newest_below(b), tree.newest_below(e)) == (d, f, e)
    assert uuid.uuid4() not in tree


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"regenerate": str(uuid.uuid4())}, "conversation_id"),
        ({"parent_message_id": None, "message": "x"}, "conversation_id"),
        ({"conversation_id": str(uuid.uuid4()), "retry": True, "continue": str(uuid.uuid4())}, "Use one of"),
        ({"conversation_id": str(uuid.uuid4()), "regenerate": "no id"}, "nothing here"),
    ],
)
def test_what_a_client_may_not_ask(body: dict[str, Any], problem: str) -> None:
    with pytest.raises(PaasError, match=problem):
        protocol.turn_request("test", body)


def test_what_a_client_asks() -> None:
    ids = [str(uuid.uuid4()) for _ in range(2)]
    place = {"conversation_id": ids[0], "message": "m"}
    assert protocol.turn_request("test", place | {"parent_message_id": None}).parent_id == turns.ROOT
    assert protocol.turn_request("test", place | {"parent_message_id": ids[1]}).parent_id == uuid.UUID(ids[1])
    again = protocol.turn_request("test", place | {"continue": ids[1]})
    assert (again.continues, again.message, again.parent_id) == (uuid.UUID(ids[1]), "", None)


def test_history_of_a_long_conversation_is_read_as_far_as_it_fits(db: Any, ledger: Any) -> None:
    """However long the rest of 2,000 messages is."""

    def make() -> uuid.UUID:
        from agents.models import Agent

        with scope.bind(db.acme):
            agent = Agent.objects.first()
            assert agent is not None
            conversation = Conversation.objects.create(agent=agent, title="long", user_id=uuid.uuid4())
            version = agent.versions.first()
            run = Run.objects.create(
                conversation=conversation, agent=agent, version=version, status="completed", door="test"
            )
            roles = ("user", "assistant")
            Message.objects.bulk_create(
                Message(conversation=conversation, run=run, role=roles[n % 2], content=f"{n} " + "word " * 40)
                for n in range(2000)
            )
            return conversation.id

    conversation = in_thread(make)
    ledger.rows("SELECT link_messages(ARRAY[%s])", conversation)
    leaf = ledger.value("SELECT leaf_id FROM chat_conversation WHERE id = %s", conversation)
    read = "SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_all_tables WHERE relid = %s::regclass"
    with ledger.connection.transaction():
        before = ledger.value(read, "chat_message")
        count = ledger.value("SELECT jsonb_array_length(messages) FROM turn_history(%s, %s, 8000)", conversation, leaf)
        rows = ledger.value(read, "chat_message") - before
    assert 100 < count < 120
    assert count <= rows < 3 * count, rows
