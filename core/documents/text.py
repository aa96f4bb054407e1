"""Reads plain text, Markdown, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import IO

from core.documents.asked import MOST_CELL, Asked, Unreadable, cut, hits, row_of, span, told

MOST_ROWS = 500
DEFAULT_ROWS = 200


def read_text(source: IO[bytes], asked: Asked) -> str:
    """Lines of a text, or those with the words of a query."""
    lines = decoded(source.read()).splitlines()
    return _lines(f"{asked.name}: text, {len(lines):,} lines.", lines, asked)


def read_json(source: IO[bytes], asked: Asked) -> str:
    """JSON, a value a line. What is not quite JSON is read as text."""
    text = decoded(source.read())
    try:
        lines = json.dumps(json.loads(text), ensure_ascii=False, indent=1).splitlines()
    except (ValueError, RecursionError):
        return _lines(f"{asked.name}: text (it is not valid JSON).", text.splitlines(), asked)
    return _lines(f"{asked.name}: JSON, {len(lines):,} lines.", lines, asked)


def read_csv(source: IO[bytes], asked: Asked) -> str:
    """Rows of a table, its first row always with them."""
    rows = rows_of(source)
    return table(f"{asked.name}: CSV, {len(rows):,} rows.", rows, asked)


def rows_of(source: IO[bytes], most: int = MOST_CELL) -> list[str]:
    """The rows of a CSV file, whichever of the usual signs is between its cells; most: characters of one cell.

    Raises Unreadable."""
    text = decoded(source.read())
    csv.field_size_limit(1_000_000)
    try:
        dialect: type[csv.Dialect] | csv.Dialect = csv.Sniffer().sniff(text[:8192], ",;\t|")
    except csv.Error:
        dialect = csv.excel
    try:
        return [row_of(row, most) for row in csv.reader(io.StringIO(text, newline=""), dialect)]
    except csv.Error as error:
        raise Unreadable("The table cannot be read: %(why)s.", why=cut(str(error), 200)) from None


def table(head: str, rows: list[str], asked: Asked) -> str:
    """Numbered rows; the first one, which mostly names the columns, is always there."""
    if asked.query:
        return told(head, [*rows[:1], *hits(enumerate(rows, 1), asked.query)])
    wanted = span(asked.rows, MOST_ROWS, DEFAULT_ROWS)
    shown = [f"{number}: {rows[number - 1]}" for number in wanted if number <= len(rows)]
    first = [] if wanted.start == 1 else [f"1: {rows[0]}"] if rows else []
    return told(f"{head} Rows {wanted.start} to {min(wanted.stop - 1, len(rows))}:", [*first, *shown])


def _lines(head: str, lines: list[str], asked: Asked) -> str:
    if asked.query:
        return told(head, hits(((number, cut(line)) for number, line in enumerate(lines, 1)), asked.query))
    wanted = span(asked.rows, 5_000, 1_000)

    def shown() -> Iterator[str]:
        for number in wanted:
            if number > len(lines):
                return
            yield cut(lines[number - 1], 4_000)

    return told(f"{head} From line {wanted.start}:", shown())


def decoded(data: bytes) -> str:
    """Text of bytes: by its mark, as UTF-8, as GB 18030 (most other Chinese texts), or byte by byte."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")
