"""OpenAI's responses: the official SDK unmodified against the real server, and what stays of them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel
from redis import Redis

from bench.answers import token_text
from chat import follow as following
from chat import host as hosts
from chat import worker
from llm.deltas import ReasoningDelta, UsageReport
from llm.providers.scripted import ScriptedModel
from tests.attack.knocking import key_of
from tests.chat.doors import ResponsesDoor
from tests.chat.ledger import Ledger, eventually
from tests.chat.test_openai import sdk
from tests.contracts.transport import Refusal, golden
from tests.lazy import Lazy
from tests.site import Site

openai = Lazy("openai")


@pytest.fixture
async def door(site: Any, api_key: Callable[..., str]) -> ResponsesDoor:
    return ResponsesDoor(site, api_key())


@pytest.fixture
async def other(site: Any, db: Any) -> ResponsesDoor:
    """Another key of the same tenant."""
    return ResponsesDoor(site, key_of(db.acme, "*"))


def run_of(response: Any) -> uuid.UUID:
    return uuid.UUID((response if isinstance(response, str) else response["id"]).removeprefix("resp_"))


async def refused(call: Any) -> Refusal:
    with pytest.raises(Refusal) as error:
        await call
    return error.value


def asked(script: Any) -> list[tuple[str, str]]:
    """What the model was asked."""
    return [(message["role"], message["content"]) for message in script.request.messages]


# --- the SDK -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slug", ["", "acme"], ids=["platform host", "tenant host"])
async def test_the_sdk_creates_streams_and_retrieves(site: Any, api_key: Any, agent: Any, slug: str) -> None:
    model = agent("reasoning-8")
    async with sdk(site, api_key(), slug) as client:
        whole = await client.responses.create(
            model=model, input="Hello?", temperature=0.5, metadata={"b": "1", "a": "2"}, max_output_tokens=500
        )
        assert whole.output_text == "".join(token_text(8))
        assert [item.type for item in whole.output] == ["reasoning", "message"]
        assert whole.usage is not None
        assert (whole.usage.input_tokens, whole.usage.output_tokens, whole.usage.total_tokens) == (10, 16, 26)
        assert whole.usage.output_tokens_details.reasoning_tokens == 8
        assert (whole.status, whole.model, whole.temperature, whole.max_output_tokens) == ("completed", model, 0.5, 500)
        assert await client.responses.retrieve(whole.id) == whole

        async with client.responses.stream(model=model, input="And?", previous_response_id=whole.id) as stream:
            events = [event async for event in stream]
            found = await stream.get_final_response()
        assert found.output_text == "".join(token_text(8))
        assert (found.previous_response_id, found.status) == (whole.id, "completed")
        assert [event.sequence_number for event in events] == list(range(len(events)))
        # The SDK takes a stream up again by itself, from behind what it has.
        async with client.responses.stream(response_id=found.id, starting_after=20) as again:
            assert [event.sequence_number async for event in again] == list(range(21, len(events)))

        items = [item async for item in client.responses.input_items.list(found.id, order="asc", limit=2)]
        assert [item.type for item in items] == ["message", "message", "message"]
        assert [item.content[0].text for item in items] == ["Hello?", whole.output_text, "And?"]  # type: ignore[union-attr, index]
        await client.responses.delete(whole.id)
        for call in (client.responses.retrieve, client.responses.cancel, client.responses.delete):
            with pytest.raises(openai.NotFoundError):
                await call(whole.id)
        assert (await client.responses.retrieve(found.id)).output_text == found.output_text


async def test_the_sdk_resumes_after_a_cut_from_another_process_with_redis_flushed(
    site: Any, api_key: Any, services: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off, Redis emptied, the rest read at another process while the run goes on, and later from PostgreSQL alone."""
    monkeypatch.setattr(hosts, "CHECKPOINT_SECONDS", 0.02)
    monkeypatch.setattr(following, "LOOK_AGAIN_SECONDS", 0.05)
    token, gate = api_key(), asyncio.Event()
    words = [f"w{number} " for number in range(12)]
    ScriptedModel.enqueue([ReasoningDelta("Hm. "), *words[:6], gate, *words[6:]])
    seen: list[Any] = []
    async with sdk(site, token) as client:
        stream = await client.responses.create(model="assistant", input="x", stream=True)
        async for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta" and event.delta == words[3]:
                break
        await stream.close()
    response_id, last = seen[0].response.id, seen[-1].sequence_number
    live = hosts.current().runs[run_of(response_id)].log
    await eventually(lambda: live.stored == 8)
    with Redis.from_url(services.redis.url) as redis:
        redis.flushall()
    joined, loop = asyncio.Event(), asyncio.get_running_loop()

    async def elsewhere() -> list[Any]:
        async with Site() as other, sdk(other, token) as client:
            found = []
            async for event in await client.responses.retrieve(response_id, stream=True, starting_after=last):
                found.append(event)
                loop.call_soon_threadsafe(joined.set)
            return found

    reading = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
    await asyncio.wait_for(joined.wait(), 10)
    gate.set()
    rest = await reading
    await eventually(lambda: not hosts.current().runs)
    with Redis.from_url(services.redis.url) as redis:
        redis.flushall()
    async with sdk(site, token) as client:
        whole = [event async for event in await client.responses.retrieve(response_id, stream=True)]
        kept = await client.responses.retrieve(response_id)
    assert seen + rest == whole
    assert "".join(event.delta for event in whole if event.type == "response.output_text.delta") == "".join(words)
    assert whole[-1].response == kept  # type: ignore[union-attr]


