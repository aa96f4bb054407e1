"""One message as spans, from the door to the vendor and the tools, at a collector's real socket; and no secret in any.

P62, A24: what people and models say is in none of it, and keys are in none of it even where content is captured.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from procrastinate.contrib.django import app

from chat import worker
from chat.host import Host
from core import tracing
from llm.deltas import Finish, ToolCallDelta, UsageReport
from llm.providers.scripted import ScriptedModel
from tenants import jobs, scope
from tenants.db import statements
from tests.chat.hosts import another
from tests.chat.ledger import eventually
from tests.chat.sockets import opened
from tests.chat.talk import ask, read, start
from tests.chat.test_team import team  # noqa: F401
from tests.collector import Collector
from tests.conftest import in_thread
from tests.tenants.test_jobs import NAME, seen, stored

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
CANARY = "canary-7731"
SECRET = "sk-canary-0123456789"
CALL = [ToolCallDelta(0, "c1", "calculator", f'{{"expression": "2*3 + {7731}"}}'), Finish("tool_calls")]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        tracing.configure(tracing.Collector(running.url))
        yield running


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """As operators set it up; a site that is asked for after this one opens it."""
    with Collector() as running:
        monkeypatch.setattr(settings, "OTEL_ENDPOINT", f"{running.url}/")
        monkeypatch.setattr(settings, "OTEL_HEADERS", "authorization=Basic collector")
        yield running


@pytest.fixture
async def working(host: Host) -> AsyncIterator[Host]:
    async with another(worker=True) as made:
        yield made


async def until(collector: Collector, *names: str) -> None:
    """Until the collector has spans of these names: a client hears of an end a moment before its span ends."""

    def there() -> bool:
        collector.flush()
        return set(names) <= {span.name for span in collector.spans}

    await eventually(there, what=f"{names} of {[span.name for span in collector.spans]}")


async def test_a_message_can_be_followed_from_the_door_to_the_bill(
    set_up: Collector, site: Any, api_key: Any, agents: Callable[..., str], caplog: Any
) -> None:
    collector = set_up
    slug, key = agents("demo", tools=["calculator"], instructions=f"{CANARY}-instructions"), api_key()
    ScriptedModel.enqueue([f"{CANARY}-said", *CALL, UsageReport(100, 20, 30, 0)])
    ScriptedModel.enqueue([f"{CANARY}-answer", Finish("stop"), UsageReport(120, 5, 0, 0)])
    headers = {"Authorization": f"Bearer {key}", "traceparent": PARENT}
    body = {"model": slug, "messages": [{"role": "user", "content": f"{CANARY}-asked {SECRET}"}], "stream": True}
    async with site.client("acme").post(
        "/v1/chat/completions?key=sk-in-the-query", json=body, headers=headers
    ) as answer:
        assert (answer.status, f"{CANARY}-answer" in await answer.text()) == (200, True)
        request_id = answer.headers["X-Request-Id"]
    await until(collector, f"invoke_agent {slug}", "POST /v1/chat/completions")

    door, turn, run = (
        collector.one(name) for name in ("POST /v1/chat/completions", "start_turn", f"invoke_agent {slug}")
    )
    assert {span.trace for span in collector.spans} == {TRACE}
    assert (door.parent, turn.parent, run.parent) == (PARENT[36:52], door.id, turn.id)
    assert collector.below(turn)[-2:] == ["SELECT start_turn", f"invoke_agent {slug}"]
    told = collector.below(run)
    assert [name for name in told if name.startswith(("chat", "execute"))] == [
        "chat demo", "execute_tool calculator", "chat demo",
    ]  # fmt: skip
    assert told[-1] == "SELECT finish_turn"
    assert "SELECT usage_step" in told
    assert (door.values["http.route"], door.values["http.response.status_code"]) == ("/v1/chat/completions", 200)
    assert (door.values["paas.request.id"], door.kind) == (request_id, 2)
    names = ("gen_ai.operation.name", "gen_ai.agent.name", "gen_ai.request.model", "gen_ai.provider.name")
    assert [run.values[name] for name in names] == ["invoke_agent", slug, "demo", "scripted"]
    usage = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.cache_read.input_tokens")
    assert [run.values[name] for name in usage] == [220, 25, 30]
    first = next(span for span in collector.spans if span.name == "chat demo")
    assert [first.values[name] for name in usage] == [100, 20, 30]
    assert first.values["gen_ai.response.finish_reasons"] == ["tool_calls"]
    tool = collector.one("execute_tool calculator")
    assert (tool.values["gen_ai.tool.name"], tool.values["gen_ai.tool.call.id"], tool.failed) == (
        "calculator",
        "c1",
        False,
    )
    assert collector.headers[0]["authorization"] == "Basic collector"
    assert {span.resource["service.name"] for span in collector.spans} == {"agent-paas"}

    everything = b"".join(collector.bodies) + caplog.text.encode()
    for word in ("canary", SECRET, key, "in-the-query", "2*3"):
        assert word.encode() not in everything, word


async def test_content_only_where_it_was_asked_for_and_then_without_secrets(
    host: Host, actor: Any, agents: Callable[..., str], collector: Collector
) -> None:
    tracing.configure(tracing.Collector(collector.url, content=True))
    slug, member = agents("demo", tools=["calculator"]), actor("member")
    ScriptedModel.enqueue(CALL)
    ScriptedModel.enqueue([f"{CANARY}-answer ", "Bearer abcdefghijk"])
    started = await start(member, f"{CANARY}-asked {SECRET}", agent=slug)
    await read(member.tenant, started.run_id)
    await until(collector, f"invoke_agent {slug}")
    run, tool = collector.one(f"invoke_agent {slug}"), collector.one("execute_tool calculator")
    assert f"{CANARY}-asked [secret]" in run.values["gen_ai.input.messages"]
    assert f"{CANARY}-answer [secret]" in run.values["gen_ai.output.messages"]
    assert "7731" in tool.values["gen_ai.tool.call.arguments"]
    assert tool.values["gen_ai.tool.call.result"] == "7737"
    everything = b"".join(collector.bodies)
    for word in (SECRET, "abcdefghijk"):
        assert word.encode() not in everything, word


async def test_a_worker_goes_on_with_the_trace_of_who_asked(
    host: Host, working: Host, actor: Any, agents: Callable[..., str], collector: Collector
) -> None:
    slug, member = agents("demo"), actor("member")
    ScriptedModel.enqueue(["one"])
    with tracing.continued(PARENT):
        started = await start(member, agent=slug, background=True)
    assert await worker.take(working) == 1
    await read(member.tenant, started.run_id)
    await until(collector, f"invoke_agent {slug}")
    run, turn = collector.one(f"invoke_agent {slug}"), collector.one("start_turn")
    assert (run.trace, run.parent) == (TRACE, turn.id)
    assert run.values["paas.run.id"] == turn.values["paas.run.id"] == str(started.run_id)


async def test_members_of_a_team_are_below_it_and_what_they_call_is_below_them(
    host: Host, actor: Any, agents: Callable[..., str], team: Callable[..., str], collector: Collector
) -> None:
    slugs = [agents("demo"), agents("demo")]
    for said in ("first", "second"):
        ScriptedModel.enqueue([said, Finish("stop"), UsageReport(10, 2, 0, 0)])
    told = await ask(actor("member"), agent=(slug := team("sequential", *slugs)))
    assert told.text == "second"
    await until(collector, f"invoke_agent {slug}")
    run = collector.one(f"invoke_agent {slug}")
    for number, name in enumerate(slugs):
        member = collector.one(f"invoke_agent {name}")
        assert (member.parent, member.values["paas.agent.path"]) == (run.id, f"{number}.{name}")
        assert "chat demo" in collector.below(member)
    assert (run.values["gen_ai.usage.input_tokens"], run.values["gen_ai.usage.output_tokens"]) == (20, 4)


async def test_a_job_goes_on_with_the_trace_of_who_enqueued_it(db: Any, collector: Collector) -> None:
    def enqueue() -> None:
        with tracing.continued(PARENT), tracing.span("asks"), scope.bind(db.acme):
            jobs.enqueue(NAME, value=1)

    seen.clear()
    await asyncio.to_thread(in_thread, enqueue)
    args = dict(next(args for name, args in await asyncio.to_thread(stored) if name == NAME))
    await app.tasks[NAME](**args)
    await until(collector, f"job {NAME}")
    assert (collector.one(f"job {NAME}").trace, collector.one(f"job {NAME}").parent) == (
        TRACE,
        collector.one("asks").id,
    )
    await app.tasks[NAME](tenant_id=str(db.acme.id), value=2)  # of a release that carried none
    assert seen == [("acme", 1), ("acme", 2)]


async def test_frames_bring_their_own_trace_and_errors_are_told_by_their_code(site: Any, collector: Collector) -> None:
    client = await site.signed_in("member")
    async with opened(client) as sock:
        await sock.send_json({"type": "turn.start", "agent": "nobody-here", "message": CANARY, "traceparent": PARENT})
        assert (await sock.receive_json(timeout=10))["code"] == "agent_not_found"
        await sock.send_json({"type": "turn.start", "agent": "nobody-here", "message": "x", "traceparent": ["junk"]})
        assert (await sock.receive_json(timeout=10))["code"] == "agent_not_found"
    await until(collector, "websocket turn.start")
    first, second = (span for span in collector.spans if span.name == "websocket turn.start")
    assert (first.trace, first.parent, second.parent) == (TRACE, PARENT[36:52], "")
    turn = next(span for span in collector.spans if span.name == "start_turn")
    assert (turn.failed, turn.values["error.type"]) == (True, "agent_not_found")
    assert CANARY.encode() not in b"".join(collector.bodies)


async def test_a_collector_that_hangs_costs_nobody_anything(host: Host, actor: Any) -> None:
    """It takes the connection and never answers: what waits for it is bounded, and so is the end of the process."""
    listening = socket.create_server(("127.0.0.1", 0))
    try:
        tracing.configure(tracing.Collector(f"http://127.0.0.1:{listening.getsockname()[1]}"))
        for _ in range(tracing.QUEUE_SPANS + 1000):
            with tracing.span("one of many"):
                pass
        member = actor("member")
        started = await start(member)
        assert (await read(member.tenant, started.run_id)).kinds[-1] == "run.completed"
        queue = tracing._provider._active_span_processor._span_processors[0]._batch_processor._queue
        assert len(queue) <= tracing.QUEUE_SPANS
        tracing.close(0.05)
        assert not tracing.enabled()
    finally:
        listening.close()


async def test_what_pages_ask_of_the_database_is_below_the_request(
    site: Any, api_key: Any, collector: Collector
) -> None:
    client = site.client("acme", token=api_key())
    async with client.get("/api/v1/agents", headers={"traceparent": PARENT}) as response:
        assert response.status == 200
    async with client.get("/healthz") as response:  # nothing of it is traced
        assert response.status == 200
    await until(collector, "GET api")
    door = collector.one("GET api")
    assert "SELECT agents_agent" in collector.below(door)
    asked = next(span for span in collector.spans if span.name == "SELECT agents_agent")
    assert (asked.kind, asked.values["db.system.name"]) == (3, "postgresql")
    assert {span.trace for span in collector.spans} == {TRACE}


async def test_statements_are_looked_at_by_nobody_while_it_is_off(
    site: Any, api_key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "span", None)  # whoever calls it fails
    client = site.client("acme", token=api_key())
    async with client.get("/api/v1/agents") as response:
        assert response.status == 200
    async with client.post("/api/v1/runs", json={"message": "Hello"}) as response:
        assert response.status in (202, 404), await response.text()


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ('SELECT "chat_run"."id" FROM "chat_run" WHERE "chat_run"."id" = %s', "SELECT chat_run"),
        ("INSERT INTO public.usage_quota (id) VALUES (%s)", "INSERT usage_quota"),
        ('UPDATE "agents_agent" SET "name" = %s', "UPDATE agents_agent"),
        ("SELECT public.start_turn(%s)", "SELECT start_turn"),
        ("SAVEPOINT s1", "SAVEPOINT"),
    ],
)
def test_a_statement_is_told_in_two_words(sql: str, told: str) -> None:
    assert statements.summary(sql) == told


def test_that_a_collector_refuses_is_said_once_and_that_it_takes_them_again_too(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    def spans(count: int) -> None:
        for _ in range(count):
            with tracing.span("one"):
                pass
            collector.flush()

    caplog.set_level("WARNING")
    collector.status = 400
    spans(3)
    (line,) = caplog.messages
    assert "traces cannot be sent" in line
    assert "400" in line
    collector.status = 200
    spans(2)
    assert [("sent again" in one, "lost=3" in one) for one in caplog.messages[1:]] == [(True, True)]
    collector.status = 400
    spans(1)
    assert len(caplog.messages) == 3


def test_nothing_is_loaded_and_nothing_is_made_while_it_is_off() -> None:
    assert tracing.span("a") is tracing.child("b") is tracing.NOTHING
    assert (tracing.carried(), tracing.ids(), tracing.content("x")) == ({}, None, None)
    with tracing.continued(PARENT), tracing.span("a") as span:
        assert tracing.carried() == {}
        span.set({"a": 1})


async def test_only_what_is_a_traceparent_is_taken_for_one(collector: Collector) -> None:
    for junk in ("", None, 7, f"00-{'0' * 32}-00f067aa0ba902b7-01", PARENT.upper(), PARENT + "\n", f"ff{PARENT[2:]}"):
        with tracing.continued(junk), tracing.span("a"):
            assert (tracing.ids() or ("",))[0] != TRACE, junk
    with tracing.continued(PARENT), tracing.span("a"):
        text = tracing.traceparent()
        assert text.startswith(f"00-{TRACE}-")
        assert await asyncio.create_task(_text()) == text
    assert tracing.traceparent() == ""


async def _text() -> str:
    return tracing.traceparent()
