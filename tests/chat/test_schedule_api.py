"""Branches and schedules through the doors that clients use."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from chat import scheduler
from chat.models import Schedule
from llm.deltas import Finish
from llm.providers.scripted import ScriptedModel
from tenants import scope
from tests.chat.talk import read
from tests.chat.test_api import Client, client  # noqa: F401 - a fixture
from tests.conftest import in_thread


async def test_branches_over_the_api(client: Client, actor: Any) -> None:
    member = actor("member")

    async def turn(**body: Any) -> dict[str, Any]:
        origin = {"Origin": str(client.session._base_url).rstrip("/")}
        async with client.session.post("/api/v1/runs", json=body, headers=origin) as answer:
            assert answer.status == 202, await answer.text()
            begun: dict[str, Any] = await answer.json()
        await read(member.tenant, uuid.UUID(begun["run"]["id"]))
        return begun

    ScriptedModel.enqueue(["cut", Finish("length")])
    begun = await turn(message="1?")
    place = {"conversation_id": begun["conversation"]["id"]}
    path = f"/conversations/{place['conversation_id']}"
    _, page = await client.call("GET", f"{path}/messages")
    question, answer = page["messages"]
    assert (question["parent_id"], answer["parent_id"], answer["finish_reason"]) == (None, question["id"], "length")
    ScriptedModel.enqueue([" off"])
    await turn(**place, **{"continue": answer["id"]})
    await turn(**place, regenerate=answer["id"])
    await turn(**place, message="2?", parent_message_id=None)
    _, page = await client.call("GET", f"{path}/messages")
    assert [message["content"] for message in page["messages"]][:1] == ["2?"]
    assert page["messages"][0]["siblings"] == [question["id"], page["path"][0]]
    status, page = await client.call("POST", f"{path}/active", json={"message_id": answer["id"]})
    assert (status, page["path"]) == (200, [question["id"], answer["id"]])
    assert (page["messages"][1]["content"], len(page["messages"][1]["siblings"])) == ("cut off", 2)
    _, every = await client.call("GET", f"{path}/messages?all=true")
    assert (len(every["messages"]), every["path"]) == (5, page["path"])
    for place_of, message in ((path, uuid.uuid4()), (f"/conversations/{uuid.uuid4()}", answer["id"])):
        status, error = await client.call("POST", f"{place_of}/active", json={"message_id": str(message)})
        assert (status, error["error"]["code"]) == (404, "not_found")
    assert (await client.call("POST", f"{path}/active", json={"message_id": "x"}))[0] == 400


@pytest.fixture
def no_schedules(db: Any) -> Any:
    yield

    def clean() -> None:
        with scope.bind(db.acme):
            Schedule.objects.all().delete()

    in_thread(clean)


async def test_a_schedule_over_the_api(
    client: Client,
    actor: Any,
    no_schedules: Any,
    ledger: Any,
) -> None:
    body = {
        "name": "News",
        "agent": "assistant",
        "prompt": "What is new?",
        "cron": "0 9 * * 1-5",
        "timezone": "Asia/Shanghai",
    }
    status, made = await client.call("POST", "/schedules", json=body)
    assert status == 201, made
    assert {name: made[name] for name in body if name != "agent"} == {n: v for n, v in body.items() if n != "agent"}
    assert (made["conversation_mode"], made["enabled"], made["stopped"], made["last_run"]) == ("new", True, None, None)
    assert (len(made["next_times"]), made["next_times"][0]) == (3, made["next_run_at"])
    assert made["next_run_at"].endswith("T01:00:00+00:00")
    path = f"/schedules/{made['id']}"
    status, error = await client.call("POST", "/schedules", json=body | {"cron": "* * * * *"})
    assert (status, list(error["error"]["details"]["fields"])) == (400, ["cron"])
    status, changed = await client.call("PATCH", path, json={"every_seconds": 3600, "enabled": False})
    assert (status, changed["cron"], changed["every_seconds"], changed["next_times"]) == (200, "", 3600, [])
    status, run = await client.call("POST", f"{path}/run-now")
    assert (status, run["run"]["outcome"], run["run"]["run_id"]) == (202, "due", None)
    assert (await client.call("POST", f"{path}/run-now"))[0] == 409
    await scheduler.sweep()
    await read(actor("member").tenant, uuid.UUID(run["run"]["id"]))
    ledger.rows("UPDATE tenants_alarm SET at = now() - interval '1 second'")
    await scheduler.sweep()
    status, history = await client.call("GET", f"{path}/runs?limit=1")
    assert status == 200
    (ran,) = history["runs"]
    assert (ran["outcome"], ran["run_id"], ran["by_hand"], history["next_cursor"]) == (
        "completed", run["run"]["id"], True, None,
    )  # fmt: skip
    assert (await client.call("GET", "/schedules"))[1]["schedules"][0]["last_run"] == ran
    assert (await client.call("DELETE", path))[0] == 204
    assert (await client.call("GET", path))[0] == 404
