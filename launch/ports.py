"""The platform's port: opening it, and saying who has it when it is taken."""

import contextlib
import errno
import os
import socket
from pathlib import Path

from launch.errors import LaunchError

_BACKLOG = 2048


def open_sockets(port: int) -> list[socket.socket]:
    """Listening sockets on 127.0.0.1 and, where there is one, ::1: browsers take either for *.localhost.

    Raises LaunchError when the port is taken or not allowed.
    """
    sockets = []
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            sockets.append(_listen(family, address, port))
        except OSError as error:
            if family == socket.AF_INET6 and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                continue
            for opened in sockets:
                opened.close()
            raise LaunchError(_why(error, port)) from error
    return sockets


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def holder(port: int) -> str | None:
    """Who listens on a port of this machine, as `name (process 123)`; None when it cannot be seen."""
    inodes = _listening_inodes(port)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if os.readlink(descriptor) in inodes:
                    return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return None


def _listen(family: int, address: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _why(error: OSError, port: int) -> str:
    other = port + 1 if port < 65535 else port - 1
    if error.errno == errno.EADDRINUSE:
        who = holder(port) or "another program"
        return f"Port {port} is taken by {who}. Stop it, or use another port: PORT={other} make run"
    if error.errno == errno.EACCES:
        return f"You may not use port {port}: ports below 1024 are the system's. For example: PORT=8000 make run"
    return f"Port {port} cannot be opened: {error.strerror}. Another one: PORT={other} make run"


def _listening_inodes(port: int) -> set[str]:
    """As /proc/<pid>/fd shows them. In /proc/net/tcp, 0A is LISTEN and the port is in hexadecimal."""
    found = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                    found.add(f"socket:[{fields[9]}]")
    return found