@pytest.mark.parametrize("stored", [True, False], ids=["by the id of the response", "by its items"])
async def test_the_sdk_calls_its_tools(site: Any, api_key: Any, agent: Any, stored: bool) -> None:
    """A call is handed out, streamed; the caller goes on with what the tool said, by either way of the protocol."""
    model = agent("tools-lookup")
    tools: list[Any] = [{
        "type": "function", "name": "lookup", "strict": False,
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}},
    }]  # fmt: skip
    async with sdk(site, api_key()) as client:
        asking: Any = client.responses.stream(model=model, input='{"query": "what"}', tools=tools, store=stored)
        async with asking as stream:
            events = [event async for event in stream]
            first = await stream.get_final_response()
        (call,) = first.output
        assert (call.type, call.name, call.status) == ("function_call", "lookup", "completed")
        pieces = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
        assert "".join(pieces) == call.arguments
        assert len(pieces) > 1
        output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "forty-two"}
        before: Any = [] if stored else [{"role": "user", "content": "x"}, call.to_dict()]
        going_on: Any = {"previous_response_id": first.id} if stored else {}
        second = await client.responses.create(
            model=model, input=[*before, output], tools=tools, store=stored, **going_on
        )
        assert second.output_text == "The tool lookup said: forty-two"
        if stored:
            items = [item.type async for item in client.responses.input_items.list(second.id, order="asc")]
            assert items == ["message", "function_call", "function_call_output"]
            with pytest.raises(openai.BadRequestError) as unanswered:
                await client.responses.create(model=model, input="And?", tools=tools, previous_response_id=first.id)
            assert (unanswered.value.code, unanswered.value.param) == ("validation_failed", "input")


async def test_the_sdk_parses_a_form_that_the_model_can(site: Any, api_key: Any, agent: Any) -> None:
    class Answer(BaseModel):
        colour: str

    model = agent("echo", models={"echo": {"features": ["json_schema"]}})
    async with sdk(site, api_key()) as client:
        found = await client.responses.parse(model=model, input='{"colour": "green"}', text_format=Answer)
        assert found.output_parsed == Answer(colour="green")
        assert found.text is not None
        assert found.text.format is not None
        assert found.text.format.type == "json_schema"
        with pytest.raises(openai.BadRequestError) as error:
            await client.responses.parse(model=agent("echo"), input="x", text_format=Answer)
        assert (error.value.code, error.value.param) == ("unsupported_parameter", "text.format")


@pytest.mark.parametrize(
    ("model", "error", "status", "code"),
    [
        ("nobody", "NotFoundError", 404, "agent_not_found"),
        ("fault-429-9", "RateLimitError", 429, "provider_rate_limited"),
        ("fault-cut-4", "InternalServerError", 502, "provider_stream_cut"),
    ],
)
async def test_the_sdk_knows_our_errors(
    site: Any, api_key: Any, agent: Any, ledger: Ledger, model: str, error: str, status: int, code: str
) -> None:
    async with sdk(site, api_key()) as client:
        with pytest.raises(getattr(openai, error)) as found:
            await client.responses.create(model=model if model == "nobody" else agent(model), input="x")
    assert (found.value.status_code, found.value.code) == (status, code)
    assert not ledger.left_behind()


