"""The Phase 1 API, row by row of its contract, and the bytes of its stream (docs/phase1.md)."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from accounts.keys import key_create
from agents import access, registry
from core.errors import PaasError
from llm.deltas import ReasoningDelta, UsageReport
from llm.providers.scripted import ScriptedModel
from tenants import scope
from tests.chat.ledger import eventually
from tests.conftest import in_thread
from tests.contracts.transport import golden
from tests.site import Site

BUILTIN = ["echo_agent", "mock_chat_agent", "counter_agent", "error_agent", "chat_basic", "tool_agent", "rag_agent"]
RANDOM = str(uuid.uuid4())


class Client:
    """A client of Phase 1 on one host."""

    def __init__(self, site: Site, token: str, slug: str = "acme", header: str = "Authorization") -> None:
        self.http = site.client(slug)
        if token:
            self.http.headers[header] = f"Bearer {token}" if header == "Authorization" else token

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        async with self.http.request(method, f"/api/v1{path}", data=data) as answer:
            return answer.status, await answer.json()

    async def completion(self, **body: Any) -> tuple[bytes, aiohttp.ClientResponse]:
        async with self.http.post("/api/v1/chat/completions", json=body) as answer:
            return await answer.read(), answer

    async def events(self, **body: Any) -> list[tuple[str, dict[str, Any]]]:
        raw, answer = await self.completion(**body)
        assert answer.status == 200, raw
        return events_of(raw)


def events_of(raw: bytes) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for block in raw.decode().removesuffix("\n\n").split("\n\n"):
        if block.startswith(":"):
            continue
        first, second = block.split("\n")
        found.append((first.removeprefix("event: "), json.loads(second.removeprefix("data: "))))
    return found


@pytest.fixture
async def client(site: Site, api_key: Callable[..., str]) -> Client:
    return Client(site, api_key())


# --- the stream -------------------------------------------------------------------------------------
async def test_the_bytes_of_a_stream(client: Client) -> None:
    """thought, message, done; then the same with an error in the place of done. UTF-8 is not escaped."""
    asked = {"agent_type": "mock_chat_agent", "message": "你好 Phase 1"}
    raw, answer = await client.completion(**asked)
    assert answer.content_type == "text/event-stream"
    assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == ("no-cache", "no")
    failed, _ = await client.completion(agent_type="error_agent", message="x", config={"error_type": "value"})
    ScriptedModel.enqueue([ReasoningDelta("Hm. "), "Half an ans", PaasError("provider_stream_cut")])
    cut, _ = await client.completion(agent_type="assistant", message="x")
    found = re.sub(rb'"session_id":"[^"]*"', b'"session_id":"<session>"', raw + b"----\n" + failed + b"----\n" + cut)
    found = re.sub(rb'"execution_time_ms":\d+', b'"execution_time_ms":0', found)
    golden("phase1", found)


async def test_done_tells_the_session_its_tokens_and_its_time(client: Client) -> None:
    ScriptedModel.enqueue(["a", "b", UsageReport(11, 2, 0, 0)])
    told = await client.events(agent_type="assistant", message="first", config={"temperature": 0.1, "max_tokens": 77})
    assert [name for name, _ in told] == ["message", "message", "done"]
    done = told[-1][1]
    assert set(done) == {"session_id", "tokens_used", "execution_time_ms"}
    assert (done["tokens_used"], type(done["execution_time_ms"])) == (13, int)

    script = ScriptedModel.enqueue(["c"])
    again = await client.events(agent_type="assistant", message="second", session_id=done["session_id"])
    assert again[-1][1]["session_id"] == done["session_id"]
    assert script.request is not None
    assert [one["content"] for one in script.request.messages] == ["first", "ab", "second"]

    status, history = await client.call("GET", f"/chat/history?session_id={done['session_id']}")
    assert status == 200
    assert set(history) == {"session_id", "agent_type", "created_at", "updated_at", "messages"}
    assert [(one["role"], one["content"]) for one in history["messages"]] == [
        ("user", "first"), ("assistant", "ab"), ("user", "second"), ("assistant", "c"),
    ]  # fmt: skip
    assert {frozenset(one) for one in history["messages"]} == {
        frozenset({"id", "role", "content", "tokens_used", "created_at"})
    }
    assert [one["tokens_used"] for one in history["messages"][:2]] == [0, 13]
    _, session = await client.call("GET", f"/sessions/{done['session_id']}")
    assert (session["message_count"], session["agent_type"]) == (4, "assistant")


async def test_a_sessions_config_holds_for_its_messages_until_one_says_otherwise(client: Client) -> None:
    _, session = await client.call(
        "POST", "/sessions", {"agent_type": "assistant", "config": {"temperature": 0.25, "max_tokens": 50}}
    )
    script = ScriptedModel.enqueue(["x"])
    await client.events(agent_type="assistant", message="m", session_id=session["id"], config={"max_tokens": 9})
    assert script.request is not None
    assert (script.request.parameters["temperature"], script.request.max_tokens) == (0.25, 9)


async def test_who_leaves_stops_the_answer(client: Client, ledger: Any) -> None:
    """Closing the connection is the only way these clients have to stop one; what was said is kept and settled."""
    script = ScriptedModel.enqueue(["one ", asyncio.Event()])
    response = await client.http.post("/api/v1/chat/completions", json={"agent_type": "assistant", "message": "x"})
    assert b"one" in await response.content.readuntil(b"\n\n")
    response.close()
    await asyncio.wait_for(script.wait_closed(), 5)
    await eventually(lambda: not ledger.left_behind())
    _, listed = await client.call("GET", "/sessions")
    _, history = await client.call("GET", f"/chat/history?session_id={listed['sessions'][0]['id']}")
    assert history["messages"][1]["content"] == "one "


# --- what is refused --------------------------------------------------------------------------------
REFUSED: list[tuple[str, str, Any, int, list[str] | None]] = [
    ("POST", "/chat/completions", {"message": "x"}, 422, ["body", "agent_type"]),
    ("POST", "/chat/completions", {"agent_type": "echo_agent"}, 422, ["body", "message"]),
    ("POST", "/chat/completions", {"agent_type": "echo_agent", "message": ""}, 422, ["body", "message"]),
    ("POST", "/chat/completions", {"agent_type": "echo_agent", "message": "x" * 10_001}, 422, ["body", "message"]),
    ("POST", "/chat/completions", {"agent_type": 1, "message": "x"}, 422, ["body", "agent_type"]),
    ("POST", "/chat/completions", {"agent_type": "echo_agent", "message": "a\0b"}, 422, ["body", "message"]),
    (
        "POST", "/chat/completions", {"agent_type": "echo_agent", "message": "x", "config": {"temperature": "hot"}},
        422, ["body", "config", "temperature"],
    ),
    (
        "POST", "/chat/completions", {"agent_type": "echo_agent", "message": "x", "config": []},
        422, ["body", "config"],
    ),
    ("POST", "/chat/completions", b"{not json", 422, None),
    ("POST", "/chat/completions", {"agent_type": "nobody", "message": "x"}, 400, None),
    ("POST", "/chat/completions", {"agent_type": "echo_agent", "message": "x", "session_id": RANDOM}, 404, None),
    ("POST", "/chat/completions", {"agent_type": "echo_agent", "message": "x", "session_id": "s"}, 404, None),
    ("GET", "/chat/completions", None, 405, None),
    ("GET", "/chat/history", None, 422, ["query", "session_id"]),
    ("GET", f"/chat/history?session_id={RANDOM}", None, 404, None),
    ("GET", "/agents/nobody", None, 404, None),
    ("POST", "/agents/nobody/execute?task=x", None, 404, None),
    ("POST", "/agents/echo_agent/execute", None, 422, ["query", "task"]),
    ("POST", "/sessions", {"agent_type": "nobody"}, 400, None),
    ("POST", "/sessions", {"agent_type": "echo_agent", "metadata": "x"}, 422, ["body", "metadata"]),
    ("GET", "/sessions?limit=0", None, 422, ["query", "limit"]),
    ("GET", "/sessions?limit=1001", None, 422, ["query", "limit"]),
    ("GET", f"/sessions/{RANDOM}", None, 404, None),
    ("DELETE", f"/sessions/{RANDOM}", None, 404, None),
]  # fmt: skip


async def test_refusals(client: Client) -> None:
    """`{error, message, details?, path}` with the status of the contract and nothing else."""
    for method, path, body, status, named in REFUSED:
        found, said = await client.call(method, path, body)
        assert found == status, (path, body, said)
        assert set(said) == {"error", "message", "details", "path"}
        assert said["path"] == "/api/v1" + path.partition("?")[0]
        assert said["error"] == ("VALIDATION_ERROR" if status == 422 else "HTTP_ERROR")
        if named:
            assert [fault["loc"] for fault in said["details"]["errors"]] == [named]
        if "nobody" in path or (isinstance(body, dict) and body.get("agent_type") == "nobody"):
            assert "assistant, echo_agent" in said["message"]


async def test_who_may_not(site: Site, client: Client, api_key: Any, db: Any) -> None:
    nobody = Client(site, "")
    status, said = await nobody.call("POST", "/chat/completions", {"agent_type": "echo_agent", "message": "x"})
    assert (status, said["error"], said["code"]) == (401, "MISSING_TOKEN", "auth_002")
    status, said = await Client(site, "ak_" + "x" * 43).call("GET", "/sessions")
    assert (status, said["error"]) == (401, "HTTP_ERROR")

    def narrow() -> str:
        with scope.bind(db.acme):
            return key_create(name="reader", scopes=["chat:read"], agents=["echo_agent"], actor="test")[1]

    reader = Client(site, in_thread(narrow))
    status, said = await reader.call("POST", "/agents/echo_agent/execute?task=x")
    assert (status, said["error"]) == (403, "HTTP_ERROR")
    assert (await reader.call("GET", "/agents/assistant"))[0] == 404, "a key sees no agents but its own"
    assert (await reader.call("GET", "/agents/echo_agent"))[0] == 200


async def test_no_tokens_left_is_no_stream(client: Client, ledger: Any) -> None:
    ledger.allow(1)
    status, said = await client.call("POST", "/chat/completions", {"agent_type": "echo_agent", "message": "x"})
    assert (status, said["error"], said["details"]["code"]) == (429, "HTTP_ERROR", "quota_exceeded")


# --- agents -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
async def test_by_key_on_the_platforms_host(site: Site, api_key: Any, header: str) -> None:
    client = Client(site, api_key(), "", header)
    status, listed = await client.call("GET", "/agents")
    assert (status, listed["count"]) == (200, 8)
    told = await client.events(agent_type="echo_agent", message="hi")
    assert told[0] == ("message", {"content": "Echo: hi", "type": "text"})
    status, session = await client.call("GET", f"/sessions/{told[-1][1]['session_id']}")
    assert (status, session["message_count"]) == (200, 2)


async def test_the_list_of_agents_serves_both_kinds_of_clients(client: Client) -> None:
    status, listed = await client.call("GET", "/agents")
    assert status == 200
    assert [one["type"] for one in listed["agents"]] == ["assistant", *BUILTIN]
    assert listed["count"] == len(listed["agents"])
    names = {"type", "class_name", "module", "description", "tools", "id", "slug", "name", "model", "kind"}
    assert all(set(one) == names for one in listed["agents"])
    assert all(one["description"] for one in listed["agents"][1:])
    assert [one["kind"] for one in listed["agents"]] == ["model", *["builtin"] * 7]
    status, echo = await client.call("GET", "/agents/echo_agent")
    assert (status, echo["class_name"], echo["module"]) == (200, "EchoAgent", "agents.builtin")


EXECUTED: list[tuple[str, str, Any, str | None, str]] = [
    ("echo_agent", "?task=hello", None, "Echo: hello", ""),
    ("echo_agent", "", {"task": "from the body"}, "Echo: from the body", ""),
    ("counter_agent", "?task=x", None, "Count: 1", ""),
    ("mock_chat_agent", "?task=x", {}, "This is a mock answer to: x", ""),
    ("error_agent", "?task=x", None, "No error: x", ""),
    ("error_agent", "?task=x", {"error_type": "none"}, "No error: x", ""),
    ("error_agent", "?task=x", {"error_type": "value"}, None, "ValueError"),
    ("error_agent", "?task=x", {"config": {"error_type": "runtime"}}, None, "RuntimeError"),
    ("error_agent", "", {"task": "x", "config": {"error_type": "timeout"}}, None, "TimeoutError"),
    ("error_agent", "?task=x", {"error_type": "else"}, None, "error_type is one of"),
    ("assistant", "?task=x", {"temperature": 0}, "You wrote", ""),
    ("chat_basic", "?task=x", {"max_tokens": 5}, "You wrote: “x”", ""),
]


async def test_execute(client: Client) -> None:
    """A failing agent answers 200 with `success: false`."""
    for agent, query, body, content, error in EXECUTED:
        status, said = await client.call("POST", f"/agents/{agent}/execute{query}", body)
        assert (status, set(said)) == (200, {"success", "result", "error", "execution_time_ms"})
        assert (said["success"], type(said["execution_time_ms"])) == (not error, int)
        if content is not None:
            assert said["result"]["content"].startswith(content)
            assert said["error"] is None
        else:
            assert said["result"] is None
            assert error in said["error"]


async def test_built_in_agents_are_recorded_and_cost_nothing(client: Client, db: Any) -> None:
    from chat.models import Run
    from usage.models import Quota, Reservation, UsageRecord

    told = await client.events(agent_type="echo_agent", message="four words are here")

    def look() -> Any:
        with scope.bind(db.acme):
            run = Run.objects.get()
            record = UsageRecord.objects.get(run_id=run.id)
            assert (run.door, run.status, Reservation.objects.get().state) == ("phase1", "completed", "settled")
            assert (record.cost, record.agent, record.model) == (0, "echo_agent", "echo_agent")
            quota = Quota.objects.get(level="tenant")
            return record.input_tokens + record.output_tokens, (quota.used, quota.reserved)

    tokens, counters = in_thread(look)
    assert told[-1][1]["tokens_used"] == tokens > 0
    assert counters == (tokens, 0)


async def test_the_counter_counts_in_its_session(client: Client) -> None:
    session = None
    for count in (1, 2, 3):
        told = await client.events(agent_type="counter_agent", message="x", session_id=session)
        assert told[0][1]["content"] == f"Count: {count}"
        session = told[-1][1]["session_id"]
    told = await client.events(agent_type="counter_agent", message="x")
    assert told[0][1]["content"] == "Count: 1"


async def test_without_a_model_the_error_says_what_to_do(client: Client, db: Any) -> None:
    from llm.models import ProviderAccount

    def switch_off() -> None:
        with scope.bind(db.acme):
            ProviderAccount.objects.update(enabled=False)
        access.forget_all()

    in_thread(switch_off)
    told = await client.events(agent_type="chat_basic", message="x")
    assert [name for name, _ in told] == ["error"]
    assert told[0][1]["code"] == "AGENT_EXECUTION_ERROR"
    assert "Ask an administrator to connect a model provider" in told[0][1]["message"]
    status, said = await client.call("POST", "/agents/rag_agent/execute?task=x")
    assert (status, said["success"]) == (200, False)
    assert "connect a model provider" in said["error"]
    assert (await client.call("POST", "/sessions", {"agent_type": "chat_basic"}))[0] == 200


async def test_an_agent_of_the_tenants_own_takes_a_built_in_ones_place(client: Client, agents: Any) -> None:
    assert (await client.events(agent_type="echo_agent", message="x"))[0][1]["content"] == "Echo: x"
    agents("demo", slug="echo_agent", name="Ours")
    status, found = await client.call("GET", "/agents/echo_agent")
    assert (status, found["kind"], found["name"]) == (200, "model", "Ours")
    ScriptedModel.enqueue(["ours"])
    assert (await client.events(agent_type="echo_agent", message="x"))[0][1]["content"] == "ours"
    _, listed = await client.call("GET", "/agents")
    assert [one["type"] for one in listed["agents"]].count("echo_agent") == 1


def test_every_slug_of_the_contract_is_registered_once() -> None:
    assert [one.slug for one in registry.builtins()] == BUILTIN
    with pytest.raises(ValueError, match="echo_agent"):
        registry.python_agent("echo_agent", name="x", description="x")(registry.builtins()[0].answer)  # type: ignore[arg-type]


# --- sessions and health ----------------------------------------------------------------------------
async def test_sessions(client: Client, site: Site, api_key: Any) -> None:
    config, metadata = {"temperature": 0.5, "own": ["x"]}, {"customer": "7", "名": "值"}
    wanted = {"agent_type": "echo_agent", "config": config, "metadata": metadata}
    status, session = await client.call("POST", "/sessions", wanted)
    assert status == 200
    assert set(session) == {
        "id", "agent_type", "config", "metadata", "created_at", "updated_at", "message_count",
    }  # fmt: skip
    assert (session["config"], session["metadata"], session["message_count"]) == (config, metadata, 0)
    _, other = await client.call("POST", "/sessions", {"agent_type": "counter_agent"})
    assert (other["config"], other["metadata"]) == ({}, {})
    _, listed = await client.call("GET", "/sessions")
    assert ([one["id"] for one in listed["sessions"]], listed["count"]) == ([other["id"], session["id"]], 2)
    _, listed = await client.call("GET", "/sessions?agent_type=echo_agent")
    assert listed == {"sessions": [session], "count": 1}
    assert (await client.call("GET", "/sessions?limit=1"))[1]["count"] == 1
    assert await client.call("GET", f"/sessions/{session['id']}") == (200, session)
    status, said = await client.call("DELETE", f"/sessions/{session['id']}")
    assert (status, set(said), said["session_id"]) == (200, {"message", "session_id"}, session["id"])
    assert (await client.call("GET", f"/sessions/{session['id']}"))[0] == 404
    status, said = await client.call(
        "POST", "/chat/completions", {"agent_type": "echo_agent", "message": "x", "session_id": session["id"]}
    )
    assert status == 404


async def test_a_session_counts_for_the_plans_day(client: Client, db: Any) -> None:
    from tenants.models import Plan

    def allow_one() -> None:
        with scope.platform():
            Plan.objects.filter(slug="pro").update(sessions_per_day=1)

    in_thread(allow_one)
    assert (await client.call("POST", "/sessions", {"agent_type": "echo_agent"}))[0] == 200
    status, said = await client.call("POST", "/sessions", {"agent_type": "echo_agent"})
    assert (status, said["details"]["code"]) == (429, "session_limit_reached")
    assert (await client.call("GET", "/sessions"))[1]["count"] == 1


@pytest.mark.parametrize("slug", ["", "acme"])
async def test_health(site: Site, slug: str) -> None:
    async with site.client(slug).get("/health") as answer:
        found = await answer.json()
        assert answer.status == 200
    assert set(found) == {"status", "version", "uptime_seconds", "database_connected", "agents_registered"}
    assert (found["status"], found["database_connected"], found["agents_registered"]) == ("healthy", True, 7)
    assert re.fullmatch(r"\d+\.\d+\.\d+", found["version"])
    assert found["uptime_seconds"] > 0
