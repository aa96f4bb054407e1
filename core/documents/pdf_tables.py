"""Finds tables on a page of a PDF: cells between ruled lines, and columns that are aligned without any.

A PDF knows letters at places, and lines; nothing in it is a table. A page is looked at only where something hints at
one, because that takes as long as to read its text. What is uncertain stays text: a table that is none would be worse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any

from pypdf._text_extraction._layout_mode._fixed_width_page import recurse_to_target_op
from pypdf._text_extraction._layout_mode._text_state_manager import TextStateManager
from pypdf.errors import PyPdfError
from pypdf.generic import ContentStream

from core.documents.asked import MOST_WHOLE_CELL, row_of

NEAR = 3.0  # points; what is so near is on one line
THIN = 3.0  # points; a rectangle that is thinner is a line
GAP = 1.0  # between two cells of a line, in heights of the text; between words it is a third
LEAST_ROWS = 3  # of a table without lines
LONGEST_CELL = 30  # characters of its cells, on average; columns of prose have more
MOST_RULES, MOST_RUNS = 800, 20_000  # of a page that is looked at
MOST_BYTES = 6_000_000  # of the pages of a document that are looked at: 8 s of processor
DAMAGED = (PyPdfError, ValueError, KeyError, TypeError, IndexError, AttributeError, ArithmeticError, OSError)
_RULES = re.compile(rb"[\d.]\s+(?:re|l)\s")
_COUNTED = re.compile(r"[\d.()a-zA-Z•·▪–—*-]{1,4}\Z")  # what stands before the things of a list
_STROKES, _FILLS = frozenset({b"S", b"s", b"B", b"b", b"B*", b"b*"}), frozenset({b"f", b"F", b"f*"})
_IDENTITY = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)
Matrix = tuple[float, ...]


class Row(str):
    """A row of a table among a page's lines. head: the row that names the columns."""

    head = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A ruled line, across or down: the same twice in x or in y."""

    left: float
    low: float
    right: float
    high: float

    @property
    def across(self) -> bool:
        """Whether it is drawn from left to right."""
        return self.right - self.left >= self.high - self.low


@dataclass(slots=True)
class Run:
    """Letters that stand in a row. y: of their base line; points from the page's lower left corner."""

    text: str
    left: float
    right: float
    y: float
    height: float


@dataclass(slots=True)
class Cell:
    """Runs that belong together."""

    text: str
    left: float
    right: float


@dataclass(slots=True)
class Line:
    """A line of a page: cells, far from each other."""

    y: float
    cells: list[Cell]
    runs: list[Run] = field(default_factory=list)


class Tables:
    """Looks for the tables of one document, page by page."""

    def __init__(self) -> None:
        self._room = MOST_BYTES

    def lines(self, page: Any, text: str) -> list[str] | None:
        """The lines of a page, rows of tables as `Row`, in the order in which the page has them; None where no table
        is found. text: what the page says."""
        try:
            contents = page.get_contents()
            data = contents.get_data() if contents is not None else b""
            if len(data) > self._room or not _hints(data, text):
                return None
            self._room -= len(data)
            operations = ContentStream(contents, page.pdf, "bytes").operations
            if any(operator == b"Do" and _is_form(page, operands) for operands, operator in operations):
                return None  # its letters are not among those of the page
            runs = _runs(operations, page._layout_mode_fonts())
            return _told(runs, _rules(operations)) if len(runs) <= MOST_RUNS else None
        except (*DAMAGED, RecursionError):
            return None  # its text was read: that stands


def _hints(data: bytes, text: str) -> bool:
    if len(_RULES.findall(data)) >= 4:
        return True
    short = [len(line) < 60 and any(map(str.isdigit, line)) for line in text.splitlines()]
    return any(sum(short[at : at + 8]) >= 4 for at in range(len(short)))


def _is_form(page: Any, operands: Sequence[Any]) -> bool:
    objects = page.get("/Resources", {}).get_object().get("/XObject", {})
    found = objects.get_object().get(operands[0]) if operands and objects else None
    return found is not None and found.get_object().get("/Subtype") == "/Form"


def _runs(operations: Sequence[Any], fonts: Any) -> list[Run]:
    """All letters of the page, in its own order."""
    whole = iter(chain(operations, [([], b"Q")]))
    _, shown = recurse_to_target_op(whole, TextStateManager(), b"Q", fonts, False)
    return [
        Run(one.text, one.tx, _right(one), one.ty, max(one.font_height, 1.0))
        for one in shown
        if one.text and not one.rotated and not one.flip_vertical and one.font.interpretable
    ]


def _right(shown: Any) -> float:
    """Where letters end. Fonts that are not in the file have no widths, and count each letter as wide as a Chinese
    one."""
    width, letters = shown.displaced_tx - shown.tx, len(shown.text) * max(shown.font_height, 1.0)
    return float(shown.tx + (letters / 2 if shown.text.isascii() and width > 0.8 * letters else width))


