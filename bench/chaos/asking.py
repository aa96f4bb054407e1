"""Plain requests in number, from one tenant to one web process, and what became of them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field

import httptools

from bench.load import percentile

READ = "/api/v1/conversations"


@dataclass(slots=True)
class Answers:
    """(status, seconds, whether Retry-After was there) of plain requests; status 0: no answer."""

    found: list[tuple[int, float, bool]] = field(default_factory=list)

    def times(self, *statuses: int) -> list[float]:
        """How long the answers with these statuses took, in milliseconds."""
        return [seconds * 1000 for status, seconds, _ in self.found if status in statuses]

    def p(self, fraction: float, *statuses: int) -> float:
        """That percentile of them, in milliseconds."""
        return round(percentile(self.times(*(statuses or (200,))), fraction), 1)

    def statuses(self) -> dict[int, int]:
        """How many of each."""
        return dict(Counter(status for status, _, _ in self.found))


class Line(asyncio.Protocol):
    """A connection that is kept, on the bare socket: a general client costs more than a refusal that it measures."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bool]] | None = None
        self._again = False  # whether the answer says when to come again

    @property
    def open(self) -> bool:
        """Whether one more request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes) -> tuple[int, bool]:
        """(status, whether Retry-After was there). Raises ConnectionError."""
        assert self._transport is not None
        self._answer, self._again = asyncio.get_running_loop().create_future(), False
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """For good."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of the parser's."""
        self._again = self._again or name.lower() == b"retry-after"

    def on_message_complete(self) -> None:
        """Of the parser's."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), self._again))


class Asker:
    """Sends plain reads as a tenant to one web process."""

    def __init__(self, port: int, host: str, key: str) -> None:
        self.answers = Answers()
        self._port = port
        self._request = f"GET {READ} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        self._lines: list[Line] = []  # that nobody uses just now

    async def __aenter__(self) -> Asker:
        return self

    async def __aexit__(self, *error: object) -> None:
        for line in self._lines:
            line.close()

    async def ask(self) -> None:
        """One request."""
        began, line = time.monotonic(), None
        try:
            async with asyncio.timeout(15):
                line = await self._line()
                status, again = await line.ask(self._request)
            self._lines.append(line)
        except (TimeoutError, OSError, httptools.HttpParserError):
            status, again = 0, False
            if line is not None:
                line.close()
        self.answers.found.append((status, time.monotonic() - began, again))

    async def _line(self) -> Line:
        while self._lines:
            if (line := self._lines.pop()).open:
                return line
        return (await asyncio.get_running_loop().create_connection(Line, "127.0.0.1", self._port))[1]

    async def at_rate(self, per_second: float, seconds: float) -> Answers:
        """An open loop: a request each 1/rate s, whether or not the ones before are answered."""
        self.answers = Answers()
        began, tasks = time.monotonic(), set[asyncio.Task[None]]()
        for number in itertools.count():
            due = began + number / per_second
            if due > began + seconds:
                break
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            tasks.add(asyncio.create_task(self.ask()))
        await asyncio.gather(*tasks)
        return self.answers

    async def closed_loop(self, workers: int, seconds: float) -> Answers:
        """So many that ask one after the other."""
        self.answers, until = Answers(), time.monotonic() + seconds

        async def work() -> None:
            while time.monotonic() < until:
                await self.ask()

        await asyncio.gather(*(work() for _ in range(workers)))
        return self.answers
