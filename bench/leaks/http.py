"""Traffic through the doors: HTTP, server-sent events and websockets on the real server, and stolen credentials."""

from __future__ import annotations

import asyncio
import json
import socket
import uuid
from contextlib import suppress
from typing import Any, Self

import aiohttp
import uvicorn

from bench.leaks.place import Place, Register
from bench.leaks.world import AGENT, Customer

register = Register()
READ_PATHS = ("/api/v1/me", "/api/v1/agents", "/api/v1/conversations", "/v1/models")
TERMINAL = ("run.completed", "run.failed", "run.cancelled")


class Server:
    """The product behind a real socket, on the running event loop."""

    def __init__(self) -> None:
        from paas.asgi import application

        self._server = uvicorn.Server(
            uvicorn.Config(
                application, log_level="error", lifespan="on", ws="websockets-sansio", timeout_graceful_shutdown=1
            )
        )
        # With the protocol by name: asyncio switches Nagle's algorithm off only where it knows that it is TCP.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise RuntimeError("The server did not start.")
            await asyncio.sleep(0.005)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.should_exit = True
        await self._task


async def _get(place: Place, path: str, headers: dict[str, str]) -> tuple[int, str]:
    async with place.http.get(place.url(path), headers=headers, allow_redirects=False) as answer:
        return answer.status, await answer.text()


def _slug_stands_for_canary(place: Place, text: str) -> str:
    """`owned_by` and the like name a tenant by its slug."""
    for customer in place.world.customers:
        text = text.replace(customer.ref.slug, customer.canary)
    return text


@register.operation(4)
async def pages_and_api(place: Place) -> None:
    """Reading with a session or a key on the tenant's host."""
    by_key = place.chance.random() < 0.5
    credential = place.bearer(place.own) if by_key else place.cookie(place.own)
    paths = [path for path in READ_PATHS if path != "/api/v1/conversations" or not by_key]
    if not by_key:
        paths.append(f"/api/v1/conversations/{place.own.conversation}/messages")
    status, text = await _get(place, place.chance.choice(paths), place.headers(place.own, **credential))
    place.witness.same("the status", status, 200)
    place.witness.saw(_slug_stands_for_canary(place, text))


@register.operation(2)
async def stolen_credentials(place: Place) -> None:
    """One tenant's session and key on another's host, and its session on the platform's (A11, P18)."""
    path = place.chance.choice(READ_PATHS)
    for credential in (place.cookie(place.own), place.bearer(place.own)):
        status, text = await _get(place, path, place.headers(place.other, **credential))
        place.witness.same("the status of a stolen credential", status, 401)
        place.witness.saw_nothing(_slug_stands_for_canary(place, text))
    for path_, wanted in (("/v1/models", 401), ("/admin/", 302)):
        status, text = await _get(place, path_, place.headers(None, **place.cookie(place.own)))
        place.witness.same("the status on the platform's host", status, wanted)
        place.witness.saw_nothing(text)


@register.operation(2)
async def foreign_ids(place: Place) -> None:
    """Another tenant's ids in one's own requests are not found, and look like ids that never were (A1, A28)."""
    kinds = {
        "/api/v1/runs/{}": place.other.run,
        "/api/v1/runs/{}/events": place.other.run,
        "/api/v1/conversations/{}": place.other.conversation,
        "/api/v1/conversations/{}/messages": place.other.conversation,
    }
    path, foreign = place.chance.choice(list(kinds.items()))
    headers = place.headers(place.own, **place.cookie(place.own))
    status, text = await _get(place, path.format(foreign), headers)
    _, unknown = await _get(place, path.format(uuid.uuid4()), headers)
    place.witness.same("the status of a foreign id", status, 404)
    place.witness.same("what is said of a foreign id", _without_ids(text), _without_ids(unknown))
    place.witness.saw_nothing(text)


def _without_ids(text: str) -> object:
    error: dict[str, Any] = json.loads(text)["error"]
    return {name: value for name, value in error.items() if name != "request_id"}


