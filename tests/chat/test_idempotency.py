"""P45, A36: one key, one turn. Asked again at once, later, with another body, by others, at every door."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from chat import idempotency, turns
from chat.turns import TurnRequest
from core.errors import PaasError
from llm.providers.scripted import ScriptedModel
from tenants import scope
from tests.chat.doors import OpenAIDoor
from tests.chat.ledger import Ledger, eventually
from tests.chat.sockets import opened
from tests.chat.talk import ask, read, start
from tests.conftest import forget_caches, in_thread


async def outcome(actor: Any, message: str = "hi", **fields: Any) -> Any:
    """The turn, or the code of its refusal."""
    try:
        return await start(actor, message, idempotency_key="k", **fields)
    except PaasError as error:
        return error.code


async def test_twenty_at_once_are_one_turn(host: Any, actor: Any, ledger: Ledger) -> None:
    ScriptedModel.enqueue(["once"])
    member = actor("member")
    outcomes = await asyncio.gather(*(outcome(member) for _ in range(20)))
    runs = {one if isinstance(one, str) else one.run_id for one in outcomes} - {"idempotency_in_progress"}
    assert len(runs) == 1
    assert sum(not one.replayed for one in outcomes if not isinstance(one, str)) == 1
    told = [(await read(member.tenant, runs.copy().pop())).events for _ in range(2)]
    assert told[0] == told[1]
    assert ledger.value("SELECT count(*) FROM chat_run") == ledger.value("SELECT count(*) FROM usage_usagerecord") == 1
    assert [content for _, content, _ in ledger.messages(ledger.one("SELECT id FROM chat_conversation")["id"])] == [
        "hi", "once",
    ]  # fmt: skip


async def test_later_with_another_body_and_by_others(host: Any, actor: Any, ledger: Ledger) -> None:
    member = actor("member")
    first = await start(member, idempotency_key="k")
    await read(member.tenant, first.run_id)
    again = await outcome(member)
    same = ("run_id", "conversation_id", "message_id", "title", "input_tokens", "status")
    assert [getattr(again, name) for name in same] == [getattr(first, name) for name in same]
    assert (again.replayed, again.headers, first.headers) == (True, {"Idempotent-Replayed": "true"}, {})
    assert await outcome(member, "something else") == "idempotency_mismatch"
    assert await outcome(member, max_tokens=7) == "idempotency_mismatch"
    others = [await outcome(actor(name)) for name in ("owner", "rival")]
    assert len({first.run_id, *(one.run_id for one in others)}) == 3
    for other, name in zip(others, ("owner", "rival"), strict=True):
        await read(actor(name).tenant, other.run_id)
    assert not ledger.left_behind()


async def test_what_was_refused_may_be_asked_again(host: Any, actor: Any, ledger: Ledger) -> None:
    member = actor("member")
    ledger.allow(3)
    assert await outcome(member) == "quota_exceeded"
    assert ledger.rows("SELECT 1 FROM chat_idempotencykey") == []
    ledger.allow(None)
    assert not (await outcome(member)).replayed
    await eventually(lambda: not host.runs)


async def test_a_run_stays_what_it_was(host: Any, actor: Any, agents: Any, ledger: Ledger) -> None:
    """Busy with its own first run, and with an agent that is gone meanwhile: the same turn all the same."""
    member, slug, gate = actor("member"), agents("demo", name="Gone"), asyncio.Event()
    first = await ask(member, agent=slug)
    ScriptedModel.enqueue(["a", gate])
    fields = {"agent": "", "conversation_id": first.conversation_id}
    second = await outcome(member, **fields)
    assert (await outcome(member, **fields)).run_id == second.run_id
    gate.set()
    await read(member.tenant, second.run_id)
    ledger.rows("UPDATE agents_agent SET archived_at = now() WHERE slug = %s", slug)
    forget_caches()
    again = await outcome(member, **fields)
    assert (again.run_id, again.spec.slug) == (second.run_id, slug)


async def test_while_the_first_is_being_begun(host: Any, actor: Any, ledger: Ledger) -> None:
    """Another process is in the middle of it: nobody waits, nothing is begun."""
    member = actor("member")
    with ledger.connection.transaction():
        ledger.rows("SELECT turn_of_key(%s, 'k', 'd')", member.user_id)
        with pytest.raises(PaasError) as refused:
            await start(member, idempotency_key="k")
    assert (refused.value.code, refused.value.status, refused.value.retry_after) == ("idempotency_in_progress", 409, 1)
    assert ledger.rows("SELECT 1 FROM chat_run") == []


async def test_keys_are_forgotten_after_a_day(host: Any, actor: Any, ledger: Ledger) -> None:
    member = actor("member")
    first = await ask(member, idempotency_key="k")

    def forget() -> int:
        with scope.bind(member.tenant):
            return idempotency.forget_old()

    ledger.rows("UPDATE chat_idempotencykey SET created_at = now() - interval '23 hours 59 minutes'")
    assert in_thread(forget) == 0
    ledger.rows("UPDATE chat_idempotencykey SET created_at = now() - interval '24 hours 1 minute'")
    assert in_thread(forget) == 1
    assert (await ask(member, idempotency_key="k")).run_id != first.run_id


def test_a_digest_is_of_what_is_asked() -> None:
    asked = TurnRequest(door="d", agent="a", messages=[{"role": "user", "content": "hi"}], parameters={"b": 1, "a": 2})
    same = replace(asked, idempotency_key="k", parameters={"a": 2, "b": 1})
    assert idempotency.digest_of(asked) == idempotency.digest_of(same)
    for change in ({"door": "e"}, {"stream": False}, {"background": True}, {"messages": []}, {"parameters": {"a": 2}}):
        assert idempotency.digest_of(asked) != idempotency.digest_of(replace(asked, **change)), change


@pytest.mark.parametrize("key", ["x" * 256, "é", "a\nb", 7, None])
def test_what_is_no_key(key: Any) -> None:
    with pytest.raises(PaasError) as refused:
        idempotency.checked(key, "k")
    assert (refused.value.code, refused.value.details) == ("validation_failed", {"param": "k"})


async def test_native_http(site: Any, api_key: Any, ledger: Ledger) -> None:
    client = site.client("acme", token=api_key())
    body = {"agent": "assistant", "message": "hi"}
    answers = []
    for accept in ("*/*", "*/*", "text/event-stream", "text/event-stream"):
        headers = {"Idempotency-Key": f"k{accept}", "Accept": accept}
        async with client.post("/api/v1/runs", json=body, headers=headers) as response:
            answers.append((response.status, response.headers.get("Idempotent-Replayed"), await response.read()))
    (first, again, streamed, replayed) = answers
    assert (first[:2], again[:2], first[2] == again[2]) == ((202, None), (202, "true"), True)
    assert (streamed[:2], replayed[:2], streamed[2] == replayed[2]) == ((200, None), (200, "true"), True)
    async with client.post(
        "/api/v1/runs", json=body | {"message": "?"}, headers={"Idempotency-Key": "k*/*"}
    ) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (422, "idempotency_mismatch")
    async with client.post("/api/v1/runs", json=body, headers={"Idempotency-Key": "x" * 256}) as response:
        assert (response.status, (await response.json())["error"]["details"]) == (400, {"param": "Idempotency-Key"})
    assert ledger.value("SELECT count(*) FROM chat_run") == 2


async def test_openai(site: Any, api_key: Any, ledger: Ledger) -> None:
    """Whole and streamed, to the byte; and an answer whose caller was cut off waits for the second try."""
    door = OpenAIDoor(site, api_key())
    door.client.headers["Idempotency-Key"] = "whole"
    assert await door.complete("assistant") == await door.complete("assistant")
    gate = asyncio.Event()
    ScriptedModel.enqueue(["Hel", gate, "lo"])
    door.client.headers["Idempotency-Key"] = "streamed"
    cut = await door.ask("assistant")
    await cut.until(lambda answer: bool(answer.pieces))
    await cut.leave()
    gate.set()
    again = await (await door.ask("assistant")).rest()
    assert (again.text, again.end) == ("Hello", "completed")
    assert (await (await door.ask("assistant")).rest()).raw == again.raw
    assert ledger.value("SELECT count(*) FROM chat_run") == 2


async def test_phase1(site: Any, api_key: Any, ledger: Ledger) -> None:
    """Both doors that ask an agent; what has a key goes on when its client leaves."""
    ScriptedModel.enqueue(["once"])
    ScriptedModel.enqueue(["twice"])
    client = site.client("acme", token=api_key())
    asked = {"agent_type": "assistant", "message": "hi"}
    for path, body, said in (
        ("chat/completions", asked, b'{"content":"once","type":"text"}'),
        ("agents/assistant/execute?task=hi", {}, b'"content":"twice"'),
    ):
        for replayed in (None, "true"):
            async with client.post(f"/api/v1/{path}", json=body, headers={"Idempotency-Key": path}) as answer:
                assert said in await answer.read()
                assert answer.headers.get("Idempotent-Replayed") == replayed
    async with client.post(
        "/api/v1/chat/completions", json=asked | {"message": "ho"}, headers={"Idempotency-Key": "chat/completions"}
    ) as answer:
        assert (answer.status, (await answer.json())["details"]["code"]) == (422, "idempotency_mismatch")
    gate = asyncio.Event()
    ScriptedModel.enqueue(["Hel", gate, "lo"])
    async with client.post("/api/v1/chat/completions", json=asked, headers={"Idempotency-Key": "left"}) as answer:
        assert b"Hel" in await answer.content.readline() + await answer.content.readline()
    gate.set()
    async with client.post("/api/v1/chat/completions", json=asked, headers={"Idempotency-Key": "left"}) as answer:
        assert b"event: done" in await answer.read()
    assert ledger.value("SELECT count(*)::int FROM chat_run WHERE status = 'completed'") == 3


async def test_websocket(site: Any, api_key: Any, ledger: Ledger) -> None:
    client = site.client("acme", token=api_key())
    frame = {"type": "turn.start", "ref": "r", "agent": "assistant", "message": "hi", "idempotency_key": "k"}
    told: list[list[dict[str, Any]]] = []
    for _ in range(2):
        async with opened(client) as socket:
            await socket.send_json(frame)
            told.append([])
            while not told[-1] or told[-1][-1]["type"] != "run.completed":
                told[-1].append(await socket.receive_json(timeout=10))
    assert told[1][0] == told[0][0] | {"replayed": True}
    assert told[1][1:] == told[0][1:]
    assert ledger.value("SELECT count(*) FROM chat_run") == 1


async def test_turns_without_a_key_are_each_their_own(host: Any, actor: Any) -> None:
    member = actor("member")
    request = TurnRequest(door="test", agent="assistant", message="hi")
    runs = [(await turns.start_turn(member, request)).run_id for _ in range(2)]
    assert runs[0] != runs[1]
    await eventually(lambda: not host.runs)
