"""The throw-away process that reads one file: standard input is the file, standard output one JSON object.

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
from collections.abc import Callable
from typing import IO, Any

MEMORY_BYTES = 1024**3
CPU_SECONDS = 60
NOBODY = 65534
READERS = {
    "pdf": ("core.documents.pdf", "read_pdf"),
    "xlsx": ("core.documents.sheets", "read_xlsx"),
    "csv": ("core.documents.text", "read_csv"),
    "json": ("core.documents.text", "read_json"),
    "markdown": ("core.documents.text", "read_text"),
    "text": ("core.documents.text", "read_text"),
    # whole documents, as blocks
    "whole:pdf": ("core.documents.blocks", "whole_pdf"),
    "whole:xlsx": ("core.documents.blocks", "whole_xlsx"),
    "whole:csv": ("core.documents.blocks", "whole_csv"),
    "whole:html": ("core.documents.blocks", "whole_html"),
    "whole:json": ("core.documents.blocks", "whole_text"),
    "whole:markdown": ("core.documents.blocks", "whole_markdown"),
    "whole:text": ("core.documents.blocks", "whole_text"),
}
# What reads a kind, where its reader does not import it at once.
_NEEDS = {"whole:pdf": "core.documents.pdf", "whole:xlsx": "core.documents.sheets"}
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
_KILL = 9


def confine() -> None:
    """Give up, for good, all that reading a file does not need. What the system does not offer is left out; the hook is
    always there."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PARENT_DIES, _KILL, 0, 0, 0)
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 32),
    ):
        resource.setrlimit(what, (most, most))
    if libc.unshare(_NEW_NET):  # a network of its own, in which there is nothing
        libc.unshare(_NEW_USER | _NEW_NET)
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | bytes):
        # A module that a reader loads late; everything else is none of its business.
        if not str(arguments[0]).endswith((".py", ".pyc")) or (arguments[1] or "r")[0] != "r":
            raise PermissionError("no files here")
    elif event.startswith(_FORBIDDEN):
        raise PermissionError(event)


def loaded(kind: str) -> Callable[[IO[bytes], Any], str]:
    """The reader of a kind, with everything that it may need later."""
    module, name = READERS[kind]
    found: Callable[[IO[bytes], Any], str] = getattr(importlib.import_module(module), name)
    if kind in _NEEDS:
        importlib.import_module(_NEEDS[kind])
    for late in _LATE:
        importlib.import_module(late)
    for encoding in _ENCODINGS:
        codecs.lookup(encoding)
    return found


def answer(reader: Callable[[IO[bytes], Any], str], source: IO[bytes], asked: dict[str, str]) -> dict[str, str]:
    """{"text"}, or {"error"} with a sentence, whatever the file does to its reader."""
    from core.documents.asked import Asked, Unreadable

    try:
        return {"text": reader(source, Asked(**asked))}
    except Unreadable as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": "Unpacked, the file is too large."}
    except RecursionError:
        return {"error": "The file is nested too deeply."}
    except Exception:
        return {"error": "The file is damaged, or it is not what its name says."}


def main() -> None:
    """Read the file that is standard input, as the argument says."""
    order = json.loads(sys.argv[1])
    sys.path[:] = order["paths"]
    reader = loaded(order["kind"])
    from core.documents import asked  # noqa: F401 - before nothing can be loaded any more

    source = io.BytesIO(sys.stdin.buffer.read())
    confine()
    sys.stdout.write(json.dumps(answer(reader, source, order["asked"])))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
    os._exit(0)  # what a library left to be done at the end is not done
