"""A whole document as blocks: paragraphs and rows, each with its page and the heading that it is under.

The readers are run in the confined process (core/documents/child.py), which sends on what they give as they give it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import IO, Any

from core.documents.asked import MOST_WHOLE_CELL, Asked, Unreadable, row_of
from core.documents.html import document_of
from core.documents.lines import Line, rows_as_lines
from core.documents.text import decoded, rows_of

MOST_BLOCKS = 200_000
MOST_HEADING = 300
MOST_HEAD = 2_000
MOST_TEXT = 20_000  # characters of one block
_HASHES = re.compile(r"(#{1,6})\s+(.+?)\s*#*\s*$")
_RULE = re.compile(r"\s*\|?(\s*:?-+:?\s*\|)*\s*:?-+:?\s*\|?\s*$")  # between a table's head and its rows
_CELLS = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class Block:
    """page: from 1, None where there are none. head: of a table's row, the row that names the columns.

    picture: a page that is to be looked at, for it has no text but this.
    """

    text: str
    page: int | None = None
    heading: str = ""
    head: str = ""
    picture: bool = False

    def row(self) -> list[Any]:
        """As JSON."""
        return [self.text, self.page, self.heading, self.head, self.picture]


def whole_text(source: IO[bytes], asked: Asked) -> Iterator[Block]:
    """Plain text: its paragraphs."""
    yield from told_blocks(paragraphs(decoded(source.read()).splitlines()))


def whole_markdown(source: IO[bytes], asked: Asked) -> Iterator[Block]:
    """Markdown: paragraphs and rows of tables under the path of their headings; nothing inside a fence is a heading."""
    yield from told_blocks(under_headings(_marked(decoded(source.read()).splitlines())))


def whole_html(source: IO[bytes], asked: Asked) -> Iterator[Block]:
    """A web page: what it is about, without what is around that, under the path of its headings."""
    yield from told_blocks(under_headings(document_of(decoded(source.read()))))


def whole_csv(source: IO[bytes], asked: Asked) -> Iterator[Block]:
    """A table: a block a row."""
    yield from told_blocks(under_headings(rows_as_lines(row for row in rows_of(source, MOST_WHOLE_CELL) if row)))


def told_blocks(blocks: Iterable[Block]) -> Iterator[Block]:
    """Those with text, or that are pictures, without control characters. Raises Unreadable for none, and too many."""
    count = 0
    for block in blocks:
        heading, head = _clean(block.heading)[:MOST_HEADING], _clean(block.head)[:MOST_HEAD]
        text = _clean(block.text)
        for piece in [text[:MOST_TEXT]] if block.picture else _pieces(text):
            count += 1
            if count > MOST_BLOCKS:
                raise Unreadable("The document has more than %(most)s paragraphs or rows.", most=MOST_BLOCKS)
            yield replace(block, text=piece, heading=heading, head=head)
    if not count:
        raise Unreadable("The document has no text.")


def _pieces(text: str) -> Iterator[str]:
    """A text that is too long for one block, in pieces that end with a line, a sentence or a word."""
    while len(text) > MOST_TEXT:
        place = max(text.rfind(sign, MOST_TEXT // 2, MOST_TEXT) for sign in ("\n", "。", ". ", " "))
        place = place + 1 if place > 0 else MOST_TEXT
        yield text[:place]
        text = text[place:]
    if text:
        yield text


def paragraphs(lines: Iterable[str], page: int | None = None, heading: str = "") -> Iterator[Block]:
    """Lines up to an empty one are a paragraph."""
    held: list[str] = []
    for line in chain(lines, [""]):
        if line.strip():
            held.append(line.rstrip())
        elif held:
            yield Block("\n".join(held), page, heading)
            held = []


def under_headings(lines: Iterable[Line]) -> Iterator[Block]:
    """Lines as blocks under the path of the headings before them; a heading with nothing under it is a block itself."""
    path: list[Line] = []
    alone = False  # the last heading has nothing under it yet
    for line in lines:
        heading = path_of(path)
        if not line.level:
            yield Block(line.text, line.page, heading, line.head)
            alone = False
            continue
        if alone and line.level <= path[-1].level:
            yield Block(path[-1].text, path[-1].page, heading)
        path = [*(one for one in path if one.level < line.level), line]
        alone = True
    if alone:
        yield Block(path[-1].text, path[-1].page, path_of(path))


def path_of(path: Sequence[Line]) -> str:
    """Headings, the outermost first, as one line."""
    return " › ".join(one.text for one in path)


def _clean(text: str) -> str:
    kept = "".join(one if one.isprintable() or one in "\t\n" else " " for one in text)
    return kept.encode("utf-8", "replace").decode().strip()


def _marked(lines: Iterable[str]) -> Iterator[Line]:
    fenced = False
    held: list[str] = []
    for line in lines:
        fence = line.lstrip().startswith(("```", "~~~"))
        fenced = fenced != fence
        found = None if fenced or fence else _HASHES.match(line)
        if (found or (not line.strip() and not fenced)) and held:
            yield from _paragraph(held)
            held = []
        if found:
            yield Line(found[2], len(found[1]))
        elif line.strip():
            held.append(line.rstrip())
    if held:
        yield from _paragraph(held)


def _paragraph(lines: list[str]) -> Iterator[Line]:
    """A paragraph of Markdown, or, where it is a table, its rows."""
    start = next((n for n in range(len(lines) - 1) if "|" in lines[n] and _RULE.match(lines[n + 1])), None)
    if start is None or lines[0].lstrip().startswith(("```", "~~~")):
        yield Line("\n".join(lines))
        return
    if start:
        yield Line("\n".join(lines[:start]))
    yield from rows_as_lines(_cells(line) for line in [lines[start], *lines[start + 2 :]])


def _cells(line: str) -> str:
    return row_of([cell.strip().replace("\\|", "|") for cell in _CELLS.split(line.strip().strip("|"))], MOST_WHOLE_CELL)
