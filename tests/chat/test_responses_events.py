"""A run's log told as a response: the same bytes wherever one begins, in the shapes of the official SDK."""

from __future__ import annotations

import json
import uuid
from functools import cache
from typing import Any

import pytest
from pydantic import TypeAdapter

from agents.runtime.events import Event, run_started
from chat.transports import responses_request
from chat.transports.responses_events import NOTHING, Telling, created_at
from core.errors import PaasError
from core.ids import uuid7
from tests.lazy import Lazy

responses = Lazy("openai.types.responses")

RUN = uuid7()
USAGE = {"input_tokens": 11, "output_tokens": 7, "cached_tokens": 3, "reasoning_tokens": 2}
STARTED = run_started("assistant", "Assistant", "m", None)
SAID: list[Event] = [
    ("reasoning.delta", {"text": "Hm. "}),
    ("reasoning.delta", {"text": "So."}),
    ("text.delta", {"text": "你"}),
    ("text.delta", {"text": '"\n\n\u2028'}),
    ("tool.started", {"call_id": "c", "name": "clock", "arguments": {}}),
    ("tool.finished", {"call_id": "c", "name": "clock", "result": "noon", "error": None}),
    ("reasoning.delta", {"text": "Then"}),
    ("text.delta", {"text": "end"}),
]
FAILED = {"code": "provider_stream_cut", "message": "Broken off.", "retryable": True, "usage": USAGE}


def end(reason: str, kind: str = "run.completed", **data: Any) -> list[Event]:
    said = {"message_id": None, "content": "", "finish_reason": reason}
    return [("message.completed", said), (kind, {"usage": USAGE} | data)]


CALLED: list[Event] = [
    ("tool.delta", {"index": 0, "call_id": "c1", "name": "clock", "arguments": ""}),
    ("tool.delta", {"index": 0, "arguments": '{"zone":'}),
    ("tool.delta", {"index": 1, "call_id": "c2", "name": "dice", "arguments": "{"}),
    ("tool.delta", {"index": 0, "arguments": '"UTC"}'}),
    ("tool.delta", {"index": 1, "arguments": "}"}),
]
WHOLE: list[Event] = [
    ("tool.called", {"index": 0, "call_id": "c1", "name": "clock", "arguments": '{"zone":"UTC"}'}),
    ("tool.called", {"index": 1, "call_id": "c2", "name": "dice", "arguments": "{}"}),
]
LOGS: dict[str, list[Event]] = {
    "calls": [STARTED, *SAID[:4], *CALLED, *WHOLE, *end("tool_calls", finish_reason="tool_calls")],
    "call cut": [STARTED, *CALLED, *end("error", "run.failed", **FAILED)],
    "waited": [
        ("run.queued", {"position": 2}),
        ("run.queued", {"position": 1}),
        STARTED,
        *end("stop", finish_reason="stop"),
    ],
    "completed": [STARTED, *SAID, *end("stop", finish_reason="stop")],
    "incomplete": [STARTED, *SAID[:3], *end("length", finish_reason="length")],
    "filtered": [STARTED, *SAID[:3], *end("content_filter", finish_reason="content_filter")],
    "failed": [STARTED, *SAID[:1], *end("error", "run.failed", **FAILED)],
    "cancelled": [STARTED, *SAID[:4], *end("cancelled", "run.cancelled")],
    "nothing said": [STARTED, *end("stop", finish_reason="stop")],
    "before its first word": [*end("cancelled", "run.cancelled")],
}


@cache
def shapes() -> TypeAdapter[Any]:
    """The SDK's events; takes a third of a second to make."""
    return TypeAdapter(responses.ResponseStreamEvent)


def fields(**changes: Any) -> dict[str, Any]:
    return responses_request.parse({"model": "assistant", "input": "hi"} | changes).repeated


def tell(log: list[Event], after: float = -1, *, at_once: bool = False, **asked: Any) -> tuple[bytes, Telling]:
    telling = Telling(RUN, fields(**asked), after)
    told = telling.opening()
    for batch in [log] if at_once else [[event] for event in log]:
        told += telling.take(batch)
    return told, telling


def parts(told: bytes) -> list[bytes]:
    return [part + b"\n\n" for part in told.split(b"\n\n")[:-1]]


def decoded(told: bytes) -> list[dict[str, Any]]:
    return [json.loads(part.split(b"data: ", 1)[1]) for part in parts(told)]


@pytest.mark.parametrize("background", [False, True], ids=["in front", "in the background"])
@pytest.mark.parametrize("name", LOGS)
def test_resume_after_every_event(name: str, background: bool) -> None:
    """A29, T9: exactly the bytes that were not seen, wherever one left, however the log is cut into batches."""
    whole, telling = tell(LOGS[name], background=background)
    every = parts(whole)
    assert telling.count == len(every)
    for after in range(-1, len(every)):
        for at_once in (False, True):
            rest, again = tell(LOGS[name], after, at_once=at_once, background=background)
            assert rest == b"".join(every[after + 1 :]), f"after {after}"
            assert again.response() == telling.response()
    assert tell(LOGS[name], NOTHING, background=background)[0] == b""


