"""The throw-away process that reads one file: standard input is the file, standard output a line of JSON, or several.

Of a part that somebody asked for, {"text"} or {"error"}. Of a whole document lines with lists of blocks, as they are
read, and a last one, {"end"} or {"error"}.

Started by core/documents/confined.py as `python -I -S child.py <JSON>`. It loads what it needs and then gives up what
it could do: memory, time, network, other files, other programs, the superuser's rights. A file that takes over the
reader is alone with itself.
"""

from __future__ import annotations

import codecs
import ctypes
import importlib
import io
import json
import os
import resource
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any

MEMORY_BYTES = 1024**3
CPU_SECONDS = 60
# The models that read pictures take more of both.
OCR_MEMORY_BYTES = 3 * 1024**3
OCR_CPU_SECONDS = 600
NOBODY = 65534
READERS = {
    "pdf": ("core.documents.pdf", "read_pdf"),
    "xlsx": ("core.documents.sheets", "read_xlsx"),
    "csv": ("core.documents.text", "read_csv"),
    "json": ("core.documents.text", "read_json"),
    "markdown": ("core.documents.text", "read_text"),
    "text": ("core.documents.text", "read_text"),
    "page": ("core.documents.pages", "page_pdf"),
    # whole documents, as blocks
    "whole:pdf": ("core.documents.pdf", "whole_pdf"),
    "whole:xlsx": ("core.documents.sheets", "whole_xlsx"),
    "whole:docx": ("core.documents.word", "whole_docx"),
    "whole:pptx": ("core.documents.slides", "whole_pptx"),
    "whole:csv": ("core.documents.blocks", "whole_csv"),
    "whole:html": ("core.documents.blocks", "whole_html"),
    "whole:json": ("core.documents.blocks", "whole_text"),
    "whole:markdown": ("core.documents.blocks", "whole_markdown"),
    "whole:text": ("core.documents.blocks", "whole_text"),
    # pictures: a block a page
    "ocr:image": ("core.documents.ocr", "ocr_image"),
    "ocr:pdf": ("core.documents.ocr", "ocr_pdf"),
}
MOST_HELD = 64 * 1024  # characters of blocks before they are sent on
# What is loaded late otherwise, when nothing can be loaded any more.
_LATE = (
    "_strptime",
    "datetime",
    "decimal",
    "fractions",
    "calendar",
    "hashlib",
    "unicodedata",
    "stringprep",
    "textwrap",
)
_ENCODINGS = (
    *("ascii", "latin-1", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp437", "cp1250", "cp1251"),
    *("cp1252", "mac-roman", "gbk", "gb18030", "big5", "shift_jis", "euc_jp", "euc_kr", "idna", "unicode_escape"),
)
_NEW_USER, _NEW_NET = 0x10000000, 0x40000000  # linux/sched.h
_PARENT_DIES, _NO_NEW_PRIVILEGES = 1, 38  # linux/prctl.h
_FORBIDDEN = (
    "socket.",
    "subprocess.",
    "os.",
    "shutil.",
    "ctypes.",
    "pty.",
    "tempfile.",
    "sqlite3.",
    "ftplib.",
    "urllib.",
)
# What shows a page of a PDF calls its library through ctypes; it has loaded it by then.
_CALLS = frozenset({"ctypes.cdata", "ctypes.cdata/buffer", "ctypes.addressof", "ctypes.string_at", "ctypes.get_errno"})
_KILL = 9
_libc = ctypes.CDLL(None, use_errno=True)


def isolate() -> None:
    """Leave the network. Comes before anything has made a thread: with threads the system refuses it to most users."""
    _libc.prctl(_PARENT_DIES, _KILL, 0, 0, 0)
    if _libc.unshare(_NEW_NET):  # a network of its own, in which there is nothing
        _libc.unshare(_NEW_USER | _NEW_NET)


def confine(kind: str = "") -> None:
    """Give up, for good, all that reading a file does not need. What the system does not offer is left out; the hook is
    always there."""
    pictures = kind.startswith("ocr:")
    isolate()
    for what, most in (
        (resource.RLIMIT_AS, OCR_MEMORY_BYTES if pictures else MEMORY_BYTES),
        (resource.RLIMIT_CPU, OCR_CPU_SECONDS if pictures else CPU_SECONDS),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 32),
    ):
        resource.setrlimit(what, (most, most))
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | bytes):
        # A module that a reader loads late; everything else is none of its business.
        if not str(arguments[0]).endswith((".py", ".pyc")) or (arguments[1] or "r")[0] != "r":
            raise PermissionError("no files here")
    elif event.startswith(_FORBIDDEN) and event not in _CALLS:
        raise PermissionError(event)


def loaded(kind: str) -> Callable[[IO[bytes], Any], Any]:
    """The reader of a kind, with everything that it may need later."""
    module, name = READERS[kind]
    found: Callable[[IO[bytes], Any], Any] = getattr(importlib.import_module(module), name)
    if kind.startswith("ocr:"):
        importlib.import_module("core.documents.ocr").Engine.load()
    if kind == "page":
        importlib.import_module(module).load()
    for late in _LATE:
        importlib.import_module(late)
    for encoding in _ENCODINGS:
        codecs.lookup(encoding)
    return found


def lines(
    kind: str, reader: Callable[[IO[bytes], Any], Any], source: IO[bytes], asked: dict[str, Any]
) -> Iterator[Any]:
    """What is said of a file, whatever it does to its reader: JSON values, the last of them with "text", "end" or
    "error", which is a sentence."""
    from core.documents.asked import Asked, Unreadable

    try:
        if ":" in kind:
            yield from _batches(reader(source, Asked(**asked)), kind)
            yield {"end": True}
        else:
            yield {"text": reader(source, Asked(**asked))}
    except Unreadable as error:
        yield {"error": str(error), "said": [error.said.text, error.said.told]}
    except MemoryError:
        yield {"error": "Unpacked, the file is too large."}
    except RecursionError:
        yield {"error": "The file is nested too deeply."}
    except Exception:
        yield {"error": "The file is damaged, or it is not what its name says."}


def _batches(blocks: Iterator[Any], kind: str) -> Iterator[list[Any]]:
    """Blocks as rows, as many together as are worth a line; a picture's at once, for it took long."""
    held, size = [], 0
    for block in blocks:
        held.append(block.row())
        size += len(block.text) + len(block.head)
        if size > MOST_HELD or kind.startswith("ocr:"):
            yield held
            held, size = [], 0
    if held:
        yield held


def main() -> None:
    """Read the file that is standard input, as the argument says."""
    isolate()
    order = json.loads(sys.argv[1])
    sys.path[:] = order["paths"]
    kind = order["kind"]
    reader = loaded(kind)
    from core.documents import asked  # noqa: F401 - before nothing can be loaded any more

    source = io.BytesIO(sys.stdin.buffer.read())
    confine(kind)
    for line in lines(kind, reader, source, order["asked"]):
        sys.stdout.write(json.dumps(line, ensure_ascii=True) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
    os._exit(0)  # what a library left to be done at the end is not done
