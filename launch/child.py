"""One supervised process: start it, know when it is ready, start it again when it dies, stop it."""

import asyncio
import collections
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from launch.console import Console
from launch.errors import LaunchError
from launch.processes import Roster
from launch.spawn import Command

_FIRST_PAUSE = 0.25  # s; doubled at each death, up to:
_LONGEST_PAUSE = 8.0
_DEATHS = 5  # in a row, each within:
_SHORT_LIFE = 20.0  # s of its start
_DEATHS_BEFORE_READY = 3  # when it never once became ready
_LAST_LINES = 12
_ABORT_SECONDS = 2.0


def _everything(line: str) -> bool:
    return bool(line.strip())


async def _at_once() -> bool:
    return True


@dataclass(frozen=True)
class Part:
    """What the supervisor knows about a process before there is one.

    `command` is asked for at each start, and may raise LaunchError. `ready` is polled, from `settle_seconds`
    after the start on. `essential`: the platform stops when this one cannot be kept up. `shows` chooses the
    lines for the terminal. `advice` is the sentence that a person gets when it cannot be kept up.
    """

    name: str
    title: str
    command: Callable[[], Command]
    ready: Callable[[], Awaitable[bool]] = _at_once
    settle_seconds: float = 0.0
    stop_signal: int = signal.SIGTERM
    stop_seconds: float = 15.0
    ready_seconds: float = 60.0
    essential: bool = True
    shows: Callable[[str], bool] = _everything
    advice: str = ""