# --- ruled lines --------------------------------------------------------------------------------------------------
def _rules(operations: Sequence[Any]) -> list[Rule]:
    """The lines that are drawn across and down; none where they are too many."""
    pen = _Pen()
    for operands, operator in operations:
        pen.do(operator, operands)
        if len(pen.found) > MOST_RULES:
            return []
    return [rule for rule in pen.found if min(rule.right - rule.left, rule.high - rule.low) <= THIN]


class _Pen:
    """Follows what is drawn. found: lines, and the edges of rectangles that are stroked."""

    def __init__(self) -> None:
        self.found: list[Rule] = []
        self._drawn: list[tuple[Rule, bool]] = []  # and whether it is the edge of an area
        self._matrix: Matrix = _IDENTITY
        self._kept: list[Matrix] = []
        self._at = (0.0, 0.0)

    def do(self, operator: bytes, operands: Sequence[Any]) -> None:
        """The next operation."""
        if operator == b"q":
            self._kept.append(self._matrix)
        elif operator == b"Q":
            self._matrix = self._kept.pop() if self._kept else _IDENTITY
        elif operator == b"cm":
            self._matrix = _times(_numbers(operands, 6), self._matrix)
        elif operator in (b"m", b"l", b"re"):
            self._draw(operator, operands)
        elif operator in _STROKES or operator in _FILLS:
            self.found += [rule for rule, edge in self._drawn if operator in _STROKES or not edge]
            self._drawn = []
        elif operator == b"n":
            self._drawn = []

    def _draw(self, operator: bytes, operands: Sequence[Any]) -> None:
        if operator == b"re":
            x, y, width, height = _numbers(operands, 4)
            self._drawn += _rectangle(_moved(self._matrix, x, y), _moved(self._matrix, x + width, y + height))
            return
        to = _moved(self._matrix, *_numbers(operands, 2))
        if operator == b"l":
            self._drawn.append((_between(self._at, to), False))
        self._at = to


def _numbers(operands: Sequence[Any], count: int) -> tuple[float, ...]:
    return tuple(map(float, operands[:count])) if len(operands) >= count else (0.0,) * count


def _times(one: Matrix, other: Matrix) -> Matrix:
    a, b, c, d, e, f = one
    g, h, i, j, k, m = other
    return a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + m


def _moved(matrix: Matrix, x: float, y: float) -> tuple[float, float]:
    a, b, c, d, e, f = matrix
    return a * x + c * y + e, b * x + d * y + f


def _between(one: tuple[float, float], other: tuple[float, float]) -> Rule:
    return Rule(min(one[0], other[0]), min(one[1], other[1]), max(one[0], other[0]), max(one[1], other[1]))


def _rectangle(one: tuple[float, float], other: tuple[float, float]) -> list[tuple[Rule, bool]]:
    whole = _between(one, other)
    if min(whole.right - whole.left, whole.high - whole.low) <= THIN:
        return [(whole, False)]
    corners = [(whole.left, whole.low), (whole.right, whole.low), (whole.right, whole.high), (whole.left, whole.high)]
    return [(_between(start, end), True) for start, end in pairwise([*corners, corners[0]])]


def _grids(rules: list[Rule]) -> Iterator[tuple[list[float], list[float]]]:
    """(from left to right where columns end, from top to bottom where rows do) of lines that touch each other."""
    groups: list[list[Rule]] = []
    for rule in rules:
        touched = [group for group in groups if any(_touch(rule, one) for one in group)]
        groups = [group for group in groups if group not in touched] + [[rule, *chain(*touched)]]
    for group in groups:
        xs = _places(one.left for one in group if not one.across)
        ys = _places(one.low for one in group if one.across)[::-1]
        if len(xs) > 2 and len(ys) > 2:
            yield xs, ys


def _touch(one: Rule, other: Rule) -> bool:
    across = one.left - NEAR <= other.right and other.left - NEAR <= one.right
    return across and one.low - NEAR <= other.high and other.low - NEAR <= one.high


def _places(numbers: Iterator[float]) -> list[float]:
    found: list[float] = []
    for number in sorted(numbers):
        if not found or number - found[-1] > NEAR:
            found.append(number)
    return found


