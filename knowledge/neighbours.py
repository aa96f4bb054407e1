"""Joins a passage with those before and after it, without what neighbours share."""

from __future__ import annotations

from typing import Any


def with_context(found: dict[str, Any]) -> dict[str, Any]:
    """The passage with `context`: it and its neighbours as one text; as it is where no neighbour came with it."""
    before, after = found.get("before"), found.get("after")
    joined = ([found["ordinal"] - 1] if before else []) + ([found["ordinal"] + 1] if after else [])
    if not joined:
        return found
    text = joined_text(joined_text(before or "", found["text"]), after or "")
    return found | {"context": text, "why": found["why"] | {"joined": joined}}


def joined_text(first: str, second: str) -> str:
    """Both texts, the second without the lines with which the first one ends; an equal first line (the head of a table)
    is left out of the second too."""
    if not first or not second:
        return first or second
    one, other = first.split("\n"), second.split("\n")
    head = 1 if len(other) > 1 and one[0] == other[0] else 0
    rest = other[head:]
    shared = next((size for size in range(min(len(one), len(rest)), 0, -1) if one[-size:] == rest[:size]), 0)
    return "\n".join(one + rest[shared:])
