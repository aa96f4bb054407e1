"""Tools of the caller, forms of the answer, and pictures: what is checked, what reaches the model, what is kept."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from agents.runtime.events import TOOL_CALLED, TOOL_DELTA
from chat import images
from chat.client_tools import checked_choice, checked_format, checked_tools
from chat.transports.openai_request import parse
from core.errors import PaasError
from llm import features
from llm.catalog import model_info
from llm.deltas import Finish, ToolCallDelta
from llm.providers.scripted import ScriptedModel
from tests.chat import talk
from tests.chat.doors import OpenAIDoor
from tests.contracts.transport import golden

TOOL = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": "{}"}}
ASK = {"role": "user", "content": "hi"}
PNG = b"\x89PNG\r\n\x1a\n" + b"p" * 3000
PICTURE = "data:image/png;base64," + base64.b64encode(PNG).decode()


def deep(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"a": found}
    return found


def schema(**fields: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": {}} | fields}


def image(url: Any, **more: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url} | more}]}]


def tool(**fields: Any) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": "lookup"} | fields}]


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"tools": {}}, "validation_failed", "tools"),
        ({"tools": [TOOL] * 129}, "validation_failed", "tools"),
        ({"tools": [TOOL, TOOL]}, "validation_failed", "tools"),
        ({"tools": [{"type": "custom", "custom": {"name": "a"}}]}, "unsupported_parameter", "tools[0]"),
        ({"tools": tool(name="with space")}, "validation_failed", "tools[0]"),
        ({"tools": tool(description=1)}, "validation_failed", "tools[0]"),
        ({"tools": tool(strict="yes")}, "validation_failed", "tools[0]"),
        ({"tools": tool(parameters=[])}, "validation_failed", "tools[0]"),
        ({"tools": tool(parameters=deep(40))}, "validation_failed", "tools"),  # A42
        ({"tools": tool(parameters={"a": "x" * 300_000})}, "validation_failed", "tools"),  # A42
        ({"tools": tool(description="\0")}, "validation_failed", "tools"),
        ({"tool_choice": "required"}, "validation_failed", "tool_choice"),
        ({"tools": [TOOL], "tool_choice": "any"}, "validation_failed", "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "validation_failed", "tool_choice"),
        ({"tools": [TOOL], "parallel_tool_calls": 1}, "validation_failed", "parallel_tool_calls"),
        ({"response_format": "json"}, "validation_failed", "response_format"),
        ({"response_format": {"type": "xml"}}, "validation_failed", "response_format"),
        ({"response_format": {"type": "json_schema"}}, "validation_failed", "response_format"),
        ({"response_format": schema(name="a b")}, "validation_failed", "response_format"),
        ({"response_format": schema(strict=1)}, "validation_failed", "response_format"),
        ({"response_format": schema(schema=deep(40))}, "validation_failed", "response_format"),
        ({"messages": [ASK, {"role": "tool", "content": "x", "tool_call_id": "c1"}]}, "validation_failed", "messages[1]"),
        ({"messages": [ASK, {"role": "assistant", "tool_calls": [CALL]}]}, "validation_failed", "messages"),
        ({"messages": [ASK, {"role": "assistant", "tool_calls": [CALL]}, ASK]}, "validation_failed", "messages[2]"),
        ({"messages": [ASK, {"role": "assistant", "tool_calls": [{"id": "c"}]}]}, "validation_failed", "messages[1].tool_calls"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "validation_failed", "messages[0]"),
        ({"messages": image("https://example.test/a.png")}, "unsupported_parameter", "messages[0]"),
        ({"messages": image("http://169.254.169.254/latest")}, "unsupported_parameter", "messages[0]"),
        ({"messages": image("data:image/svg+xml;base64,PHN2Zz4=")}, "validation_failed", "messages[0]"),
        ({"messages": image("data:image/png,plain")}, "validation_failed", "messages[0]"),
        ({"messages": image("data:image/png;base64,####")}, "validation_failed", "messages[0]"),
        ({"messages": image("data:image/jpeg;base64," + PICTURE.partition(",")[2])}, "validation_failed", "messages[0]"),
        ({"messages": image(PICTURE, detail="best")}, "validation_failed", "messages[0]"),
        ({"messages": [image(PICTURE)[0] | {"role": "assistant"}]}, "validation_failed", "messages[0]"),
        ({"messages": image(PICTURE) * 17}, "validation_failed", "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "unsupported_parameter", "messages[0]"),
        ({"reasoning_effort": "most"}, "validation_failed", "reasoning_effort"),
        ({"thinking": deep(40)}, "validation_failed", "thinking"),
        ({"functions": [{}]}, "unsupported_parameter", "functions"),
        ({"logprobs": True}, "unsupported_parameter", "logprobs"),
        ({"logit_bias": {"1": 1}}, "unsupported_parameter", "logit_bias"),
        ({"store": True}, "unsupported_parameter", "store"),
        ({"service_tier": "priority"}, "unsupported_parameter", "service_tier"),
        ({"modalities": ["text", "audio"]}, "unsupported_parameter", "modalities"),
        ({"metadata": []}, "validation_failed", "metadata"),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_what_cannot_be_had_is_named(change: dict[str, Any], code: str, param: str) -> None:
    """A38, A42: before anything is held, and nothing that would change the answer is passed over in silence."""
    with pytest.raises(PaasError) as error:
        parse({"model": "assistant", "messages": [ASK]} | change)
    assert (error.value.code, error.value.status, error.value.details["param"]) == (code, 400, param)


def test_what_is_taken_and_how_it_goes_on() -> None:
    body = {
        "model": "a", "messages": [ASK, {"role": "assistant", "content": "", "tool_calls": [CALL], "refusal": None},
                                   {"role": "tool", "tool_call_id": "c1", "content": "cold", "name": "lookup"}],
        "tools": [TOOL | {"x": 1}], "tool_choice": {"type": "function", "function": {"name": "lookup", "x": 1}},
        "parallel_tool_calls": False, "response_format": {"type": "json_object"}, "reasoning_effort": "low",
        "logprobs": False, "top_logprobs": 0, "store": False, "service_tier": "auto", "user": "u", "metadata": {"a": "b"},
    }  # fmt: skip
    turn = parse(body)
    assert turn.tools == (TOOL,)
    assert turn.messages == [
        ASK,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "cold", "tool_call_id": "c1"},
    ]
    assert turn.parameters == {
        "tool_choice": {"type": "function", "function": {"name": "lookup"}},
        "parallel_tool_calls": False, "response_format": {"type": "json_object"}, "reasoning_effort": "low",
    }  # fmt: skip
    bare = parse({"model": "a", "messages": [ASK], "tool_choice": "auto", "parallel_tool_calls": True})
    assert (bare.tools, bare.parameters) == ((), {})
    assert checked_choice("none", checked_tools([TOOL])) == "none"
    assert checked_format({"type": "text"}) is None
    assert checked_format(schema(description=None, strict=True, x=1)) == schema(strict=True)


def test_of_an_image_its_kind_and_digest_are_kept() -> None:
    message = parse({"model": "a", "messages": image(PICTURE, detail="low")}).messages
    assert message == image(PICTURE, detail="low")
    kept = {"type": "image", "media_type": "image/png", "bytes": len(PNG), "sha256": hashlib.sha256(PNG).hexdigest()}
    assert images.stored(message) == [{"role": "user", "content": [kept]}]
    assert parse({"model": "a", "messages": image(PICTURE.partition(",")[2])}).messages == image(PICTURE)  # Zhipu's SDK


@pytest.mark.parametrize(
    ("kind", "model", "can"),
    [
        ("openai_compatible", "gpt-4o-2024-11-20", "tools tool_choice json json_schema images"),
        ("openai_compatible", "gpt-3.5-turbo", "tools tool_choice json"),
        ("openai_compatible", "deepseek-chat", "tools tool_choice json"),
        ("openai_compatible", "gpt-4o-of-our-own", "tools tool_choice"),
        ("openai_compatible", "nobodys", "tools tool_choice"),
        ("zhipu", "glm-4.7", "tools json"),
        ("zhipu", "glm-4.5v", "tools images"),
        ("local", "smollm2-135m-instruct", ""),
    ],
)
def test_what_models_are_known_to_do(kind: str, model: str, can: str) -> None:
    assert model_info(kind, model).features == frozenset(can.split())
    own = model_info(kind, model, {model: {"features": ["images"]}})  # the account knows better
    assert own.features == {features.IMAGES}


async def test_a_model_that_cannot_is_not_asked(site: Any, api_key: Any, agents: Any, ledger: Any) -> None:
    door = OpenAIDoor(site, api_key())
    slug = agents("mute", provider={"kind": "scripted", "models": {"mute": {"features": []}}})
    for change, param in (
        ({"tools": [TOOL]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": schema()}, "response_format"),
        ({"messages": image(PICTURE)}, "messages"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
    ):
        body = {"model": slug, "messages": [ASK]} | change
        async with door.client.post("/v1/chat/completions", json=body) as response:
            error = (await response.json())["error"]
            assert (response.status, error["code"], error["param"]) == (400, "unsupported_parameter", param)
            assert response.headers["x-should-retry"] == "false"
    assert ledger.value("SELECT count(*) FROM usage_reservation") == 0


STEPS = [
    "Well. ",
    [ToolCallDelta(0, "c1", "lookup", '{"q":'), ToolCallDelta(1, "c2", "lookup", "")],
    [ToolCallDelta(0, None, None, '"北京"}'), ToolCallDelta(1, None, None, "{}")],
    Finish("tool_calls"),
]


async def test_calls_to_the_byte(site: Any, api_key: Any) -> None:
    door = OpenAIDoor(site, api_key())
    body = {"model": "assistant", "messages": [ASK], "tools": [TOOL]}
    for name, more in (("openai-tools", {"stream": True}), ("openai-tools-whole", {})):
        ScriptedModel.enqueue(STEPS)
        async with door.client.post("/v1/chat/completions", json=body | more) as response:
            golden(name, await response.read() + (b"" if more else b"\n"))


async def test_calls_are_logged_billed_and_can_be_followed_again(
    host: Any, api_key: Any, ledger: Any, agents: Any
) -> None:
    """Of a run whose vendor says nothing of usage: a piece of a call is a token."""
    from accounts.authentication import actor_of_headers

    actor = await actor_of_headers({"authorization": f"Bearer {api_key()}"}, None)
    slug = agents("seeing", provider={"kind": "scripted", "models": {"seeing": {"features": ["tools", "images"]}}})
    messages = [image(PICTURE)[0], {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": "x"}]  # fmt: skip
    ScriptedModel.enqueue([*STEPS[:3], PaasError("provider_stream_cut")])
    cut = await talk.ask(actor, agent=slug, messages=messages, tools=(TOOL,))
    assert [cut.kinds.count(kind) for kind in (TOOL_DELTA, TOOL_CALLED)] == [4, 0]
    assert (cut.end["usage"]["output_tokens"], cut.end["usage"]["counted"]) == (5, True)

    script = ScriptedModel.enqueue(STEPS)
    told = await talk.ask(actor, agent=slug, messages=messages, tools=(TOOL,))
    assert told.end["finish_reason"] == "tool_calls"
    assert (await talk.read(actor.tenant, told.run_id, after=2)).events == told.events[2:]  # as stored
    assert script.request is not None
    assert script.request.messages[-3:] == messages
    run = ledger.run(told.run_id)
    assert (run["finish_reason"], run["input"][0]["content"][0]["type"]) == ("tool_calls", "image")
    assert len(json.dumps(run["input"])) < 600
    # What is held counts the picture as one, and the tools.
    bare = ledger.reservation((await talk.ask(actor, agent=slug, messages=[ASK])).run_id)["input_estimate"]
    assert 1600 < ledger.reservation(told.run_id)["input_estimate"] - bare < 1700
    assert not ledger.left_behind()