async def test_a_whole_answer_to_the_byte(door: ResponsesDoor) -> None:
    ScriptedModel.enqueue([ReasoningDelta("Hm."), "你好", " 🦊", UsageReport(11, 7, 3, 2)])
    async with door.client.post("/v1/responses", json={"model": "assistant", "input": "Hello?"}) as response:
        assert response.headers["Content-Type"] == "application/json"
        golden("responses-whole", await response.read() + b"\n")
    async with door.client.get("/v1/responses/resp_" + "0" * 32) as response:
        golden("responses-refusal", await response.read() + b"\n")


# --- going on ------------------------------------------------------------------------------------------


async def test_going_on_branches_and_outlives_what_it_came_from(door: ResponsesDoor, agents: Any) -> None:
    ScriptedModel.enqueue([ReasoningDelta("Hm."), "one"])
    first = await door.create("assistant", "1", instructions="Be brief.")
    ScriptedModel.enqueue(["two"])
    second = await door.create("assistant", "2", previous_response_id=first["id"])
    script = ScriptedModel.enqueue(["other"])
    # Another branch of the same, with another agent, at the same time as the one before it if somebody likes.
    await door.create(agents("demo"), "2b", previous_response_id=first["id"], instructions="Be long.")
    said = [("user", "1"), ("assistant", "one")]
    assert asked(script) == [("system", "Be long."), *said, ("user", "2b")]
    await door.call("DELETE", f"/{first['id']}")
    script = ScriptedModel.enqueue(["three"])
    third = await door.create("assistant", [{"role": "user", "content": "3"}], previous_response_id=second["id"])
    assert asked(script) == [*said, ("user", "2"), ("assistant", "two"), ("user", "3")]
    assert (second["previous_response_id"], third["instructions"]) == (first["id"], None)


async def test_items_may_be_named_in_place_of_sent(door: ResponsesDoor, other: ResponsesDoor) -> None:
    """As the Vercel AI SDK does with what it knows to be stored."""
    ScriptedModel.enqueue([ReasoningDelta("Hm."), "one"])
    first = await door.create("assistant", "1")
    named = [{"type": "item_reference", "id": item["id"]} for item in first["output"]]
    script = ScriptedModel.enqueue(["two"])
    second = await door.create(
        "assistant", [{"role": "user", "content": "1"}, *named, {"role": "user", "content": "2"}]
    )
    assert asked(script) == [("user", "1"), ("assistant", "one"), ("user", "2")]
    items = (await door.call("GET", f"/{second['id']}/input_items?order=asc"))["data"]
    assert items[1] == first["output"][1]
    for wanted in (
        named,
        [{"type": "item_reference", "id": named[1]["id"] + "0"}],
        [{"type": "item_reference", "id": "msg_1"}],
    ):
        refusal = await refused((other if wanted is named else door).create("assistant", wanted))
        assert (refusal.status, refusal.code) == (404, "not_found")


async def test_going_on_from_what_is_not_there(
    door: ResponsesDoor, other: ResponsesDoor, site: Any, api_key: Any, ledger: Ledger
) -> None:
    """A28: of another key, of another tenant, not stored, never made: one answer. Nothing is held."""
    of_other = await other.create("assistant")
    of_rival = await ResponsesDoor(site, api_key("globex"), "globex").create("assistant")
    unstored = await door.create("assistant", store=False)
    before = ledger.value("SELECT count(*) FROM usage_reservation")
    said = set()
    for found in (of_other["id"], of_rival["id"], unstored["id"], f"resp_{uuid.uuid4().hex}", "resp_1"):
        body = {"model": "assistant", "input": "x", "previous_response_id": found}
        async with door.client.post("/v1/responses", json=body) as answer:
            assert answer.status == 404
            said.add(await answer.text())
    assert len(said) == 1
    assert '"param":"previous_response_id","code":"not_found"' in said.pop()
    assert ledger.value("SELECT count(*) FROM usage_reservation") == before
    gate = asyncio.Event()
    ScriptedModel.enqueue(["a", gate])
    stream = await door.ask("assistant")
    await stream.until(lambda answer: answer.pieces)
    early = await refused(door.create("assistant", previous_response_id=f"resp_{stream.run_id.hex}"))
    assert (early.status, early.code) == (409, "run_in_progress")
    gate.set()
    await stream.rest()


