"""Half-open requests and readers that take a byte now and then, as a process of its own.

Who measures what others notice of them does so on another event loop: five hundred that are hung up on at once hold up
their own loop, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.processes import ROOT

PAUSE_SECONDS = 0.5
LARGE = 1_000_000  # bytes that are announced
SOME = b" " * 100_000  # and sent


@dataclass
class Held:
    """How long each half-open request stood, in s, and how many answers were read slowly."""

    closed: list[float]
    read: int = 0


def halves(host: str, key: str) -> list[bytes]:
    """Half a head; half the body of a turn and of a page's form; a part of a large body."""
    words = f"Host: {host}\r\nAuthorization: Bearer {key}\r\n"
    kind = "Content-Type: application/json\r\n"
    turn, form = (f"POST /api/v1/{path} HTTP/1.1\r\n{words}" for path in ("runs", "agents"))
    small, large = (f"{kind}Content-Length: {size}\r\n\r\n{{" for size in (100, LARGE))
    return [turn.encode(), (turn + small).encode(), (form + small).encode(), (form + large).encode() + SOME]


async def half_open(port: int, data: bytes, held: Held) -> None:
    """One after the other, each until the server hangs up."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = time.monotonic()
        with contextlib.suppress(OSError):
            writer.write(data)
            await reader.read()
        held.closed.append(time.monotonic() - began)
        writer.close()


async def slow_reader(port: int, host: str, key: str, held: Held) -> None:
    """One turn after the other, whose events are taken a byte at a time."""
    body = b'{"agent": "slow", "message": "slow"}'
    words = f"POST /api/v1/runs HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
    request = f"{words}Accept: text/event-stream\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=64)
        writer.write(request)
        held.read += 1
        with contextlib.suppress(OSError):
            while await reader.read(1):
                await asyncio.sleep(PAUSE_SECONDS)
        writer.close()


@asynccontextmanager
async def holding(port: int, host: str, key: str, half_opens: int, slow_readers: int) -> AsyncIterator[Held]:
    """So many of each, while the block runs; what they found is there after it. Raises RuntimeError."""
    argv = [sys.executable, "-m", "bench.chaos.holding", *map(str, (port, host, key, half_opens, slow_readers))]
    child = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    held = Held([])
    try:
        yield held
    finally:
        if child.returncode is None:
            child.terminate()
        said, _ = await child.communicate()
    if child.returncode:
        raise RuntimeError(f"Those who hold connections ended with status {child.returncode}.")
    held.closed, held.read = json.loads(said)


async def main(port: int, host: str, key: str, half_opens: int, slow_readers: int) -> None:
    """Until SIGTERM; then what was found, as JSON."""
    held, told = Held([]), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    kinds = halves(host, key)
    works = [half_open(port, kinds[number % len(kinds)], held) for number in range(half_opens)]
    works += [slow_reader(port, host, key, held) for _ in range(slow_readers)]
    tasks = [asyncio.create_task(work) for work in works]
    ends = asyncio.create_task(told.wait())
    await asyncio.wait([ends, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()  # none ends by itself
    print(json.dumps([held.closed, held.read]))


if __name__ == "__main__":
    _port, _host, _key, _half_opens, _slow_readers = sys.argv[1:]
    asyncio.run(main(int(_port), _host, _key, int(_half_opens), int(_slow_readers)))
