"""The schema that an agent's answers fit: which ones there may be, and how a model is told of one.

Nothing is allowed in a schema that is not held: what agents/tools/arguments.py does not know would be promised in vain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from django.core.exceptions import ValidationError

from agents.tools.arguments import TYPES
from llm.catalog import ModelInfo
from llm.features import JSON, JSON_SCHEMA

MOST_BYTES = 32 * 1024
MOST_DEPTH = 12
_WORDS = {"title": str, "description": str}
_COUNTS = {"minLength": int, "maxLength": int, "minItems": int, "maxItems": int}
_NUMBERS = {"minimum": (int, float), "maximum": (int, float)}
_KEYWORDS: dict[str, Any] = {
    **_WORDS, **_COUNTS, **_NUMBERS,
    "type": (str, list), "properties": dict, "required": list, "additionalProperties": bool, "items": dict,
    "enum": list, "anyOf": list, "const": object, "default": object, "examples": list,
}  # fmt: skip


def checked_schema(value: Any) -> dict[str, Any]:
    """A version's `output_schema` as it is stored; {} is none. Raises ValidationError in that field."""
    if not value and (value is None or isinstance(value, dict)):
        return {}
    if not isinstance(value, dict) or value.get("type") != "object":
        raise ValidationError({"output_schema": 'Give a JSON schema of the type "object", or {} for none.'})
    if problem := _problem(value, "output_schema", 0):
        raise ValidationError({"output_schema": problem})
    if len(orjson.dumps(value)) > MOST_BYTES:
        raise ValidationError({"output_schema": f"A schema has at most {MOST_BYTES // 1024} KiB."})
    return value


def _problem(schema: Any, where: str, depth: int) -> str | None:
    if not isinstance(schema, dict):
        return f"{where} is not a schema."
    if depth > MOST_DEPTH:
        return f"A schema is nested at most {MOST_DEPTH} levels deep."
    for name, value in schema.items():
        if name not in _KEYWORDS:
            return f"{where}: {name[:40]!r} is not supported. Use {', '.join(sorted(_KEYWORDS))}."
        if not isinstance(value, _KEYWORDS[name]) or (name not in _BOOLEANS and isinstance(value, bool)):
            return f"{where}.{name} has a value of a wrong type."
    types = schema.get("type", [])
    for one in types if isinstance(types, list) else [types]:
        if one not in TYPES:
            return f"{where}.type is one of {', '.join(TYPES)}."
    if not all(isinstance(one, str) for one in schema.get("required", ())):
        return f"{where}.required is a list of names."
    inner = [(f"{where}.properties.{name[:40]}", one) for name, one in schema.get("properties", {}).items()]
    inner += [(f"{where}.items", schema["items"])] if "items" in schema else []
    inner += [(f"{where}.anyOf[{at}]", one) for at, one in enumerate(schema.get("anyOf", ()))]
    return next((found for place, one in inner if (found := _problem(one, place, depth + 1))), None)


_BOOLEANS = {"additionalProperties", "const", "default"}


def prompt_of(schema: dict[str, Any]) -> str:
    """What a model is told that its vendor does not hold to a schema."""
    return (
        "Answer with one JSON value that fits the following JSON schema, and with nothing else: no introduction, no "
        f"explanation, no marks around it.\n{orjson.dumps(schema).decode()}"
    )


def format_of(schema: dict[str, Any]) -> dict[str, Any]:
    """`response_format` for a vendor that holds its models to a schema."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": is_strict(schema)}}


def asked_for(schema: dict[str, Any], infos: Sequence[ModelInfo]) -> tuple[str, dict[str, Any]]:
    """(what a model is told, what its vendor is asked for) so that an answer fits. infos: of whoever may answer, the
    first one by itself. Nothing is told where all of their vendors hold them to the schema."""
    parameters: dict[str, Any] = {}
    if JSON_SCHEMA in infos[0].features:
        parameters = {"response_format": format_of(schema)}
    elif JSON in infos[0].features:
        parameters = {"response_format": {"type": "json_object"}}
    held_to_it = is_strict(schema) and all(JSON_SCHEMA in info.features for info in infos)
    return "" if held_to_it else prompt_of(schema), parameters


def is_strict(schema: Any) -> bool:
    """Whether OpenAI's `strict` takes it ("Structured outputs", supported schemas): every object is closed and needs
    all of its fields, and no text has a length."""
    if not isinstance(schema, dict) or {"minLength", "maxLength", "default"} & set(schema):
        return False
    fields = schema.get("properties", {})
    closed = schema.get("additionalProperties") is False and set(schema.get("required", ())) == set(fields)
    if not closed and (schema.get("type") == "object" or fields):
        return False
    inner = [*fields.values(), *schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())]
    return all(is_strict(one) for one in inner)