@pytest.mark.parametrize("background", [False, True], ids=["in front", "in the background"])
@pytest.mark.parametrize("name", LOGS)
def test_the_shapes_are_those_of_the_sdk(name: str, background: bool) -> None:
    """Every event fits its type strictly, numbers count up, what opens is closed, and there is one end."""
    told, telling = tell(LOGS[name], background=background, metadata={"b": "1", "a": "2"})
    events = decoded(told)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in events:
        if error := event.get("response", {}).get("error"):
            error["code"] = "server_error"  # ours are finer than OpenAI's list
        shapes().validate_python(event)
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["response.created", "response.queued" if background else "response.in_progress"]
    assert kinds.count("response.in_progress") == (0 if name == "before its first word" and background else 1)
    calls = sum(item["type"] == "function_call" for item in telling.output)
    for opened, closed, count in (
        ("output_item.added", "output_item.done", len(telling.output)),
        ("content_part.added", "content_part.done", len(telling.output) - calls),
    ):
        assert kinds.count(f"response.{opened}") == kinds.count(f"response.{closed}") == count
    assert kinds.count("response.function_call_arguments.done") == calls
    ends = {"completed": {"completed", "nothing said", "calls", "waited"}, "failed": {"failed", "call cut"}}
    last = next((end for end, names in ends.items() if name in names), "incomplete")
    assert [kind for kind in kinds if kind.split(".")[1] in ("completed", "incomplete", "failed")] == [
        f"response.{last}"
    ]
    assert kinds[-1] == f"response.{last}"
    found = responses.Response.model_validate(events[-1]["response"])
    assert found.created_at == created_at(RUN)
    assert found.metadata == {"b": "1", "a": "2"}
    assert [item.id for item in found.output] == [
        event["item"]["id"] for event in events if event["type"] == "response.output_item.added"
    ]


def test_what_was_said_is_in_order_and_kept_apart() -> None:
    told, telling = tell(LOGS["completed"])
    assert [item["type"] for item in telling.output] == ["reasoning", "message", "reasoning", "message"]
    assert [item["content"][0]["text"] for item in telling.output] == ["Hm. So.", '你"\n\n\u2028', "Then", "end"]
    deltas = [event for event in decoded(told) if event["type"].endswith("text.delta")]
    assert [(event["output_index"], event["delta"]) for event in deltas] == [
        (0, "Hm. "), (0, "So."), (1, "你"), (1, '"\n\n\u2028'), (2, "Then"), (3, "end"),
    ]  # fmt: skip
    assert all(event["item_id"] == telling.output[event["output_index"]]["id"] for event in deltas)


def test_calls_of_the_callers_tools_may_come_interleaved() -> None:
    told, telling = tell(LOGS["calls"])
    calls = telling.output[2:]
    assert [(item["call_id"], item["name"], item["arguments"], item["status"]) for item in calls] == [
        ("c1", "clock", '{"zone":"UTC"}', "completed"), ("c2", "dice", "{}", "completed"),
    ]  # fmt: skip
    pieces = [event for event in decoded(told) if event["type"] == "response.function_call_arguments.delta"]
    assert [(piece["output_index"], piece["delta"]) for piece in pieces] == [
        (2, '{"zone":'), (3, "{"), (2, '"UTC"}'), (3, "}"),
    ]  # fmt: skip
    assert [item["status"] for item in tell(LOGS["call cut"])[1].output] == ["incomplete"] * 2


@pytest.mark.parametrize(
    ("name", "status", "reason", "item"),
    [
        ("completed", "completed", None, "completed"),
        ("incomplete", "incomplete", "max_output_tokens", "incomplete"),
        ("filtered", "incomplete", "content_filter", "incomplete"),
        ("failed", "failed", None, "incomplete"),
        ("cancelled", "cancelled", None, "incomplete"),
    ],
)
def test_how_it_ended(name: str, status: str, reason: str | None, item: str) -> None:
    found = tell(LOGS[name])[1].response()
    assert found["status"] == status
    assert found["incomplete_details"] == ({"reason": reason} if reason else None)
    assert found["output"][-1]["status"] == item
    assert found["usage"] == {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 18,
    }
    failed = {"code": "provider_stream_cut", "message": "Broken off."}
    assert found["error"] == (failed if name == "failed" else None)


def test_a_response_that_is_being_made_shows_no_output() -> None:
    telling = Telling(RUN, fields(), NOTHING)
    telling.take([STARTED, *SAID])
    assert (telling.response()["status"], telling.response()["output"]) == ("in_progress", [])
    assert Telling(RUN, fields(background=True), NOTHING).response()["status"] == "queued"


# --- positions and ids ---------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["-1", "1.5", "x", "٣", "1" * 10, "+1", " 1"])
def test_a_position_that_is_none_is_refused(text: str) -> None:
    """A29."""
    with pytest.raises(PaasError) as error:
        responses_request.position({"starting_after": [text]})
    assert (error.value.code, error.value.details["param"]) == ("validation_failed", "starting_after")


def test_positions_and_ids() -> None:
    assert responses_request.position({}) == -1
    assert responses_request.position({"starting_after": ["0"]}) == 0
    assert responses_request.parse_id(f"resp_{RUN.hex}") == RUN
    for text in (
        RUN.hex,
        str(RUN),
        f"resp_{RUN}",
        f"RESP_{RUN.hex}",
        f"resp_{RUN.hex}0",
        "",
        None,
        7,
        uuid.UUID(int=0),
    ):
        with pytest.raises(PaasError) as error:
            responses_request.parse_id(text)
        assert error.value.code == "not_found"
