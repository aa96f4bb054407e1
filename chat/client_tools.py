"""What a caller may give a model besides messages: its own tools, and the form that the answer is to have.

In the shapes of OpenAI's chat completions, checked before anything is held or written. The platform never runs these
tools: their calls are handed out (`tool.delta`, `tool.called`), and the caller asks again with what they said.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from agents.runtime.spec import AgentSpec
from core.errors import PaasError
from llm import features
from llm.catalog import ModelInfo

MOST_TOOLS = 128
MOST_BYTES = 256 * 1024  # of all tools, and of a schema
MOST_DEPTH = 32
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def checked_tools(value: Any) -> tuple[dict[str, Any], ...]:
    """The caller's tools. Raises validation_failed with the field, or unsupported_parameter for what is no function."""
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MOST_TOOLS:
        raise invalid("tools", f"tools is a list of at most {MOST_TOOLS} tools.")
    check_size(value, "tools")
    found = tuple(_tool(tool, f"tools[{position}]") for position, tool in enumerate(value))
    names = [tool["function"]["name"] for tool in found]
    if len(set(names)) != len(names):
        raise invalid("tools", "Two tools have the same name.")
    return found


def check_agent(spec: AgentSpec, tools: tuple[dict[str, Any], ...], parameters: dict[str, Any]) -> None:
    """Raises unsupported_parameter where nobody in a team could call the caller's tools, which members are not given,
    or keep to the form of the answer."""
    if tools and not spec.asks:
        raise unsupported(
            "tools", "This agent is a team without a supervisor, and only a supervisor can use your tools."
        )
    if spec.joins and (parameters.get("response_format") or {}).get("type") not in (None, "text"):
        raise unsupported("response_format", "This agent joins what its members say, and that has no form.")


def _tool(tool: Any, where: str) -> dict[str, Any]:
    if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
        raise invalid(where, f'{where} needs a type: "function".')
    if tool["type"] != "function":
        raise unsupported(where, f"{where}: only tools of the type function are supported.")
    function = tool.get("function")
    if not isinstance(function, dict) or not is_name(function.get("name")):
        raise invalid(where, f"{where}.function needs a name of 1 to 64 letters, digits, _ or -.")
    for field, kind, what in (
        ("description", str, "a text"),
        ("parameters", dict, "a JSON schema"),
        ("strict", bool, "true or false"),
    ):
        if not isinstance(function.get(field), kind | None):
            raise invalid(where, f"{where}.function.{field} is {what}.")
    kept = {field: function[field] for field in ("name", "description", "parameters", "strict") if field in function}
    return {"type": "function", "function": {field: value for field, value in kept.items() if value is not None}}


def checked_choice(value: Any, tools: tuple[dict[str, Any], ...]) -> Any:
    """tool_choice: "none", "auto", "required", or one of the tools; None when it says nothing. Raises as above."""
    if value is None or (not tools and value in ("none", "auto")):
        return None
    if not tools:
        raise invalid("tool_choice", "tool_choice needs tools.")
    if value in ("none", "auto", "required"):
        return value
    if not isinstance(value, dict) or value.get("type") != "function" or not isinstance(value.get("function"), dict):
        raise invalid("tool_choice", "tool_choice is none, auto, required, or the name of a function.")
    name = value["function"].get("name")
    if name not in [tool["function"]["name"] for tool in tools]:
        raise invalid("tool_choice", "tool_choice names a tool that is not among the tools.")
    return {"type": "function", "function": {"name": name}}


def checked_format(value: Any) -> dict[str, Any] | None:
    """response_format; None for text. Raises as above."""
    if value is None:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "json_object"}
    if kind != "json_schema":
        raise invalid("response_format", "response_format has the type text, json_object or json_schema.")
    wanted = value.get("json_schema")
    if not isinstance(wanted, dict) or not is_name(wanted.get("name")) or not isinstance(wanted.get("schema"), dict):
        raise invalid("response_format", "response_format.json_schema needs a name and a schema.")
    if not isinstance(wanted.get("strict"), bool | None) or not isinstance(wanted.get("description"), str | None):
        raise invalid("response_format", "response_format.json_schema has a strict or a description that is none.")
    check_size(wanted, "response_format")
    kept = ("name", "description", "schema", "strict")
    return {"type": "json_schema", "json_schema": {name: wanted[name] for name in kept if wanted.get(name) is not None}}


def check_model(
    info: ModelInfo,
    messages: list[dict[str, Any]] | None,
    tools: tuple[dict[str, Any], ...],
    parameters: dict[str, Any],
) -> None:
    """Raise unsupported_parameter, naming the field, where the model is not known to do what is asked of it."""
    form = parameters.get("response_format") or {}
    choice = parameters.get("tool_choice", "auto")
    needed = (
        (features.TOOLS, "tools", bool(tools)),
        (features.TOOL_CHOICE, "tool_choice", choice not in ("auto", "none")),
        (features.TOOL_CHOICE, "parallel_tool_calls", "parallel_tool_calls" in parameters),
        (features.JSON, "response_format", form.get("type") == "json_object"),
        (features.JSON_SCHEMA, "response_format", form.get("type") == "json_schema"),
        (features.REASONING_EFFORT, "reasoning_effort", "reasoning_effort" in parameters),
        (features.IMAGES, "messages", any(_has_image(message) for message in messages or ())),
    )
    for feature, param, asked in needed:
        if asked and feature not in info.features:
            raise unsupported(
                param,
                f"The model of this agent is not known to support {feature!r}. If it does, an administrator can say "
                f"so: `features` in the entry of the model in its provider account.",
            )


def _has_image(message: dict[str, Any]) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any(part.get("type") == "image_url" for part in content)


def check_size(value: Any, param: str) -> None:
    """Raise validation_failed for JSON that is too deep, too large or has NUL characters (A42)."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MOST_DEPTH:
            raise invalid(param, f"{param} is nested deeper than {MOST_DEPTH} levels.")
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
        ]
    encoded = orjson.dumps(value)
    if len(encoded) > MOST_BYTES:
        raise invalid(param, f"{param} is over {MOST_BYTES // 1024} KiB.")
    if b"\\u0000" in encoded:  # a run that waits is stored with its tools
        raise invalid(param, f"{param} has NUL characters.")


def is_name(value: Any) -> bool:
    """Whether a value can be the name of a function or a schema."""
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def invalid(param: str, message: str) -> PaasError:
    """validation_failed about a field."""
    return PaasError("validation_failed", message, details={"param": param})


def unsupported(param: str, message: str) -> PaasError:
    """unsupported_parameter about a field."""
    return PaasError("unsupported_parameter", message, details={"param": param})
