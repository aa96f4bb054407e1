"""The calculator: an arithmetic expression, read as a syntax tree of which only arithmetic is carried out (P58)."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

from agents.tools.spec import ToolContext, ToolResult, ToolSpec
from core.errors import PaasError

MOST_CHARS = 500
MOST_NODES = 200
MOST_BITS = 4_000  # of any number on the way, about 1,200 digits: all that is done with such takes microseconds
MOST_DIGITS = 400  # of a result

Number = int | float

_UNARY: dict[type[ast.unaryop], Callable[[Any], Number]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_CONSTANTS = {"pi": math.pi, "e": math.e}
_FUNCTIONS: dict[str, Callable[..., Number]] = {
    "abs": abs,
    "round": round,
    "min": min,
    "max": max,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "log10": math.log10,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "floor": math.floor,
    "ceil": math.ceil,
}


def calculate(expression: str) -> str:
    """The value of an arithmetic expression, as text. Raises ValueError with a sentence."""
    text = expression.strip().replace("^", "**").replace("×", "*").replace("÷", "/").replace("−", "-")
    if not text or len(text) > MOST_CHARS:
        raise ValueError(f"An expression has 1 to {MOST_CHARS} characters.")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError("This is not an arithmetic expression.") from None
    if sum(1 for _ in ast.walk(tree)) > MOST_NODES:
        raise ValueError("The expression is too long.")
    try:
        value = _value(tree.body)
    except (ArithmeticError, TypeError, RecursionError) as error:
        raise ValueError(f"This cannot be calculated: {error}.") from None
    return _shown(value)


def _value(node: ast.AST) -> Number:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return _bounded(node.value)
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _UNARY[type(node.op)](_value(node.operand))
    if isinstance(node, ast.BinOp):
        return _binary(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
        if node.keywords or len(node.args) > 20:
            raise ValueError("A function takes numbers only.")
        given = [_value(one) for one in node.args]
        try:
            found = _FUNCTIONS[node.func.id](*given)
        except ValueError:
            raise ValueError(f"{node.func.id} is not defined there.") from None
        return _bounded(found)
    raise ValueError(f"Only numbers, + - * / // % ** ( ) and {', '.join((*_CONSTANTS, *_FUNCTIONS))} are allowed.")


def _binary(node: ast.BinOp) -> Number:
    left, right = _value(node.left), _value(node.right)
    if isinstance(node.op, ast.Pow):
        return _power(left, right)
    if type(node.op) not in _BINARY:
        raise ValueError("Only + - * / // % and ** are allowed between numbers.")
    return _bounded(_BINARY[type(node.op)](left, right))


def _power(base: Number, exponent: Number) -> Number:
    """Bounded before it is calculated: the size of the result is known from those of its parts."""
    if isinstance(base, int) and isinstance(exponent, int) and abs(exponent) * max(1, base.bit_length()) > MOST_BITS:
        raise ValueError("The result of this power is too large.")
    return _bounded(base**exponent)


def _bounded(value: Any) -> Number:
    if type(value) not in (int, float):
        raise ValueError("The result is not a real number.")
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise ValueError("A number on the way is too large.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("A number on the way is too large, or no number.")
    return value  # type: ignore[no-any-return]


def _shown(value: Number) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    text = str(value) if isinstance(value, int) else repr(float(f"{value:.15g}"))
    if len(text) > MOST_DIGITS:
        raise ValueError(f"The result has more than {MOST_DIGITS} digits.")
    return text


async def _call(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    try:
        return ToolResult(calculate(arguments["expression"]))
    except ValueError as error:
        raise PaasError("tool_failed", str(error)) from None


CALCULATOR = ToolSpec(
    name="calculator",
    description="Calculates an arithmetic expression exactly. Use it for every calculation. 17% of 2340 is "
    "0.17 * 2340. Knows + - * / // % ** ( ), pi, e, abs, round, min, max, sqrt, exp, log, log10, sin, cos, tan, "
    "floor and ceil.",
    parameters={
        "type": "object",
        "properties": {"expression": {"type": "string", "description": "Such as 0.17 * 2340", "maxLength": MOST_CHARS}},
        "required": ["expression"],
        "additionalProperties": False,
    },
    effect="read",
    call=_call,
)
