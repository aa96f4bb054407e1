"""Reads the text of PDF files. A page that is only a picture has none."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import IO, Any

import pypdf
import pypdf._codecs.core_font_metrics
import pypdf._configuration
import pypdf._crypt_providers._fallback
import pypdf._page
import pypdf._text_extraction
import pypdf.filters
import pypdf.generic._font
import pypdf.generic._image_xobject
import pypdf.xmp  # all of these are loaded late otherwise, when nothing can be loaded any more

from core.documents.asked import Asked, Unreadable, cut, hits, span, told
from core.documents.blocks import Block, paragraphs, path_of, told_blocks
from core.documents.lines import Line
from core.documents.pdf_tables import DAMAGED, Row, Tables

MOST_PAGES = 500
PAGES_AT_ONCE = 50
DEFAULT_PAGES = 10
MOST_BOOKMARKS = 2_000
MOST_LOOKED = 200  # things on a page


def read_pdf(source: IO[bytes], asked: Asked) -> str:
    """The text of some pages, or the lines with the words of a query and the pages they are on."""
    wanted = None if asked.query else span(asked.pages, PAGES_AT_ONCE, DEFAULT_PAGES)
    count, pages = _read(source, wanted)
    head = f"{asked.name}: PDF, {count} pages."
    if asked.query:
        lines = ((number, cut(line)) for number, text in pages for line in text.splitlines())
        return told(f"{head} Pages and lines with {asked.query[:60]!r}:", hits(lines, asked.query))
    if not pages:
        raise Unreadable(f"The PDF has {count} pages.")
    shown = []
    for number, text in pages:
        shown.append(f"--- page {number} ---")
        shown += [cut(line, 4_000) for line in text.splitlines() if line.strip()] or ["[No text: a picture, or empty.]"]
    return told(head, shown)


def whole_pdf(source: IO[bytes], asked: Asked) -> Iterator[Block]:
    """The paragraphs of all pages, under the bookmarks that lead to them; pages that are pictures as such."""
    yield from told_blocks(_blocks(source, asked.few))


def _blocks(source: IO[bytes], few: int) -> Iterator[Block]:
    try:
        reader = _opened(source)
        marks = _bookmarks(reader)
        path: list[Line] = []
        tables = Tables()
        for number, page in enumerate(reader.pages, 1):
            text = page.extract_text()
            picture = bool(few) and len("".join(text.split())) < few and _has_picture(page)
            told = [] if picture else tables.lines(page, text) or text.splitlines()
            for lines in _stretches(told, marks.get(number, []), path):
                yield from _paragraphs_and_rows(lines, number, path_of(path))
            if picture:
                yield Block(text, number, path_of(path), picture=True)
    except DAMAGED as error:
        raise Unreadable("The PDF is damaged, or it is none.") from error


def _paragraphs_and_rows(lines: list[str], number: int, heading: str) -> Iterator[Block]:
    for is_row, some in groupby(lines, lambda line: isinstance(line, Row)):
        if is_row:
            yield from (Block(str(row), number, heading, row.head) for row in some if isinstance(row, Row))
        else:
            yield from paragraphs(some, number, heading)


def _stretches(lines: list[str], begin: list[Line], path: list[Line]) -> Iterator[list[str]]:
    """The lines of a page, in parts; `path` is what each is under. A title that is not among the lines is there from
    the page's beginning."""
    shown = ["".join(line.split()).lower() for line in lines]
    places: list[tuple[int, Line]] = []
    for mark in begin:
        title = "".join(mark.text.split()).lower()
        place = shown.index(title) if title in shown else 0
        places.append((max(place, places[-1][0] if places else 0), mark))
    start = 0
    for place, mark in places:
        if place > start:
            yield lines[start:place]
            start = place
        path[:] = [*(one for one in path if one.level < mark.level), mark]
    yield lines[start:]


def _bookmarks(reader: pypdf.PdfReader) -> dict[int, list[Line]]:
    """Page -> the bookmarks that lead to it, in their order. What cannot be read of them is left out."""
    found: dict[int, list[Line]] = {}

    def add(entries: list[Any], level: int) -> None:
        for one in entries:
            if isinstance(one, list):
                add(one, level + 1)
            elif len(numbers) < MOST_BOOKMARKS:
                page = reader.get_destination_page_number(one)
                numbers.append(page)
                title = " ".join(str(one.title or "").split())
                if page is not None and page >= 0 and title:
                    found.setdefault(page + 1, []).append(Line(title, level))

    numbers: list[int | None] = []
    try:
        add(reader.outline, 1)
    except (*DAMAGED, RecursionError):
        return {}
    return found


def _has_picture(page: Any) -> bool:
    """Whether an image is put onto the page, also by way of a form."""
    waiting, seen = [page.get("/Resources")], 0
    while waiting and seen < MOST_LOOKED:
        resources = _object(waiting.pop())
        for one in (_object(resources.get("/XObject")) if resources else {}).values():
            seen += 1
            thing = _object(one)
            if thing.get("/Subtype") == "/Image":
                return True
            waiting.append(thing.get("/Resources"))
    return False


def _object(value: Any) -> Any:
    found = value.get_object() if hasattr(value, "get_object") else value
    return found if isinstance(found, dict) else {}


def _opened(source: IO[bytes]) -> pypdf.PdfReader:
    reader = pypdf.PdfReader(source, strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("The PDF is encrypted. Ask for one without a password.")
    count = len(reader.pages)
    if not count:
        raise Unreadable("The PDF has no page.")
    if count > MOST_PAGES:
        raise Unreadable("The PDF has %(count)s pages; %(most)s are read at most.", count=count, most=MOST_PAGES)
    return reader


def _read(source: IO[bytes], wanted: range | None) -> tuple[int, list[tuple[int, str]]]:
    """(how many pages there are, those that are wanted with their text; None: all)."""
    try:
        reader = _opened(source)
        count = len(reader.pages)
        numbers = range(1, count + 1) if wanted is None else wanted
        return count, [(number, reader.pages[number - 1].extract_text()) for number in numbers if number <= count]
    except DAMAGED as error:
        raise Unreadable("The PDF is damaged, or it is none.") from error
