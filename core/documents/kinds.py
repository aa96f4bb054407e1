"""What a file is, by its bytes and not by its name; the name decides only what a text is (A48)."""

from __future__ import annotations

import unicodedata
from pathlib import PurePath

KINDS = ("pdf", "xlsx", "csv", "json", "markdown", "text")
# What whole documents may be besides (`whole_kind_of`).
WHOLE_KINDS = (*KINDS, "docx", "pptx", "html", "image")
HEAD_BYTES = 64 * 1024
MOST_NAME = 120
_TEXTS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".md": "markdown", ".markdown": "markdown"}
_MARKED = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")  # texts that say how they are encoded
# Formats that could pass for text, and what browsers run.
_OTHERS = (
    b"PK",
    b"\x1f\x8b",
    b"BM",
    b"GIF8",
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"{\\rtf",
    b"Rar!",
    b"7z\xbc\xaf",
    b"\x7fELF",
    b"MZ",
)
_PARTS = {b"word/document.xml": "docx", b"ppt/presentation.xml": "pptx", b"xl/workbook.xml": "xlsx"}
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*")
_PAGES = (".html", ".htm", ".xhtml")
_DEVICES = {"con", "prn", "aux", "nul", *(f"{kind}{number}" for kind in ("com", "lpt") for number in range(1, 10))}


def kind_of(name: str, head: bytes) -> str | None:
    """One of KINDS; None for what is not read here. head: the first HEAD_BYTES of the file."""
    suffix = PurePath(name.lower()).suffix
    if b"%PDF-" in head[:1024]:
        return "pdf"
    if head.startswith(b"PK\x03\x04") and suffix in (".xlsx", ".xlsm"):
        return "xlsx"
    if not head or head.startswith(_OTHERS) or (b"\x00" in head and not head.startswith(_MARKED)):
        return None
    return _TEXTS.get(suffix, "text")


def whole_kind_of(name: str, head: bytes, tail: bytes = b"") -> str | None:
    """One of WHOLE_KINDS, whatever the name says; None for what is not read. tail: the last HEAD_BYTES of the file,
    where an archive lists what is in it."""
    if head.startswith(b"PK\x03\x04"):
        return next((kind for part, kind in _PARTS.items() if part in tail or part in head), None)
    if head.startswith(_PICTURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return "image"
    kind = kind_of(name, head)
    if kind != "text":
        return kind
    start = head[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    page = start.startswith((b"<!doctype html", b"<html")) or PurePath(name.lower()).suffix in _PAGES
    return "html" if page else "text"


def inert_name(name: str) -> str:
    """A name that can be shown, stored and sent back without doing anything: no path, no control or direction marks,
    no quotes and brackets, no name of a device, at most MOST_NAME characters (A47)."""
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    kept = "".join(one for one in last if unicodedata.category(one)[0] != "C" and one not in '"<>|:*?[]\u2028\u2029')
    path = PurePath(" ".join(kept.split()).strip(". ") or "file")
    stem, suffix = path.stem or "file", path.suffix[:12]
    if stem.lower().split(".")[0] in _DEVICES:
        stem = f"_{stem}"
    return stem[: MOST_NAME - len(suffix)] + suffix
