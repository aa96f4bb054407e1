"""A whole document as blocks: paragraphs and rows, each with its page and the heading that it is under.

The readers are run in the confined process (core/documents/child.py); what they give comes back as JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from core.documents.asked import Asked, Unreadable
from core.documents.html import lines_of
from core.documents.text import decoded, rows_of

MOST_BLOCKS = 200_000
MOST_HEADING = 300
_HASHES = re.compile(r"(#{1,6})\s+(.+?)\s*#*\s*$")


@dataclass(frozen=True, slots=True)
class Block:
    """page: from 1, None where there are none. head: of a table's row, the row that names the columns."""

    text: str
    page: int | None = None
    heading: str = ""
    head: str = ""


def blocks_of(answer: str) -> list[Block]:
    """What one of the readers below gave."""
    return [Block(*one) for one in json.loads(answer)]


def whole_text(source: IO[bytes], asked: Asked) -> str:
    """Plain text: its paragraphs."""
    return _answer(_paragraphs(decoded(source.read()).splitlines()))


def whole_markdown(source: IO[bytes], asked: Asked) -> str:
    """Markdown: paragraphs under the path of their headings; nothing inside a fence is a heading."""
    return _answer(_under_headings(_marked(decoded(source.read()).splitlines())))


def whole_html(source: IO[bytes], asked: Asked) -> str:
    """A web page: its lines under the path of their headings."""
    lines = lines_of(decoded(source.read()))
    return _answer(_under_headings(lines))


def whole_csv(source: IO[bytes], asked: Asked) -> str:
    """A table: a block a row."""
    return _answer(_table(rows_of(source), ""))


def whole_xlsx(source: IO[bytes], asked: Asked) -> str:
    """A workbook: a block a row, under the sheet's name."""
    from core.documents.sheets import sheets_of

    return _answer(block for name, rows in sheets_of(source) for block in _table(rows, name))


def whole_pdf(source: IO[bytes], asked: Asked) -> str:
    """A PDF: the paragraphs of its pages. Raises Unreadable for one without any text."""
    from core.documents.pdf import pages_of

    found = [block for page, text in pages_of(source) for block in _paragraphs(text.splitlines(), page)]
    if not found:
        raise Unreadable("The PDF has no text: its pages are pictures. Scans are not read here yet.")
    return _answer(found)


def _answer(blocks: Iterable[Block]) -> str:
    found: list[list[str | int | None]] = []
    for block in blocks:
        text = _clean(block.text)
        if not text:
            continue
        if len(found) >= MOST_BLOCKS:
            raise Unreadable(f"The document has more than {MOST_BLOCKS:,} paragraphs or rows.")
        found.append([text, block.page, _clean(block.heading)[:MOST_HEADING], _clean(block.head)])
    if not found:
        raise Unreadable("The document has no text.")
    return json.dumps(found, ensure_ascii=False)


def _clean(text: str) -> str:
    kept = "".join(one if one.isprintable() or one in "\t\n" else " " for one in text)
    return kept.encode("utf-8", "replace").decode().strip()


def _paragraphs(lines: Iterable[str], page: int | None = None) -> Iterator[Block]:
    """Lines up to an empty one are a paragraph."""
    held: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            held.append(line.rstrip())
        elif held:
            yield Block("\n".join(held), page)
            held = []


def _marked(lines: list[str]) -> Iterator[tuple[int, str]]:
    fenced = False
    held: list[str] = []
    for line in lines:
        fence = line.lstrip().startswith(("```", "~~~"))
        fenced = fenced != fence
        found = None if fenced or fence else _HASHES.match(line)
        if (found or (not line.strip() and not fenced)) and held:
            yield 0, "\n".join(held)
            held = []
        if found:
            yield len(found[1]), found[2]
        elif line.strip():
            held.append(line.rstrip())
    if held:
        yield 0, "\n".join(held)


def _under_headings(lines: Iterable[tuple[int, str]]) -> Iterator[Block]:
    path: list[tuple[int, str]] = []
    alone = False  # the last heading has nothing under it yet
    for level, text in lines:
        heading = " › ".join(one for _, one in path)
        if level == 0:
            yield Block(text, None, heading)
            alone = False
            continue
        if alone and path and level <= path[-1][0]:
            yield Block(path[-1][1], None, heading)
        path = [*(one for one in path if one[0] < level), (level, text)]
        alone = True
    if alone and path:
        yield Block(path[-1][1], None, " › ".join(one for _, one in path))


def _table(rows: list[str], heading: str) -> Iterator[Block]:
    if len(rows) == 1:
        yield Block(rows[0], None, heading)
    for row in rows[1:]:
        yield Block(row, None, heading, rows[0])
