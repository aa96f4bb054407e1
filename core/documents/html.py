"""What a web page shows, without scripts and marks, and which of its lines are headings."""

from __future__ import annotations

from html.parser import HTMLParser

_HIDDEN = frozenset({"script", "style", "template", "noscript", "svg", "head"})
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_BLOCKS = frozenset({
    *_HEADINGS,
    *("address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "footer", "form", "header", "hr"),
    *("li", "main", "nav", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul"),
})  # fmt: skip


def text_of(html: str) -> str:
    """What a page shows, line by line."""
    return "\n".join(text for _, text in lines_of(html))


def lines_of(html: str) -> list[tuple[int, str]]:
    """The lines of a page: (0, text), or (level from 1, text) for a heading."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    reader.end_line()
    return reader.lines


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[tuple[int, str]] = []
        self._parts: list[str] = []
        self._level = 0
        self._hidden: list[str] = []
        self._title = False

    def end_line(self) -> None:
        """What comes now is on another line."""
        for line in "".join(self._parts).splitlines():
            if text := " ".join(line.split()):
                self.lines.append((self._level, text))
        self._parts.clear()

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
