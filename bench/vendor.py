"""The stand-in vendor: a model provider on loopback that does what the model's name says (answers.py).

It speaks the chat completions wire of OpenAI (`/v1/...`) and of Zhipu (`/api/paas/v4/...`, where usage
rides in the last chunk), and Anthropic's Messages wire (`/anthropic/v1/messages`).

As a process: `python -m bench.vendor --port 9900 [--key sk-...]`. In a test: `async with Vendor() as vendor`,
or, where there is no event loop, `with vendor_in_thread() as vendor`. `GET /_stats` tells what was asked and
emitted, `POST /_reset` forgets it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

import orjson
import uvloop

from bench.answers import OVERLOADED, UNAUTHORIZED, Answer, Refusal, error_body, unknown_model
from bench.chunks import response
from bench.serving import CHAT_PATHS, Connection
from bench.stats import Stats

MODELS = ("bench-0-0-200", "bench-50-10-200", "bench-50-10-20", "echo", "count-input", "reasoning-20", "tools-lookup")
_METHODS = dict.fromkeys(CHAT_PATHS, b"POST") | {
    b"/v1/models": b"GET",
    b"/_stats": b"GET",
    b"/_reset": b"POST",
}


class Vendor:
    """The server. `port` 0 takes a free one; `key` makes it demand `Authorization: Bearer <key>`."""

    def __init__(self, port: int = 0, key: str | None = None) -> None:
        self.stats = Stats()
        self._port = port
        self._key = key
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._ids = itertools.count(1)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), "127.0.0.1", self._port, backlog=1024)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._server is None:
            return
        self._server.close()
        for connection in tuple(self._connections):
            connection.abort()
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        """The port it listens on, on 127.0.0.1."""
        return self._port

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as base_url."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def zhipu_url(self) -> str:
        """What a Zhipu client takes as base_url."""
        return f"http://127.0.0.1:{self._port}/api/paas/v4"

    @property
    def anthropic_url(self) -> str:
        """What a client of Anthropic's wire takes as base_url."""
        return f"http://127.0.0.1:{self._port}/anthropic/v1"

    def connected(self, connection: Connection) -> None:
        """A client came."""
        self._connections.add(connection)
        self.stats.connections += 1

    def disconnected(self, connection: Connection) -> None:
        """A client left."""
        self._connections.discard(connection)
        self.stats.connections -= 1

    def new_id(self) -> str:
        """An answer's id, as long as ID_SLOT."""
        return f"chatcmpl-{next(self._ids):024x}"

    def admits(self, headers: dict[bytes, bytes]) -> bool:
        """Whether the request carries the key, if one is demanded."""
        if self._key is None:
            return True
        key = self._key.encode()
        return headers.get(b"authorization") == b"Bearer " + key or headers.get(b"x-api-key") == key

    def refusal(self, model: str, answer: Answer | None) -> Refusal | None:
        """The refusal that the model's name asks for; fault-503-twice counts its attempts."""
        if model.startswith("fault-503-twice"):
            self.stats.attempts[model] += 1
            return OVERLOADED if self.stats.attempts[model] % 3 else None
        return answer.refusal if answer is not None else unknown_model(model)

    def page(self, method: bytes, path: bytes, admitted: bool) -> bytes:
        """Everything that is not chat, as a whole response."""
        if _METHODS.get(path, method) != method:
            return response(405, error_body("Method not allowed.", "invalid_request_error", None))
        if path == b"/v1/models" and not admitted:
            return response(UNAUTHORIZED.status, UNAUTHORIZED.body)
        pages: dict[bytes, Callable[[], Any]] = {
            b"/health": lambda: {"status": "ok"},
            b"/v1/models": _model_list,
            b"/_stats": self.stats.document,
            b"/_reset": self.stats.reset,
        }
        if path not in pages:
            return response(404, error_body("Unknown path.", "invalid_request_error", None))
        return response(200, orjson.dumps(pages[path]()))


def _model_list() -> dict[str, Any]:
    models = [{"id": name, "object": "model", "created": 0, "owned_by": "bench"} for name in MODELS]
    return {"object": "list", "data": models}


@contextlib.contextmanager
def vendor_in_thread(key: str | None = None) -> Iterator[Vendor]:
    """A vendor with an event loop and a thread of its own, for tests that have no loop."""
    vendor, ready, stop = Vendor(key=key), threading.Event(), threading.Event()
    loop = uvloop.new_event_loop()

    async def serve() -> None:
        async with vendor:
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="bench-vendor", daemon=True)
    thread.start()
    if not ready.wait(10):
        raise RuntimeError("The stand-in vendor did not start within 10 s.")
    try:
        yield vendor
    finally:
        stop.set()
        thread.join(10)
        loop.close()


async def _serve(port: int, key: str | None) -> None:
    async with Vendor(port, key) as vendor:
        print(f"stand-in vendor on {vendor.base_url}", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m bench.vendor", description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, default=9900)
    parser.add_argument("--key", default=None, help="demand this bearer key")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(options.port, options.key))


if __name__ == "__main__":
    main()
