"""What of a file is wanted, and how it is told: bounded, whatever the file is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.said import said

MOST_CHARS = 15_000
MOST_FOUND = 40
MOST_CELL = 1_000  # characters of one line or cell
MOST_WHOLE_CELL = 20_000  # of a cell where the whole document is read


class Unreadable(Exception):
    """Why a file, or this part of it, is not read: a sentence for who asked. told: what stands in its places."""

    def __init__(self, text: str, **told: object) -> None:
        self.said = said(text, **told)
        super().__init__(str(self.said))


@dataclass(frozen=True)
class Asked:
    """pages, rows: "3" or "2-9", counted from 1. query: only where these words are, whatever their case.

    few: of a whole PDF: a page with a picture and fewer characters than this is told as a picture; 0: none is. pixels:
    of the longer side of a page that is shown.
    """

    name: str
    pages: str = ""
    sheet: str = ""
    rows: str = ""
    query: str = ""
    few: int = 0
    pixels: int = 0


def span(text: str, many: int, default: int) -> range:
    """The numbers that a text names, at most `many` of them; without one the first `default`."""
    if not text.strip():
        return range(1, default + 1)
    found = re.fullmatch(r"\s*([0-9]{1,9})\s*(?:-\s*([0-9]{1,9})\s*)?", text)
    if found is None:
        raise Unreadable('Name a part as "3" or "2-9".')
    first = int(found[1])
    last = int(found[2] or first)
    if first < 1 or last < first:
        raise Unreadable("Parts are counted from 1, and the first comes before the last.")
    return range(first, min(last, first + many - 1) + 1)


def cut(text: str, most: int = MOST_CELL) -> str:
    """A text without control characters, at most so long."""
    kept = "".join(one if one.isprintable() or one == "\t" else " " for one in text[: most + 1])
    return kept if len(kept) <= most else kept[: most - 1] + "…"


def told(head: str, lines: Iterable[str]) -> str:
    """A first line that says what this is, and as many lines as fit."""
    parts, size = [head], len(head)
    for line in lines:
        size += len(line) + 1
        if size > MOST_CHARS:
            parts.append("[Cut here: ask for a smaller part, or with a query.]")
            break
        parts.append(line)
    return "\n".join(parts)


def hits(numbered: Iterable[tuple[int, str]], query: str) -> Iterable[str]:
    """The lines that have the words, with their numbers; at most MOST_FOUND."""
    wanted, count = query.lower(), 0
    for number, line in numbered:
        if wanted in line.lower():
            count += 1
            if count > MOST_FOUND:
                yield f"[More than {MOST_FOUND} places: ask with a longer query.]"
                return
            yield f"{number}: {line}"
    if not count:
        yield "[Nowhere.]"


def row_of(cells: Sequence[object], most: int = MOST_CELL) -> str:
    """A row of a table as tab-separated text."""
    return "\t".join("" if one is None else cut(str(one), most).replace("\t", " ") for one in cells).rstrip("\t")
