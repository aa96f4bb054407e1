"""Approvals at every door: seen and decided over HTTP and the socket, refused where nobody could be asked (P54, T19)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agents.tools.gate import NO_PERSON
from chat import host as hosts
from chat import worker
from llm.deltas import Finish, UsageReport
from llm.providers.scripted import ScriptedModel
from tests.chat.hosts import another
from tests.chat.ledger import Ledger, eventually
from tests.chat.sockets import opened
from tests.chat.test_approvals import END, World, asks, world  # noqa: F401


def told(script: Any) -> list[str]:
    """What the tools said to the model, when it took this script."""
    assert script.request is not None
    return [one["content"] for one in script.request.messages if one["role"] == "tool"]


async def test_over_http_and_the_socket(
    site: Any,
    api_key: Callable[..., str],
    agents: Callable[..., str],
    world: World,
    ledger: Ledger,
) -> None:
    slug, member, admin = (
        agents("demo", tools=["look", "send"]),
        await site.signed_in("member"),
        await site.signed_in("admin"),
    )
    origin = {"Origin": site.url("acme")}
    for script in (asks(("look", "{}")), asks(("send", '{"n":1}'), ("send", '{"n":2}'))):
        ScriptedModel.enqueue(script)
    async with member.post("/api/v1/runs", json={"agent": slug, "message": "?"}, headers=origin) as answer:
        run = (await answer.json())["run"]["id"]
    await eventually(lambda: not hosts.current().runs, 60)

    async def call(client: Any, path: str = "", body: Any = None, **query: Any) -> tuple[int, Any]:
        method = "GET" if body is None else "POST"
        async with client.request(
            method, f"/api/v1/approvals{path}", params=query, json=body, headers=origin
        ) as answer:
            return answer.status, await answer.json()

    status, page = await call(member, status="pending", limit="1")
    assert (status, len(page["approvals"])) == (200, 1)
    _, rest = await call(member, status="pending", run_id=run, cursor=page["next_cursor"])
    second, first = page["approvals"][0], rest["approvals"][0]
    assert (first["arguments"], second["arguments"], rest["next_cursor"]) == ({"n": 1}, {"n": 2}, None)
    assert (first["run_id"], first["status"], first["may_decide"], first["agent"]["slug"]) == (
        run,
        "pending",
        True,
        slug,
    )
    assert (await call(admin, f"/{first['id']}"))[1]["may_decide"] is True
    assert (await call(await site.signed_in("viewer")))[1] == {"approvals": [], "next_cursor": None}
    key = site.client("acme", token=api_key())
    assert (await call(key, f"/{first['id']}"))[0] == 404
    for query in ({"status": "x"}, {"limit": "0"}, {"cursor": "x"}, {"run_id": "x"}):
        assert (await call(member, **query))[0] == 400, query
    good = {"decision": "approve", "arguments_hash": first["arguments_hash"]}
    for bad, code in (
        ({}, "validation_failed"), (good | {"decision": "maybe"}, "validation_failed"), (good | {"note": 7}, "validation_failed"),
        (good | {"arguments_hash": second["arguments_hash"]}, "approval_mismatch"),
    ):  # fmt: skip
        _, refused = await call(member, f"/{first['id']}", bad)
        assert refused["error"]["code"] == code, bad
    for decision, wanted in (("approve", 200), ("approve", 200), ("deny", 409)):
        status, view = await call(member, f"/{first['id']}", good | {"decision": decision})
        assert status == wanted
    assert view["error"]["code"] == "approval_decided"
    async with member.get(f"/api/v1/runs/{run}") as answer:
        assert (await answer.json())["status"] == "waiting"
    last = ScriptedModel.enqueue(END)
    async with opened(admin, headers=origin) as socket:
        frame = {"type": "approval.decide", "ref": 1, "approval_id": second["id"], "decision": "deny", "note": "no"}
        await socket.send_json(frame)
        assert (await socket.receive_json(timeout=5))["code"] == "validation_failed"
        await socket.send_json(frame | {"arguments_hash": second["arguments_hash"]})
        answered = await socket.receive_json(timeout=5)
        assert (answered["type"], answered["ref"], answered["approval"]["status"]) == ("approval.answered", 1, "denied")
    async with another(worker=True) as working:
        assert await worker.take(working) == 1
        async with member.get(f"/api/v1/runs/{run}/events") as answer:
            assert b"run.completed" in await answer.read()
    assert (world.times("send"), told(last)[1]) == (1, "send: done")
    async with member.get(f"/api/v1/runs/{run}/trace") as answer:
        trace = await answer.json()
    waited = [one for one in trace["steps"] if one["kind"] == "approval"]
    assert [one["output"]["decision"] for one in waited] == ["approved", "denied"]
    assert not ledger.left_behind()


async def test_where_nobody_could_be_asked_the_model_is_told(
    site: Any,
    api_key: Callable[..., str],
    agents: Callable[..., str],
    world: World,
    ledger: Ledger,
) -> None:
    """What callers bring themselves is from outside too; so is what an earlier response had read."""
    slug, client = agents("demo", tools=["look", "send"]), site.client("acme", token=api_key())

    async def post(path: str, body: dict[str, Any], *scripts: list[Any]) -> tuple[Any, Any]:
        made = [ScriptedModel.enqueue(script) for script in scripts]
        async with client.post(path, json=body) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json(), made[-1]

    question = {"role": "user", "content": "?"}
    call = {"id": "t", "type": "function", "function": {"name": "x", "arguments": "{}"}}
    own = [question, {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "t", "content": "do it"}]  # fmt: skip
    _, last = await post("/v1/chat/completions", {"model": slug, "messages": own}, asks(("send", "{}")), END)
    assert (told(last)[-1], world.done) == (NO_PERSON, [])
    _, last = await post("/v1/chat/completions", {"model": slug, "messages": [question]}, asks(("send", "{}")), END)
    assert (told(last)[-1], world.times("send")) == ("send: done", 1)
    _, last = await post(f"/api/v1/agents/{slug}/execute?task=x", {}, asks(("look", "{}")), asks(("send", "{}")), END)
    assert (told(last)[-1], world.times("send")) == (NO_PERSON, 1)
    first, _ = await post("/v1/responses", {"model": slug, "input": "?"}, asks(("look", "{}")), END)
    # A plain agent in between makes nothing clean.
    plain = ["Hm.", Finish("stop"), UsageReport(1, 1, 0, 0)]
    between, _ = await post(
        "/v1/responses", {"model": "assistant", "input": "?", "previous_response_id": first["id"]}, plain
    )
    going_on = {"model": slug, "input": "?", "previous_response_id": between["id"]}
    _, last = await post("/v1/responses", going_on, asks(("send", "{}")), END)
    assert (told(last)[-1], world.times("send")) == (NO_PERSON, 1)
    assert not ledger.rows("SELECT 1 FROM chat_approval")
    assert not ledger.left_behind()


@pytest.mark.parametrize("ends", ["shut down", "stopped"])
async def test_a_process_that_stops_lets_go_of_what_waits(
    host: Any,
    actor: Any,
    agents: Callable[..., str],
    world: World,
    ledger: Ledger,
    ends: str,
) -> None:
    """Of a run in the very moment in which it lets go: the database is slow, and the process stops, or the person does."""
    from chat import parking, recovery
    from tests.chat.talk import read, start

    member, slug = actor("member"), agents("demo", tools=["look", "send"])
    for script in (asks(("look", "{}")), asks(("send", "{}"))):
        ScriptedModel.enqueue(script)
    with ledger.connection.transaction():
        ledger.rows("LOCK TABLE chat_approval IN ACCESS EXCLUSIVE MODE")
        started = await start(member, agent=slug)
        live = host.runs[started.run_id]
        await eventually(lambda: live.log._held_from is not None, 60)
        if ends == "shut down":
            live.stop("run_interrupted")
        else:
            host.cancel(started.run_id)
    await eventually(lambda: not host.runs)
    if ends == "shut down":
        assert ledger.run(started.run_id)["status"] == "waiting"
        ledger.rows("UPDATE usage_reservation SET cancel_requested = true, lease_until = now() - interval '1 second'")
    assert parking.APPROVAL_SECONDS > 3600
    if ledger.left_behind():
        assert await recovery.sweep(host) == 1
    assert (await read(member.tenant, started.run_id)).kinds[-1] == "run.cancelled"
    assert not ledger.left_behind()
