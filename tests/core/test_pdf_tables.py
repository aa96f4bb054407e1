"""Tables on pages of a PDF: ruled ones, aligned ones, and what only looks like one."""

from __future__ import annotations

import io

import pytest

from core.documents import pdf, pdf_tables
from core.documents.asked import Asked
from core.documents.pdf_tables import Tables
from tests.core.test_documents import stream_pdf

HEAD, LISBON, PORTO = ("City", "Nights", "Price"), ("Lisbon", "2", "90 EUR"), ("Porto", "1", "75 EUR")
ROWS = (HEAD, LISBON, PORTO, ("Total", "", "165 EUR"))
XS = (60, 160, 280)


def text(x: float, y: float, words: str) -> str:
    return f"BT /F1 10 Tf 1 0 0 1 {x} {y} Tm ({words}) Tj ET\n"


def written(rows: tuple[tuple[str, ...], ...], top: float = 700, step: float = 20) -> str:
    return "".join(
        text(x, top - step * n, cell) for n, row in enumerate(rows) for x, cell in zip(XS, row, strict=False) if cell
    )


def ruled(top: float = 715, rows: int = 4, step: float = 20) -> str:
    """Half of the lines are drawn as lines in a scaled space, the others as thin rectangles."""
    low = top - step * rows
    across = "".join(
        f"{50 / 2} {(top - step * n) / 2} m {330 / 2} {(top - step * n) / 2} l S\n" for n in range(rows + 1)
    )
    down = "".join(f"{x} {low} 0.5 {top - low} re f\n" for x in (50, 150, 270, 330))
    return f"q 2 0 0 2 0 0 cm\n{across}Q\n{down}"


def blocks(stream: str) -> list[tuple[str, str]]:
    """(text, head of the table) of the page's blocks."""
    found = pdf.whole_pdf(io.BytesIO(stream_pdf(stream.encode())), Asked("a.pdf"))
    return [(one.text, one.head) for one in found]


TOLD = [
    ("\t".join(LISBON), "\t".join(HEAD)),
    ("\t".join(PORTO), "\t".join(HEAD)),
    ("Total\t\t165 EUR", "\t".join(HEAD)),
]
BEFORE, AFTER = text(60, 740, "What nights cost."), text(60, 600, "Prices of 2026.")


@pytest.mark.parametrize("lines", [ruled(), ""], ids=["ruled", "aligned"])
def test_the_rows_of_a_table_stand_under_its_head(lines: str) -> None:
    assert blocks(BEFORE + lines + written(ROWS) + AFTER) == [
        ("What nights cost.", ""), *TOLD, ("Prices of 2026.", ""),
    ]  # fmt: skip


def test_a_cell_of_several_lines_is_one_cell() -> None:
    tall = (("Item", "Fee"), ("Late return of", ""), ("the car", "25"), ("Lost key", "180"))
    lines = "".join(f"50 {y} m 330 {y} l S\n" for y in (715, 695, 655, 635))
    down = "".join(f"{x} 635 m {x} 715 l S\n" for x in (50, 150, 330))
    assert blocks(lines + down + written(tall)) == [
        ("Late return of the car\t25", "Item\tFee"),
        ("Lost key\t180", "Item\tFee"),
    ]


@pytest.mark.parametrize(
    "rows",
    [
        tuple(
            (f"The rent is due on the {n}th day of each", "", f"month, and the keeper sends {n} of") for n in range(9)
        ),
        tuple((f"{n}.", f"thing of the year 202{n}") for n in range(1, 6)),
        (("Name", "Mia Berger"), ("Town", "Bonn"), ("Street", "Long Lane"), ("Year", "2026")),
        (("Only", "two"), ("rows", "2")),
    ],
    ids=["columns of prose", "a list", "names and values", "two lines"],
)
def test_what_is_no_table_stays_text(rows: tuple[tuple[str, ...], ...]) -> None:
    told = blocks("0 0 1 1 re f\n" * 4 + written(rows))
    assert all(head == "" for _, head in told)
    words = " ".join(one for one, _ in told).split()
    assert sorted(words) == sorted(word for row in rows for cell in row for word in cell.split())


def test_a_frame_around_text_is_no_table_and_clipping_draws_nothing() -> None:
    frame = "50 580 300 200 re S\n" + "".join(f"50 {y} 300 20 re W n\n" for y in range(580, 780, 20))
    assert all(
        head == "" for _, head in blocks(frame + text(60, 700, "One paragraph.") + text(60, 680, "And another 1."))
    )


def test_hostile_and_huge_pages_leave_their_text(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = written(ROWS) + ruled()
    nested = "q " * 3000 + "1 0 0 1 x y cm (broken) re 1 l S " + "Q " * 3000
    many = "".join(f"{n % 500} {n % 700} m {n % 500 + 90} {n % 700} l S\n" for n in range(pdf_tables.MOST_RULES + 5))
    for stream in (nested + grid, many + grid):
        assert any("Lisbon" in one for one, _ in blocks(stream))
    monkeypatch.setattr(pdf_tables, "MOST_BYTES", 100)
    assert all(head == "" for _, head in blocks(grid))
    assert Tables().lines(None, "") is None