# --- tables -------------------------------------------------------------------------------------------------------
def _told(runs: list[Run], rules: list[Rule]) -> list[str] | None:
    """As `Tables.lines`."""
    of_run: dict[int, int] = {}  # a run's id -> the table that it is in
    tables: list[list[list[str]]] = []
    for xs, ys in _grids(rules):
        inside = [run for run in runs if id(run) not in of_run and _in(run, xs, ys)]
        rows = _grid_rows(inside, xs, ys)
        if len(rows) > 1 and sum(bool(cell) for row in rows for cell in row) > 3:
            of_run |= {id(run): len(tables) for run in inside}
            tables.append(rows)
    lines = _lines([run for run in runs if id(run) not in of_run])
    for stretch in _aligned(lines):
        rows = _aligned_rows(stretch)
        if rows:
            of_run |= {id(run): len(tables) for line in stretch for run in line.runs}
            tables.append(rows)
    return _in_order(runs, of_run, tables) if tables else None


def _in(run: Run, xs: list[float], ys: list[float]) -> bool:
    return xs[0] - NEAR <= run.left <= xs[-1] and ys[-1] - NEAR <= run.y + run.height / 3 <= ys[0] + NEAR


def _grid_rows(runs: list[Run], xs: list[float], ys: list[float]) -> list[list[str]]:
    held: dict[tuple[int, int], list[Run]] = {}
    for run in runs:
        column = sum(run.left + NEAR >= x for x in xs[1:-1])
        row = sum(run.y + run.height / 3 <= y for y in ys[1:-1])
        held.setdefault((row, column), []).append(run)
    made = [[_joined(held.get((row, n), [])) for n in range(len(xs) - 1)] for row in range(len(ys) - 1)]
    return [row for row in made if any(row)]


def _joined(runs: list[Run]) -> str:
    return " ".join(cell.text for line in _lines(runs) for cell in line.cells)


def _lines(runs: list[Run]) -> list[Line]:
    """The lines that runs make, in their order; what is far from what stands before it is a cell of its own."""
    lines: list[Line] = []
    for run in runs:
        line = lines[-1] if lines else None
        cell = line.cells[-1] if line else None
        if line and cell and abs(run.y - line.y) <= run.height / 2 and run.left >= cell.right - run.height:
            space = run.left - cell.right
            if space > GAP * run.height and cell.text.strip():
                line.cells.append(Cell(run.text, run.left, run.right))
            else:
                cell.text += (" " if space > 0.15 * run.height else "") + run.text
                cell.right = run.right
            line.runs.append(run)
        elif run.text.strip():
            lines.append(Line(run.y, [Cell(run.text, run.left, run.right)], [run]))
    for line in lines:
        for cell in line.cells:
            cell.text = " ".join(cell.text.split())
        line.cells = [cell for cell in line.cells if cell.text]
    return lines


def _aligned(lines: list[Line]) -> Iterator[list[Line]]:
    """Stretches of lines below each other that have several cells each."""
    held: list[Line] = []
    for line in [*lines, Line(0.0, [])]:
        if len(line.cells) > 1 and (not held or line.y < held[-1].y):
            held.append(line)
            continue
        if len(held) >= LEAST_ROWS:
            yield held
        held = [line] if len(line.cells) > 1 else []


def _aligned_rows(lines: list[Line]) -> list[list[str]]:
    """The rows, where the cells are in columns and look like those of a table; else none."""
    columns = max(lines, key=lambda line: len(line.cells)).cells
    rows: list[list[str]] = []
    for line in lines:
        row, at = [""] * len(columns), 0
        for cell in line.cells:
            at = next((n for n in range(at, len(columns)) if _below(cell, columns[n])), len(columns))
            if at == len(columns):
                return []
            row[at] = cell.text
            at += 1
        rows.append(row)
    cells = [cell for row in rows for cell in row if cell]
    if sum(map(len, cells)) > LONGEST_CELL * len(cells):
        return []
    if len(columns) == 2:
        figures = sum(any(map(str.isdigit, row[1])) for row in rows)
        if figures * 2 < len(rows) or all(_COUNTED.match(row[0]) for row in rows):
            return []
    return rows


def _below(cell: Cell, column: Cell) -> bool:
    edges = abs(cell.left - column.left), abs(cell.right - column.right)
    return min(*edges, abs(cell.left + cell.right - column.left - column.right) / 2) <= NEAR


def _in_order(runs: list[Run], of_run: dict[int, int], tables: list[list[list[str]]]) -> list[str]:
    """The page's lines; each table where its first letters are."""
    found: list[str] = []
    held: list[Run] = []
    told: set[int] = set()

    def flush() -> None:
        found.extend(" ".join(cell.text for cell in line.cells) for line in _lines(held))
        held.clear()

    for run in runs:
        table = of_run.get(id(run))
        if table is None:
            held.append(run)
        elif table not in told:
            flush()
            told.add(table)
            found.extend(_rows(tables[table]))
    flush()
    return found


def _rows(rows: list[list[str]]) -> Iterator[Row]:
    head = row_of(rows[0], MOST_WHOLE_CELL)
    for cells in rows[1:]:
        row = Row(row_of(cells, MOST_WHOLE_CELL))
        row.head = head
        yield row
