"""CSV that a spreadsheet opens as text and numbers, never as formulas (A70)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

CONTENT_TYPE = "text/csv; charset=utf-8"
MARK = "\ufeff"  # tells spreadsheets that it is UTF-8


def cell(text: str) -> str:
    """`text` for a cell of a spreadsheet, which takes what begins so for a formula, or for the next cell (A70)."""
    first = text.lstrip(" \u00a0\u3000")[:1]
    return f"'{text}" if first and first in "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20" else text


def heading(columns: Sequence[str]) -> bytes:
    """The beginning of a file: the mark, and the columns' names (ours, with nothing to quote)."""
    return (MARK + ",".join(columns) + "\r\n").encode()


def lines(rows: Iterable[Sequence[object]]) -> bytes:
    """Lines of a file. Texts are neutralised; numbers (int, Decimal) are written as they are, also below zero."""
    out = io.StringIO()
    writer = csv.writer(out)
    for row in rows:
        writer.writerow([cell(value) if isinstance(value, str) else value for value in row])
    return out.getvalue().encode()
