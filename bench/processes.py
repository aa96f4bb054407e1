"""The processes that a benchmark starts, ends by their id, and weighs through /proc (Linux)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BENCH_DIR = Path(os.environ.get("VAR_DIR") or ROOT / "var").resolve() / "bench"
"""Where logs, environments of peers and reports go."""
_TICKS = os.sysconf("SC_CLK_TCK")
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")


class ProcessFailed(Exception):
    """A process ended, or was not ready in time; the message carries the end of its log."""


def environment(**more: str) -> dict[str, str]:
    """What a child gets: what finds programs, no secrets of the caller, and `more`."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ} | more


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str, host: str | None = None) -> bool:
    """Whether GET of the URL gives 200 within two seconds; proxies of the environment are not used.

    `host` is the Host header, for names that this machine's resolver does not know.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={"Host": host} if host else {})  # loopback only
    try:
        with opener.open(request, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False


class Process:
    """A child in a session of its own, its output in a log file. Ended by `stop`, by its id."""

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str], log: Path, cwd: Path = ROOT, *, pass_fds: Sequence[int] = ()
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with log.open("ab" if pass_fds else "wb") as output:
            self._child = subprocess.Popen(
                argv, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, pass_fds=pass_fds,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def runs(self) -> bool:
        """Whether it has not ended yet."""
        return self._child.poll() is None

    def wait_ready(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until `ready()`. Raises ProcessFailed when it ended or took longer."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self._child.poll() is not None or time.monotonic() > deadline:
                ended = self._child.poll()
                self.stop()
                why = f"ended with status {ended}" if ended is not None else f"was not ready within {seconds:.0f} s"
                raise ProcessFailed(f"The process {why}. The end of {self.log}:\n{self.tail()}")
            time.sleep(0.05)

    def tail(self, lines: int = 15) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, seconds: float = 20) -> None:
        """SIGTERM, and SIGKILL when it does not end in time."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            self._wait(seconds)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._child.kill()
        self._child.wait()

    def signal(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        if self._child.poll() is None:
            self._child.send_signal(number)

    def interrupt(self, seconds: float = 60) -> None:
        """What Ctrl-C in its terminal would do: SIGINT to every process of its group."""
        if self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGINT)  # a session of its own, so only its own group
            self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def descendants(pid: int) -> list[int]:
    """The process and everything below it, as of now."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:  # grows while it is read
        found.extend(parents.get(one, []))
    return found


def command_line(pid: int) -> str:
    """The arguments of a process joined by spaces; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time that the processes and their ended children have used."""
    total = 0
    for pid in pids:
        if fields := _stat(pid):
            total += sum(int(value) for value in fields[11:15])
    return total / _TICKS


def peak_memory_bytes(pid: int) -> int:
    """The largest resident size the process ever had (VmHWM). Raises ProcessFailed when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError as error:
        raise ProcessFailed(f"Process {pid} is gone.") from error
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the state (field 3 of proc(5)) on; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []
