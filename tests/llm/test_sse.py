"""The parser: any way in which a stream can be cut into reads, and what vendors send that OpenAI does not."""

from __future__ import annotations

import contextlib
import json
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PaasError
from llm.deltas import OPENAI, Delta, Dialect, Finish, ReasoningDelta, TextDelta, ToolCallDelta, UsageReport
from llm.sse import MAX_LINE_BYTES, EventParser, document_deltas, usage_report
from tests.llm.raw_vendor import DONE, STOP, event

USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}\n\n'


def parse(*reads: bytes, dialect: Dialect = OPENAI) -> tuple[list[Delta], EventParser]:
    parser = EventParser(dialect)
    deltas = [delta for data in reads for delta in parser.feed(data)]
    return deltas + parser.close(), parser


def typed(deltas: list[Delta]) -> list[str]:
    """With their types, which `==` on named tuples does not see."""
    return [repr(delta) for delta in deltas]


def choice(**fields: Any) -> bytes:
    return b"data: " + orjson.dumps({"choices": [fields]}) + b"\n\n"


# --- every way to cut it --------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
pieces = st.one_of(
    texts.map(lambda text: (event(content=text), TextDelta(text))),
    texts.map(lambda text: (event(reasoning_content=text), ReasoningDelta(text))),
    texts.map(
        lambda text: (
            event(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "f", "arguments": text}}]),
            ToolCallDelta(0, "c1", "f", text),
        )
    ),
    st.sampled_from([b": comment\n\n", b"\n", b"event: message\n", b"id: 4\n", b"retry: 10\n"]).map(
        lambda line: (line, None)
    ),
)


@given(st.lists(pieces, max_size=12), st.booleans(), st.lists(st.integers(0, 4000), max_size=12))
def test_any_split_of_the_bytes_gives_the_same_deltas(
    script: list[tuple[bytes, Delta | None]], crlf: bool, cuts: list[int]
) -> None:
    body = b"".join(line for line, _ in script) + STOP + USAGE + DONE
    if crlf:
        body = body.replace(b"\n", b"\r\n")
    expected = [delta for _, delta in script if delta is not None] + [Finish("stop"), UsageReport(7, 3, 0, 0)]
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    reads = [body[start:end] for start, end in pairwise(edges)]
    deltas, parser = parse(*reads)
    assert typed(deltas) == typed(expected)
    assert parser.done
    assert parser.finished
    assert parser.error is None


@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_at_all_make_it_raise(data: bytes, cut: int) -> None:
    deltas, parser = parse(data[:cut], data[cut:])
    assert all(isinstance(delta, tuple) for delta in deltas)
    assert parser.error is None or parser.error.code.startswith("provider_")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "content",
                    "tool_calls",
                    "usage",
                    "error",
                    "index",
                    "function",
                    "code",
                    "message",
                ]
            ),
            children,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_json_value_makes_it_raise(value: Any) -> None:
    """Also as an event: whatever a hostile vendor sends is a delta of ours or an error of ours."""
    deltas, parser = parse(b"data: " + json.dumps(value).encode() + b"\n\n")
    assert all(isinstance(delta.text, str) for delta in deltas if isinstance(delta, TextDelta | ReasoningDelta))
    assert parser.error is None or isinstance(parser.error, PaasError)
    with contextlib.suppress(PaasError):
        document_deltas(json.dumps(value).encode(), OPENAI)


def test_byte_by_byte() -> None:
    body = event(content="你好") + event(content=" 🦊") + STOP + DONE
    deltas, parser = parse(*(bytes([byte]) for byte in body))
    assert typed(deltas) == typed([TextDelta("你好"), TextDelta(" 🦊"), Finish("stop")])
    assert parser.done


# --- lines ----------------------------------------------------------------------------------------


def test_a_data_line_without_a_space() -> None:
    deltas, _ = parse(b'data:{"choices":[{"delta":{"content":"a"}}]}\n\n')
    assert typed(deltas) == typed([TextDelta("a")])


def test_a_byte_order_mark_before_the_first_line() -> None:
    deltas, parser = parse(b"\xef\xbb\xbf" + event(content="a"))
    assert typed(deltas) == typed([TextDelta("a")])
    assert parser.error is None


def test_what_comes_after_done_is_not_read() -> None:
    deltas, parser = parse(event(content="a") + DONE + event(content="b"))
    assert typed(deltas) == typed([TextDelta("a")])
    assert parser.done


def test_a_last_line_without_a_newline_counts() -> None:
    deltas, parser = parse(event(content="a") + STOP.rstrip())
    assert typed(deltas) == typed([TextDelta("a"), Finish("stop")])
    assert parser.finished


def test_a_line_is_bounded_however_it_arrives() -> None:
    line = b"data: " + b"x" * MAX_LINE_BYTES
    for reads in ([line], [line + b"\n"], [line[:100], line[100:]], [b"x" * 1000] * 1100):
        _, parser = parse(*reads)
        assert parser.error is not None
        assert parser.error.code == "provider_bad_response"


def test_what_came_before_a_fault_in_the_same_read_is_not_lost() -> None:
    deltas, parser = parse(event(content="a") + b"data: {broken\n\n" + event(content="b"))
    assert typed(deltas) == typed([TextDelta("a")])
    assert parser.error is not None
    assert parser.error.code == "provider_bad_response"


@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>hello</body></html>\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"data: 5\n",
        b'data: "text"\n',
        b"data: null\n",
        b"data: []\n",
        b"data: [[]]\n",
        b"\xff\xfe\x00\n",
        b'data: {"choices": "none"}\n',
        b"data: nope\n",
        b'data: {"choices": [{"delta": {"content": 5}}]}\n',
        b'data: {"choices": [{"delta": {"tool_calls": 5}}]}\n',
    ],
)
def test_what_is_no_stream_of_chat_completions(body: bytes) -> None:
    deltas, parser = parse(body)
    assert deltas == []
    assert parser.error is not None
    assert parser.error.code == "provider_bad_response"


def test_unknown_lines_inside_a_stream_are_skipped() -> None:
    deltas, parser = parse(event(content="a") + b"x-vendor: 1\n\n" + event(content="b") + STOP + DONE)
    assert typed(deltas) == typed([TextDelta("a"), TextDelta("b"), Finish("stop")])
    assert parser.error is None


@pytest.mark.parametrize(
    "line",
    [
        b'data: {"type": "ping"}\n\n',
        b'data: {"choices": [], "prompt_filter_results": [{}]}\n\n',
        b"data: {}\n\n",
    ],
)
def test_events_that_say_nothing_are_skipped(line: bytes) -> None:
    deltas, parser = parse(line + event(content="a") + line)
    assert typed(deltas) == typed([TextDelta("a")])
    assert parser.error is None


# --- what vendors do differently ------------------------------------------------------------------


def test_text_and_reasoning_in_one_delta() -> None:
    deltas, _ = parse(event(content="answer", reasoning_content="thought"))
    assert typed(deltas) == typed([ReasoningDelta("thought"), TextDelta("answer")])


def test_reasoning_under_its_other_name() -> None:
    deltas, _ = parse(event(reasoning="thought", content=None))
    assert typed(deltas) == typed([ReasoningDelta("thought")])


def test_content_in_parts() -> None:
    deltas, _ = parse(event(content=[{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]))
    assert typed(deltas) == typed([TextDelta("ab")])


def test_a_delta_that_is_null() -> None:
    deltas, _ = parse(choice(delta=None, finish_reason="stop"))
    assert typed(deltas) == typed([Finish("stop")])


def test_a_whole_message_instead_of_deltas() -> None:
    deltas, _ = parse(choice(message={"content": "all"}, finish_reason="stop"))
    assert typed(deltas) == typed([TextDelta("all"), Finish("stop")])


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("sensitive", "content_filter"),
        ("function_call", "tool_calls"),
        ("length", "length"),
        ("eos", "eos"),
        ("model_context_window_exceeded", "length"),
    ],
)
def test_finish_reasons_in_other_words(theirs: str, ours: str) -> None:
    deltas, _ = parse(choice(delta={}, finish_reason=theirs))
    assert typed(deltas) == typed([Finish(ours)])


@pytest.mark.parametrize("reason", ["network_error", "error"])
def test_a_stream_that_broke_inside_the_vendor(reason: str) -> None:
    deltas, parser = parse(event(content="a") + choice(delta={}, finish_reason=reason) + DONE)
    assert typed(deltas) == typed([TextDelta("a")])
    assert parser.error is not None
    assert parser.error.code == "provider_stream_cut"


USAGES = [
    ({"prompt_tokens": 9, "completion_tokens": 4}, UsageReport(9, 4, 0, 0)),
    (
        {
            "prompt_tokens": 9,
            "completion_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 8},
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
        UsageReport(9, 4, 8, 3),
    ),
    ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_cache_hit_tokens": 6}, UsageReport(9, 4, 6, 0)),
    ({"prompt_tokens": 9, "completion_tokens": 4, "cached_tokens": 5}, UsageReport(9, 4, 5, 0)),
    ({"prompt_tokens": 9, "completion_tokens": None, "prompt_tokens_details": None}, UsageReport(9, 0, 0, 0)),
]


@pytest.mark.parametrize(("theirs", "ours"), USAGES)
def test_usage_where_each_vendor_puts_it(theirs: dict[str, Any], ours: UsageReport) -> None:
    alone = b"data: " + orjson.dumps({"choices": [], "usage": theirs}) + b"\n\n"
    without_choices = b"data: " + orjson.dumps({"usage": theirs}) + b"\n\n"
    in_the_choice = choice(delta={}, finish_reason=None, usage=theirs)
    for body in (alone, without_choices, in_the_choice):
        assert typed(parse(body)[0]) == typed([ours])


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        "9",
        {"prompt_tokens": "9"},
        {"prompt_tokens": -1},
        {"prompt_tokens": 10**30},
        {"prompt_tokens": 1, "completion_tokens": -5},
        {"prompt_tokens": 1, "completion_tokens": 2.5},
    ],
)
def test_counts_that_cannot_be_are_no_counts(usage: Any) -> None:
    assert usage_report(usage) is None


