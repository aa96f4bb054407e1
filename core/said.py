"""Sentences that are stored and shown later, to people of several languages."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

MOST_CHARS = 500
_PLACE = re.compile(r"%\((\w+)\)s")


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence in English with places such as %(count)s, by which it is translated, and what stands there; of an
    error that has one, its code instead of places."""

    text: str
    told: dict[str, str] = field(default_factory=dict)
    code: str = ""

    def __str__(self) -> str:
        return (self.text % self.told if self.told else self.text)[:MOST_CHARS]

    def stored(self) -> dict[str, Any]:
        """As JSON."""
        return {"code": self.code, "text": self.text} if self.code else {"text": self.text, "told": self.told}


def fits(text: str, told: dict[str, str]) -> bool:
    """Whether a sentence that comes from elsewhere can be filled: it has no other places than these."""
    return "%" not in _PLACE.sub(lambda place: "" if place[1] in told else "%", text)


def said(text: str, **told: object) -> Said:
    """A sentence with what stands in its places: numbers as people write them."""
    return Said(text, {name: f"{one:,}" if isinstance(one, int) else str(one) for name, one in told.items()})
