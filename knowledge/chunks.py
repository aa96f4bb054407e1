"""Cuts a document into passages: along pages, headings, paragraphs and rows, and only then inside of them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from core.documents.blocks import Block
from llm.tokens import estimate_tokens

MOST_CHUNKS = 50_000  # of one document
# After the end of a sentence, with the quotes and brackets that close behind it.
_SENTENCE = re.compile(
    r"(?<=[。！？；…])(?![。！？…”’」』）】])|(?<=[。！？…][”’」』）】])(?![”’」』）】])|(?<=[.!?])\s+|\n+"
)
_CLAUSE = "，、；：,;: \t"


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document that can be understood by itself. page: the first one that it is on."""

    text: str
    page: int | None
    heading: str

    @property
    def digest(self) -> int:
        """The same for texts that differ in space and case only; 64 bits, signed."""
        plain = "".join(self.text.lower().split()).encode()
        return (zlib.crc32(plain) << 31) ^ zlib.adler32(plain)


@dataclass(frozen=True, slots=True)
class _Piece:
    text: str
    page: int | None
    tokens: int


def passages(blocks: Iterable[Block], size: int, overlap: int) -> Iterator[Passage]:
    """A whole document at once; see Cutter."""
    cutter = Cutter(size, overlap)
    for block in blocks:
        yield from cutter.add(block)
    yield from cutter.end()


class Cutter:
    """Cuts a document as its blocks come in: passages of at most `size` tokens (llm/tokens.py).

    A new heading begins a new passage. A table stays whole where it fits into one: behind the text before it, else by
    itself; a longer one begins a passage, and its first row is repeated in each. Neighbours share about `overlap`
    tokens, whole pieces only.
    """

    def __init__(self, size: int, overlap: int) -> None:
        self._size, self._overlap = size, overlap
        self._heading = ""
        self._head = ""  # of the table that all of what is held is of
        self._held: list[_Piece] = []
        self._fresh = 0  # pieces that no passage has yet
        self._table: list[Block] = []  # a table that may still fit as a whole
        self._table_tokens = 0
        self._table_head = ""

    def add(self, block: Block) -> Iterator[Passage]:
        """The passages that are whole with this block."""
        if block.heading != self._heading or (self._table_head and block.head != self._table_head):
            yield from self._end_table()
        if block.heading != self._heading:
            yield from self._flush()
            self._heading = block.heading
        if block.head:
            yield from self._row(block)
        else:
            yield from self._plain(block)

    def end(self) -> Iterator[Passage]:
        """The rest."""
        yield from self._end_table()
        yield from self._flush()

    def _plain(self, block: Block) -> Iterator[Passage]:
        for text in _pieces(block.text, self._size):
            yield from self._hold(_Piece(text, block.page, estimate_tokens(text) + 1), self._size)

    def _row(self, block: Block) -> Iterator[Passage]:
        if not self._table_head:
            self._table_head, self._table_tokens = block.head, estimate_tokens(block.head) + 1
        if self._head:  # it is too long already
            yield from self._long_row(block)
            return
        self._table.append(block)
        self._table_tokens += estimate_tokens(block.text) + 1
        if self._table_tokens > self._size:
            yield from self._flush()
            self._head, rows, self._table = self._table_head, self._table, []
            for one in rows:
                yield from self._long_row(one)

    def _long_row(self, block: Block) -> Iterator[Passage]:
        room = max(self._size - estimate_tokens(self._head) - 1, self._size // 4)
        for text in _pieces(block.text, room):
            yield from self._hold(_Piece(text, block.page, estimate_tokens(text) + 1), room)

    def _end_table(self) -> Iterator[Passage]:
        rows, self._table = self._table, []
        if self._head:
            yield from self._flush()
        elif rows:
            text = "\n".join([self._table_head, *(one.text for one in rows)])
            yield from self._hold(_Piece(text, rows[0].page, self._table_tokens), self._size)
        self._head = self._table_head = ""

    def _hold(self, piece: _Piece, room: int) -> Iterator[Passage]:
        total = sum(one.tokens for one in self._held)
        if self._held and total + piece.tokens > room:
            if self._fresh:
                yield self._passage()
            self._held = _tail(self._held, min(self._overlap, room - piece.tokens))
            self._fresh = 0
        self._held.append(piece)
        self._fresh += 1

    def _flush(self) -> Iterator[Passage]:
        if self._fresh:
            yield self._passage()
        self._held, self._fresh = [], 0

    def _passage(self) -> Passage:
        text = "\n".join(([self._head] if self._head else []) + [one.text for one in self._held])
        return Passage(text, self._held[0].page, self._heading)


def _tail(held: list[_Piece], overlap: int) -> list[_Piece]:
    kept: list[_Piece] = []
    for one in reversed(held):
        overlap -= one.tokens
        if overlap < 0:
            break
        kept.insert(0, one)
    return kept


def _pieces(text: str, room: int) -> Iterator[str]:
    """A paragraph or row; what is longer than a passage in sentences; longer ones at a comma or a space, or where they
    must be cut."""
    if estimate_tokens(text) < room:
        yield text
        return
    most = max(room - 1, 1)  # a character is a token, mostly less
    for sentence in filter(None, (one.strip() for one in _SENTENCE.split(text))):
        rest = sentence
        while len(rest) > most and estimate_tokens(rest) >= room:
            place = max(rest.rfind(sign, most // 2, most) for sign in _CLAUSE) + 1 or most
            yield rest[:place].rstrip()
            rest = rest[place:].lstrip()
        if rest:
            yield rest
