"""One web process: uvicorn on sockets that the supervisor opened: `python -m launch.web --fd N [--fd M]`.

The supervisor keeps the sockets open, so that while a web process is replaced new connections wait instead of
being refused, several processes can share them, and the port is known to be free before anything starts.
"""

import argparse
import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from types import FrameType

import uvicorn
from uvicorn.importer import import_from_string

from launch.settings import CLOSE_SECONDS, DRAIN_SECONDS

# A frame above this closes the websocket with 1009.
WEBSOCKET_FRAME_BYTES = 256 * 1024


class Server(uvicorn.Server):
    """uvicorn, but told to stop it lets runs end before it closes connections; told again, it waits no longer."""

    def __init__(self, config: uvicorn.Config, drain_seconds: int) -> None:
        super().__init__(config)
        self._drain_seconds = drain_seconds
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
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()  # new connections go to the processes that share the sockets
        if self._drain is not None:
            await self._drain(self._drain_seconds, self._hurry)
        await super().shutdown(sockets)


def main() -> None:
    """Serve paas.asgi until SIGTERM; then finish what is under way for up to DRAIN_SECONDS."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, action="append", required=True)
    descriptors = parser.parse_args().fd
    config = uvicorn.Config(
        "paas.asgi:application",
        loop="uvloop",
        http="launch.receipt:ReceiptProtocol",
        ws="websockets-sansio",
        ws_max_size=WEBSOCKET_FRAME_BYTES,
        access_log=False,
        log_config=None,  # its lines go where the platform's do, in their form and without secrets
        proxy_headers=False,  # nothing in front of us here: such headers are the visitor's own words
        server_header=False,
        use_colors=False,
        log_level="warning",
        timeout_graceful_shutdown=CLOSE_SECONDS,
    )
    server = Server(config, int(os.environ.get("DRAIN_SECONDS") or DRAIN_SECONDS))
    server.run(sockets=[socket.socket(fileno=descriptor) for descriptor in descriptors])


if __name__ == "__main__":
    main()
