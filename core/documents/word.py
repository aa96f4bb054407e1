"""Reads Word documents (.docx): headings, paragraphs, lists, tables and notes, in their order.

Read as XML and not with python-docx: that leaves out what stands in content controls and text boxes and what was
inserted with changes tracked, and holds the whole tree in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import IO
from xml.etree.ElementTree import Element

from core.documents.asked import MOST_WHOLE_CELL, Asked, row_of
from core.documents.blocks import Block, told_blocks, under_headings
from core.documents.lines import Line, rows_as_lines
from core.documents.packages import WORD, Parts, child_of, local, value_of

# Not shown, or shown a second time: what was deleted or moved away, and the other form of a drawing.
_LEFT_OUT = frozenset({"del", "moveFrom", "Fallback", "instrText", "delText", "pPr", "rPr", "tblPr", "trPr", "tcPr"})
_SIGNS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_NOTES = ("word/footnotes.xml", "word/endnotes.xml")
_TITLE, _DEEPEST = 1, 9


def whole_docx(source: IO[bytes], asked: Asked) -> Iterator[Block]:
    """A Word document. Pages are those of the program that saved it last, where it wrote them down."""
    parts = Parts(source, WORD)
    lines = chain(_Body(parts).lines(), *(_notes(parts, name) for name in _NOTES if parts.has(name)))
    yield from told_blocks(under_headings(lines))


class _Body:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._levels = _levels(parts)
        self._numbered = _numbered(parts)
        self._counts: Counter[tuple[str, int]] = Counter()
        self._page = 1 if parts.contains(WORD.main, b"lastRenderedPageBreak") else None
        self._rows: list[str] = []

    def lines(self) -> Iterator[Line]:
        depth: Counter[str] = Counter()
        for event, element in self._parts.walk(WORD.main):
            name = local(element)
            if name not in ("p", "tbl", "tr"):
                continue
            depth[name] += 1 if event == "start" else -1
            if event == "start" or depth["p"]:
                continue
            if name == "p" and not depth["tbl"]:
                yield from self._paragraph(element)
                element.clear()
            elif name == "tr" and depth["tbl"] == 1:
                self._rows.append(_row(element))
                self._turn(element)
                element.clear()
            elif name == "tbl" and not depth["tbl"]:
                yield from rows_as_lines((row for row in self._rows if row), self._page)
                self._rows = []
                element.clear()

    def _paragraph(self, element: Element) -> Iterator[Line]:
        properties = child_of(element, "pPr")
        level = self._level(properties)
        text, page = text_of(element).strip(), self._page
        self._turn(element)
        if not text:
            return
        if level:
            yield Line(" ".join(text.split()), level, page)
        else:
            yield Line(self._mark(properties) + text, 0, page)

    def _turn(self, element: Element) -> None:
        """Count the pages that end in it."""
        if self._page is not None:
            self._page += sum(local(one) == "lastRenderedPageBreak" for one in element.iter())

    def _level(self, properties: Element | None) -> int:
        own = value_of(child_of(properties, "outlineLvl"))
        if own.isdigit() and int(own) < _DEEPEST:
            return int(own) + 2
        return self._levels.get(value_of(child_of(properties, "pStyle")), 0)

    def _mark(self, properties: Element | None) -> str:
        """What stands before an entry of a list."""
        listed = child_of(properties, "numPr")
        number = value_of(child_of(listed, "numId"))
        if not number or number == "0":
            return ""
        depth = value_of(child_of(listed, "ilvl"))
        place = number, int(depth) if depth.isdigit() else 0
        indent = "  " * min(place[1], _DEEPEST)
        if place not in self._numbered:
            return f"{indent}- "
        self._counts[place] += 1
        for deeper in [one for one in self._counts if one[0] == number and one[1] > place[1]]:
            del self._counts[deeper]
        return f"{indent}{self._counts[place]}. "


def text_of(element: Element) -> str:
    """The text of a paragraph, with that of what is in it."""
    parts: list[str] = []
    for one in element:
        name = local(one)
        if name == "t":
            parts.append(one.text or "")
        elif name in _SIGNS:
            parts.append(_SIGNS[name])
        elif name not in _LEFT_OUT:
            inner = text_of(one)
            parts.append(f"\n{inner}\n" if name == "p" and inner else inner)
    return "".join(parts)


def _row(element: Element) -> str:
    return row_of([" ".join(text_of(one).split()) for one in _cells(element)], MOST_WHOLE_CELL)


def _cells(element: Element) -> Iterator[Element]:
    """Those of a row, also within content controls; not those of tables inside of them."""
    for one in element:
        if local(one) == "tc":
            yield one
        elif local(one) not in _LEFT_OUT:
            yield from _cells(one)


def _notes(parts: Parts, name: str) -> Iterator[Line]:
    for note in parts.root(name):
        if (text := " ".join(text_of(note).split())) and not value_of(note, "type"):
            yield Line(text)


def _levels(parts: Parts) -> dict[str, int]:
    """Style -> level of heading: by its name, by its outline, or as the style that it is based on."""
    if not parts.has("word/styles.xml"):
        return {}
    own: dict[str, int] = {}
    based: dict[str, str] = {}
    for style in parts.root("word/styles.xml"):
        if local(style) != "style":
            continue
        key, name = value_of(style, "styleId"), value_of(child_of(style, "name")).lower()
        outline = value_of(child_of(style, "pPr", "outlineLvl"))
        word, _, number = name.partition(" ")
        if name == "title":
            own[key] = _TITLE
        elif word == "heading" and number.isdigit() and 0 < int(number) <= _DEEPEST:
            own[key] = int(number) + 1
        elif outline.isdigit() and int(outline) < _DEEPEST:
            own[key] = int(outline) + 2
        based[key] = value_of(child_of(style, "basedOn"))
    return own | {key: level for key in based if key not in own and (level := _inherited(key, own, based))}


def _inherited(key: str, own: dict[str, int], based: dict[str, str]) -> int:
    for _ in range(20):  # styles that are based on each other in a circle
        if key in own or not key:
            break
        key = based.get(key, "")
    return own.get(key, 0)


def _numbered(parts: Parts) -> set[tuple[str, int]]:
    """(list, depth) of those that count."""
    if not parts.has("word/numbering.xml"):
        return set()
    abstract: dict[str, set[int]] = {}
    found: set[tuple[str, int]] = set()
    for one in parts.root("word/numbering.xml"):
        if local(one) == "abstractNum":
            levels = [level for level in one if local(level) == "lvl"]
            abstract[value_of(one, "abstractNumId")] = {
                int(value_of(level, "ilvl") or 0)
                for level in levels
                if value_of(child_of(level, "numFmt")) not in ("bullet", "none", "")
            }
        elif local(one) == "num":
            depths = abstract.get(value_of(child_of(one, "abstractNumId")), set())
            found |= {(value_of(one, "numId"), depth) for depth in depths}
    return found
