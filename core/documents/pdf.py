"""Reads the text of PDF files. A page that is only a picture has none."""

from __future__ import annotations

from typing import IO

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
from pypdf.errors import PyPdfError

from core.documents.asked import Asked, Unreadable, cut, hits, span, told

MOST_PAGES = 500
PAGES_AT_ONCE = 50
DEFAULT_PAGES = 10


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


def pages_of(source: IO[bytes]) -> list[tuple[int, str]]:
    """All pages, by number, with their text. Raises Unreadable."""
    return _read(source, None)[1]


def _read(source: IO[bytes], wanted: range | None) -> tuple[int, list[tuple[int, str]]]:
    """(how many pages there are, those that are wanted with their text; None: all)."""
    try:
        reader = pypdf.PdfReader(source, strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("The PDF is encrypted. Ask for one without a password.")
        count = len(reader.pages)
        if not count:
            raise Unreadable("The PDF has no page.")
        if count > MOST_PAGES:
            raise Unreadable(f"The PDF has {count:,} pages; {MOST_PAGES} are read at most.")
        numbers = range(1, count + 1) if wanted is None else wanted
        return count, [(number, reader.pages[number - 1].extract_text()) for number in numbers if number <= count]
    except (PyPdfError, ValueError, KeyError, TypeError, IndexError, AttributeError, ArithmeticError, OSError) as error:
        raise Unreadable("The PDF is damaged, or it is none.") from error
