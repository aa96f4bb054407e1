"""The tools themselves, and what becomes of those that misbehave (P52, P56, P58, A57)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agents.runtime.spec import ModelCall
from agents.runtime.trace import Trace
from agents.tools.arguments import problem_with
from agents.tools.calculator import CALCULATOR, calculate
from agents.tools.clock import CLOCK
from agents.tools.spec import BoundTool, RunLimits, ToolContext, ToolResult, ToolSpec
from agents.tools.toolbox import MOST_RESULT_CHARS, Toolbox
from core.documents.html import text_of
from core.ids import uuid7

CONTEXT: Any = ToolContext(None, None, uuid7(), "a")  # type: ignore[arg-type]


async def call(spec: ToolSpec, arguments: Any, **limits: Any) -> ToolResult:
    async def extend(call: ModelCall, wanted: int) -> int:
        return wanted

    step = Trace().at("").tool("c", spec.name, arguments)
    return await Toolbox((BoundTool(spec),), CONTEXT, RunLimits(**limits), extend).call(step)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("0.17 * 2340", "397.8"), ("2**10", "1024"), ("2^3", "8"), ("-7 // 2", "-4"), ("10 / 4", "2.5"), ("6 / 3", "2"),
        ("sqrt(16) + max(1, 2)", "6"), ("0.1 + 0.2", "0.3"), ("round(pi, 2)", "3.14"), ("10**300 % 7", "1"),
    ],
)  # fmt: skip
def test_calculating(expression: str, value: str) -> None:
    assert calculate(expression) == value


HOSTILE = [
    "", "9**9**9", "9**-9**9", "10**10**10", "2**100000", "(2**3000)**3000", "1e308*10", "1e999", "0**-1", "1/0", "1%0",
    "__import__('os').system('id')", "().__class__", "[1]*10**9", "'a'*10**9", "x", "lambda: 1", "(-1)**0.5", "1 if 1 else 2",
    "open('/etc/passwd')", "f'{1}'", "round(1, ndigits=2)", "sqrt(-1)", "exp(1e6)", "(" * 240 + "1" + ")" * 240, "1+" * 240 + "1",
    "True + 1", "1j", "{1: 2}", "[x for x in (1,)]", "1 and 2", "max()", "2**2000 * 2**2000 * 2**2000", "x" * 501, "1\x00", "1;2",
    "getattr(1, 'real')", "~1", "1 << 10**9", "abs(*[1])", "floor(1e308)*floor(1e308)*floor(1e308)*floor(1e308)", "9**1000",
]  # fmt: skip


@pytest.mark.parametrize("expression", HOSTILE)
def test_what_is_not_calculated(expression: str) -> None:
    with pytest.raises(ValueError, match=r"\."):
        calculate(expression)


async def test_the_clock() -> None:
    assert "Asia/Shanghai" in (await call(CLOCK, {"timezone": "Asia/Shanghai"})).text
    assert (await call(CLOCK, {})).text.endswith("UTC)")
    for bad in ("Mars/Olympus", "../../etc/passwd", "/etc/passwd", ""):
        assert (await call(CLOCK, {"timezone": bad})).is_error is bool(bad)


async def test_tools_that_misbehave() -> None:
    async def hangs(context: ToolContext, arguments: Any) -> ToolResult:
        await asyncio.Event().wait()
        raise AssertionError

    async def raises(context: ToolContext, arguments: Any) -> ToolResult:
        raise RuntimeError("sk-secret")

    async def floods(context: ToolContext, arguments: Any) -> ToolResult:
        return ToolResult("x" * 100_000_000)

    async def junk(context: ToolContext, arguments: Any) -> Any:
        return b"\x00\xff"

    async def binary(context: ToolContext, arguments: Any) -> ToolResult:
        return ToolResult("a\x00\ud800")

    async def leaves(context: ToolContext, arguments: Any) -> ToolResult:
        raise asyncio.CancelledError

    said = {
        one.__name__: await call(
            ToolSpec(one.__name__, "", {"type": "object"}, "read", one), {}, tool_seconds=1 if one is not hangs else 0
        )
        for one in (hangs, raises, floods, junk, binary, leaves)
    }
    assert {name: one.text for name, one in said.items() if one.is_error} == {
        "hangs": "The tool took more than 0 seconds and was stopped.",
        "raises": "The tool has failed.",
        "junk": "The tool gave back something that is not a text.",
        "leaves": "The tool stopped by itself.",
    }
    assert said["binary"].text == "a\N{REPLACEMENT CHARACTER}?"
    assert len(said["floods"].text) < MOST_RESULT_CHARS + 100
    assert said["floods"].text.endswith("[Cut here: the result has 100,000,000 characters.]")


def test_arguments_against_a_schema() -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 1}, "s": {"enum": ["a"]}, "l": {"type": "array", "items": {"type": ["string", "null"]}}},
        "required": ["n"], "additionalProperties": False,
    }  # fmt: skip
    assert problem_with({"n": 2.0, "s": "a", "l": ["x", None]}, schema) is None
    for bad in (
        {},
        {"n": 0},
        {"n": True},
        {"n": 1.5},
        {"n": 1, "s": "b"},
        {"n": 1, "l": [1]},
        {"n": 1, "x": 1},
        {"n": 1, "l": {}},
    ):
        assert problem_with(bad, schema), bad
    assert problem_with({"a": 1}, {"properties": "junk", "required": 3}) is None  # a schema of somebody else's
    assert problem_with(CALCULATOR.parameters, {"type": "object"}) is None


def test_the_text_of_a_page() -> None:
    page = (
        "<html><head><title>T &amp; x</title><style>b{}</style><script>evil()</script></head><body><h1>Head</h1>"
        "<p>One <b>two</b>&nbsp;three<script>no</script><p>four<div><svg><text>no</text></svg></div><template>no</template>five"
    )
    assert text_of(page) == "T & x\nHead\nOne two three\nfour\nfive"
    assert text_of("<" * 10_000 + "a") is not None
