"""The trace of a run over the API: every step with what went in and out, for whoever may read the run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from chat import host as hosts
from llm.deltas import Finish, ToolCallDelta, UsageReport
from llm.providers.scripted import ScriptedModel
from tests.chat.ledger import Ledger
from tests.chat.talk import ask, read, start
from tests.chat.test_recovery import die, end_of

CALL = [ToolCallDelta(0, "c1", "calculator", '{"expression": "6*7"}'), Finish("tool_calls"), UsageReport(100, 20, 0, 0)]
END = ["It is 42.", Finish("stop"), UsageReport(150, 5, 0, 0)]


async def test_of_a_run_with_tools_and_of_one_without(
    site: Any, actor: Any, api_key: Callable[..., str], agents: Callable[..., str], ledger: Ledger
) -> None:
    slug, client = agents("demo", tools=["calculator"]), await site.signed_in("member")

    async def trace(run_id: Any, who: Any = client, query: str = "") -> tuple[int, Any, Any]:
        async with who.get(f"/api/v1/runs/{run_id}/trace{query}") as answer:
            return answer.status, await answer.json(), answer.headers

    ScriptedModel.enqueue(["Let me see.", *CALL])
    ScriptedModel.enqueue(END)
    told = await ask(actor("member"), "?", agent=slug)
    status, found, headers = await trace(told.run_id, query="?download=1")
    assert (status, found["status"], found["tainted"], found["cut"]) == (200, "completed", False, False)
    assert headers["Content-Disposition"] == f'attachment; filename="run-{told.run_id}.json"'
    asked, call, answer = found["steps"]
    assert (call["name"], call["input"], call["output"], call["ok"]) == (
        "calculator",
        {"expression": "6*7"},
        "42",
        True,
    )
    assert [one["usage"]["output_tokens"] for one in (asked, answer)] == [20, 5]
    assert (asked["output"]["text"], answer["output"]["text"]) == ("Let me see.", "It is 42.")
    assert found["usage"]["output_tokens"] == 25
    async with client.get(f"/api/v1/conversations/{told.conversation_id}/messages") as shown:
        asked_message, answered = (await shown.json())["messages"]
    assert (asked_message["traces"], answered["traces"]) == (
        [],
        [{"run_id": str(told.run_id), "tools": 1, "members": 0}],
    )
    plain = await ask(actor("member"), "hi")
    _, found, _ = await trace(plain.run_id)
    (only,) = found["steps"]
    assert (only["kind"], only["output"]["text"], only["usage"], only["ok"]) == (
        "model", plain.text, found["usage"], True,
    )  # fmt: skip
    assert ledger.value("SELECT count(*) FROM chat_runtrace") == 1
    for stranger in (await site.signed_in("admin"), site.client("acme", token=api_key())):
        assert (await trace(told.run_id, stranger))[0] == 404
    ledger.rows("UPDATE chat_conversation SET deleted_at = now() WHERE id = %s", told.conversation_id)
    assert (await trace(told.run_id))[0] == 404


async def test_of_a_run_whose_process_died_and_of_a_response_that_is_not_stored(
    site: Any,
    actor: Any,
    agents: Callable[..., str],
    ledger: Ledger,
) -> None:
    slug, member = agents("demo", tools=["calculator"]), actor("member")
    ScriptedModel.enqueue(CALL)
    ScriptedModel.enqueue(["It ", "is", asyncio.Event()])
    started = await start(member, agent=slug)
    await read(member.tenant, started.run_id, limit=5)
    die(hosts.current(), started.run_id)
    await end_of(hosts.current(), member, ledger, started.run_id)
    client = await site.signed_in("member")
    async with client.get(f"/api/v1/runs/{started.run_id}/trace") as answer:
        steps = (await answer.json())["steps"]
    assert [(one["kind"], one["ok"], one["output"]["text"] if one["kind"] == "model" else one["output"]) for one in steps] == [
        ("model", True, ""), ("tool", True, "42"), ("model", False, "It is"),
    ]  # fmt: skip
    ScriptedModel.enqueue(CALL)
    ScriptedModel.enqueue(END)
    asked = {"model": slug, "input": "?", "store": False}
    async with client.post(
        "/v1/responses", json=asked, headers={"Origin": str(client._base_url).rstrip("/")}
    ) as answer:
        assert (await answer.json())["status"] == "completed"
    assert ledger.value("SELECT count(*) FROM chat_runtrace") == 0
