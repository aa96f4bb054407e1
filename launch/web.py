"""One web process: uvicorn on sockets that the supervisor opened: `python -m launch.web --fd N [--fd M]`.

The supervisor keeps the sockets open, so that while a web process is replaced new connections wait instead of
being refused, several processes can share them, and the port is known to be free before anything starts.
"""

import argparse
import socket

# A frame above this closes the websocket with 1009.
WEBSOCKET_FRAME_BYTES = 256 * 1024
DRAIN_SECONDS = 10


def main() -> None:
    """Serve paas.asgi until SIGTERM; then finish what is under way for up to DRAIN_SECONDS."""
    import uvicorn

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
        proxy_headers=False,  # nothing in front of us here: such headers are the visitor's own words
        server_header=False,
        use_colors=False,
        log_level="warning",
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor) for descriptor in descriptors])


if __name__ == "__main__":
    main()
