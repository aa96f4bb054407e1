"""Cuts a document into passages: along pages, headings, paragraphs and rows, and only then inside of them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from core.documents.blocks import Block
from llm.tokens import estimate_tokens

MOST_CHUNKS = 50_000  # of one document
_SENTENCE = re.compile(r"(?<=[。！？；])|(?<=[.!?])\s+|\n+")


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


def passages(blocks: list[Block], size: int, overlap: int) -> Iterator[Passage]:
    """Passages of at most `size` tokens (llm/tokens.py). Neighbours share about `overlap` tokens, whole pieces only.

    A new heading begins a new passage; so does a table, whose first row is repeated in each of its passages.
    """
    run: list[Block] = []
    for block in blocks:
        if run and (block.heading != run[0].heading or block.head != run[0].head):
            yield from _joined(run, size, overlap)
            run = []
        run.append(block)
    if run:
        yield from _joined(run, size, overlap)


def _joined(run: list[Block], size: int, overlap: int) -> Iterator[Passage]:
    head, heading = run[0].head, run[0].heading
    room = max(size - (estimate_tokens(head) if head else 0), size // 4)
    held: list[tuple[str, int | None, int]] = []  # text, page, tokens
    total = fresh = 0
    for text, page in _pieces(run, room):
        tokens = estimate_tokens(text) + 1
        if held and total + tokens > room:
            yield _passage(held, head, heading)
            held = _tail(held, min(overlap, room - tokens))
            total, fresh = sum(one[2] for one in held), 0
        held.append((text, page, tokens))
        total, fresh = total + tokens, fresh + 1
    if fresh:
        yield _passage(held, head, heading)


def _passage(held: list[tuple[str, int | None, int]], head: str, heading: str) -> Passage:
    text = "\n".join(([head] if head else []) + [one[0] for one in held])
    return Passage(text, held[0][1], heading)


def _tail(held: list[tuple[str, int | None, int]], overlap: int) -> list[tuple[str, int | None, int]]:
    kept: list[tuple[str, int | None, int]] = []
    for one in reversed(held):
        overlap -= one[2]
        if overlap < 0:
            break
        kept.insert(0, one)
    return kept


def _pieces(run: list[Block], room: int) -> Iterator[tuple[str, int | None]]:
    """Paragraphs and rows; what is longer than a passage in sentences; longer ones cut where they must be."""
    most = max(room - 1, 1)  # a character is a token, mostly less
    for block in run:
        if estimate_tokens(block.text) < room:
            yield block.text, block.page
            continue
        for sentence in filter(None, (one.strip() for one in _SENTENCE.split(block.text))):
            for start in range(0, len(sentence), most):
                yield sentence[start : start + most], block.page
