"""Whether a model's arguments fit a tool's schema: as much of JSON Schema as tools use.

What is not known here (oneOf, pattern and others) is let through: the tool itself must bear any value.
"""

from __future__ import annotations

from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
MOST_DEPTH = 16


def problem_with(value: Any, schema: Any, where: str = "arguments", depth: int = 0) -> str | None:
    """What about `value` does not fit `schema`, as a sentence; None when it fits."""
    if not isinstance(schema, dict):
        return None
    if depth > MOST_DEPTH:
        return f"{where} is nested too deeply."
    wanted = schema.get("type")
    if wanted is not None and not any(_is(value, one) for one in (wanted if isinstance(wanted, list) else [wanted])):
        return f"{where} must be of the type {wanted}."
    allowed = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(allowed, list) and not any(_same(value, one) for one in allowed):
        return f"{where} must be one of {allowed}."
    if isinstance(schema.get("anyOf"), list):
        found = [problem_with(value, one, where, depth + 1) for one in schema["anyOf"]]
        if all(found):
            return found[0] or f"{where} fits none of what is allowed."
    if isinstance(value, dict):
        return _object_problem(value, schema, where, depth)
    if isinstance(value, list):
        inner = (problem_with(one, schema.get("items"), f"{where}[{at}]", depth + 1) for at, one in enumerate(value))
        return next((one for one in inner if one), None) or _bound_problem(value, schema, where)
    return _bound_problem(value, schema, where)


def _same(value: Any, one: Any) -> bool:
    """JSON's equality: true is not 1."""
    return bool(value == one) and isinstance(value, bool) == isinstance(one, bool)


def _is(value: Any, name: Any) -> bool:
    if isinstance(value, bool):
        return bool(name == "boolean")
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return not isinstance(name, str) or name not in TYPES or isinstance(value, TYPES[name])


def _object_problem(value: dict[str, Any], schema: dict[str, Any], where: str, depth: int) -> str | None:
    known = schema.get("properties")
    known = known if isinstance(known, dict) else {}
    required = schema.get("required")
    missing = [name for name in (required if isinstance(required, list) else []) if name not in value]
    if missing:
        return f"{where} lacks {', '.join(map(str, missing))}."
    unknown = [name for name in value if name not in known]
    if unknown and schema.get("additionalProperties") is False:
        return f"{where} has no field {unknown[0][:64]!r}; its fields are {', '.join(known) or 'none'}."
    found = (problem_with(value[name], known[name], f"{where}.{name}", depth + 1) for name in value if name in known)
    return next((one for one in found if one), None)


def _bound_problem(value: Any, schema: dict[str, Any], where: str) -> str | None:
    size = len(value) if isinstance(value, str | list) else value
    low, high = ("minLength", "maxLength") if isinstance(value, str) else ("minimum", "maximum")
    low, high = ("minItems", "maxItems") if isinstance(value, list) else (low, high)
    if not isinstance(size, int | float):
        return None
    if isinstance(schema.get(low), int | float) and size < schema[low]:
        return f"{where} is below its {low} of {schema[low]}."
    if isinstance(schema.get(high), int | float) and size > schema[high]:
        return f"{where} is above its {high} of {schema[high]}."
    return None
