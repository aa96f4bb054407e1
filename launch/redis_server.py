"""The embedded Redis: its configuration and the command that serves it."""

import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from launch import wheels
from launch.spawn import Command, plain_environment


@dataclass
class RedisServer:
    """One server that keeps its data in `home` and listens only on a Unix socket of mode 0600 in `sockets`.

    The socket's mode is its password: no other account can open it. `durable=False` keeps nothing on disk.
    """

    home: Path
    sockets: Path
    durable: bool = True

    @property
    def socket(self) -> Path:
        """The socket that clients connect to."""
        return self.sockets / "redis.sock"

    def url(self, database: int = 0) -> str:
        """A redis-py URL of one of the 16 numbered databases."""
        return f"unix://{quote(str(self.socket))}?db={database}"

    def command(self) -> Command:
        """The command that serves it; makes the directories. SIGTERM stops it in order."""
        for directory in (self.home, self.sockets):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        settings = {
            "port": "0",
            "unixsocket": f'"{self.socket}"',
            "unixsocketperm": "600",
            "dir": f'"{self.home}"',
            "daemonize": "no",
            "save": '""',
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "loglevel": "notice",
        }
        lines = "".join(f"{name} {value}\n" for name, value in settings.items())
        return Command(
            argv=[str(wheels.redis_server()), "-"],
            cwd=self.home,
            environment=plain_environment(),
            stdin=lines.encode(),
        )

    def ready(self) -> bool:
        """Whether it answers PING; False while it loads its data."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(0.5)
        try:
            with connection:
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False
