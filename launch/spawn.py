"""How every child is started: in its own session, bound to the life of its parent, perhaps as another uid.

In a session of its own, so that Ctrl-C in the terminal reaches only the supervisor, which then stops
everything in order. Bound to its parent, so that a supervisor that is killed leaves nothing behind.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_BECOME = Path(__file__).resolve().with_name("become.py")


@dataclass(frozen=True)
class Command:
    """What to execute and how. The repr shows neither environment nor input: both may carry secrets.

    `environment` is everything the program gets. `uid` is also its gid; None keeps the caller's.
    `death_signal` is sent to the program when the thread that started it ends (Linux only).
    `stdin` is what it reads on standard input.
    """

    argv: Sequence[str]
    cwd: Path
    environment: Mapping[str, str] = field(repr=False)
    uid: int | None = None
    death_signal: int = signal.SIGTERM
    stdin: bytes | None = field(default=None, repr=False)
    pass_fds: Sequence[int] = ()

    def wrapped(self) -> list[str]:
        """The argument vector that ends in this command; to be executed by this very process."""
        uid = "" if self.uid is None else str(self.uid)
        options = [str(os.getpid()), str(int(self.death_signal)), uid]
        return [sys.executable, "-I", "-S", str(_BECOME), *options, *self.argv]

    def start(self, output: int) -> "subprocess.Popen[bytes]":
        """Start it; what it prints (both streams) goes to the file descriptor `output`."""
        process = subprocess.Popen(
            self.wrapped(),
            cwd=self.cwd,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL if self.stdin is None else subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=tuple(self.pass_fds),
        )
        if self.stdin is not None and process.stdin is not None:
            process.stdin.write(self.stdin)
            process.stdin.close()
        return process

    def run(self, timeout: float) -> "subprocess.CompletedProcess[str]":
        """Run it to its end; what it printed (both streams) is in `.stdout`.

        Raises subprocess.TimeoutExpired after `timeout` seconds.
        """
        return subprocess.run(
            self.wrapped(),
            cwd=self.cwd,
            env=dict(self.environment),
            input="" if self.stdin is None else self.stdin.decode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=tuple(self.pass_fds),
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )


def plain_environment(**more: str) -> dict[str, str]:
    """An environment for programs that are not ours: what finds programs and names the place, no secrets."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | more
