"""Files are known by their bytes, read in a process that can do nothing else, and a hostile one ends as a sentence
(A46-A51, P59, as far as they concern PDF, Excel and text)."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pickle
import stat
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.documents import confined
from core.documents.asked import Asked, Unreadable, span
from core.documents.kinds import inert_name, kind_of
from core.documents.text import decoded
from tests.contracts.sampling import SAMPLED, turn
from tests.lazy import Lazy
from tests.office import archive

openpyxl = Lazy("openpyxl")
pypdf = Lazy("pypdf")
ROOT = Path(__file__).resolve().parent.parent.parent


async def reads(data: bytes, kind: str, **asked: str) -> str:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        return await confined.read(file, kind, Asked(f"a.{kind}", **asked))


# --- what a reader may do -----------------------------------------------------------------------------
TRIES = """
import io, json, os, socket, subprocess, sys, tempfile, urllib.request, zlib
sys.path[:] = {paths}
from core.documents import child
child.confine()
def tried(name, act):
    try:
        act()
    except BaseException as error:
        return name, type(error).__name__
    return name, "done"
print(json.dumps([
    tried("socket", lambda: socket.socket()),
    tried("connect", lambda: socket.create_connection(("127.0.0.1", {port}), 1)),
    tried("raw socket", lambda: __import__("_socket").socket(2, 1)),
    tried("url", lambda: urllib.request.urlopen("http://127.0.0.1:{port}/", timeout=1)),
    tried("read", lambda: open("/etc/passwd")),
    tried("write", lambda: open("/tmp/files-of-a-reader", "w")),
    tried("python file to write", lambda: open("/tmp/x.py", "w")),
    tried("descriptor", lambda: os.open("/etc/passwd", 0)),
    tried("temporary", lambda: tempfile.TemporaryFile()),
    tried("program", lambda: subprocess.run(["true"])),
    tried("system", lambda: os.system("true")),
    tried("fork", lambda: os.fork()),
    tried("list", lambda: os.listdir("/")),
    tried("remove", lambda: os.remove("/tmp/files-of-a-reader")),
    tried("library", lambda: __import__("ctypes").CDLL("libc.so.6")),
    tried("memory", lambda: bytearray(2 * 1024**3)),
    tried("limits", lambda: __import__("resource").setrlimit(9, (-1, -1))),
] + [("uid", os.getuid())]))
"""


def test_a_reader_has_no_network_no_files_no_programs_and_little_memory() -> None:
    code = TRIES.format(paths=repr([path for path in sys.path if path]), port=9)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    found = dict(json.loads(done.stdout))
    uid = found.pop("uid")
    assert {name for name, what in found.items() if what == "done"} == set(), found
    assert found["memory"] == "MemoryError"
    assert uid != 0


# --- what is read -------------------------------------------------------------------------------------
def workbook(fill: Callable[[Any], None]) -> bytes:
    book = openpyxl.Workbook()
    fill(book)
    made = io.BytesIO()
    book.save(made)
    return made.getvalue()


def numbers(book: Any) -> None:
    import datetime

    sheet = book.active
    sheet.title = "Sales"
    for row in range(300):
        sheet.append([row, f"name {row}", datetime.date(2026, 1, 1), "=1+1", None, "a\tb"])
    book.create_sheet("Other").append(["x"])


def pages(*texts: str) -> bytes:
    """A PDF with these lines, a page each; written by hand, so that no other library is needed."""
    count = len(texts)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(b"%d 0 R" % (4 + 2 * n) for n in range(count)), count),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(texts):
        stream = b"BT /F1 12 Tf 72 700 Td (%s) Tj ET" % text.encode()
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % (5 + 2 * number)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    xref = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, xref)
    return bytes(out)


async def test_files_are_read_in_parts() -> None:
    book, letter = workbook(numbers), pages("Dear Mia", "The total is 397.8", "Yours")
    sheet, found, pdf, places, table = await asyncio.gather(
        reads(book, "xlsx", rows="3-4"),
        reads(book, "xlsx", sheet="Sales", query="NAME 299"),
        reads(letter, "pdf", pages="1-2"),
        reads(letter, "pdf", query="total"),
        reads("名;值\n甲;1\n乙;2\n".encode("gb18030"), "csv", rows="3"),
    )
    assert sheet.splitlines() == [
        "a.xlsx: Excel, sheet 'Sales', 300 rows. Sheets: Sales, Other. Rows 3 to 4:",
        "1: 0\tname 0\t2026-01-01 00:00:00\t\t\ta b",
        "3: 2\tname 2\t2026-01-01 00:00:00\t\t\ta b",
        "4: 3\tname 3\t2026-01-01 00:00:00\t\t\ta b",
    ]
    assert found.splitlines()[-1].startswith("300: 299\tname 299")
    assert "--- page 2 ---\nThe total is 397.8" in pdf
    assert "Yours" not in pdf
    assert places.splitlines()[1:] == ["2: The total is 397.8"]
    assert table.splitlines() == ["a.csv: CSV, 3 rows. Rows 3 to 3:", "1: 名\t值", "3: 乙\t2"]


# --- hostile files ------------------------------------------------------------------------------------
def link(info: zipfile.ZipInfo) -> None:
    info.external_attr = (stat.S_IFLNK | 0o777) << 16


def sheet_of(xml: bytes) -> bytes:
    """A workbook whose one sheet is this XML."""
    plain = workbook(lambda book: book.active.append(["x"]))
    with zipfile.ZipFile(io.BytesIO(plain)) as file:
        entries = [(name, xml if name == "xl/worksheets/sheet1.xml" else file.read(name)) for name in file.namelist()]
    return archive(*entries)


def lying(data: bytes) -> bytes:
    """An archive whose directory says that its first entry is small: what it unpacks to is not believed either."""
    place = data.rindex(b"PK\x01\x02")
    return data[: place + 24] + (100).to_bytes(4, "little") + data[place + 28 :]


def encrypted_pdf() -> bytes:
    writer = pypdf.PdfWriter()
    writer.add_blank_page(100, 100)
    writer.encrypt("secret", algorithm="RC4-128")
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


@cache
def bomb() -> bytes:
    return zlib.compress(b" " * 300_000_000, 1)


def stream_pdf(stream: bytes, extra: bytes = b"") -> bytes:
    page = pages("x")
    start, end = page.index(b"<< /Length"), page.index(b"endstream")
    return page[:start] + b"<< /Length %d %s >>\nstream\n%s\n" % (len(stream), extra, stream) + page[end:]


NS = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
ENTITIES = b'<!DOCTYPE a [<!ENTITY x "' + b"A" * 1000 + b'">' + b"".join(
    b'<!ENTITY x%d "%s">' % (n, b"&x;" * 10 if n == 0 else b"&x%d;" % (n - 1) * 10) for n in range(9)
) + b"]>"  # fmt: skip
XXE = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
XLSX: dict[str, Callable[[], bytes]] = {
    "a bomb": lambda: archive(("xl/workbook.xml", b" " * 150_000_000)),
    "a bomb in many parts": lambda: archive(*((f"xl/{n}.xml", b"x" * 2_000_000) for n in range(110))),
    "many entries": lambda: archive(*((f"xl/{n}.xml", b"") for n in range(10_000))),
    "a link": lambda: archive(("xl/workbook.xml", b"/etc/passwd"), patch=link),
    "a way out": lambda: archive(("../../etc/cron.d/x", b"x"), ("xl/workbook.xml", b"x")),
    "an absolute name": lambda: archive(("/etc/cron.d/x", b"x"), ("xl/workbook.xml", b"x")),
    "a docx": lambda: archive(("word/document.xml", b"<w/>")),
    "an empty archive": lambda: archive(),
    "a directory that lies": lambda: lying(archive(("xl/workbook.xml", b"<workbook/>" * 100_000))),
    "half of one": lambda: workbook(numbers)[:3000],
    "no archive": lambda: b"PK\x03\x04" + os.urandom(2000),
    "nested archives": lambda: archive(("xl/workbook.xml", archive(("xl/workbook.xml", archive())))),
    "billion laughs": lambda: sheet_of(ENTITIES + NS + b'<row><c t="inlineStr"><is><t>&x8;</t></is></c></row></sheetData></worksheet>'),
    "a foreign entity": lambda: sheet_of(XXE + NS + b'<row><c t="inlineStr"><is><t>&x;</t></is></c></row></sheetData></worksheet>'),
    "deep XML": lambda: sheet_of(b"<a>" * 200_000),
    "broken XML": lambda: sheet_of(NS + b"<row><c>"),
    "no workbook in it": lambda: archive(("xl/workbook.xml", b"<x/>"), ("[Content_Types].xml", b"<Types/>")),
}  # fmt: skip
PDF: dict[str, Callable[[], bytes]] = {
    "only a head": lambda: b"%PDF-1.4",
    "noise": lambda: b"%PDF-1.7\n" + os.urandom(5000),
    "half of one": lambda: pages("one", "two")[:300],
    "no page": lambda: pages(),
    "too many pages": lambda: pages(*["x"] * 501),
    "a password": encrypted_pdf,
    "a stream that unpacks": lambda: stream_pdf(bomb(), b"/Filter /FlateDecode"),
    "a stream in a stream": lambda: stream_pdf(zlib.compress(bomb(), 9), b"/Filter [/FlateDecode /FlateDecode]"),
    "a broken stream": lambda: stream_pdf(b"\x78\x9c" + os.urandom(500), b"/Filter /FlateDecode"),
    "a page that is its own parent": lambda: pages("x").replace(b"/Kids [4 0 R]", b"/Kids [2 0 R]"),
    "an object that is itself": lambda: pages("x").replace(b"/Contents 5 0 R", b"/Contents 4 0 R"),
    "a wrong table": lambda: pages("x").replace(b"startxref\n", b"startxref\n9"),
    "a deep array": lambda: pages("x").replace(b"/MediaBox [0 0 612 792]", b"/MediaBox " + b"[" * 50_000),
    "a deep dictionary": lambda: stream_pdf(b"<</A " * 20_000),
    "a font that is no font": lambda: pages("x").replace(b"/Type1", b"/Type3"),
    "HTML": lambda: b"<html>%PDF-1.4<script>alert(1)</script></html>",
}
# Nothing of these may fail, however odd they are.
TEXT: dict[str, tuple[str, bytes]] = {
    "one endless line": ("text", b"x" * 5_000_000),
    "lines without end": ("text", b"\n" * 1_000_000),
    "halves of characters": ("text", b"\xed\xa0\x80\xff\xfe\x80" * 1000),
    "half of UTF-16": ("text", b"\xff\xfea"),
    "deep JSON": ("json", b"[" * 200_000 + b"]" * 200_000),
    "huge numbers": ("json", b"[" + b"9" * 5000 + b", 1e999, NaN]"),
    "broken JSON": ("json", b'{"a": '),
    "control characters": ("text", bytes(range(1, 32)) * 100),
    "right to left": ("text", "\u202eevil\u202c".encode()),
    "many columns": ("csv", b"," * 100_000 + b"\n"),
    "quotes without end": ("csv", b'"' + b"a,\n" * 100_000),
    "formulas": ("csv", b"=cmd|' /C calc'!A0,@SUM(1),+1\n"),
}  # fmt: skip


# One process loads the readers and is forked for every file: each is confined as in life, and none has to start anew.
NURSERY = """
import io, json, os, pickle, resource, sys
sys.path[:] = {paths}
from core.documents import asked, child
readers = dict((kind, child.loaded(kind)) for kind in child.READERS if not kind.startswith("ocr:"))
for kind, data in pickle.load(sys.stdin.buffer):
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        child.confine()
        with os.fdopen(write, "w") as said:
            for line in child.lines(kind, readers[kind], io.BytesIO(data), dict(name="a", few=30)):
                print(json.dumps(line), file=said)
        os._exit(0)
    os.close(write)
    said = b""
    while part := os.read(read, 65536):
        said += part
    os.close(read)
    status = os.waitpid(pid, 0)[1]
    print(json.dumps([[json.loads(line) for line in said.splitlines()], os.waitstatus_to_exitcode(status)]), flush=True)