class Child:
    """Keeps one part running. `keep` is its life, to be run as a task; it raises when it gives up."""

    def __init__(self, part: Part, console: Console, roster: Roster) -> None:
        self.part = part
        self.ready_seconds: float | None = None  # how long the latest start took
        self._console = console
        self._roster = roster
        self._process: asyncio.subprocess.Process | None = None
        self._started = asyncio.Event()
        self._started.set()
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._replacing = False
        self._was_ready = False
        self._deaths = 0
        self._last_lines: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)

    @property
    def running(self) -> bool:
        """Whether there is a process at the moment."""
        return self._process is not None and self._process.returncode is None

    async def until_ready(self) -> None:
        """Wait until it is ready; only useful beside `keep`, which raises when that will never be."""
        await self._ready.wait()

    async def keep(self) -> None:
        """Start the process, and start it again whenever it ends, until `stop`. Raises LaunchError."""
        while not self._stopping.is_set():
            started = time.monotonic()
            code = await self._live_once(started)
            self._ready.clear()
            if self._stopping.is_set():
                return
            if self._replacing:
                self._replacing = False
                continue
            self._deaths = self._deaths + 1 if time.monotonic() - started < _SHORT_LIFE else 1
            if self._deaths >= (_DEATHS if self._was_ready else _DEATHS_BEFORE_READY):
                raise self._given_up(code)
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (self._deaths - 1))
            self._console.say(f"{self.part.title} {_ending(code)}. It starts again in {pause:g} s.")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _live_once(self, started: float) -> int:
        """One life of the process; returns its exit code, negative for a signal."""
        self._started.clear()
        try:
            command = await asyncio.to_thread(self.part.command)
            if self._stopping.is_set():
                return 0
            process = self._process = await _spawn(command)
        finally:
            self._started.set()
        self._roster.add(self.part.name, process.pid)
        reading = asyncio.create_task(self._read(process))
        watching = asyncio.create_task(self._watch_for_ready(started))
        try:
            code = await process.wait()
            with contextlib.suppress(TimeoutError):  # a grandchild may hold the pipe open
                await asyncio.wait_for(asyncio.shield(reading), 1)
            return code
        finally:
            watching.cancel()
            reading.cancel()
            self._roster.remove(self.part.name)

    async def _watch_for_ready(self, started: float) -> None:
        """Poll until it is ready; kill it when that takes too long, so that it counts as dead."""
        said = started
        await asyncio.sleep(self.part.settle_seconds)
        while not await self.part.ready():
            now = time.monotonic()
            if now - started > self.part.ready_seconds:
                self._last_lines.append(f"It was not ready within {self.part.ready_seconds:g} s.")
                self._send(signal.SIGKILL)
                return
            if now - said >= 5:
                said = now
                self._console.step(f"{self.part.title} is starting, {now - started:.0f} s so far.")
            await asyncio.sleep(0.03)
        self.ready_seconds = time.monotonic() - started
        if self._deaths:
            self._console.say(f"{self.part.title} is back ({self.ready_seconds:.1f} s).")
        self._was_ready = True
        self._ready.set()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Hand on what it prints, line by line; a line without an end is cut at 64 KiB."""
        if process.stdout is None:
            return
        rest = b""
        while chunk := await process.stdout.read(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > 65536:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._line(line)
        if rest:
            self._line(rest)

    def _line(self, raw: bytes) -> None:
        text = raw.decode(errors="replace").rstrip()
        if text:
            self._last_lines.append(text)
        self._console.line(self.part.name, text, self.part.shows(text))

    async def once(self) -> float:
        """Run a process that ends by itself; returns its seconds. Raises LaunchError when it fails."""
        started = time.monotonic()
        code = await self._live_once(started)
        self._deaths = 1
        if code != 0 and not self._stopping.is_set():
            raise self._given_up(code)
        return time.monotonic() - started

    async def stop(self, seconds: float | None = None) -> float:
        """Ask it to stop, kill it when it does not; returns how long that took, in seconds.

        A start that is under way is waited for: there would be nothing to stop yet.
        """
        self._stopping.set()
        started = time.monotonic()
        await self._started.wait()
        if not self.running:
            return 0.0
        await self._end(self.part.stop_seconds if seconds is None else seconds)
        return time.monotonic() - started

    async def _end(self, seconds: float) -> None:
        process = self._process
        if process is None:
            return
        self._send(self.part.stop_signal)
        try:
            await asyncio.wait_for(process.wait(), seconds)
        except TimeoutError:
            self._console.say(f"{self.part.title} did not stop in time and is killed.")
            self._send(signal.SIGKILL)
            await process.wait()

    async def replace(self) -> None:
        """Stop it as `stop` does, start another one, and wait until that is ready; only useful beside `keep`."""
        if not self._stopping.is_set() and self.running:
            self._ready.clear()
            self._replacing = True
            await self._end(self.part.stop_seconds)
        await self._ready.wait()

    async def kill(self) -> None:
        """End it at once, with everything it started."""
        self._stopping.set()
        await self._started.wait()
        self._send(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    async def abort(self) -> None:
        """End it within moments: SIGQUIT, which PostgreSQL survives without harm, then SIGKILL."""
        self._stopping.set()
        await self._started.wait()
        self._send(signal.SIGQUIT)
        if self._process is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), _ABORT_SECONDS)
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        if number == signal.SIGKILL:
            # Its session is its own (launch.become), unless this comes before it could make one.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)

    def _given_up(self, code: int) -> LaunchError:
        how_often = f"{self._deaths} times in a row" if self._deaths > 1 else "once"
        advice = f" {self.part.advice}" if self.part.advice else ""
        path = self._console.path_of(self.part.name)
        where = f" Its log: {path}" if path is not None else ""
        return LaunchError(
            f"{self.part.title} {_ending(code)}, {how_often}, so it is not started again.{advice}{where}",
            list(self._last_lines),
        )


async def _spawn(command: Command) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *command.wrapped(),
        cwd=command.cwd,
        env=dict(command.environment),
        stdin=asyncio.subprocess.DEVNULL if command.stdin is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        pass_fds=tuple(command.pass_fds),
    )
    if command.stdin is not None and process.stdin is not None:
        with contextlib.suppress(ConnectionError):  # it died first; its exit says so
            process.stdin.write(command.stdin)
            await process.stdin.drain()
        process.stdin.close()
    return process


def _ending(code: int) -> str:
    if code >= 0:
        return f"stopped with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (" (out of memory?)" if -code == signal.SIGKILL else "")
