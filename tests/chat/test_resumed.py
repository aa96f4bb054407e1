"""What still holds when a run that has waited goes on: numbers of passages, the tool as it was approved, calls that a
lost process has begun; and who is told that it waits (P48, P51, P54)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agents.tools.gate import Decision, Gate, hash_of
from agents.tools.http import HttpTool
from agents.tools.spec import ToolResult
from chat import approvals, lost_calls, recovery, worker
from chat.host import Host
from chat.traces import trace_of
from core import crypto
from llm.providers.scripted import ScriptedModel
from tenants import scope
from tests.chat.hosts import another
from tests.chat.ledger import Ledger, eventually
from tests.chat.talk import read
from tests.chat.test_approvals import END, EXPIRE, World, asks, verdict, waiting, working, world  # noqa: F401
from tests.chat.test_recovery import die
from tests.files import no_files  # noqa: F401
from tests.knowledge.conftest import ingested, make, put


async def test_passages_keep_their_numbers(
    host: Host,
    working: Host,
    actor: Any,
    agents: Callable[..., str],
    world: World,
    no_files: None,
    ledger: Ledger,
) -> None:
    """What was shown as [1] before the run waited is [1] afterwards, and what is new has the next number."""
    member, owner = actor("member"), actor("owner")
    make(owner, "docs")
    put(owner, "docs", ("a.md", b"The red train is slow."), ("b.md", b"The blue ship is fast and holds many people."))
    await ingested(owner)
    slug = agents("demo", tools=["send"], knowledge=["docs"])

    def search(words: str, count: int) -> tuple[str, str]:
        return "search_knowledge", json.dumps({"query": words, "count": count})

    started, (row,) = await waiting(member, slug, ledger, asks(search("blue ship fast", 1)), asks(("send", "{}")))
    ScriptedModel.enqueue(asks(search("red train slow", 2)))
    ScriptedModel.enqueue(END)
    await approvals.decide(member, verdict(row))
    assert await worker.take(working) == 1
    told = await read(member.tenant, started.run_id)
    cited = [(data["n"], data["title"]) for _, (kind, data) in told.events if kind == "source.cited"]
    assert cited == [(1, "b.md"), (2, "a.md"), (1, "b.md")]


async def test_a_tool_that_was_changed_is_asked_for_again(
    host: Host,
    working: Host,
    actor: Any,
    agents: Callable[..., str],
    world: World,
    ledger: Ledger,
) -> None:
    """P51: who approved a call has approved what the tool was then. Who denied it is not asked twice."""
    member, slug = actor("member"), agents("demo", tools=["look", "send"])
    script = asks(("look", "{}")), asks(("send", '{"n": 1}'), ("send", '{"n": 2}'))
    started, rows = await waiting(member, slug, ledger, *script)
    await approvals.decide(member, verdict(rows[0]))
    await approvals.decide(member, verdict(rows[1], "deny"))
    send = next(at for at, one in enumerate(world.specs) if one.name == "send")
    world.specs[send] = replace(world.specs[send], definition="another", effect="egress")
    assert await worker.take(working) == 1
    await eventually(lambda: ledger.run(started.run_id)["status"] == "waiting", 60)
    (again,) = ledger.rows("SELECT * FROM chat_approval WHERE run_id = %s AND status = 'pending'", started.run_id)
    assert (again["reason"], again["effect"], again["arguments"], again["call_id"]) == (
        "changed", "egress", '{"n":1}', rows[0]["call_id"],
    )  # fmt: skip
    assert again["arguments_hash"] != rows[0]["arguments_hash"]
    assert world.times("send") == 0
    ScriptedModel.enqueue(END)
    await approvals.decide(member, verdict(again))
    assert await worker.take(working) == 1
    told = await read(member.tenant, started.run_id)
    assert (told.kinds[-1], world.times("send")) == ("run.completed", 1)
    assert (told.kinds.count("approval.requested"), told.kinds.count("tool.started")) == (3, 3)
    trace = json.loads(ledger.value("SELECT document FROM chat_runtrace WHERE run_id = %s", started.run_id))
    decisions = {one["approval_id"]: one["output"]["decision"] for one in trace["steps"] if one["kind"] == "approval"}
    assert sorted(decisions.values()) == ["approved", "approved", "denied"]
    calls = [one["approval_id"] for one in trace["steps"] if one["kind"] == "tool" and one["name"] == "send"]
    assert [decisions[one] for one in calls] == ["approved", "denied"]


def test_what_a_definition_is_made_of() -> None:
    """All that decides what is sent where; not the secret, which is for its host alone."""
    tool = HttpTool("t", "d", "POST", "https://a.example/{x}", ({"name": "x", "in": "path"},), {"K": "{{secret}}"})
    same = replace(tool, secret="other")
    assert tool.definition == same.definition == tool.spec().definition
    changes: list[dict[str, Any]] = [
        {"method": "PUT"}, {"url": "https://b.example/{x}"}, {"description": "e"}, {"headers": {}}, {"result_path": "a"},
        {"parameters": ({"name": "x", "in": "path", "type": "integer"},)}, {"secret_host": "a.example"},
    ]  # fmt: skip
    assert len({replace(tool, **change).definition for change in changes} | {tool.definition}) == len(changes) + 1


async def test_who_may_decide_is_told_once(
    host: Host,
    working: Host,
    actor: Any,
    agents: Callable[..., str],
    world: World,
    ledger: Ledger,
) -> None:
    """Whose run it is and the administrators, in their languages; not who may not, nor who wants no such mail."""
    from accounts import profile
    from tests.knowledge.conftest import bound

    for who, changes in (("owner", {"approval_mails": False}), ("admin", {"language": "zh-hans"})):
        person = actor(who)
        bound(person, lambda: profile.person_update(user_id=person.user_id, actor="test", **changes))  # noqa: B023
    member, slug = actor("member"), agents("demo", tools=["look", "send"], name="Mallory.example/x")
    started, (row,) = await waiting(
        member, slug, ledger, asks(("look", "{}")), asks(("send", '{"text": "click https://evil.example"}'))
    )
    told = letters(ledger)
    assert {one["to"] for one in told} == {"admin@acme.test", "member@acme.test"}
    admin, own = sorted(told, key=lambda one: str(one["to"]))
    assert admin["body"].count(f"/settings/approvals/{row['id']}/") == 1
    assert "批准" in admin["subject"]
    assert own["subject"] == f"{slug} waits for your approval in Acme"
    assert f"/chat/{started.conversation_id}/" in own["body"]
    assert "wants to call send." in own["body"]
    assert "evil" not in str(told)
    assert "Mallory" not in str(told), "an agent's name is free text"
    await approvals.decide(member, verdict(row))
    ScriptedModel.enqueue(asks(("send", '{"n": 2}')))
    assert await worker.take(working) == 1
    await eventually(lambda: ledger.run(started.run_id)["status"] == "waiting", 60)
    await eventually(lambda: not working.runs, 60)
    assert len(letters(ledger)) == 2, "one letter a run and person"


def letters(ledger: Ledger) -> list[dict[str, str]]:
    """What waits to be sent about approvals."""
    from django.conf import settings

    rows = ledger.rows("SELECT args FROM public.procrastinate_jobs WHERE task_name = 'mail.send'")
    found = [json.loads(crypto.unwrap(settings.FIELD_KEYS, row["args"]["sealed"])) for row in rows]
    return [one for one in found if "/settings/approvals/" in one["body"] or "/chat/" in one["body"]]


async def test_what_a_lost_process_had_begun_is_said(
    host: Host,
    actor: Any,
    agents: Callable[..., str],
    world: World,
    ledger: Ledger,
) -> None:
    """P48: nobody knows of a call that was begun; of one that was not, that it was not made. Neither is made again."""
    member, slug = actor("member"), agents("demo", tools=["look", "send", "fetch"])
    begun, never = asyncio.Event(), asyncio.Event()

    async def hang(*asked: Any) -> ToolResult:
        begun.set()
        await never.wait()
        raise AssertionError

    send = next(at for at, one in enumerate(world.specs) if one.name == "send")
    started, rows = await waiting(member, slug, ledger, asks(("look", "{}")), asks(("send", "{}"), ("fetch", "{}")))
    world.specs[send] = replace(world.specs[send], call=hang)
    for one in rows:
        await approvals.decide(member, verdict(one))
    async with another(worker=True) as doomed:
        assert await worker.take(doomed) == 1
        await begun.wait()
        await eventually(lambda: world.times("fetch") == 1, 60)
        die(doomed, started.run_id)
    ledger.rows(EXPIRE)
    assert await recovery.sweep(host) == 1
    told = await read(member.tenant, started.run_id)
    errors = {data["name"]: data["error"] for _, (kind, data) in told.events if kind == "tool.finished"}
    assert errors["send"] == lost_calls.UNKNOWN
    assert (told.end["code"], world.times("fetch"), world.times("send")) == ("run_interrupted", 1, 0)
    assert told.kinds.count("tool.started") == told.kinds.count("tool.finished")
    found = await scope.run_in_tenant(member.tenant, trace_of, member, started.run_id)
    steps = {(one["kind"], one["name"]): one for one in found["steps"]}
    assert steps["tool", "send"]["output"] == lost_calls.UNKNOWN, "not what was kept while it waited"
    assert steps["tool", "send"]["approval_id"] == steps["approval", "send"]["approval_id"] == str(rows[0]["id"])
    assert steps["approval", "send"]["output"]["decision"] == "approved"
    assert steps["tool", "fetch"]["ok"] or steps["tool", "fetch"]["output"] == lost_calls.UNKNOWN
    assert found["tainted"]


@pytest.mark.parametrize(
    ("journal", "in_log", "said"),
    [
        ({}, 0, lost_calls.NOT_MADE),
        ({("send", None): 1}, 0, lost_calls.UNKNOWN),
        ({("send", True): 1}, 0, lost_calls.UNKNOWN),
        ({("send", False): 1}, 0, lost_calls.UNKNOWN),
        ({("send", True): 1}, 1, lost_calls.NOT_MADE),
        ({("other", None): 1}, 0, lost_calls.NOT_MADE),
    ],
)
def test_the_journal_knows_what_the_log_does_not(journal: Any, in_log: int, said: str) -> None:
    call = {"name": "send", "effect": "write", "arguments": {}}
    ended: Any = [("tool.finished", call | {"call_id": f"e{at}", "ok": True}) for at in range(in_log)]
    events = [*ended, ("tool.started", call | {"call_id": "c"})]
    ((kind, data),) = lost_calls.closing(events, lost_calls.Journalled(journal))
    assert (kind, data["error"], data["ok"]) == ("tool.finished", said, False)


async def test_an_approval_of_before_tools_had_definitions_stands(world: World) -> None:
    """What the release before has hashed is worth the same for the platform's own tools."""
    from uuid import uuid4

    from agents.runtime.trace import Step
    from agents.tools.spec import BoundTool

    step, run_id = Step("", 0, "tool", "1:c", "send", input={}, approval_id="a"), uuid4()

    async def clean() -> bool:
        return False

    gate = Gate(run_id, clean, True, {"a": Decision("approved", hash_of(run_id, step))})
    assert await gate.refusal(BoundTool(world.specs[1]), step) == ""