# --- what stays ----------------------------------------------------------------------------------------

KEPT = """SELECT (SELECT count(*) FROM chat_response) + (SELECT count(*) FROM chat_runsegment)
    + (SELECT count(*) FROM chat_runtask) + (SELECT count(*) FROM chat_run WHERE input IS NOT NULL)"""


async def test_what_is_not_stored_leaves_the_bill_and_nothing_else(
    door: ResponsesDoor, ledger: Ledger, services: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it was long enough for checkpoints, and when the client leaves: then it is stopped."""
    monkeypatch.setattr(hosts, "CHECKPOINT_SECONDS", 0.02)
    whole = await door.create("assistant", store=False)
    assert (whole["status"], whole["store"]) == ("completed", False)
    assert (await refused(door.call("GET", f"/{whole['id']}"))).status == 404
    gate = asyncio.Event()
    ScriptedModel.enqueue(["a", gate])
    stream = await door.ask("assistant", store=False)
    await stream.until(lambda answer: answer.pieces)
    await eventually(lambda: ledger.value("SELECT count(*) FROM chat_runsegment"))
    assert (await refused(door.resume(stream.run_id, 0))).status == 404
    await stream.leave()
    await eventually(lambda: not ledger.left_behind())
    assert ledger.value(KEPT) == 0
    assert ledger.run(stream.run_id)["status"] == "cancelled"
    assert [len(ledger.usage(run)) for run in (run_of(whole), stream.run_id)] == [1, 1]
    with Redis.from_url(services.redis.url) as redis:
        await eventually(lambda: not redis.keys("*:run:*"))
    assert ledger.value("SELECT count(*) FROM chat_conversation") == 0


async def test_deleting(door: ResponsesDoor, ledger: Ledger, services: Any) -> None:
    ended = await door.create("assistant")
    assert await door.call("DELETE", f"/{ended['id']}") == {
        "id": ended["id"], "object": "response", "deleted": True,
    }  # fmt: skip
    ScriptedModel.enqueue(["a", asyncio.Event()])
    stream = await door.ask("assistant")
    await stream.until(lambda answer: answer.pieces)
    await door.call("DELETE", f"/resp_{stream.run_id.hex}")
    assert (await stream.rest()).end == "cancelled"
    for path in (ended["id"], f"resp_{stream.run_id.hex}"):
        assert (await refused(door.call("GET", f"/{path}"))).code == "not_found"
    assert ledger.value(KEPT) == 0
    assert not ledger.left_behind()
    with Redis.from_url(services.redis.url) as redis:
        assert not redis.keys("*:run:*")


async def test_a_trigger_of_the_tenants_own_forgets(ledger: Ledger) -> None:
    """New tenants are copies of the template; the copy has it too, and it calls its own schema's function."""
    found = ledger.rows(
        "SELECT pg_get_triggerdef(oid) AS sql FROM pg_trigger WHERE tgname = 'forget_response' "
        "AND tgrelid = 'chat_run'::regclass"
    )
    assert len(found) == 1


# --- in the background ---------------------------------------------------------------------------------


async def test_in_the_background(door: ResponsesDoor) -> None:
    """Made, looked at, followed from before a worker has it, left, and read again: the same bytes."""
    gate = asyncio.Event()
    ScriptedModel.enqueue(["a", gate, "b"])
    made = await door.create("assistant", background=True)
    path = f"/{made['id']}"
    assert (made["status"], made["background"]) == ("queued", True)
    assert await door.call("GET", path) == made
    early = await door.resume(run_of(made), 0)
    await early.until(lambda answer: len(answer.raw) == 2)
    await worker.take(hosts.current())
    await early.until(lambda answer: answer.pieces)
    assert await door.call("GET", path) == made | {"status": "in_progress"}
    gate.set()
    answer = await early.rest()
    kinds = [part.split(b"\n")[0].removeprefix(b"event: response.") for part in answer.raw]
    assert kinds[:3] == [b"created", b"queued", b"in_progress"]
    assert (answer.end, answer.text) == ("completed", "ab")
    assert (await (await door.resume(run_of(made), 4)).rest()).raw == answer.raw[4:]
    found = await door.call("GET", path)
    assert (found["status"], found["output"][0]["content"][0]["text"]) == ("completed", "ab")
    # Streamed from the first, and left: it is made all the same.
    stream = await door.ask("assistant", background=True)
    await stream.until(lambda answer: answer.raw)
    await stream.leave()
    await worker.take(hosts.current())
    assert (await (await door.resume(stream.run_id, 0)).rest()).end == "completed"


async def test_what_waits_for_a_worker_is_stopped_and_deleted(door: ResponsesDoor, ledger: Ledger) -> None:
    stopped, deleted = [await door.create("assistant", background=True) for _ in range(2)]
    assert (await door.call("POST", f"/{stopped['id']}/cancel"))["status"] == "cancelled"
    await door.call("DELETE", f"/{deleted['id']}")
    assert (await refused(door.call("GET", f"/{deleted['id']}"))).status == 404
    assert ledger.value("SELECT count(*) FROM chat_runtask WHERE run_id = %s", run_of(deleted)) == 0
    assert await worker.take(hosts.current()) == 0
    assert not ledger.left_behind()
    assert (await (await door.resume(run_of(stopped), 0)).rest()).end == "cancelled"
    early = await door.create("assistant", background=True)
    assert (await refused(door.create("assistant", previous_response_id=early["id"]))).code == "run_in_progress"
    await door.call("POST", f"/{early['id']}/cancel")


async def test_the_same_key_is_the_same_response(door: ResponsesDoor, ledger: Ledger) -> None:
    """A36."""
    body, headers = {"model": "assistant", "input": "x"}, {"Idempotency-Key": "once"}
    first = await door.call("POST", "", json=body, headers=headers)
    async with door.client.post("/v1/responses", json=body, headers=headers) as again:
        assert (await again.json(), again.headers["Idempotent-Replayed"]) == (first, "true")
    mismatch = await refused(door.call("POST", "", json=body | {"input": "y"}, headers=headers))
    assert (mismatch.status, mismatch.code) == (422, "idempotency_mismatch")
    unstored = {"json": body | {"store": False}, "headers": {"Idempotency-Key": "other"}}
    await door.call("POST", "", **unstored)
    assert (await refused(door.call("POST", "", **unstored))).code == "stream_gone"
    assert ledger.value("SELECT count(*) FROM usage_usagerecord") == 2


# --- stopping and leaving ------------------------------------------------------------------------------


async def test_a_whole_answer_that_nobody_waits_for_is_stopped(door: ResponsesDoor, ledger: Ledger) -> None:
    script = ScriptedModel.enqueue(["a", asyncio.Event()])
    asking = asyncio.create_task(door.create("assistant"))
    await eventually(lambda: script.request)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await script.wait_closed()
    await eventually(lambda: not ledger.left_behind())
    assert ledger.value("SELECT status FROM chat_run") == "cancelled"


async def test_stopping_what_has_ended_changes_nothing(door: ResponsesDoor) -> None:
    whole = await door.create("assistant")
    assert await door.call("POST", f"/{whole['id']}/cancel") == whole


async def test_a_position_ahead_of_a_run_is_told_in_the_stream(door: ResponsesDoor) -> None:
    """A29: that there will be no such event is only known at the end."""
    gate = asyncio.Event()
    ScriptedModel.enqueue(["a", gate])
    stream = await door.ask("assistant")
    await stream.until(lambda answer: answer.pieces)
    query = {"stream": "true", "starting_after": "1000"}
    async with door.client.get(f"/v1/responses/resp_{stream.run_id.hex}", params=query) as response:
        gate.set()
        assert response.status == 200
        said = await response.text()
    assert '"code":"stream_gone"' in said.replace(": hb\n\n", "")
    await stream.rest()


async def test_other_paths_and_methods(door: ResponsesDoor) -> None:
    known = (await door.create("assistant"))["id"]
    for method, path, status, code in (
        ("GET", "", 405, "method_not_allowed"),
        ("POST", f"/{known}", 405, "method_not_allowed"),
        ("GET", f"/{known}/cancel", 405, "method_not_allowed"),
        ("GET", f"/{known}/output_items", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", f"/{known}?stream=true&starting_after=-2", 400, "validation_failed"),
        ("GET", f"/{known}/input_items?limit=0", 400, "validation_failed"),
        ("GET", "/" + "x" * 3000, 404, "not_found"),
        ("GET", "/%00", 404, "not_found"),
    ):
        refusal = await refused(door.call(method, path))
        assert (refusal.status, refusal.code) == (status, code), path