"""


def nursed(files: list[tuple[str, bytes]]) -> list[tuple[list[Any], int]]:
    """(kind, file) -> what its reader said, line by line, and the status it ended with."""
    code = NURSERY.format(paths=repr([path for path in sys.path if path]))
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(files), capture_output=True, timeout=140, cwd=ROOT, check=False
    )
    ends = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(ends) == len(files), done.stderr.decode()[-2000:]
    return [(said, status) for said, status in ends]


@SAMPLED
def test_hostile_files_end_as_a_sentence(rest: bool) -> None:
    """T20: more than forty, and what is read of none is anything else than its own."""
    assert len(XLSX) + len(PDF) + len(TEXT) > 40
    files = [(f"xlsx: {name}", "xlsx", make) for name, make in XLSX.items()]
    files += [(f"pdf: {name}", "pdf", make) for name, make in PDF.items()]
    files += [(f"text: {name}", kind, lambda data=data: data) for name, (kind, data) in TEXT.items()]
    files = [one for one in files if (turn(one[0]) % 6 == 0) is not rest]
    ends = nursed([(kind, make()) for _, kind, make in files])
    # Of these some may be read: what is odd about them is left out, or concerns nobody.
    harmless = {
        "pdf: a wrong table", "pdf: a broken stream", "pdf: an object that is itself", "pdf: a deep dictionary",
        "pdf: a font that is no font", "pdf: a page that is its own parent", "xlsx: broken XML", "pdf: a stream that unpacks",
        "pdf: a stream in a stream", "pdf: half of one", "xlsx: deep XML",
    }  # fmt: skip
    for (name, _, _), ((said,), code_) in zip(files, ends, strict=True):
        assert code_ == 0, (name, code_)
        text = said.get("text", said.get("error"))
        assert len(text) < 16_000, name
        assert "root:" not in text, name
        assert "AAAAAAAAAA" not in text, name
        assert "text" in said or text.endswith("."), (name, text)
        assert ("text" in said) == name.startswith("text: ") or name in harmless, (name, text)


@pytest.mark.exhaustive
async def test_a_reader_that_is_overwhelmed_hurts_nobody() -> None:
    """P59: the process that asks grows by little, whatever the file would become."""
    before = psutil.Process().memory_info().rss
    bombs = [XLSX["a bomb"](), stream_pdf(bomb(), b"/Filter /FlateDecode")]

    async def end_of(kind: str, data: bytes) -> str:
        try:
            return await reads(data, kind)
        except Unreadable as error:
            return str(error)

    ends = await asyncio.gather(*(end_of(kind, data) for kind, data in zip(("xlsx", "pdf"), bombs, strict=True)))
    assert all(len(one) < 1000 for one in ends)
    assert psutil.Process().memory_info().rss - before < 100 * 1024 * 1024


async def test_a_reader_that_takes_too_long_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow = tmp_path / "child.py"
    slow.write_text("import sys, time\nprint(1, file=sys.stderr)\ntime.sleep(60)")
    monkeypatch.setattr(confined, "CHILD", slow)
    monkeypatch.setattr(confined, "DEADLINE_SECONDS", 0.2)
    with pytest.raises(Unreadable, match="too long"):
        await reads(b"x", "text")
    flood = tmp_path / "flood.py"
    flood.write_text("import sys\nwhile True: sys.stdout.write('x' * 65536)")
    monkeypatch.setattr(confined, "CHILD", flood)
    monkeypatch.setattr(confined, "DEADLINE_SECONDS", 30.0)
    with pytest.raises(Unreadable):
        await reads(b"x", "text")
    assert not [one for one in psutil.Process().children() if one.name().startswith("python")]


# --- names and kinds ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a.pdf", b"%PDF-1.7\n", "pdf"), ("a.txt", b"%PDF-1.7\n", "pdf"), ("a.pdf", b"hello", "text"),
        ("a.xlsx", b"PK\x03\x04", "xlsx"), ("a.docx", b"PK\x03\x04", None), ("a.txt", b"PK\x03\x04", None),
        ("a.csv", b"a,b", "csv"), ("a.json", b"{}", "json"), ("a.MD", b"# a", "markdown"), ("a", b"a", "text"),
        ("a.html", b"<script>", "text"), ("a.svg", b"<svg/>", "text"), ("a.png", b"\x89PNG\r\n", None),
        ("a.csv", b"a\x00b", None), ("a.txt", b"", None), ("a.txt", b"\xff\xfea\x00", "text"), ("a.exe", b"MZ\x90", None),
        ("a.csv", b"\x1f\x8b", None),
    ],
)  # fmt: skip
def test_kinds(name: str, head: bytes, kind: str | None) -> None:
    """A48: what a file is called does not make it anything that it is not."""
    assert kind_of(name, head) == kind


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"), ("C:\\Windows\\a.txt", "a.txt"), ("/abs/a.pdf", "a.pdf"), ("a\x00b.txt", "ab.txt"),
        ("\u202egpj.exe", "gpj.exe"), ("a\r\nSet-Cookie: x.txt", "aSet-Cookie x.txt"), ("", "file"), ("...", "file"),
        ("CON.txt", "_CON.txt"), ("nul", "_nul"), ('a"b<c>.csv', "abc.csv"), ("x" * 300 + ".xlsx", "x" * 115 + ".xlsx"),
        ("报告 (1).pdf", "报告 (1).pdf"), ("a].txt", "a.txt"), ("  a  b .txt", "a b .txt"),
    ],
)  # fmt: skip
def test_names_are_inert(name: str, kept: str) -> None:
    """A47."""
    assert inert_name(name) == kept


def test_parts_and_encodings() -> None:
    assert list(span("", 9, 3)) == [1, 2, 3]
    assert list(span(" 2 - 4 ", 9, 3)) == [2, 3, 4]
    assert list(span("2-999999999", 2, 3)) == [2, 3]
    for bad in ("x", "0", "3-2", "1-", "1,2", "9" * 30):
        with pytest.raises(Unreadable):
            span(bad, 9, 3)
    assert (
        decoded("é名".encode("utf-16")) == decoded("é名".encode()) == decoded(b"\xef\xbb\xbf" + "é名".encode()) == "é名"
    )
    assert decoded(b"\xff\xff") == "ÿÿ"
