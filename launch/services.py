"""A real PostgreSQL and a real Redis in a directory, for tests and benches.

    postgres = start_postgres(tmp_path / "pg")          # about 0.8 s; superuser URL in .admin_url
    redis = start_redis(tmp_path / "redis")             # about 0.05 s; .url, .url_for(3)
    ...
    redis.stop(); postgres.stop()

Both listen on Unix sockets only. Each is told to stop when the thread that started it ends (Linux), so start
them from the main thread; `stop()` may be called from anywhere, and twice.
"""

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from launch.errors import LaunchError
from launch.layout import fits_socket, fresh_directory
from launch.postgres import SOCKET_NAME, Cluster
from launch.redis_server import RedisServer
from launch.spawn import Command

_START_SECONDS = 60
_STOP_SECONDS = 15


class Service:
    """A server process that is up. A context manager that stops it."""

    def __init__(self, command: Command, ready: Callable[[], bool], log: Path, stop_signal: int) -> None:
        self.log = log
        self._stop_signal = stop_signal
        with log.open("ab") as output:
            self._process = command.start(output.fileno())
        self._wait_until(ready)

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise LaunchError("The server did not start.", self.log.read_text(errors="replace").splitlines()[-10:])
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop the server in order, by force after 15 s."""
        if self._process.poll() is None:
            self._process.send_signal(self._stop_signal)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class PostgresService(Service):
    """A PostgreSQL 18 with pgvector available. `admin_url` is the superuser's."""

    def __init__(self, cluster: Cluster, log: Path) -> None:
        self.cluster = cluster
        self.admin_url = cluster.url()
        super().__init__(cluster.command(), cluster.ready, log, signal.SIGINT)

    def url_for(self, database: str, user: str, password: str) -> str:
        """The URL of a login in a database; creating them is up to the caller."""
        return self.cluster.url(database, user, password)

    def stop(self) -> None:
        """Stop the server in order, by force after 15 s, and remove its sockets."""
        super().stop()
        self.cluster.remove_copy()
        _remove_sockets(self.cluster.sockets)


class RedisService(Service):
    """A Redis. `url` is that of database 0."""

    def __init__(self, server: RedisServer, log: Path) -> None:
        self.server = server
        self.url = server.url()
        super().__init__(server.command(), server.ready, log, signal.SIGTERM)

    def url_for(self, database: int) -> str:
        """The URL of one of the 16 numbered databases."""
        return self.server.url(database)

    def stop(self) -> None:
        """Stop the server in order, by force after 15 s, and remove its socket."""
        super().stop()
        _remove_sockets(self.server.sockets)


def start_postgres(directory: Path, *, durable: bool = False) -> PostgresService:
    """Start PostgreSQL with its data, log and socket in `directory` (made if missing, used again if not).

    The superuser's password is new each time a cluster is made and kept in `directory`. `durable=False`
    switches fsync off. Raises LaunchError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        directory.chmod(directory.stat().st_mode | 0o011)
    secret = directory / "superuser"
    if not secret.exists():
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(24))
    cluster = Cluster(
        directory / "cluster", _socket_directory(directory / "run", SOCKET_NAME), secret.read_text(), durable
    )
    try:
        cluster.prepare()
        return PostgresService(cluster, directory / "postgres.log")
    except BaseException:
        cluster.remove_copy()
        _remove_sockets(cluster.sockets)
        raise


def start_redis(directory: Path, *, durable: bool = False) -> RedisService:
    """Start Redis with its data, log and socket in `directory` (made if missing). Raises LaunchError."""
    directory.mkdir(parents=True, exist_ok=True)
    server = RedisServer(directory / "data", _socket_directory(directory / "run", "redis.sock"), durable)
    return RedisService(server, directory / "redis.log")


def _socket_directory(wanted: Path, name: str) -> Path:
    return wanted if fits_socket(wanted / name) else fresh_directory()


def _remove_sockets(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
