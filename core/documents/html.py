"""What a web page shows, without scripts and marks: all of it, or only what the page is about."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser

from core.documents.asked import MOST_WHOLE_CELL, row_of
from core.documents.lines import Line, rows_as_lines

_HIDDEN = frozenset({"script", "style", "template", "noscript", "svg", "head"})
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_BLOCKS = frozenset({
    *_HEADINGS,
    *("address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "footer", "form", "header", "hr"),
    *("li", "main", "nav", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul"),
})  # fmt: skip
_MAIN = frozenset({"main", "article"})
_AROUND = frozenset({"nav", "footer", "aside", "form", "button", "select", "dialog", "menu", "iframe"})
_VOID = frozenset(
    {"br", "hr", "img", "input", "meta", "link", "wbr", "area", "base", "col", "embed", "source", "track"}
)
_MOST_DATA_CELL = 1_000  # characters; a table with longer ones puts texts in their places


def text_of(html: str) -> str:
    """What a page shows, line by line."""
    reader = _Reader()
    reader.read(html)
    return "\n".join(text for _, text in reader.lines)


def document_of(html: str) -> Iterator[Line]:
    """What a page is about: its title, and of its parts the main one, where it says which that is. Tables are rows.

    Where it does not: everything but what is around it, such as menus and footers.
    """
    reader = _Document()
    reader.read(html)
    lines = [one for one in reader.kept if one.main] if reader.has_main else []
    if not any(one.rows or one.text for one in lines):
        lines = [one for one in reader.kept if not one.around]
    if reader.title:
        yield Line(reader.title)
    for one in lines or reader.kept:
        if one.rows:
            yield from rows_as_lines(one.rows)
        else:
            yield Line(one.text, one.level)


class _Reader(HTMLParser):
    """lines: (0, text), or (level from 1, text) for a heading."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[tuple[int, str]] = []
        self._parts: list[str] = []
        self._level = 0
        self._hidden: list[str] = []
        self._title = False

    def read(self, html: str) -> None:
        """A whole page."""
        self.feed(html)
        self.close()
        self.end_line()

    def end_line(self) -> None:
        """What comes now is on another line."""
        for line in "".join(self._parts).splitlines():
            if text := " ".join(line.split()):
                self.add(text)
        self._parts.clear()

    def add(self, text: str) -> None:
        """A line that is whole."""
        self.lines.append((self._level, text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "body":
            self._hidden.clear()
        self._title = tag == "title"
        if tag in _HIDDEN:
            self._hidden.append(tag)
        elif tag in _BLOCKS:
            self.end_line()
            self._level = _HEADINGS.index(tag) + 1 if tag in _HEADINGS else self._level if tag == "br" else 0

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._title = False
            self.end_line()
        if tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]
        elif tag in _BLOCKS:
            self.end_line()
            self._level = 0

    def handle_data(self, data: str) -> None:
        if self._title or not self._hidden:
            self._parts.append(data)


class _Kept:
    """A line, or a table; main, around: whether it is in the main part, or in a part around it."""

    __slots__ = ("around", "level", "main", "rows", "text")

    def __init__(self, text: str, level: int, main: bool, around: bool) -> None:
        self.text, self.level, self.main, self.around = text, level, main, around
        self.rows: list[str] = []


class _Document(_Reader):
    def __init__(self) -> None:
        super().__init__()
        self.kept: list[_Kept] = []
        self.title = ""
        self.has_main = False
        self._title_ended = False
        self._open: list[str] = []  # parts that are main or around
        self._tables = 0
        self._rows: list[list[str]] = []
        self._cell: list[str] | None = None

    def add(self, text: str) -> None:
        if self._cell is not None:
            self._cell.append(text)
        elif self._title_ended:
            self.title, self._title_ended = self.title or text, False
        else:
            self.kept.append(_Kept(text, self._level, self._in(_MAIN), self._in(_AROUND)))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)
        if tag in _VOID or self._hidden:
            return
        if tag in _MAIN:
            self.has_main = True
        if tag in _MAIN or tag in _AROUND:
            self._open.append(tag)
        if tag == "table":
            self._tables += 1
        elif tag == "tr" and self._tables == 1:
            self._end_cell()
            self._rows.append([])
        elif tag in ("td", "th") and self._tables == 1 and self._rows:
            self._end_cell()
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        self._title_ended = tag == "title" and self._title
        super().handle_endtag(tag)
        self._title_ended = False
        if tag in self._open:
            del self._open[len(self._open) - 1 - self._open[::-1].index(tag) :]
        if tag in ("td", "th", "tr") and self._tables == 1:
            self._end_cell()
        elif tag == "table" and self._tables:
            self._tables -= 1
            if not self._tables:
                self._end_cell()
                self._end_table()

    def _end_cell(self) -> None:
        if self._cell is not None and self._rows:
            self._rows[-1].append(" ".join(self._cell))
        self._cell = None

    def _end_table(self) -> None:
        rows, self._rows = [row for row in self._rows if any(row)], []
        where = self._in(_MAIN), self._in(_AROUND)
        if max(map(len, rows), default=0) > 1 and max(len(cell) for row in rows for cell in row) <= _MOST_DATA_CELL:
            table = _Kept("", 0, *where)
            table.rows = [row_of(row, MOST_WHOLE_CELL) for row in rows]
            self.kept.append(table)
        else:  # it only puts things in their places
            self.kept += [_Kept(cell, 0, *where) for row in rows for cell in row if cell]

    def _in(self, parts: frozenset[str]) -> bool:
        return any(one in parts for one in self._open)
