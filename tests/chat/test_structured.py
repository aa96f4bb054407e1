"""Answers that fit their agent's schema: asked for in the vendor's way or in words, once more where they do not fit,
shown as the door can bear it, and each call billed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from django.core.exceptions import ValidationError

from agents.output import checked_schema, is_strict
from agents.tools.arguments import problem_with
from chat.host import Host
from core.errors import PaasError
from llm.deltas import Finish, ToolCallDelta, UsageReport
from llm.providers.scripted import ScriptedModel
from tests.chat.ledger import Ledger
from tests.chat.talk import ask, read, start
from tests.chat.test_recovery import die, end_of, survivor  # noqa: F401

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "number"}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
}
GOOD = '{"city":"Oslo","degrees":-3.5}'
BAD = '{"city":"Oslo","degrees":"cold"}'
STRICT = {
    "kind": "scripted",
    "models": {"demo": {"features": ["tools", "json_schema"], "output_price": "1", "input_price": "1"}},
}


def usage(answer: str, tokens_in: int, tokens_out: int) -> list[Any]:
    return [answer[:9], answer[9:], Finish("stop"), UsageReport(tokens_in, tokens_out, 0, 0)]


async def test_a_model_that_is_only_told_is_asked_again_and_both_calls_are_billed(
    host: Host, actor: Any, agents: Callable[..., str], ledger: Ledger
) -> None:
    slug = agents("demo", output_schema=SCHEMA, instructions="Be brief.")
    first = ScriptedModel.enqueue(usage(BAD, 100, 10))
    second = ScriptedModel.enqueue(usage(GOOD, 150, 12))
    told = await ask(actor("member"), "Oslo?", agent=slug)
    assert told.kinds == [
        "run.started", *["text.delta"] * 2, "text.discarded", *["text.delta"] * 2, "message.completed", "run.completed",
    ]  # fmt: skip
    assert told.events[3][1][1] == {"reason": "answer.degrees must be of the type number."}
    assert told.events[-2][1][1]["content"] == GOOD
    assert ledger.messages(told.conversation_id)[-1] == ("assistant", GOOD, "complete")
    assert "response_format" not in first.request.parameters
    system = first.request.messages[0]["content"]
    assert system.startswith("Be brief.\n\nAnswer with one JSON value")
    assert '"degrees":{"type":"number"}' in system
    asked = second.request.messages[-2:]
    assert asked[0] == {"role": "assistant", "content": BAD}
    assert "answer.degrees must be of the type number" in asked[1]["content"]
    names = ("call", "input_tokens", "output_tokens", "counted")
    assert [tuple(one[name] for name in names) for one in ledger.usage(told.run_id)] == [
        (1, 100, 10, False), (2, 150, 12, False),
    ]  # fmt: skip
    assert (told.end["usage"]["input_tokens"], ledger.quota()["used"], ledger.quota()["reserved"]) == (250, 272, 0)
    assert not ledger.left_behind()


async def test_an_answer_that_never_fits_fails_and_is_kept(
    host: Host, actor: Any, agents: Callable[..., str], ledger: Ledger
) -> None:
    member = actor("member")
    slug = agents("demo", output_schema=SCHEMA)
    ScriptedModel.enqueue(["Let me think", Finish("stop")])
    ScriptedModel.enqueue([GOOD[:5], Finish("length")])
    told = await ask(member, agent=slug)
    assert (told.end["code"], told.end["retryable"]) == ("answer_not_in_schema", True)
    assert ledger.messages(told.conversation_id)[-1] == ("assistant", GOOD[:5], "failed")
    assert len(ledger.usage(told.run_id)) == 2
    # What the second call may use is held before it is asked (P42).
    ledger.allow(ledger.quota()["used"] + 260)
    ScriptedModel.enqueue(usage(BAD, 250, 10))
    refused = await ask(member, agent=agents("demo", output_schema=SCHEMA, parameters={"max_tokens": 20}))
    assert refused.end["code"] == "quota_exceeded"
    assert ledger.messages(refused.conversation_id)[-1] == ("assistant", BAD, "failed")
    assert ledger.quota()["reserved"] == 0


async def test_a_vendor_that_knows_schemas_is_asked_in_its_own_way(
    site: Any, actor: Any, agents: Callable[..., str], api_key: Any
) -> None:
    slug, member, token = agents("demo", provider=STRICT, output_schema=SCHEMA), actor("member"), api_key()
    script = ScriptedModel.enqueue(usage(GOOD, 10, 10))
    told = await ask(member, "Oslo?", agent=slug)
    assert told.kinds.count("text.delta") == 2
    form = script.request.parameters["response_format"]
    assert form == {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
    assert [message["role"] for message in script.request.messages] == ["user"]
    # A schema that `strict` does not take is asked for and told.
    loose = agents("demo", provider=STRICT, output_schema={"type": "object", "properties": {"a": {"type": "string"}}})
    script = ScriptedModel.enqueue(["{}"])
    await ask(member, agent=loose)
    assert script.request.parameters["response_format"]["json_schema"]["strict"] is False
    assert script.request.messages[0]["role"] == "system"
    # On /v1 nothing can be taken back: held to the schema by its vendor it streams, and is not asked for again.
    assert await streamed(site, token, slug, usage(GOOD, 10, 10)) == [GOOD[:9], GOOD[9:]]
    assert await streamed(site, token, slug, usage(BAD, 10, 10)) == [BAD[:9], BAD[9:], "answer_not_in_schema"]


async def streamed(site: Any, token: str, slug: str, *scripts: list[Any]) -> list[str]:
    """The pieces of text that /v1 streams, and the code of an error."""
    for script in scripts:
        ScriptedModel.enqueue(script)
    body = {"model": slug, "stream": True, "messages": [{"role": "user", "content": "?"}]}
    found = []
    async with site.client("acme", token=token).post("/v1/chat/completions", json=body) as answer:
        for line in (await answer.text()).splitlines():
            if line.startswith("data: {"):
                data = json.loads(line[6:])
                found += [choice["delta"].get("content") for choice in data.get("choices", [])]
                found += [data["error"]["code"]] if "error" in data else []
    return [one for one in found if one]


async def test_doors_that_can_take_nothing_back_show_what_fits(
    site: Any, agents: Callable[..., str], api_key: Any, ledger: Ledger
) -> None:
    slug, token = agents("demo", output_schema=SCHEMA), api_key()
    assert await streamed(site, token, slug, usage(BAD, 10, 10), usage(GOOD, 10, 10)) == [GOOD]
    assert await streamed(site, token, slug, usage(BAD, 1, 1), usage(BAD, 1, 1)) == ["answer_not_in_schema"]
    client = site.client("acme", token=token)
    body: dict[str, Any] = {"model": slug, "messages": [{"role": "user", "content": "?"}]}
    for form, status in (({"type": "json_object"}, 200), ({"type": "text"}, 200)):
        ScriptedModel.enqueue(usage(BAD, 10, 10))
        ScriptedModel.enqueue(usage(GOOD, 10, 10))
        async with client.post("/v1/chat/completions", json=body | {"response_format": form}) as answer:
            told = await answer.json()
            assert (answer.status, told["choices"][0]["message"]["content"]) == (status, GOOD)
            assert told["usage"]["total_tokens"] == 40
    own = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    async with client.post("/v1/chat/completions", json=body | {"response_format": own}) as answer:
        assert (answer.status, (await answer.json())["error"]["param"]) == (400, "response_format")
    ScriptedModel.enqueue(usage(BAD, 10, 10))
    ScriptedModel.enqueue(usage(GOOD, 10, 10))
    async with client.post("/v1/responses", json={"model": slug, "input": "?", "stream": True}) as answer:
        text = await answer.text()
    assert orjson.dumps(GOOD).decode() in text
    assert "cold" not in text
    assert not ledger.left_behind()


async def test_with_tools_only_the_last_word_is_the_answer(
    host: Host, actor: Any, agents: Callable[..., str], ledger: Ledger
) -> None:
    slug, member = agents("demo", tools=["calculator"], output_schema=SCHEMA, limits={"steps": 3}), actor("member")
    call = [
        ToolCallDelta(0, "c1", "calculator", '{"expression": "1+1"}'),
        Finish("tool_calls"),
        UsageReport(9, 9, 0, 0),
    ]
    ScriptedModel.enqueue(["Let me see.", *call])
    ScriptedModel.enqueue(usage(BAD, 10, 10))
    last = ScriptedModel.enqueue(usage(GOOD, 10, 10))
    told = await ask(member, agent=slug)
    assert told.events[-2][1][1]["content"] == GOOD
    assert told.kinds.count("text.discarded") == 2
    assert "answer.degrees" in last.request.messages[-1]["content"]
    assert [one["call"] for one in ledger.usage(told.run_id)] == [1, 2, 3]
    # No step is left for a second answer.
    slug = agents("demo", tools=["calculator"], output_schema=SCHEMA, limits={"steps": 1})
    ScriptedModel.enqueue(usage(BAD, 10, 10))
    assert (await ask(member, agent=slug)).end["code"] == "answer_not_in_schema"


async def test_a_lost_process_books_the_first_answer_and_keeps_the_second(
    survivor: Host,
    actor: Any,
    agents: Callable[..., str],
    ledger: Ledger,
) -> None:
    slug, member = agents("demo", output_schema=SCHEMA), actor("member")
    ScriptedModel.enqueue(usage(BAD, 100, 10))
    ScriptedModel.enqueue(["{", '"city":', '"Os', asyncio.Event()])
    started = await start(member, agent=slug)
    await read(member.tenant, started.run_id, limit=7)
    die(survivor, started.run_id)
    await end_of(survivor, member, ledger, started.run_id)
    assert [(one["call"], one["output_tokens"], one["counted"]) for one in ledger.usage(started.run_id)] == [
        (1, 10, False), (2, 3, True),
    ]  # fmt: skip
    assert ledger.messages(started.conversation_id)[-1] == ("assistant", '{"city":"Os', "failed")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ([], "type"), ({"type": "array"}, "type"), ({"type": "object", "pattern": "x"}, "'pattern' is not supported"),
        ({"type": "object", "properties": {"a": 1}}, "not a schema"), ({"type": "object", "required": [1]}, "names"),
        ({"type": "object", "properties": {"a": {"type": "date"}}}, "is one of"),
        ({"type": "object", "required": "a"}, "wrong type"), ({"type": "object", "minLength": True}, "wrong type"),
        ({"type": "object", "properties": {"a": {"enum": ["x" * 40_000]}}}, "32 KiB"),
        (json.loads('{"type":"object","items":' * 14 + "{}" + "}" * 14), "12 levels"),
    ],
)  # fmt: skip
def test_schemas_that_are_refused(schema: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        checked_schema(schema)


def test_schemas() -> None:
    assert checked_schema({}) == checked_schema(None) == {}
    assert checked_schema(SCHEMA) == SCHEMA
    assert is_strict(SCHEMA)
    assert not is_strict({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False})
    choice = {"anyOf": [{"type": "string", "maxLength": 2}, {"const": 1}, {"type": "array", "minItems": 1}]}
    assert [problem_with(one, choice) is None for one in ("ab", 1, [0], "abc", True, 2, [])] == [True] * 3 + [False] * 4
    with pytest.raises(PaasError):
        raise PaasError("answer_not_in_schema")
