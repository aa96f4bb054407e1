"""What a version of an agent may say about its tools and its limits."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext

from agents.tools.registry import tools_named
from core.storable import storable
from knowledge.models import KnowledgeBase

MOST_TOOLS = 32
MOST_BASES = 10
STRICTER = ("tainted", "always")  # than what the workspace says; see agents/tools/gate.py
# name -> (lowest, highest)
BOUNDS = {
    "steps": (1, 500),  # those of a team count the calls of all its members
    "tool_calls": (0, 1000),
    "seconds": (1, 1800),
    "tokens": (1, 10_000_000),
    "tool_seconds": (1, 300),
}


def checked_tools(value: Any) -> list[dict[str, Any]]:
    """The tools of a version, as they are stored: names, or objects with `name` and `settings`.

    Bound to the tenant. Raises ValidationError in the field `tools`.
    """
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MOST_TOOLS:
        raise ValidationError({"tools": f"Give a list of at most {MOST_TOOLS} tools."})
    found = []
    for one in value:
        entry = {"name": one} if isinstance(one, str) else one
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or set(entry) - {"name", "settings"}:
            raise ValidationError({"tools": "A tool is its name, or an object with name and settings."})
        if not isinstance(entry.get("settings", {}), dict):
            raise ValidationError({"tools": f"The settings of {entry['name']} are not an object."})
        if entry.get("settings", {}).get("approval", "tainted") not in STRICTER:
            sentence = f"approval of {entry['name']} is one of {', '.join(STRICTER)}: an agent is never less strict."
            raise ValidationError({"tools": sentence})
        found.append({"name": entry["name"], "settings": entry.get("settings", {})})
    names = [entry["name"] for entry in found]
    if len(set(names)) != len(names):
        raise ValidationError({"tools": "A tool is named twice."})
    known = tools_named(names)
    if missing := [name for name in names if name not in known]:
        raise ValidationError(
            {"tools": gettext("There is no tool %(name)r in this workspace.") % {"name": missing[0][:64]}}
        )
    return found


def checked_limits(value: Any) -> dict[str, int]:
    """The limits of a version's runs, as they are stored. Raises ValidationError in the field `limits`."""
    if value is None:
        return {}
    if not isinstance(value, dict) or set(value) - set(BOUNDS):
        raise ValidationError({"limits": f"Limits of a run are: {', '.join(BOUNDS)}."})
    for name, amount in value.items():
        low, high = BOUNDS[name]
        if type(amount) is not int or not low <= amount <= high:
            raise ValidationError({"limits": f"{name} is a whole number from {low} to {high:,}."})
    return dict(value)


def checked_knowledge(value: Any) -> list[str]:
    """The slugs of the bases that a version may search, as they are stored. Bound to the tenant. Raises
    ValidationError in the field `knowledge`."""
    if value is None:
        return []
    fits = isinstance(value, list) and all(isinstance(one, str) and storable(one) for one in value)
    if not fits or len(value) > MOST_BASES or len(set(value)) != len(value):
        raise ValidationError(
            {"knowledge": f"Give a list of at most {MOST_BASES} names of knowledge bases, each once."}
        )
    known = set(KnowledgeBase.objects.filter(slug__in=value).values_list("slug", flat=True))
    if missing := [one for one in value if one not in known]:
        raise ValidationError({"knowledge": f"There is no knowledge base {missing[0][:60]!r} in this workspace."})
    return list(value)
