"""What a request for a response may hold; nothing is asked, held or written here."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from chat.transports import responses_items, responses_request
from core.errors import PaasError
from core.ids import uuid7

RUN = uuid7()


def parse(**changes: Any) -> responses_request.Asked:
    return responses_request.parse({"model": "assistant", "input": "hi"} | changes)


USER = {"role": "user", "content": "hi"}
CALL = {"type": "function_call", "call_id": "c1", "name": "clock", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "noon"}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n and so on").decode()
IMAGE = {"type": "input_image", "detail": "low", "image_url": f"data:image/png;base64,{PNG}"}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 7}, "model"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"input": ["hi"]}, "input[0]"),
        ({"input": [USER, {"role": "robot", "content": "hi"}]}, "input[1]"),
        ({"input": [{"role": "user"}]}, "input[0]"),
        ({"input": [{"role": "user", "content": []}]}, "input[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_xxx", "file_id": "x"}]}]}, "input[0]"),
        ({"input": [{"type": "item_reference"}]}, "input[0]"),
        ({"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}, "input"),
        ({"instructions": 7}, "instructions"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": -5}, "max_output_tokens"),
        ({"max_output_tokens": 1.5}, "max_output_tokens"),
        ({"max_output_tokens": 10**9}, "max_output_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": "high"}, "top_p"),
        ({"stream": "yes"}, "stream"),
        ({"store": 1}, "store"),
        ({"background": "true"}, "background"),
        ({"background": True, "store": False}, "store"),
        ({"parallel_tool_calls": 0}, "parallel_tool_calls"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {"a" * 65: "1"}}, "metadata"),
        ({"metadata": {"a": "1" * 513}}, "metadata"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"text": "plain"}, "text"),
        ({"text": {"format": "plain"}}, "text.format"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format"),
        ({"reasoning": "high"}, "reasoning"),
        ({"reasoning": {"effort": "much"}}, "reasoning.effort"),
        ({"include": "all"}, "include"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0]"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0]"),
        ({"tools": [{"type": "function", "name": "f"}] * 2}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        (
            {"tools": [{"type": "function", "name": "f"}], "tool_choice": {"type": "function", "name": "g"}},
            "tool_choice",
        ),
        ({"input": [CALL | {"call_id": ""}]}, "input[0]"),
        ({"input": [CALL | {"arguments": {}}]}, "input[0]"),
        ({"input": [CALL | {"name": "a b"}]}, "input[0]"),
        ({"input": [CALL, OUTPUT | {"output": 7}]}, "input[1]"),
        ({"input": [CALL]}, "input"),
        ({"input": [OUTPUT]}, "input"),
        ({"input": [CALL, USER, OUTPUT]}, "input"),
        ({"input": [CALL, OUTPUT, OUTPUT]}, "input"),
        (
            {
                "input": [
                    {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AA"}]}
                ]
            },
            "input[0]",
        ),
        ({"input": [{"role": "user", "content": [IMAGE] * 17}]}, "input"),
    ],
    ids=str,
)
def test_what_is_not_valid_is_named(change: dict[str, Any], param: str) -> None:
    """A38."""
    with pytest.raises(PaasError) as error:
        asked = parse(**change)
        asked.turn(asked.items)
    assert (error.value.code, error.value.status, error.value.details["param"]) == ("validation_failed", 400, param)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"truncation": "auto"}, "truncation"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"input": [{"type": "web_search_call", "id": "x"}]}, "input[0]"),
        ({"input": [{"type": 7}]}, "input[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]}, "input[0]"),
        ({"input": [{"role": "assistant", "content": [IMAGE]}]}, "input[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "x"}]}]}, "input[0]"),
        ({"input": [{"role": "user", "content": [IMAGE | {"image_url": "https://x.test/a.png"}]}]}, "input[0]"),
    ],
    ids=str,
)
def test_what_is_not_supported_is_named_and_not_passed_over(change: dict[str, Any], param: str) -> None:
    with pytest.raises(PaasError) as error:
        parse(**change)
    assert (error.value.code, error.value.details["param"]) == ("unsupported_parameter", param)


def test_what_is_too_much_or_nothing() -> None:
    for change, code in (
        ({"input": "  "}, "message_empty"),
        ({"input": [{"role": "user", "content": ""}]}, "message_empty"),
        ({"input": "x" * 1_000_001}, "message_too_long"),
        ({"instructions": "x" * 100_001}, "message_too_long"),
        ({"previous_response_id": "resp_1"}, "not_found"),
        ({"previous_response_id": 7}, "not_found"),
    ):
        with pytest.raises(PaasError) as error:
            parse(**change)
        assert error.value.code == code, change


def test_items_become_messages() -> None:
    asked = parse(
        input=[
            {"role": "developer", "content": "d"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"},
                                                            {"type": "input_text", "text": "b"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
            {"type": "message", "id": "msg_mine", "status": "completed", "role": "assistant",
             "content": [{"type": "output_text", "text": "c", "annotations": []}]},
            {"role": "user", "content": "d"},
        ],
        instructions="Be brief.", temperature=0.5, top_p=1, max_output_tokens=9, user="me", include=[], service_tier="auto",
    )  # fmt: skip
    turn = asked.turn(asked.items)
    assert turn.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "system", "content": "d"},
        {"role": "user", "content": "ab"},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": "d"},
    ]
    assert (turn.max_tokens, turn.parameters, turn.stream) == (9, {"temperature": 0.5, "top_p": 1}, False)
    assert all("id" not in item for item in asked.items), "an id is ours to give"


def test_calls_and_outputs_become_messages() -> None:
    """Also where an answer spoke around its calls, and where there were several."""
    items = [
        USER,
        {"role": "assistant", "content": "Let me see. "},
        CALL,
        CALL | {"call_id": "c2", "arguments": '{"zone":"UTC"}'},
        {"role": "assistant", "content": "Wait."},
        OUTPUT
        | {"call_id": "c2", "output": [{"type": "input_text", "text": "mid"}, {"type": "input_text", "text": "night"}]},
        OUTPUT,
        CALL | {"call_id": "c3"},
        OUTPUT | {"call_id": "c3"},
        USER,
    ]
    asked = parse(input=items)
    call = {"type": "function", "function": {"name": "clock", "arguments": "{}"}}
    second = {"type": "function", "function": {"name": "clock", "arguments": '{"zone":"UTC"}'}}
    assert asked.turn(asked.items).messages == [
        USER,
        {
            "role": "assistant",
            "content": "Let me see. Wait.",
            "tool_calls": [{"id": "c1"} | call, {"id": "c2"} | second],
        },
        {"role": "tool", "tool_call_id": "c2", "content": "midnight"},
        {"role": "tool", "tool_call_id": "c1", "content": "noon"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c3"} | call]},
        {"role": "tool", "tool_call_id": "c3", "content": "noon"},
        USER,
    ]


def test_tools_and_forms_are_those_of_chat_completions_and_come_back_as_they_are_here() -> None:
    schema = {"type": "object", "properties": {"b": {}, "a": {}}}
    tool = {"type": "function", "name": "clock", "description": "d", "parameters": schema, "strict": True}
    form = {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}
    asked = parse(
        tools=[tool], tool_choice={"type": "function", "name": "clock"}, parallel_tool_calls=False,
        text={"format": form}, reasoning={"effort": "low", "summary": "auto"},
    )  # fmt: skip
    turn = asked.turn(asked.items)
    function = {"name": "clock", "description": "d", "parameters": schema, "strict": True}
    assert turn.tools == ({"type": "function", "function": function},)
    assert turn.parameters == {
        "tool_choice": {"type": "function", "function": {"name": "clock"}},
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}},
        "reasoning_effort": "low",
    }
    shown = asked.repeated
    assert (shown["tools"], shown["tool_choice"]) == ([tool], {"type": "function", "name": "clock"})
    assert orjson.loads(orjson.dumps(shown["text"])) == {"format": form}
    assert parse(text={"format": {"type": "json_object"}}).parameters == {"response_format": {"type": "json_object"}}
    assert parse(text={"format": {"type": "text"}}).parameters == {}


def test_of_an_image_is_kept_what_it_was() -> None:
    """A model sees it once; afterwards it is told that there was one."""
    asked = parse(input=[{"role": "user", "content": [{"type": "input_text", "text": "?"}, IMAGE]}])
    turn = asked.turn(asked.items)
    assert turn.messages is not None
    assert turn.messages[0]["content"] == [
        {"type": "text", "text": "?"},
        {"type": "image_url", "image_url": {"url": IMAGE["image_url"], "detail": "low"}},
    ]
    assert turn.response is not None
    assert PNG not in turn.response.items
    kept = orjson.loads(turn.response.items)
    assert kept[0]["content"][1]["image_url"] is None
    again = asked.turn(kept).messages
    assert again is not None
    assert again[0]["content"][1] == {"type": "text", "text": "[An image was here: image/png, 18 bytes.]"}


def test_pages_of_items() -> None:
    items = [{"id": f"msg_{number}", "content": []} for number in range(25)]

    def page(**query: str) -> dict[str, Any]:
        return responses_items.page(items, {name: [value] for name, value in query.items()})

    first = page()
    assert [item["id"] for item in first["data"]] == [f"msg_{number}" for number in range(24, 4, -1)]
    assert (first["first_id"], first["last_id"], first["has_more"]) == ("msg_24", "msg_5", True)
    rest = page(after="msg_5")
    assert ([item["id"] for item in rest["data"]][-1], len(rest["data"]), rest["has_more"]) == ("msg_0", 5, False)
    assert [item["id"] for item in page(order="asc", limit="2", after="msg_3")["data"]] == ["msg_4", "msg_5"]
    assert page(after="msg_0") == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    for query in ({"limit": "0"}, {"limit": "101"}, {"limit": "x"}, {"order": "up"}, {"after": "msg_99"}):
        with pytest.raises(PaasError) as error:
            page(**query)
        assert error.value.details["param"] == next(iter(query))


def test_references_to_many_responses_are_refused() -> None:
    items = [{"type": "item_reference", "id": f"msg_{uuid7().hex}00"} for _ in range(201)]
    with pytest.raises(PaasError) as error:
        responses_items.referred(items)
    assert error.value.code == "validation_failed"
    assert responses_items.referred(items[:2] * 100) == responses_items.referred(items[:2])
    assert responses_items.referred([{"type": "item_reference", "id": "msg_elsewhere"}]) == set()
