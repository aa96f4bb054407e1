"""Reading a vendor's response under limits of time and size."""

from __future__ import annotations

import asyncio

from aiohttp import ClientError, ClientResponse
from aiohttp.http_exceptions import HttpProcessingError

from core.errors import PaasError
from llm import faults

LAST_READ_SECONDS = 0.1
"""How long a finished stream waits for the end of the response, so that the connection can be used again."""


class Reader:
    """Reads a response under a limit for each pause, with one timer for the whole stream.

    A timer for every read would cost more than the read; this one looks, when it fires, whether the
    present read has waited too long, and otherwise sleeps for the rest. Time between reads, which is
    the consumer's own, does not count.
    """

    __slots__ = ("_content", "_handle", "_idle", "_loop", "_since", "failure")

    def __init__(self, response: ClientResponse, idle: float) -> None:
        self._content = response.content
        self._loop = asyncio.get_running_loop()
        self._idle = idle
        self._since: float | None = None
        self._handle: asyncio.TimerHandle | None = None
        self.failure: PaasError | None = None

    async def first(self) -> bytes:
        """The first bytes, or b"" as `read`; how long that may take is the caller's to say."""
        return await self._take()

    async def read(self) -> bytes:
        """The next bytes, or b"" at the end and after a fault, which is then in `failure`."""
        if self.failure is not None:
            return b""
        self._since = self._loop.time()
        if self._handle is None:
            self._handle = self._loop.call_later(self._idle, self._look)
        try:
            return await self._take()
        finally:
            self._since = None

    async def all(self, first: bytes, limit: int) -> bytes:
        """The whole body. Raises PaasError when it breaks off or is longer than `limit` bytes."""
        parts, size = [first], len(first)
        while data := await self.read():
            parts.append(data)
            size += len(data)
            if size > limit:
                raise faults.bad_response(f"its answer is longer than {limit // 2**20} MiB")
        if self.failure is not None:
            raise self.failure
        return b"".join(parts)

    async def last(self) -> None:
        """Read to the end of the response, which should be here already, so that the connection is kept."""
        if not self._content.at_eof():
            self._idle = LAST_READ_SECONDS
            self.stop()
            await self.read()

    def stop(self) -> None:
        """Stop the timer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    async def _take(self) -> bytes:
        try:
            return await self._content.readany()
        except TimeoutError:
            self.failure = PaasError("provider_timeout", "The model provider fell silent in the middle of its answer.")
        except (ClientError, HttpProcessingError, OSError):
            self.failure = faults.stream_broken()
        # What came before the fault, while nobody was reading, is still there and still counts.
        self._content.set_exception(None)  # type: ignore[arg-type]  # read_nowait refuses while one is set
        return self._content.read_nowait()

    def _look(self) -> None:
        now = self._loop.time()
        since = now if self._since is None else self._since
        if now >= since + self._idle and self._since is not None:
            self._content.set_exception(TimeoutError())
            self._handle = None
        else:
            self._handle = self._loop.call_at(since + self._idle, self._look)
