"""Whole documents as blocks: what is read of each format, and hostile ones (A46, A49-A51, P59, T20)."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from core.documents.asked import Asked
from core.documents.blocks import MOST_TEXT, told_blocks
from core.documents.blocks import Block as Told
from core.documents.kinds import whole_kind_of
from core.documents.lines import Line, rows_as_lines
from core.documents.ocr import MISSING, _lines, _Word, installed, ocr_image
from core.documents.word import whole_docx
from tests.core.test_documents import ENTITIES, XXE, link, nursed, pages, workbook
from tests.lazy import Lazy
from tests.office import P, W, archive, docx, grid, paragraph, pptx, shape, table

pypdf = Lazy("pypdf")

STYLES = f"""<w:styles {W}>
<w:style w:type="paragraph" w:styleId="T"><w:name w:val="Title"/></w:style>
<w:style w:type="paragraph" w:styleId="1"><w:name w:val="heading 1"/></w:style>
<w:style w:type="paragraph" w:styleId="2"><w:name w:val="heading 2"/></w:style>
<w:style w:type="paragraph" w:styleId="Own"><w:name w:val="Chapter"/><w:basedOn w:val="2"/></w:style>
<w:style w:type="paragraph" w:styleId="A"><w:name w:val="a"/><w:basedOn w:val="B"/></w:style>
<w:style w:type="paragraph" w:styleId="B"><w:name w:val="b"/><w:basedOn w:val="A"/></w:style></w:styles>"""
NUMBERING = f"""<w:numbering {W}><w:abstractNum w:abstractNumId="7">
<w:lvl w:ilvl="0"><w:numFmt w:val="decimal"/></w:lvl><w:lvl w:ilvl="1"><w:numFmt w:val="bullet"/></w:lvl></w:abstractNum>
<w:num w:numId="3"><w:abstractNumId w:val="7"/></w:num></w:numbering>"""
NOTES = f"""<w:footnotes {W}><w:footnote w:type="separator"><w:p/></w:footnote>
<w:footnote w:id="2">{paragraph("A note.")}</w:footnote></w:footnotes>"""


def entry(text: str, depth: int = 0) -> str:
    return paragraph(text, "", f'<w:numPr><w:ilvl w:val="{depth}"/><w:numId w:val="3"/></w:numPr>')


def letter() -> bytes:
    changed = (
        "<w:p><w:r><w:t>Kept</w:t></w:r><w:ins><w:r><w:t> and added</w:t></w:r></w:ins>"
        "<w:del><w:r><w:delText> gone</w:delText></w:r></w:del>"
        "<w:sdt><w:sdtContent><w:r><w:t>, filled in</w:t></w:r></w:sdtContent></w:sdt></w:p>"
    )
    boxed = (
        '<w:p><w:r><mc:AlternateContent xmlns:mc="m"><mc:Choice><w:txbxContent>'
        f"{paragraph('Boxed')}</w:txbxContent></mc:Choice><mc:Fallback>{paragraph('Boxed')}</mc:Fallback>"
        "</mc:AlternateContent></w:r></w:p>"
    )
    body = (
        paragraph("Rules", "T") + paragraph("Travel", "1") + changed + entry("first") + entry("inner", 1) + entry("second")
        + "<w:p><w:r><w:lastRenderedPageBreak/><w:t>Second page.</w:t></w:r></w:p>" + paragraph("Hotels", "Own") + boxed
        + table(("city", "most"), ("Bonn", "90"), ("北京", "120")) + paragraph("", "1") + paragraph("Odd", "A")
    )  # fmt: skip
    return docx(body, styles=STYLES, numbering=NUMBERING, footnotes=NOTES)


def scan() -> bytes:
    """A PDF with a page of text under two bookmarks, and one that is a picture."""
    from PIL import Image

    made = io.BytesIO()
    Image.new("RGB", (40, 40), "white").save(made, "PDF")
    writer = pypdf.PdfWriter()
    writer.append(io.BytesIO(pages("Deposits are returned.")))
    writer.append(io.BytesIO(made.getvalue()))
    chapter = writer.add_outline_item(title="Money", page_number=0)
    writer.add_outline_item(title="Deposits are returned.", page_number=0, parent=chapter)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


PAGE = """<html><head><title>Shop</title></head><body><nav><a>Home</a></nav><main><h1>Fees</h1><p>They are due.
<table><tr><th>what<th>fee<tr><td>post<td>3</table><h2>Late</h2><ul><li>one<li>two</ul><script>x()</script></main>
<footer>Imprint</footer></body></html>"""


def books(book: Any) -> None:
    book.active.title = "Parts"
    for row in (["part", "price"], ["hinge", 2], [], ["bolt", 3]):
        book.active.append(row)
    book.create_sheet("Empty")


def test_what_is_read_of_each_format() -> None:
    """One process for all of them: (text, page, heading, head of the table)."""
    deck = pptx(
        shape("Plan", "title") + shape("Buy\nBuild") + grid(("who", "when"), ("Mia", "May")) + shape("7", "sldNum"),
        "<p:grpSp>" + shape("No title here") + "</p:grpSp>",
        notes="Say hello.",
    )
    files: dict[str, tuple[bytes, list[list[Any]]]] = {
        "docx": (letter(), [
            ["Kept and added, filled in", 1, "Rules › Travel", ""], ["1. first", 1, "Rules › Travel", ""],
            ["- inner", 1, "Rules › Travel", ""], ["2. second", 1, "Rules › Travel", ""],
            ["Second page.", 1, "Rules › Travel", ""], ["Boxed", 2, "Rules › Travel › Hotels", ""],
            ["Bonn\t90", 2, "Rules › Travel › Hotels", "city\tmost"],
            ["北京\t120", 2, "Rules › Travel › Hotels", "city\tmost"], ["Odd", 2, "Rules › Travel › Hotels", ""],
            ["A note.", None, "Rules › Travel › Hotels", ""],
        ]),
        "pptx": (deck, [
            ["Buy\nBuild", 1, "Plan", ""], ["Mia\tMay", 1, "Plan", "who\twhen"], ["Notes: Say hello.", 1, "Plan", ""],
            ["No title here", 2, "", ""],
        ]),
        "xlsx": (workbook(books), [["hinge\t2", None, "Parts", "part\tprice"], ["bolt\t3", None, "Parts", "part\tprice"]]),
        "html": (PAGE.encode(), [
            ["Shop", None, "", ""], ["They are due.", None, "Fees", ""], ["post\t3", None, "Fees", "what\tfee"],
            ["one", None, "Fees › Late", ""], ["two", None, "Fees › Late", ""],
        ]),
        "markdown": (b"# A\nintro\n| n | v |\n|---|:-:|\n| a\\|b | 1 |\n\n```\n|x|\n|-|\n```\n", [
            ["intro", None, "A", ""], ["a|b\t1", None, "A", "n\tv"], ["```\n|x|\n|-|\n```", None, "A", ""],
        ]),
        "csv": ("名;值\n甲;1\n".encode("gb18030"), [["甲\t1", None, "", "名\t值"]]),
        "pdf": (scan(), [["Deposits are returned.", 1, "Money › Deposits are returned.", ""], ["", 2, "Money › Deposits are returned.", ""]]),
    }  # fmt: skip
    ends = nursed([(f"whole:{kind}", data) for kind, (data, _) in files.items()])
    for (kind, (_, wanted)), (said, status) in zip(files.items(), ends, strict=True):
        assert (status, said[-1]) == (0, {"end": True}), (kind, said)
        found = [row for batch in said[:-1] for row in batch]
        assert [row[:4] for row in found] == wanted, kind
        assert [row[4] for row in found] == [kind == "pdf" and row[1] == 2 for row in found]


DEEP = "<w:sdt><w:sdtContent>" * 20_000
HOSTILE: dict[str, tuple[str, Callable[[], bytes]]] = {
    "docx a bomb": ("docx", lambda: archive(("word/document.xml", b" " * 3_000_000))),
    "docx many entries": ("docx", lambda: archive(*((f"word/{n}.xml", b"") for n in range(10_000)))),
    "docx a link": ("docx", lambda: archive(("word/document.xml", b"/etc/passwd"), patch=link)),
    "docx a way out": ("docx", lambda: archive(("../../etc/cron.d/x", b"x"), ("word/document.xml", b"x"))),
    "docx a workbook": ("docx", lambda: archive(("xl/workbook.xml", b"<x/>"))),
    "docx in a docx": ("docx", lambda: archive(("word/document.xml", docx(paragraph("x"))))),
    "docx billion laughs": ("docx", lambda: archive(("word/document.xml", ENTITIES + b"<a>&x8;</a>"))),
    "docx a foreign entity": ("docx", lambda: archive(("word/document.xml", XXE + b"<a>&x;</a>"))),
    "docx entities in its styles": ("docx", lambda: docx(paragraph("x"), styles=(XXE + b"<a>&x;</a>").decode())),
    "docx a foreign DTD": ("docx", lambda: archive(("word/document.xml", b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x"><a/>'))),
    "docx deep": ("docx", lambda: docx(f"<w:p>{DEEP}<w:r><w:t>x</w:t></w:r>{'</w:sdtContent></w:sdt>' * 20_000}</w:p>")),
    "docx half of one": ("docx", lambda: letter()[:900]),
    "docx broken XML": ("docx", lambda: docx("<w:p><w:r>")),
    "docx empty": ("docx", lambda: docx("")),
    "docx noise": ("docx", lambda: b"PK\x03\x04" + bytes(range(256)) * 20),
    "pptx a bomb": ("pptx", lambda: archive(("ppt/presentation.xml", b" " * 3_000_000))),
    "pptx a foreign entity": ("pptx", lambda: pptx("</p:spTree></p:cSld></p:sld>" + XXE.decode())),
    "pptx a slide that is not there": ("pptx", lambda: archive(("ppt/presentation.xml", f'<p:presentation {P}><p:sldIdLst><p:sldId r:id="rId9"/></p:sldIdLst></p:presentation>'.encode()))),
    "pptx a slide outside": ("pptx", lambda: pptx(shape("x")).replace(b"slides/slide1.xml", b"../../etc/pass.xml")),
    "pptx half of one": ("pptx", lambda: pptx(shape("x"))[:300]),
    "xlsx a bomb": ("xlsx", lambda: archive(("xl/workbook.xml", b" " * 3_000_000))),
    "pdf only a head": ("pdf", lambda: b"%PDF-1.4"),
    "pdf bookmarks in a circle": ("pdf", lambda: scan().replace(b"/Next", b"/Prev")),
    "html deep": ("html", lambda: b"<div><table><tr><td>" * 10_000),
    "html an endless tag": ("html", lambda: b"<a " + b"x=1 " * 50_000),
    "markdown many bars": ("markdown", lambda: b"|" * 100_000 + b"\n" + b"|-" * 50_000),
}  # fmt: skip
READ = {
    "html deep",
    "html an endless tag",
    "markdown many bars",
    "pdf a stream that unpacks",
    "pdf bookmarks in a circle",
}


@pytest.mark.exhaustive
def test_hostile_documents_end_as_a_sentence() -> None:
    ends = nursed([(f"whole:{kind}", make()) for kind, make in HOSTILE.values()])
    for name, (said, status) in zip(HOSTILE, ends, strict=True):
        assert status == 0, (name, status)
        assert "end" in said[-1] or said[-1]["error"].endswith("."), (name, said[-1])
        assert ("error" in said[-1]) or name in READ, (name, str(said)[:300])
        whole = str(said)
        assert "root:" not in whole, name
        assert "AAAAAAAAAA" not in whole, name


def test_pictures() -> None:
    """A picture that says that it is huge is not unpacked; without the packages each says what is missing."""

    def png(width: int, height: int) -> bytes:
        def part(kind: bytes, data: bytes) -> bytes:
            return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

        head = width.to_bytes(4) + height.to_bytes(4) + b"\x08\x02\x00\x00\x00"
        return (
            b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(b"\0" * 100)) + part(b"IEND", b"")
        )

    assert whole_kind_of("a.txt", png(1, 1)) == "image"
    if not installed():
        with pytest.raises(Exception, match="OCR is not installed"):
            list(ocr_image(io.BytesIO(png(50_000, 50_000)), Asked("a")))
    assert "requirements-ocr.txt" in MISSING
    words = [_Word("world", 60, 11, 20), _Word("Hello", 5, 10, 21), _Word("Below", 5, 60, 70), _Word("it", 40, 59, 71)]
    assert list(_lines(words)) == ["Hello world", "", "Below it"]


def test_lines_and_long_texts() -> None:
    assert list(rows_as_lines(iter([]))) == []
    assert list(rows_as_lines(iter(["a"]))) == [Line("a")]
    text = "word. " * 10_000
    found = list(told_blocks([Told(text)]))
    assert max(len(one.text) for one in found) <= MOST_TEXT
    assert "".join(one.text for one in found) == text.strip()
    with pytest.raises(Exception, match="no text"):
        list(whole_docx(io.BytesIO(docx(paragraph(" "))), Asked("a")))


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.bin", docx(paragraph("x")), "docx"), ("a.docx", pptx(shape("x")), "pptx"), ("a.zip", archive(("x", b"x")), None),
        ("a.html", b"<script>", "html"), ("a.txt", b"\n<!DOCTYPE html><p>x", "html"), ("a.gif", b"GIF89a", "image"),
        ("a.webp", b"RIFF\0\0\0\0WEBP", "image"), ("a.docx", b"text", "text"), ("a.png", b"MZ\x90", None),
    ],
)  # fmt: skip
def test_kinds_of_whole_documents(name: str, data: bytes, kind: str | None) -> None:
    """A48."""
    assert whole_kind_of(name, data[:65536], data[-65536:]) == kind