def test_usage_in_every_chunk_is_told_when_it_changes() -> None:
    body = b"".join(
        choice(delta={"content": "x"}, usage={"prompt_tokens": 5, "completion_tokens": count}) for count in (1, 2, 2)
    )
    reports = [delta for delta in parse(body)[0] if isinstance(delta, UsageReport)]
    assert reports == [UsageReport(5, 1, 0, 0), UsageReport(5, 2, 0, 0)]


def calls_of(*batches: list[dict[str, Any]]) -> list[tuple[int, str | None, str | None, str]]:
    deltas, parser = parse(b"".join(event(tool_calls=fragments) for fragments in batches))
    assert parser.error is None
    return [tuple(delta) for delta in deltas if isinstance(delta, ToolCallDelta)]  # type: ignore[misc]


def fragment(
    index: int | None, call_id: str | None = None, name: str | None = None, arguments: Any = ""
) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": call_id, "function": {"name": name, "arguments": arguments}}
    return entry if index is None else entry | {"index": index}


def test_two_tool_calls_as_openai_sends_them() -> None:
    assert calls_of(
        [fragment(0, "a", "f")],
        [fragment(0, arguments="{")],
        [fragment(1, "b", "g")],
        [fragment(0, arguments="}")],
    ) == [(0, "a", "f", ""), (0, None, None, "{"), (1, "b", "g", ""), (0, None, None, "}")]


def test_two_whole_tool_calls_without_an_index() -> None:
    assert calls_of([fragment(None, "a", "f", "{}"), fragment(None, "b", "g", "{}")]) == [
        (0, "a", "f", "{}"),
        (1, "b", "g", "{}"),
    ]


def test_two_whole_tool_calls_that_both_say_index_0() -> None:
    assert calls_of([fragment(0, "a", "f", "{}")], [fragment(0, "b", "g", "{}")]) == [
        (0, "a", "f", "{}"),
        (1, "b", "g", "{}"),
    ]


def test_an_id_that_is_repeated_with_each_fragment() -> None:
    calls = calls_of([fragment(0, "a", "f", "{")], [fragment(0, "a", None, "}")], [fragment(0, "", None, " ")])
    assert [call[0] for call in calls] == [0, 0, 0]


def test_calls_without_index_or_id_are_told_apart_by_name() -> None:
    calls = calls_of([fragment(None, None, "f", "{}")], [fragment(None, None, "g", "{}")])
    assert [(call[0], call[2]) for call in calls] == [(0, "f"), (1, "g")]


@pytest.mark.parametrize(("given_arguments", "text"), [({"a": 1}, '{"a":1}'), (None, ""), ("", "")])
def test_arguments_that_are_no_text(given_arguments: Any, text: str) -> None:
    assert calls_of([fragment(0, "a", "f", given_arguments)]) == [(0, "a", "f", text)]


# --- errors in a 200 ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"message": "overloaded", "type": "server_error"}, "provider_unavailable"),
        ({"message": "slow down", "code": 429}, "provider_rate_limited"),
        ({"message": "slow down", "type": "rate_limit_error"}, "provider_rate_limited"),
        ({"message": "bad key", "code": "invalid_api_key"}, "provider_auth_failed"),
        ({"message": "maximum context length is 8192 tokens", "code": 400}, "context_too_long"),
        ({"message": "no", "type": "invalid_request_error"}, "provider_request_rejected"),
        ("something broke", "provider_unavailable"),
        ({}, "provider_unavailable"),
    ],
)
def test_an_error_inside_a_stream_or_as_a_document(error: Any, code: str) -> None:
    body = orjson.dumps({"error": error})
    for stream in (b"data: " + body + b"\n\n", b"event: error\ndata: " + body + b"\n\n", body + b"\n"):
        _, parser = parse(stream)
        assert parser.error is not None
        assert parser.error.code == code
    with pytest.raises(PaasError) as raised:
        document_deltas(body, OPENAI)
    assert raised.value.code == code


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"<html></html>",
        b"[]",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{"message": null}]}',
    ],
)
def test_documents_that_are_no_answer(body: bytes) -> None:
    with pytest.raises(PaasError) as error:
        document_deltas(body, OPENAI)
    assert error.value.code == "provider_bad_response"
