"""Office files, which are archives of XML: judged before anything is unpacked (P59), read without DTDs (A49)."""

from __future__ import annotations

import posixpath
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml.ElementTree import iterparse, parse

from core.documents.asked import Unreadable

MOST_ENTRIES = 2_000
MOST_RATIO = 100
MOST_BYTES = 200 * 1024 * 1024
FREE_BYTES = 1024 * 1024  # of an entry, whatever its ratio: small parts of a file pack well

# DTDForbidden and its like are ValueErrors; zlib.error is what a broken stream gives.
_WRONG = (ParseError, ValueError, LookupError, EOFError, OSError, NotImplementedError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True)
class Package:
    """what: for people, as in "no Excel workbook". noun: shorter. main: the part that makes it one."""

    what: str
    noun: str
    main: str


EXCEL = Package("Excel workbook", "workbook", "xl/workbook.xml")
WORD = Package("Word document", "document", "word/document.xml")
POWERPOINT = Package("PowerPoint presentation", "presentation", "ppt/presentation.xml")


def check_archive(source: IO[bytes], package: Package) -> None:
    """Raise Unreadable for an archive that is damaged, locked, not of this kind, or would become too much."""
    try:
        with zipfile.ZipFile(source) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        raise Unreadable("This is not a whole %(what)s.", what=package.what) from None
    finally:
        source.seek(0)
    noun = package.noun
    if len(entries) > MOST_ENTRIES:
        raise Unreadable("The %(what)s has more than %(most)s parts.", what=noun, most=MOST_ENTRIES)
    if sum(one.file_size for one in entries) > MOST_BYTES:
        raise Unreadable("Unpacked, the %(what)s is too large.", what=noun)
    for one in entries:
        if one.file_size > FREE_BYTES and one.file_size > MOST_RATIO * max(one.compress_size, 1):
            raise Unreadable("The %(what)s is packed suspiciously well; it is not unpacked.", what=noun)
        if one.flag_bits & 1:
            raise Unreadable("The %(what)s is encrypted.", what=noun)
        if stat.S_ISLNK(one.external_attr >> 16) or one.filename.startswith("/") or ".." in one.filename.split("/"):
            raise Unreadable("The %(what)s has parts that lead out of it.", what=noun)
    if not any(one.filename == package.main for one in entries):
        raise Unreadable("This is an archive, and no %(what)s.", what=package.what)


class Parts:
    """The parts of a checked archive, as XML. What is no XML, or has a DTD, raises Unreadable."""

    def __init__(self, source: IO[bytes], package: Package) -> None:
        check_archive(source, package)
        self._archive = zipfile.ZipFile(source)
        self._noun = package.noun

    def has(self, name: str) -> bool:
        """Whether there is such a part."""
        return name in self._archive.NameToInfo

    def root(self, name: str) -> Element:
        """A small part as a whole."""
        with self._opened(name) as part:
            try:
                return parse(part, forbid_dtd=True).getroot()  # type: ignore[no-any-return]
            except _WRONG as error:
                raise Unreadable("The %(what)s is damaged.", what=self._noun) from error

    def walk(self, name: str) -> Iterator[tuple[str, Element]]:
        """("start" or "end", element) in their order; what is not wanted any more the caller clears."""
        with self._opened(name) as part:
            try:
                yield from iterparse(part, events=("start", "end"), forbid_dtd=True)
            except _WRONG as error:
                raise Unreadable("The %(what)s is damaged.", what=self._noun) from error

    def contains(self, name: str, word: bytes) -> bool:
        """Whether a part has these bytes somewhere."""
        with self._opened(name) as part:
            before = b""
            try:
                while piece := part.read(1 << 20):
                    if word in before + piece:
                        return True
                    before = piece[-len(word) :]
            except _WRONG as error:
                raise Unreadable("The %(what)s is damaged.", what=self._noun) from error
        return False

    def relations(self, name: str) -> dict[str, tuple[str, str]]:
        """What a part refers to inside of the file: id -> (the last word of its kind, its name)."""
        folder, last = posixpath.split(name)
        listed = f"{folder}/_rels/{last}.rels"
        if not self.has(listed):
            return {}
        found = {}
        for one in self.root(listed):
            if one.get("TargetMode") != "External":
                target = posixpath.normpath(posixpath.join("/" + folder, one.get("Target") or "")).lstrip("/")
                found[one.get("Id") or ""] = ((one.get("Type") or "").rpartition("/")[2], target)
        return found

    def _opened(self, name: str) -> Any:
        try:
            return self._archive.open(name)
        except _WRONG as error:
            raise Unreadable("The %(what)s is damaged.", what=self._noun) from error


def local(element: Element) -> str:
    """An element's name without its namespace: the strict and the usual form of these files differ only in that."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def value_of(element: Element | None, name: str = "val") -> str:
    """An attribute, whatever its namespace; "" where there is none."""
    if element is None:
        return ""
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), "")


def child_of(element: Element | None, *path: str) -> Element | None:
    """The first child of this name, and of that the next."""
    for name in path:
        if element is None:
            return None
        element = next((one for one in element if local(one) == name), None)
    return element
