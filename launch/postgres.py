"""The embedded PostgreSQL cluster: making it, checking it before a start, and the command that serves it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from launch import accounts, processes, wheels
from launch.errors import LaunchError
from launch.layout import fresh_directory
from launch.spawn import Command, plain_environment

MAJOR = "18"
SUPERUSER = "postgres"
SOCKET_NAME = ".s.PGSQL.5432"
_OTHERS_SECONDS = 10
_INITDB_SECONDS = 120  # 0.6 s here; a slow disk may take long

# jit: costs more than our short queries take. log_*: the log must not carry statements or values. autovacuum_naptime: a
# plan that was made for tables with next to nothing in them holds until they are looked at, and by then it may read all
# of a table for one row.
_SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "jit": "off",
    "autovacuum_naptime": "10s",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "unix_socket_permissions": "0777",  # scram decides; the directory may belong to another uid than ours
}
# For data that may vanish with the machine, such as a test's.
_FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "wal_level": "minimal",
              "max_wal_senders": "0", "autovacuum_naptime": "1h", "scram_iterations": "1"}  # fmt: skip


@dataclass
class Cluster:
    """One cluster in `home` (holding `data`), listening on a Unix socket in `sockets` only.

    `password` is the superuser's and is set when the cluster is made. `durable=False` trades the data's
    safety for speed. `home` and `sockets` need only be reachable by the caller, even when root has to hand
    the server to another uid: the server finds them through its working directory.
    """

    home: Path
    sockets: Path
    password: str = field(repr=False)
    durable: bool = True
    fresh: Callable[[], Path] = fresh_directory
    _programs: Path | None = field(default=None, init=False)
    _copied: Path | None = field(default=None, init=False)

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.home / "data"

    @property
    def socket(self) -> Path:
        """The socket that clients connect to."""
        return self.sockets / SOCKET_NAME

    def url(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """A libpq URL; the superuser's password where none is given."""
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{user}:{secret}@/{database}?host={quote(str(self.sockets), safe='')}"

    def prepare(self) -> bool:
        """Make the cluster if there is none; True when it was made now.

        Raises LaunchError for a directory that this PostgreSQL cannot serve, with what to do.
        """
        uid = accounts.server_uid(self.data)
        self._wait_for_others()
        self._make_directories(uid)
        self._find_programs(uid)
        made = self._check_data()
        if made:
            self._make_data(uid)
        return made

    def command(self) -> Command:
        """The command that serves the cluster; `prepare` comes first. SIGINT stops it in order."""
        uid = accounts.server_uid(self.data)
        settings = _SETTINGS | ({} if self.durable else _FORGETFUL)
        near = self.sockets.is_relative_to(self.home.parent)
        # Relative: the server's uid may not be able to walk down from the root.
        settings["unix_socket_directories"] = os.path.relpath(self.sockets, self.data) if near else str(self.sockets)
        options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
        return Command(
            argv=[self._program("postgres"), "-D", self._data_argument(uid), *options],
            cwd=self.data,
            environment=plain_environment(PGTZ="UTC"),
            uid=uid,
            death_signal=signal.SIGINT,
        )

    def ready(self) -> bool:
        """Whether the server accepts connections: what pg_ctl looks at, the status in postmaster.pid."""
        lines = _lines(self.data / "postmaster.pid")
        return len(lines) >= 8 and lines[7].strip() == "ready" and self.socket.exists()

    def remove_copy(self) -> None:
        """Remove the copy of the programs that `prepare` may have had to make."""
        if self._copied is not None:
            shutil.rmtree(self._copied, ignore_errors=True)
            self._copied = self._programs = None

    def _wait_for_others(self) -> None:
        """Make sure that nobody serves these data, then remove the postmaster.pid that a crash left.

        PostgreSQL would refuse to start when the number in it is some other program's by now. Its own
        processes notice within moments that their postmaster is gone, and are waited for.
        """
        deadline = time.monotonic() + _OTHERS_SECONDS
        while others := processes.working_in(self.data):
            if time.monotonic() > deadline:
                raise LaunchError(
                    f"Process {others[0]} already serves the database in {self.data}, and it was not "
                    f"started from here. Stop it (kill -INT {others[0]}), then start again."
                )
            time.sleep(0.05)
        if sys.platform == "linux":  # elsewhere nobody looked, so PostgreSQL has to
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _make_directories(self, uid: int | None) -> None:
        for directory in (self.home, self.sockets):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o700)
            if uid is not None:
                os.chown(directory, uid, uid)

    def _find_programs(self, uid: int | None) -> None:
        """Use the wheel's own directory, or a copy where the server's uid cannot reach that."""
        if self._programs is not None and self._programs.exists():
            return
        self._programs = wheels.postgres_home()
        if uid is not None and not self._runs(uid):
            self._copied = self.fresh()
            self._programs = _copy(self._programs, self._copied)
            if not self._runs(uid):
                raise LaunchError(
                    f"PostgreSQL will not run as root, and uid {uid} cannot run a copy in {self._copied}. "
                    "Start as an ordinary user, or set DATABASE_URL."
                )

    def _runs(self, uid: int) -> bool:
        probe = Command([self._program("postgres"), "--version"], Path("/"), plain_environment(), uid=uid)
        return probe.run(timeout=30).returncode == 0

    def _program(self, name: str) -> str:
        if self._programs is None:
            raise LaunchError("PostgreSQL was asked to start before it was prepared.")
        return str(self._programs / "bin" / name)

    def _data_argument(self, uid: int | None) -> str:
        # As another uid the server may not be able to walk down to the directory, but it is already in it.
        return "/proc/self/cwd" if uid is not None and sys.platform == "linux" else str(self.data)

    def _check_data(self) -> bool:
        """True when the data directory has to be made."""
        shutil.rmtree(self._unfinished, ignore_errors=True)  # an initdb that was interrupted
        if not self.data.exists() or not any(self.data.iterdir()):
            return True
        version = _lines(self.data / "PG_VERSION")
        if not version or not (self.data / "global" / "pg_control").is_file():
            raise LaunchError(
                f"{self.data} holds files but is no PostgreSQL database. Move it away to keep it, "
                "or run `make reset` to start afresh."
            )
        if version[0] != MAJOR:
            raise LaunchError(
                f"The database in {self.data} was made by PostgreSQL {version[0]}; this release runs "
                f"{MAJOR}. Dump it with pg_dumpall of PostgreSQL {version[0]}, move the directory away, "
                "start, and load the dump; or run `make reset` to start afresh."
            )
        return False

    @property
    def _unfinished(self) -> Path:
        return self.home / "data.unfinished"

    def _make_data(self, uid: int | None) -> None:
        """initdb beside the final name, then rename: a cluster with the final name is a whole one."""
        unfinished = self._unfinished
        unfinished.mkdir(mode=0o700)
        maker = accounts.initdb_uid()
        if maker is not None:
            os.chown(unfinished, maker, maker)
            self.home.chmod(0o711)
        reading, writing = os.pipe()
        if maker is not None:
            os.fchown(reading, maker, maker)  # it opens the pipe by name
        try:
            os.write(writing, self.password.encode() + b"\n")
        finally:
            os.close(writing)
        place = "/proc/self/cwd" if maker is not None and sys.platform == "linux" else str(unfinished)
        command = Command(
            argv=[self._program("initdb"), "-D", place, "-U", SUPERUSER, f"--pwfile=/dev/fd/{reading}",
                  "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin",
                  "--builtin-locale=C.UTF-8", *([] if self.durable else ["--no-sync"])],
            cwd=unfinished, environment=plain_environment(), uid=maker, pass_fds=[reading],
        )  # fmt: skip
        try:
            result = command.run(timeout=_INITDB_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise LaunchError(f"Making the database took more than {_INITDB_SECONDS} s. Is the disk stuck?") from error
        finally:
            os.close(reading)
        if result.returncode != 0:
            raise LaunchError("PostgreSQL could not make its database.", result.stdout.splitlines()[-8:])
        if uid is not None:
            accounts.give(unfinished, uid)
            self.home.chmod(0o700)
        if self.data.exists():
            self.data.rmdir()  # empty, as _check_data saw
        unfinished.rename(self.data)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _copy(programs: Path, copy: Path) -> Path:
    """Copy what the server needs (21 MB, 0.2 s) so that every uid can run it; returns the new home."""
    home = copy / "package" / "pg"
    (home / "bin").mkdir(parents=True)
    for name in ("postgres", "initdb"):
        shutil.copy2(programs / "bin" / name, home / "bin" / name)
    shutil.copytree(programs / "lib" / "postgresql", home / "lib" / "postgresql")
    shutil.copytree(programs / "share", home / "share")
    # initdb looks for its libpq beside the package, as auditwheel left it.
    libraries = programs.parent.parent / f"{programs.parent.name}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, copy / libraries.name)
    for parent, _, files in os.walk(copy):
        os.chmod(parent, 0o755)  # noqa: S103 - programs, no data
        for name in files:
            path = Path(parent, name)
            path.chmod(path.stat().st_mode | 0o444)
    return home
