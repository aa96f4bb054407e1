"""What an agent says, and how two of its versions differ, in the words of people."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.audit_selectors import names_of
from agents.content import Faults
from agents.parameters import FALLBACKS
from portal.audit_words import ACTORS

# Fields of agents.content, and what is inside of parameters and limits.
LABELS: dict[str, str | Promise] = {
    "name": _("Name"),
    "description": _("Description"),
    "provider": _("Model provider"),
    "model": _("Model"),
    "instructions": _("Instructions"),
    "parameters": _("Parameters"),
    "temperature": _("Temperature"),
    "top_p": _("Top p"),
    "max_tokens": _("Most tokens of an answer"),
    "frequency_penalty": _("Frequency penalty"),
    "presence_penalty": _("Presence penalty"),
    "seed": _("Seed"),
    "stop": _("Stop at"),
    "thinking": _("Thinking"),
    FALLBACKS: _("Models that stand in"),
    "tools": _("Tools"),
    "memory": _("Memory"),
    "knowledge": _("Knowledge"),
    "rewrite_queries": _("Searches worded by the conversation"),
    "output_schema": _("Form of the answer"),
    "team": _("Team"),
    "limits": _("Limits of a run"),
    "steps": _("Calls of the model"),
    "tool_calls": _("Calls of tools"),
    "seconds": _("Seconds"),
    "tokens": _("Tokens"),
    "tool_seconds": _("Seconds of one call of a tool"),
}

FLAT = ("parameters", "limits")
"""Fields whose own entries are told one by one."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. lines: of a text, each with `add`, `cut`, `place` or "" for what it is; else before and after."""

    label: str
    before: str = ""
    after: str = ""
    lines: tuple[tuple[str, str], ...] = ()


def label(name: str) -> str:
    """A field for people; one that is not known here by its name."""
    return str(LABELS.get(name, name))


def changes_shown(changes: Iterable[dict[str, Any]]) -> list[Change]:
    """What `agents.content.differences` found."""
    found: list[Change] = []
    for change in changes:
        name = change["field"]
        if "diff" in change:
            found.append(Change(label(name), lines=diff_lines(change["diff"])))
        elif name in FLAT:
            found += _inside(change["from"], change["to"])
        else:
            found.append(Change(label(name), _text(change["from"]), _text(change["to"])))
    return found


def faults_shown(faults: Faults) -> list[tuple[str, str]]:
    """(field, what is wrong with it), for people."""
    return [(label(name), " ".join(str(one) for one in sentences)) for name, sentences in faults.items()]


def people_named(labels: Iterable[str]) -> dict[str, str]:
    """Who is behind labels such as `user:<id>`, for people."""
    known = list(labels)
    names = names_of(known)
    return {one: names.get(one) or str(ACTORS.get(one.partition(":")[0], one)) for one in known}


def _inside(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    names = [*before, *(name for name in after if name not in before)]
    return [
        Change(label(name), _text(before.get(name)), _text(after.get(name)))
        for name in names
        if before.get(name) != after.get(name)
    ]


def diff_lines(diff: str) -> tuple[tuple[str, str], ...]:
    """A unified diff as (`add`, `cut`, `place` or "", line), without the two lines that name the files."""
    kinds = {"+": "add", "-": "cut", "@": "place"}
    return tuple((kinds.get(line[:1], ""), line) for line in diff.split("\n")[2:])


def _text(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "–"
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, list):
        return "\n".join(_entry(one) for one in value)
    return json.dumps(value, ensure_ascii=False, indent=2) if isinstance(value, dict) else str(value)


def _entry(value: Any) -> str:
    """A tool, a model that stands in, or whatever else a list has."""
    if not isinstance(value, dict):
        return str(value)
    if set(value) == {"provider", "model"}:
        return f"{value['model']} ({value['provider']})"
    if "name" in value:
        rest = {name: one for name, one in value.items() if name != "name" and one}
        return str(value["name"]) + (f" {json.dumps(rest, ensure_ascii=False)}" if rest else "")
    return json.dumps(value, ensure_ascii=False)
