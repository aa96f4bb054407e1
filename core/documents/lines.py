"""What the readers of structured documents give: lines, of which some are headings and some are rows of tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """level: of a heading, from 1, the outermost; 0 for text. head: of a table's row, the row that names columns."""

    text: str
    level: int = 0
    page: int | None = None
    head: str = ""


def rows_as_lines(rows: Iterable[str], page: int | None = None) -> Iterator[Line]:
    """The rows of one table; the first one is the head of the others, and stands for itself where it is alone."""
    head: str | None = None
    alone = False
    for row in rows:
        if head is None:
            head, alone = row, True
            continue
        alone = False
        yield Line(row, 0, page, head)
    if alone and head is not None:
        yield Line(head, 0, page)
