"""Reads Excel workbooks (.xlsx), after a look at what the archive would become (P59)."""

from __future__ import annotations

import stat
import zipfile
from typing import IO, Any

import defusedxml  # noqa: F401 - openpyxl reads XML with it where it is there: no entities, no DTDs (A49)
import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from core.documents.asked import Asked, Unreadable, row_of
from core.documents.text import table

MOST_ENTRIES = 2_000
MOST_RATIO = 100
MOST_BYTES = 200 * 1024 * 1024
FREE_BYTES = 1024 * 1024  # of an entry, whatever its ratio: small parts of a workbook pack well
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


def sheets_of(source: IO[bytes]) -> list[tuple[str, list[str]]]:
    """All sheets with their rows, as they were last calculated. Raises Unreadable."""
    book = _opened(source)
    return [(sheet.title, [row for row in _rows(sheet) if row]) for sheet in book.worksheets]


def _opened(source: IO[bytes]) -> Any:
    check_archive(source)
    try:
        book = openpyxl.load_workbook(source, read_only=True, data_only=True, keep_links=False)
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError) as error:
        raise Unreadable("This is not a whole Excel workbook.") from error
    if not book.worksheets:
        raise Unreadable("The workbook has no sheet with rows.")
    return book


def _rows(sheet: Any) -> list[str]:
    sheet.reset_dimensions()  # what a file says of its size is not believed
    rows = []
    for row in sheet.iter_rows(max_row=MOST_ROWS_READ, max_col=MOST_COLUMNS, values_only=True):
        rows.append(row_of(row))
    while rows and not rows[-1]:
        rows.pop()
    return rows


def check_archive(source: IO[bytes]) -> None:
    """Raise Unreadable for an archive that is damaged, locked, no workbook, or would become too much."""
    try:
        with zipfile.ZipFile(source) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        raise Unreadable("This is not a whole Excel workbook.") from None
    finally:
        source.seek(0)
    if len(entries) > MOST_ENTRIES:
        raise Unreadable(f"The workbook has more than {MOST_ENTRIES:,} parts.")
    if sum(one.file_size for one in entries) > MOST_BYTES:
        raise Unreadable("Unpacked, the workbook is too large.")
    for one in entries:
        if one.file_size > FREE_BYTES and one.file_size > MOST_RATIO * max(one.compress_size, 1):
            raise Unreadable("The workbook is packed suspiciously well; it is not unpacked.")
        if one.flag_bits & 1:
            raise Unreadable("The workbook is encrypted.")
        if stat.S_ISLNK(one.external_attr >> 16) or one.filename.startswith("/") or ".." in one.filename.split("/"):
            raise Unreadable("The workbook has parts that lead out of it.")
    if not any(one.filename == "xl/workbook.xml" for one in entries):
        raise Unreadable("This is an archive, and no Excel workbook.")
