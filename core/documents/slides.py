"""Reads PowerPoint presentations (.pptx): a page a slide, with its title, texts, tables and notes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO
from xml.etree.ElementTree import Element

from core.documents.asked import MOST_WHOLE_CELL, Asked, Unreadable, row_of
from core.documents.blocks import Block, told_blocks, under_headings
from core.documents.lines import Line, rows_as_lines
from core.documents.packages import POWERPOINT, Parts, child_of, local, value_of

MOST_SLIDES = 1_000
_TITLES = ("title", "ctrTitle")
_SMALL_PRINT = ("sldNum", "dt", "ftr", "hdr", "sldImg")


def whole_pptx(source: IO[bytes], asked: Asked) -> Iterator[Block]:
    """A presentation, slide by slide."""
    parts = Parts(source, POWERPOINT)
    yield from told_blocks(
        block for number, name in enumerate(_slides(parts), 1) for block in under_headings(_slide(parts, name, number))
    )


def _slides(parts: Parts) -> list[str]:
    known = parts.relations(POWERPOINT.main)
    listed = child_of(parts.root(POWERPOINT.main), "sldIdLst")
    ids = [_reference(one) for one in ([] if listed is None else listed)]
    found = [known[one][1] for one in ids if one in known and parts.has(known[one][1])]
    if len(found) > MOST_SLIDES:
        raise Unreadable(
            "The presentation has %(count)s slides; %(most)s are read at most.", count=len(found), most=MOST_SLIDES
        )
    return found


def _reference(element: Element) -> str:
    """r:id, beside which there is an id without a namespace."""
    return next((value for key, value in element.attrib.items() if key.endswith("}id")), "")


def _slide(parts: Parts, name: str, page: int) -> Iterator[Line]:
    shapes = list(_shapes(parts.root(name)))
    for shape in shapes:
        if _role(shape) in _TITLES and (title := " ".join(_text(shape).split())):
            yield Line(title, 1, page)
    for shape in shapes:
        if _role(shape) in (*_TITLES, *_SMALL_PRINT):
            continue
        table = next((one for one in shape.iter() if local(one) == "tbl"), None)
        if table is not None:
            yield from rows_as_lines(filter(None, map(_row, table)), page)
        elif text := _text(shape):
            yield Line(text, 0, page)
    for kind, target in parts.relations(name).values():
        if kind == "notesSlide" and parts.has(target):
            yield from _notes(parts.root(target), page)


def _notes(slide: Element, page: int) -> Iterator[Line]:
    for shape in _shapes(slide):
        if _role(shape) not in _SMALL_PRINT and (text := _text(shape)):
            yield Line(f"Notes: {text}", 0, page)


def _shapes(element: Element) -> Iterator[Element]:
    """Shapes and tables in their order, those of groups too; of a drawing in two forms the first."""
    for one in element:
        name = local(one)
        if name in ("sp", "graphicFrame"):
            yield one
        elif name != "Fallback":
            yield from _shapes(one)


def _role(shape: Element) -> str:
    place = child_of(shape, "nvSpPr", "nvPr", "ph")
    return "" if place is None else value_of(place, "type") or "body"


def _text(shape: Element) -> str:
    lines = []
    for one in shape.iter():
        if local(one) == "p" and (line := _line(one).strip()):
            depth = value_of(child_of(one, "pPr"), "lvl")
            lines.append("  " * min(int(depth), 8) + line if depth.isdigit() else line)
    return "\n".join(lines)


def _line(paragraph: Element) -> str:
    parts = []
    for one in paragraph.iter():
        if local(one) == "t":
            parts.append(one.text or "")
        elif local(one) == "br":
            parts.append("\n")
    return "".join(parts)


def _row(element: Element) -> str:
    cells = [" ".join(_text(one).split()) for one in element if local(one) == "tc"]
    return row_of(cells, MOST_WHOLE_CELL)
