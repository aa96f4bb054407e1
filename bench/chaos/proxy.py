"""A TCP proxy whose line can be cut, stalled, slowed and half closed while it carries traffic."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Streams]]

PIECE_BYTES = 65_536
DELAY_SECONDS = 0.15


def tcp(port: int) -> Dial:
    """Dials a port of loopback."""
    return lambda: asyncio.open_connection("127.0.0.1", port)


def unix(path: Path) -> Dial:
    """Dials a Unix socket."""
    return lambda: asyncio.open_unix_connection(str(path))


class Proxy:
    """Listens on a free port of loopback and dials `upstream` for each connection.

    Faults last until `heal`: `stall` takes what comes and passes nothing on, new connections too; `refuse` ends
    every connection as soon as it is there; `delay` keeps each piece back for DELAY_SECONDS.
    """

    def __init__(self, upstream: Dial) -> None:
        self.port = 0
        self.connections = 0  # since the start
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._flows = asyncio.Event()
        self._flows.set()
        self._refuses = False
        self._delay = 0.0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._server is not None:
            self._server.close()
        tasks = list(self._open)
        self.cut()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- faults -------------------------------------------------------------------------------

    def cut(self) -> int:
        """Reset every connection there is; returns how many."""
        cut = list(self._open.values())
        for writers in cut:
            for writer in writers:
                writer.transport.abort()
        return len(cut)

    def refuse(self) -> None:
        """Cut, and let nobody in."""
        self._refuses = True
        self.cut()

    def stall(self) -> None:
        """Accept and never answer."""
        self._flows.clear()

    def bury(self) -> None:
        """What is stalled stays so for ever, and new connections flow: both ends slept, and nobody was told."""
        self._flows = asyncio.Event()
        self._flows.set()

    def delay(self) -> None:
        """Be slow."""
        self._delay = DELAY_SECONDS

    def half_close(self, towards: int = 0) -> None:
        """End one direction of every connection: towards the upstream (1), or towards who dialled (0)."""
        for writers in self._open.values():
            if len(writers) == 2 and not writers[towards].is_closing():
                with contextlib.suppress(OSError, RuntimeError):
                    writers[towards].write_eof()

    def heal(self) -> None:
        """Let everything flow again; what was kept back arrives now."""
        self._refuses, self._delay = False, 0.0
        self._flows.set()

    # --- carrying -----------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections += 1
        writers = self._open[task] = [writer]
        try:
            if self._refuses:
                return
            flows = self._flows
            await flows.wait()
            up_reader, up_writer = await self._upstream()
            writers.append(up_writer)
            await asyncio.gather(self._carry(reader, up_writer, flows), self._carry(up_reader, writer, flows))
        except (OSError, RuntimeError):
            return  # either side is gone (or half closed by us, and then written to): the other goes too
        except asyncio.CancelledError:
            return  # the proxy closes; asyncio's own callback would tell of it as an error
        finally:
            del self._open[task]
            for one in writers:
                one.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event) -> None:
        while data := await reader.read(PIECE_BYTES):
            await flows.wait()
            if self._delay:
                await asyncio.sleep(self._delay)
            writer.write(data)
            await writer.drain()
        if not writer.is_closing():
            await writer.drain()
            with contextlib.suppress(OSError, RuntimeError):
                writer.write_eof()
