"""One web process: uvicorn on sockets that the supervisor opened, `python -m launch.web --fd N [--fd M]`, or on one of
its own, `python -m launch.web --host 0.0.0.0 --port 8000`.

The supervisor keeps the sockets open, so that while a web process is replaced new connections wait instead of
being refused, several processes can share them, and the port is known to be free before anything starts. A process
with a socket of its own has a proxy in front that asks another one when this one refuses.
"""

import argparse
import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn
from uvicorn.importer import import_from_string

from launch.refusal import RefusingProtocol
from launch.settings import CLOSE_SECONDS, DRAIN_SECONDS

# A frame above this closes the websocket with 1009.
WEBSOCKET_FRAME_BYTES = 256 * 1024
_BACKLOG = 2048
_STOPPING = (("DRAIN_SECONDS", DRAIN_SECONDS), ("STOP_NOTICE_SECONDS", 0))


class Server(uvicorn.Server):
    """uvicorn, but told to stop it lets runs end before it closes connections; told again, it waits no longer.

    notice_seconds: for so long it says at /readyz/process that it is stopping, and serves all the same, so that whoever
    sends it requests has time to send them elsewhere.
    """

    def __init__(self, config: uvicorn.Config, drain_seconds: int, notice_seconds: float = 0) -> None:
        super().__init__(config)
        self._drain_seconds = drain_seconds
        self._notice_seconds = notice_seconds
        self._hurry = asyncio.Event()
        self._drain: Callable[[int, asyncio.Event], Awaitable[None]] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit and self._loop is not None:
            self.config.timeout_graceful_shutdown = 1
            self._loop.call_soon_threadsafe(self._hurry.set)
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._drain = import_from_string("paas.asgi:drain")
        RefusingProtocol.door = import_from_string("paas.asgi:turned_away")
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._give_notice()
        for server in self.servers:
            server.close()  # new connections go to the processes that share the sockets, or are refused
        for connection in list(self.server_state.connections):
            # A proxy would send its next request on it. On a new one the first may be on its way; websockets drain.
            if isinstance(connection, RefusingProtocol) and (connection.answered or connection.cycle is not None):
                connection.shutdown()
        if self._drain is not None:
            await self._drain(self._drain_seconds, self._hurry)
        await super().shutdown(sockets)

    async def _give_notice(self) -> None:
        import_from_string("paas.asgi:announce_stop")()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._notice_seconds):
                await self._hurry.wait()


# How long a thread may keep Python to itself while another one wants it (5 ms otherwise). The event loop, which every
# stream waits for, wants it thousands of times a second, and threads of Django's requests are busy all the time.
SWITCH_SECONDS = 0.001


def main() -> None:
    """Serve paas.asgi until SIGTERM; then finish what is under way for up to DRAIN_SECONDS."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, action="append", default=[], help="a listening socket that was handed down")
    parser.add_argument("--host", default="127.0.0.1", help="the address of a socket of its own")
    parser.add_argument("--port", type=int, default=8000, help="and its port")
    options = parser.parse_args()
    sys.setswitchinterval(SWITCH_SECONDS)
    sockets = [socket.socket(fileno=descriptor) for descriptor in options.fd]
    if not sockets:
        try:
            sockets = [listening(options.host, options.port)]
        except OSError as error:
            raise SystemExit(f"{options.host} port {options.port} cannot be opened: {error.strerror}.") from None
    config = uvicorn.Config(
        "paas.asgi:application",
        loop="uvloop",
        http="launch.refusal:RefusingProtocol",
        ws="websockets-sansio",
        ws_max_size=WEBSOCKET_FRAME_BYTES,
        ws_per_message_deflate=False,  # 40 KB a socket for as long as it is open, to make short frames shorter
        access_log=False,
        log_config=None,  # its lines go where the platform's do, in their form and without secrets
        proxy_headers=False,  # nothing in front of us here: such headers are the visitor's own words
        server_header=False,
        use_colors=False,
        log_level="warning",
        timeout_graceful_shutdown=CLOSE_SECONDS,
    )
    drain, notice = (int(os.environ.get(name) or default) for name, default in _STOPPING)
    Server(config, drain, notice).run(sockets=sockets)


def listening(host: str, port: int) -> socket.socket:
    """A socket of this process's own; of IPv4 and IPv6 where the host is `::`. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = family == socket.AF_INET6 and host == "::"
    return socket.create_server((host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both)


if __name__ == "__main__":
    main()
