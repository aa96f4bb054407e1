"""The one readable log: progress, then what each process prints, on the terminal and in VAR_DIR/log."""

import contextlib
import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from launch.errors import LaunchError

_COLOURS = {"postgres": "34", "redis": "35", "model": "33", "prepare": "36", "web": "32", "worker": "36"}
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_LOG_BYTES = 10_000_000  # then the file becomes NAME.log.1
_LINE_CHARACTERS = 2_000  # what the terminal shows of one line; the file has all of it


class Console:
    """Prints for a person and writes log files. A terminal that went away is no reason to stop.

    Colours only on a terminal that wants them (NO_COLOR, TERM=dumb).
    """

    def __init__(self, stream: IO[str], environment: Mapping[str, str], started: float) -> None:
        self._stream: IO[str] | None = stream
        self._terminal = stream.isatty()
        plain = bool(environment.get("NO_COLOR")) or environment.get("TERM") == "dumb"
        self._colour = self._terminal and not plain
        self._started = started
        self._files: dict[str, _LogFile] = {}
        self._directory: Path | None = None
        self._trouble = False

    def log_to(self, directory: Path) -> None:
        """From now on also write a file per process in `directory`."""
        self._directory = directory

    def step(self, text: str) -> None:
        """Progress, with the seconds since the start."""
        self.say(f"{self._paint('2', f'[{time.monotonic() - self._started:5.1f} s]')} {text}")

    def say(self, text: str = "") -> None:
        """A line of the supervisor's own."""
        self._print(text)
        for line in text.splitlines():
            self._record("supervisor", line)

    def line(self, name: str, text: str, show: bool = True) -> None:
        """A line that a process printed; `show=False` for the file only."""
        self._record(name, text)
        if show:
            if not self._colour:
                text = _ESCAPES.sub("", text)
            if len(text) > _LINE_CHARACTERS:
                text = text[:_LINE_CHARACTERS] + " ..."
            colour = _COLOURS.get(name.rstrip("0123456789"), "37")
            self._print(f"{self._paint(colour, f'{name:<8} |')} {text}")

    def failure(self, error: LaunchError) -> None:
        """A sentence for a person, set apart, with the lines that explain it."""
        details = [f"    {line}" for line in error.details]
        self.say("\n".join(["", self._paint("31;1", error.message), *details, ""]))

    def strong(self, text: str) -> str:
        """Text made to stand out, where that is possible."""
        return self._paint("1", text)

    def path_of(self, name: str) -> Path | None:
        """The log file of a process."""
        return None if self._directory is None else self._directory / f"{name}.log"

    def close(self) -> None:
        """Close the log files."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._directory = None

    def _paint(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour else text

    def _print(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            print(text, file=self._stream, flush=True)
        except OSError:
            # The reader is gone (`make run | head`, a closed terminal): the files still have everything.
            self._stream = None
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _record(self, name: str, text: str) -> None:
        if self._directory is None:
            return
        try:
            if name not in self._files:
                self._files[name] = _LogFile(self._directory / f"{name}.log")
            self._files[name].write(_ESCAPES.sub("", text))
            self._trouble = False
        except OSError as error:
            if not self._trouble:  # once, not for every line that cannot be written
                self._trouble = True
                self._print(f"The log files in {self._directory} cannot be written: {error.strerror}.")


class _LogFile:
    """A log file that is cut when it grows: NAME.log and one NAME.log.1."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = self._open()

    def write(self, text: str) -> None:
        if self._file.tell() > _LOG_BYTES:
            self._file.close()
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._file = self._open()
        self._file.write(text + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _open(self) -> IO[str]:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="replace")