@register.operation(2)
async def completions(place: Place) -> None:
    """A turn over the OpenAI door; on the platform's host the key says whose it is."""
    at = place.own if place.chance.random() < 0.7 else None
    nonce, stream = uuid.uuid4().hex, place.chance.random() < 0.5
    body = {
        "model": AGENT,
        "stream": stream,
        "max_tokens": 50,
        "messages": [{"role": "user", "content": f"{place.own.canary} {nonce}"}],
    }
    headers = place.headers(at, **place.bearer(place.own))
    async with place.http.post(place.url("/v1/chat/completions"), json=body, headers=headers) as answer:
        text = await answer.text()
    place.witness.same("the status", answer.status, 200)
    place.witness.saw(text)
    said = text if not stream else "".join(_stream_texts(text))
    place.witness.same("the question in the answer", nonce in said, True)
    if stream:  # an answer in one piece is followed by nobody, so it leaves no stream
        _remember(place.own, uuid.UUID(text.split('"chatcmpl-', 1)[1][:32]))


def _stream_texts(text: str) -> list[str]:
    chunks = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    return [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]


def _remember(customer: Customer, run: uuid.UUID) -> None:
    """Keep the last few runs: their streams are still in Redis."""
    customer.recent_runs.append(run)
    del customer.recent_runs[:-5]


@register.operation(1)
async def events_over_sse(place: Place) -> None:
    """A turn over the native door, then its stored log, as its owner and as another tenant."""
    body = {"agent": AGENT, "message": place.own.canary}
    headers = place.headers(place.own, Accept="text/event-stream", **place.bearer(place.own))
    async with place.http.post(place.url("/api/v1/runs"), json=body, headers=headers) as answer:
        text = await answer.text()
    place.witness.same("the status", answer.status, 200)
    place.witness.saw(text)
    run = uuid.UUID(text.split('"run_id":"', 1)[1][:36])
    _remember(place.own, run)
    path = f"/api/v1/runs/{run}/events"
    _, again = await _get(place, path, place.headers(place.own, **place.bearer(place.own)))
    place.witness.same("the log, read again", again, text)
    status, foreign = await _get(place, path, place.headers(place.other, **place.bearer(place.other)))
    place.witness.same("the status of a foreign run", status, 404)
    place.witness.saw_nothing(foreign)


@register.operation(2)
async def websockets(place: Place) -> None:
    """A turn over the websocket, a try to follow another tenant's run, and a stolen session (P2)."""
    async with _socket(place, place.own, place.own) as own:
        await own.receive_json()
        await own.send_json({"type": "run.follow", "run_id": str(place.other.run), "after_seq": 0})
        refusal = await own.receive_json()
        place.witness.same("the answer to a foreign run", refusal.get("code"), "not_found")
        await own.send_json({"type": "turn.start", "ref": "1", "agent": AGENT, "message": place.own.canary})
        frames: list[Any] = []
        while not frames or frames[-1]["type"] not in TERMINAL:
            frames.append(await own.receive_json())
            if frames[-1]["type"] == "error":
                break
        place.witness.saw(json.dumps(frames))
    async with _socket(place, at=place.other, of=place.own) as stolen:
        message = await stolen.receive()
        place.witness.same("the end of a stolen socket", (message.type, stolen.close_code), (_CLOSED, 4401))


_CLOSED = aiohttp.WSMsgType.CLOSE


def _socket(place: Place, at: Customer, of: Customer) -> Any:
    headers = place.headers(at, Origin=f"http://{at.host}:{place.port}", **place.cookie(of))
    return place.http.ws_connect(place.url("/ws/chat/"), headers=headers, timeout=aiohttp.ClientWSTimeout(ws_close=5))


@register.operation(0.5)
async def readers_who_leave(place: Place) -> None:
    """A client that goes away in the middle of its answer."""
    body = {"model": AGENT, "stream": True, "messages": [{"role": "user", "content": place.own.canary}]}
    headers = place.headers(place.own, **place.bearer(place.own))
    with suppress(aiohttp.ClientError):
        async with place.http.post(place.url("/v1/chat/completions"), json=body, headers=headers) as answer:
            place.witness.saw(place.own.canary, (await answer.content.readline()).decode())
