"""Where things lie under VAR_DIR, and the modes that keep them from others.

secrets/  generated passwords and keys      run/  sockets, lock, services.env     log/  a file per process
postgres/ the cluster                       redis/  its append-only file          files/  what tenants upload
"""

import contextlib
import errno
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from launch.errors import LaunchError

NEEDED_BYTES = 300_000_000  # measured: 60 MB after the first start; the rest is room to work
NEEDED_AGAIN_BYTES = 50_000_000  # three segments of write-ahead log
_PREFIX = "agent-paas-"
SOCKET_PATH_LIMIT = 100  # bytes; the kernel's own limit is 108 on Linux and 104 on macOS


@dataclass(frozen=True)
class Layout:
    """The directories of one installation's data."""

    var: Path

    @property
    def secrets(self) -> Path:
        """Generated passwords and keys, 0700."""
        return self.var / "secrets"

    @property
    def run(self) -> Path:
        """What exists only while the supervisor runs."""
        return self.var / "run"

    @property
    def log(self) -> Path:
        """One log file per process, 0700."""
        return self.var / "log"

    @property
    def services_file(self) -> Path:
        """KEY=value lines for other shells, 0600."""
        return self.run / "services.env"

    def make(self) -> None:
        """Make the directories. Raises LaunchError when the place is not writable or has no room."""
        try:
            # As root, PostgreSQL's uid has to pass through these two; it can list neither.
            for directory, mode in (
                (self.var, 0o711),
                (self.run, 0o711),
                (self.secrets, 0o700),
                (self.log, 0o700),
            ):
                directory.mkdir(parents=True, exist_ok=True)
                if directory.stat().st_uid == os.geteuid():
                    directory.chmod(mode if os.geteuid() == 0 else 0o700)
            (self.run / "writable").touch()
            (self.run / "writable").unlink()
        except OSError as error:
            raise LaunchError(self._unusable(error)) from error
        free = shutil.disk_usage(self.var).free
        needed = NEEDED_AGAIN_BYTES if (self.var / "postgres").exists() else NEEDED_BYTES
        if free < needed:
            raise LaunchError(
                f"The disk that holds {self.var} has {free // 10**6} MB free, and about "
                f"{needed // 10**6} MB are needed. Make room, or choose another disk with VAR_DIR."
            )

    def socket_directory(self, name: str, socket: str) -> Path:
        """`run`/name, or a short private directory where that path would be too long for a socket."""
        wanted = self.run / name
        return wanted if fits_socket(wanted / socket) else self.fresh_directory()

    def fresh_directory(self) -> Path:
        """A new private directory outside of VAR_DIR, noted so that `sweep` finds it even after a kill -9."""
        made = fresh_directory()
        with self._elsewhere.open("a") as notes:
            notes.write(f"{made}\n")
        return made

    def sweep(self) -> None:
        """Remove what only a running supervisor needs: sockets, services.env, fresh directories."""
        with contextlib.suppress(FileNotFoundError):
            for line in self._elsewhere.read_text().splitlines():
                if Path(line).name.startswith(_PREFIX):
                    shutil.rmtree(line, ignore_errors=True)
        for name in ("postgres", "redis"):
            shutil.rmtree(self.run / name, ignore_errors=True)
        self.services_file.unlink(missing_ok=True)
        self._elsewhere.unlink(missing_ok=True)

    @property
    def _elsewhere(self) -> Path:
        return self.run / "elsewhere"

    def _unusable(self, error: OSError) -> str:
        if error.errno == errno.ENOSPC:
            return full_disk(self.var)
        return (
            f"{self.var} cannot be used: {error.strerror} ({error.filename}). "
            "Start as the user who owns it, or choose another place with VAR_DIR."
        )


def fits_socket(path: Path) -> bool:
    """Whether a path is short enough for a Unix socket."""
    return len(os.fsencode(path)) <= SOCKET_PATH_LIMIT


def fresh_directory() -> Path:
    """A new private directory with a short name."""
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))


def full_disk(place: Path) -> str:
    """The sentence for a disk without room."""
    return f"The disk that holds {place} is full. Make room, or choose a place on another disk with VAR_DIR."


def is_full(place: Path) -> bool:
    """Whether so little is free that whatever failed probably failed for that."""
    try:
        return shutil.disk_usage(place).free < 20_000_000
    except OSError:
        return False
