"""Whose process is that? Identity that survives the reuse of process ids, and what a dead supervisor left."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from launch.errors import LaunchError

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Identity:
    """A process id with the moment at which it began; the number alone may be another program by now."""

    pid: int
    began: str

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """The identity of a living process; None when there is none, or only its zombie."""
        if sys.platform != "linux":
            shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
            return cls(pid, shown.stdout.strip()) if shown.stdout.strip() else None
        try:
            # After the name, which is in parentheses and may hold anything: state is field 3, starttime 22.
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
            return None if fields[0] in "ZX" else cls(pid, f"{_BOOT_ID.read_text().strip()} {fields[19]}")
        except OSError:
            return None

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return Identity.of(self.pid) == self

    def stop(self, number: int, seconds: float) -> None:
        """Signal the process and wait; after `seconds` kill everything in its session."""
        deadline = time.monotonic() + seconds
        if self.alive():
            os.kill(self.pid, number)
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        if self.alive():
            os.killpg(self.pid, signal.SIGKILL)
            while self.alive():
                time.sleep(0.02)


def working_in(directory: Path) -> list[int]:
    """The processes whose working directory this is, as far as they can be seen (Linux; elsewhere none)."""
    found = []
    try:
        wanted = directory.stat()
    except OSError:
        return []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            place = (process / "cwd").stat()
            if (place.st_dev, place.st_ino) == (wanted.st_dev, wanted.st_ino):
                found.append(int(process.name))
    return found


class Roster:
    """The file that says which processes a supervisor started, for the next one to look at."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._processes: dict[str, Identity] = {}

    def add(self, name: str, pid: int) -> None:
        """Note a process that was started."""
        identity = Identity.of(pid)
        if identity is not None:
            self._processes[name] = identity
            self._write()

    def remove(self, name: str) -> None:
        """Note that a process has ended."""
        if self._processes.pop(name, None) is not None:
            self._write()

    def leftovers(self) -> dict[str, Identity]:
        """What an earlier supervisor started and what still runs."""
        try:
            entries = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        found = {name: Identity(int(entry["pid"]), str(entry["began"])) for name, entry in entries.items()}
        return {name: identity for name, identity in found.items() if identity.alive()}

    def clear(self) -> None:
        """Forget everything."""
        self._processes.clear()
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        unfinished = self._path.with_suffix(".unfinished")
        entries = {name: asdict(identity) for name, identity in self._processes.items()}
        # A full disk is no reason to stop what runs, and on Linux children end with their parent anyway.
        with contextlib.suppress(OSError):
            unfinished.write_text(json.dumps(entries))
            unfinished.rename(self._path)


class Lock:
    """One supervisor per VAR_DIR: an flock, which the kernel releases however its holder ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    @property
    def held(self) -> bool:
        """Whether this process has it."""
        return self._file is not None

    def take(self, port: int) -> None:
        """Raises LaunchError when another supervisor has it."""
        file = self._path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().split()
            file.close()
            raise LaunchError(_in_use(self._path, holder)) from None
        file.truncate(0)
        file.write(f"{os.getpid()} {port}\n")
        file.flush()
        self._file = file

    def holder(self) -> int | None:
        """The process that has it; None when nobody does."""
        try:
            with self._path.open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return None
        except FileNotFoundError:
            return None
        except BlockingIOError:
            holder = self._path.read_text().split()
            return int(holder[0]) if holder else None

    def release(self) -> None:
        """Give it back; harmless when it is not held. The file stays: removing it would let two in."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None


def _in_use(path: Path, holder: list[str]) -> str:
    place = path.parent.parent
    who = f"process {holder[0]} on port {holder[1]}" if len(holder) == 2 else "another process"
    return (
        f"Agent PaaS already runs with the data in {place} ({who}). Stop it with Ctrl-C where it runs, "
        "or start a second one with data and a port of its own: VAR_DIR=var2 PORT=8001 make run"
    )
