"""Reads Excel workbooks (.xlsx), after a look at what the archive would become (P59)."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import IO, Any

import defusedxml  # noqa: F401 - openpyxl reads XML with it where it is there: no entities, no DTDs (A49)
import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from core.documents.asked import MOST_CELL, MOST_WHOLE_CELL, Asked, Unreadable, row_of
from core.documents.blocks import Block, told_blocks, under_headings
from core.documents.lines import Line, rows_as_lines
from core.documents.packages import EXCEL, check_archive
from core.documents.text import table

MOST_ROWS_READ = 200_000
MOST_COLUMNS = 200


def read_xlsx(source: IO[bytes], asked: Asked) -> str:
    """Rows of one sheet, as they were last calculated; without a name the first sheet's."""
    book = _opened(source)
    names = [sheet.title for sheet in book.worksheets]
    name = asked.sheet or names[0]
    if name not in names:
        raise Unreadable(f"There is no sheet {name[:60]!r}. The sheets are: {', '.join(names)[:500]}.")
    rows = _rows(book[name])
    sheets = f" Sheets: {', '.join(names)[:500]}." if len(names) > 1 else ""
    return table(f"{asked.name}: Excel, sheet {name!r}, {len(rows):,} rows.{sheets}", rows, asked)


def whole_xlsx(source: IO[bytes], asked: Asked) -> Iterator[Block]:
    """A workbook as it was last calculated: a block a row, under the sheet's name."""

    def lines() -> Iterator[Line]:
        for sheet in _opened(source).worksheets:
            yield Line(sheet.title, 1)
            yield from rows_as_lines(row for row in _each_row(sheet, MOST_WHOLE_CELL) if row)

    yield from told_blocks(one for one in under_headings(lines()) if one.heading != one.text and one.heading)


def _opened(source: IO[bytes]) -> Any:
    check_archive(source, EXCEL)
    try:
        book = openpyxl.load_workbook(source, read_only=True, data_only=True, keep_links=False)
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError) as error:
        raise Unreadable("This is not a whole Excel workbook.") from error
    if not book.worksheets:
        raise Unreadable("The workbook has no sheet with rows.")
    return book


def _rows(sheet: Any) -> list[str]:
    rows = list(_each_row(sheet, MOST_CELL))
    while rows and not rows[-1]:
        rows.pop()
    return rows


def _each_row(sheet: Any, most: int) -> Iterator[str]:
    sheet.reset_dimensions()  # what a file says of its size is not believed
    for row in sheet.iter_rows(max_row=MOST_ROWS_READ, max_col=MOST_COLUMNS, values_only=True):
        yield row_of(row, most)
