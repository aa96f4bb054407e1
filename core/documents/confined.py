"""Reads a file in a process that is thrown away (core/documents/child.py), so that no file can hurt this one (P59)."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any
from weakref import WeakKeyDictionary

import orjson

from core.documents.asked import Asked, Unreadable
from core.documents.blocks import Block, blocks_of

AT_ONCE = 2  # in one process of ours; each may take a processor and a gibibyte
DEADLINE_SECONDS = 60.0
MOST_ANSWER = 1024 * 1024
MOST_WHOLE = 64 * 1024 * 1024
CHILD = Path(__file__).parent / "child.py"
_places: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def read_whole(source: IO[bytes], kind: str, name: str) -> list[Block]:
    """A whole document, as blocks. As `read`, and more of it."""
    return blocks_of(await read(source, f"whole:{kind}", Asked(name), MOST_WHOLE))


async def read(source: IO[bytes], kind: str, asked: Asked, most: int = MOST_ANSWER) -> str:
    """The text of a part of a file. source: an open file with a descriptor. Raises Unreadable.

    Cancelled, it kills the process.
    """
    order = {"kind": kind, "asked": asdict(asked), "paths": [path for path in sys.path if path]}
    places = _places.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE))
    async with places:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(CHILD), orjson.dumps(order).decode(),
            stdin=source, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env={}, cwd="/", start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                said = await _said(process, most)
                await process.wait()
        except TimeoutError:
            raise Unreadable("The file takes too long to read.") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    return _text_of(said, process.returncode)


async def _said(process: asyncio.subprocess.Process, most: int) -> bytes:
    assert process.stdout is not None
    parts, size = [], 0
    while size <= most and (part := await process.stdout.read(65536)):
        parts.append(part)
        size += len(part)
    if size > most:
        process.kill()
    return b"".join(parts)


def _text_of(said: bytes, code: int | None) -> str:
    try:
        answer: Any = orjson.loads(said)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and isinstance(answer.get("text"), str):
        return str(answer["text"])
    if isinstance(answer, dict) and isinstance(answer.get("error"), str):
        raise Unreadable(answer["error"])
    if code is not None and code < 0:
        raise Unreadable("The file takes too long, or too much memory, to read.")
    raise Unreadable("The file could not be read.")
