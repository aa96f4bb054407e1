"""Reads a file in a process that is thrown away (core/documents/child.py), so that no file can hurt this one (P59)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any
from weakref import WeakKeyDictionary

import orjson

from core.documents.asked import Asked, Unreadable
from core.documents.blocks import Block
from core.said import MOST_CHARS, Said, fits

# In one process of ours: readers, each of which may take a processor and a gibibyte, what looks at pictures, and what
# shows pages, for which no reader waits.
AT_ONCE, OCR_AT_ONCE, PAGES_AT_ONCE = 2, 1, 2
DEADLINE_SECONDS = 60.0  # for an answer; of a whole document from one line to the next
OCR_DEADLINE_SECONDS = 180.0  # for a page
WHOLE_SECONDS = 900.0
MOST_ANSWER = 1024 * 1024
MOST_WHOLE = 256 * 1024 * 1024
MOST_LINE = 4 * 1024 * 1024
MOST_PLACES = 8  # of a sentence
CHILD = Path(__file__).parent / "child.py"
_places: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = WeakKeyDictionary()
TOO_LONG = "The file takes too long, or too much memory, to read."


async def whole(source: IO[bytes], kind: str, asked: Asked) -> AsyncGenerator[list[Block], None]:
    """A whole document, as blocks, some at a time. kind: "whole:" or "ocr:" and what it is. Raises Unreadable.

    Close it (contextlib.aclosing): then, and when it is cancelled, the process is killed.
    """
    size = 0
    async with _started(source, kind, asked) as process, asyncio.timeout(WHOLE_SECONDS):
        while True:
            said = await _line(process, OCR_DEADLINE_SECONDS if kind.startswith("ocr:") else DEADLINE_SECONDS)
            size += len(said)
            if size > MOST_WHOLE:
                raise Unreadable("The document has too much text.")
            rows = _value(said, await _code(process) if not said else None)
            if isinstance(rows, dict):
                await _code(process)
                return
            yield [_block(row) for row in rows]


async def read(
    source: IO[bytes], kind: str, asked: Asked, *, most: int = MOST_ANSWER, seconds: float | None = None
) -> str:
    """The text of a part of a file, or a page's picture (kind `page`; core/documents/pages.py). source: an open file
    with a descriptor. most: bytes of the answer. seconds: DEADLINE_SECONDS unless said. Raises Unreadable.

    Cancelled, it kills the process.
    """
    async with _started(source, kind, asked) as process:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS if seconds is None else seconds):
                said = await _said(process, most)
                await process.wait()
        except TimeoutError:
            raise Unreadable("The file takes too long to read.") from None
    found = _value(said, process.returncode)
    if isinstance(found, dict) and isinstance(found.get("text"), str):
        return str(found["text"])
    raise Unreadable("The file could not be read.")


@asynccontextmanager
async def _started(source: IO[bytes], kind: str, asked: Asked) -> AsyncIterator[asyncio.subprocess.Process]:
    order = {"kind": kind, "asked": asdict(asked), "paths": [path for path in sys.path if path]}
    pictures = kind.startswith("ocr:")
    most = {"": AT_ONCE, "ocr": OCR_AT_ONCE, "page": PAGES_AT_ONCE}
    new = {what: asyncio.Semaphore(number) for what, number in most.items()}
    what = "ocr" if pictures else "page" if kind == "page" else ""
    async with _places.setdefault(asyncio.get_running_loop(), new)[what]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(CHILD), orjson.dumps(order).decode(),
            stdin=source, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} if pictures else {},
            cwd="/", start_new_session=True, limit=MOST_LINE,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _said(process: asyncio.subprocess.Process, most: int) -> bytes:
    assert process.stdout is not None
    parts, size = [], 0
    while size <= most and (part := await process.stdout.read(65536)):
        parts.append(part)
        size += len(part)
    if size > most:
        process.kill()
    return b"".join(parts)


async def _line(process: asyncio.subprocess.Process, seconds: float) -> bytes:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(seconds):
            return await process.stdout.readline()
    except TimeoutError:
        raise Unreadable(TOO_LONG) from None
    except ValueError:  # a line without end
        raise Unreadable("The file could not be read.") from None


async def _code(process: asyncio.subprocess.Process) -> int:
    """How it ended, now that it says nothing more."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await process.wait()
    except TimeoutError:
        return -1


def _value(said: bytes, code: int | None) -> Any:
    """What a line says: rows, {"text"} or {"end"}. Raises Unreadable with what it says of an error, or of a death."""
    try:
        found: Any = orjson.loads(said)
    except ValueError:
        found = None
    if isinstance(found, list) or (isinstance(found, dict) and ("text" in found or "end" in found)):
        return found
    if isinstance(found, dict) and isinstance(found.get("error"), str):
        raise _unreadable(found["error"], found.get("said"))
    raise Unreadable(TOO_LONG if code is not None and code < 0 else "The file could not be read.")


def _unreadable(text: str, kept: Any) -> Unreadable:
    """The error that a reader tells; a file may have made the reader say anything."""
    error = Unreadable(text[:MOST_CHARS])
    match kept:
        case [str(sentence), dict(told)] if len(told) <= MOST_PLACES and all(
            isinstance(one, str) and len(one) <= MOST_CHARS for one in (sentence, *told, *told.values())
        ):
            if fits(sentence, told):
                error.said = Said(sentence, told)
    return error


def _block(row: Any) -> Block:
    """A row as a block. What a file has made of its reader may say anything, so it is looked at."""
    if not (isinstance(row, list) and len(row) == 5):
        raise Unreadable("The file could not be read.")
    text, page, heading, head, picture = row
    texts = all(isinstance(one, str) for one in (text, heading, head)) and isinstance(picture, bool)
    if not texts or not (page is None or (isinstance(page, int) and 0 < page < 1_000_000)):
        raise Unreadable("The file could not be read.")
    return Block(text.replace("\0", " "), page, heading.replace("\0", " ")[:300], head.replace("\0", " "), picture)
