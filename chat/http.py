"""As much of HTTP as the streaming doors need, on plain ASGI: nothing of Django's request cycle.

Measured here, Django's handler and middleware cost a streamed request 3 ms and a thread hop
(docs/adr/0004); these doors carry the traffic, so they go without.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import orjson
import structlog

from accounts import keys, rate_gate, rates, standing
from accounts.actors import Actor
from accounts.authentication import actor_of_headers
from accounts.credentials import token_of
from chat import limit_headers
from core import cancelling
from core.errors import PaasError, from_exception
from core.ids import uuid7
from tenants import gate, resolve
from tenants.asgi import read_away
from tenants.ratelimit import RateLimited, Room
from tenants.scope import TenantRef

log = structlog.get_logger(__name__)

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

HEARTBEAT_SECONDS = 15.0
OPENING_SECONDS = 0.5
RECHECK_SECONDS = 2.5  # and hosts are remembered for 2 s: a suspension is in force within 5
JSON_HEADERS = ((b"content-type", b"application/json"),)
SSE_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class HttpRequest:
    """One request at a streaming door."""

    def __init__(self, scope: dict[str, Any], receive: Receive, send: Send, tenant: TenantRef | None) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.tenant = tenant  # None on the platform host
        self.host: str = scope["paas.host"]
        self.headers: Mapping[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self.query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        self.request_id: str = scope.get("paas.request_id") or uuid7().hex
        self._receive = receive
        self._send = send
        self._gone: asyncio.Task[None] | None = None
        self._sent_at = 0.0
        self.started = False
        self.answer_headers: dict[str, str] = {}  # of the answer, whole or streamed, beside its own
        self.sse_headers = SSE_HEADERS

    async def actor(self) -> Actor:
        """Who asks. A browser's session is accepted for writes only from the tenant's own pages.

        Browsers send Origin with every request that changes something, and scripts cannot forge it; the
        session cookie is SameSite=Lax besides. Raises not_authenticated, invalid_api_key, origin_forbidden.
        """
        actor = await actor_of_headers(self.headers, self.tenant)
        if token_of(self.headers) is None and self.method not in ("GET", "HEAD"):
            check_origin(self.headers)
        return actor

    async def admit(self, actor: Actor, rate_class: str) -> Room | None:
        """Count this request; what is left afterwards, where it is known. Raises rate_limited, and then the same for
        whoever asks the same again too soon, before anything is looked at."""
        try:
            return await rates.admit(actor, rate_class)
        except RateLimited as error:
            rate_gate.remember(self.scope, error)
            raise

    async def json(self, limit: int, *, optional: bool = False) -> dict[str, Any]:
        """The body as a JSON object of at most `limit` bytes. Raises request_too_large, malformed_json.

        optional: a body without a byte is an empty object.
        """
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGone
            size += len(message.get("body", b""))
            if size > limit:
                if message.get("more_body"):
                    await read_away(self._receive, size)
                raise PaasError("request_too_large", f"The request is over {limit // 1024:,} KiB.")
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                break
        body = b"".join(parts)
        if optional and not body.strip():
            return {}
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise PaasError("malformed_json", details={"position": error.pos}) from None
        if not isinstance(found, dict):
            raise PaasError("malformed_json", "The request body must be a JSON object.")
        return found

    async def respond(self, status: int, value: Any, headers: Mapping[str, str] | None = None) -> None:
        """A whole JSON answer."""
        await self.respond_bytes(status, orjson.dumps(value), headers)

    async def respond_bytes(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """A whole JSON answer that is encoded already."""
        told = self.answer_headers | dict(headers or {})
        extra = [(name.lower().encode(), value.encode()) for name, value in told.items()]
        extra.append((b"x-request-id", self.request_id.encode()))
        extra.append((b"content-length", str(len(body)).encode()))
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": [*JSON_HEADERS, *extra]})
        await self._send({"type": "http.response.body", "body": body})

    @asynccontextmanager
    async def while_here(self) -> AsyncIterator[None]:
        """Cancels what the block waits for, and raises ClientGone, when the client leaves.

        A callback and not a race of two tasks: this is on every request's way to its first token.
        """
        gone, here, inside, left = self._watch(), asyncio.current_task(), True, False
        assert here is not None

        def leave(_: object) -> None:
            nonlocal left
            if inside:
                left = True
                here.cancel()

        gone.add_done_callback(leave)
        try:
            yield
        except asyncio.CancelledError:
            if not left:
                raise
            here.uncancel()
            raise ClientGone from None
        finally:
            inside = False
            gone.remove_done_callback(leave)

    async def stream(self, parts: AsyncGenerator[bytes, None], heartbeat: bytes = b": hb\n\n") -> None:
        """Server-sent events until `parts` ends; a heartbeat in every long pause.

        Raises ClientGone when the client has left, or is sent away because it may not be here any more.
        """
        attendant = asyncio.create_task(self._attend(heartbeat))
        try:
            async with self.while_here():
                async for part in parts:
                    await self._send_part(part)
                await self._send_part(b"")
                await self._send({"type": "http.response.body", "body": b""})
        finally:
            await cancelling.ended([attendant])
            await parts.aclose()

    async def _attend(self, heartbeat: bytes) -> None:
        """A heartbeat whenever nothing was sent for HEARTBEAT_SECONDS, and soon where nothing was sent at all:
        who follows a run that says nothing just now is to know that the connection stands. Every few seconds
        the question whether this client may still be here (P36)."""
        loop = asyncio.get_running_loop()
        self._sent_at = loop.time()
        await asyncio.sleep(OPENING_SECONDS)
        if not self.started:
            await self._send_part(heartbeat)
        recheck_at = loop.time() + self._recheck_seconds()
        while True:
            await asyncio.sleep(max(0.0, min(self._sent_at + HEARTBEAT_SECONDS, recheck_at) - loop.time()))
            if loop.time() >= recheck_at:
                if await self._lost_right():
                    self._watch().cancel()  # as if it had left
                    return
                recheck_at = loop.time() + self._recheck_seconds()
            elif loop.time() >= self._sent_at + HEARTBEAT_SECONDS:
                await self._send_part(heartbeat)

    def _recheck_seconds(self) -> float:
        """Keys are asked about more often, at no cost: what is known of them lies in memory, for a second."""
        return RECHECK_SECONDS if token_of(self.headers) is None else min(RECHECK_SECONDS, keys.RECHECK_SECONDS)

    async def _lost_right(self) -> bool:
        try:
            # The tenant as it is now, with what it asks of its people.
            tenant = await resolve.tenant_of_host(self.host) if self.tenant is not None else None
            await standing.still_actor(self.headers, tenant)
        except PaasError as error:
            # A database away is no reason. 429 is what callers get whom no credential names, when they are too many.
            return error.status in (401, 403, 404, 429)
        return False

    async def close(self) -> None:
        """Stop watching for the client's leaving."""
        if self._gone is not None:
            await cancelling.ended([self._gone])

    async def _send_part(self, part: bytes) -> None:
        if not self.started:
            self.started = True
            told = [(name.lower().encode(), value.encode()) for name, value in self.answer_headers.items()]
            headers = [*self.sse_headers, (b"x-request-id", self.request_id.encode()), *told]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        if part:
            self._sent_at = asyncio.get_running_loop().time()
            await self._send({"type": "http.response.body", "body": part, "more_body": True})

    def _watch(self) -> asyncio.Task[None]:
        if self._gone is None:
            self._gone = asyncio.create_task(self._until_gone())
        return self._gone

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue


class ClientGone(Exception):
    """The client left before its request was read."""


def check_origin(headers: Mapping[str, str]) -> None:
    """Raise origin_forbidden unless the request comes from a page of the very host it goes to."""
    origin = headers.get("origin", "")
    scheme, _, host = origin.partition("://")
    if scheme not in ("http", "https") or not host or host.lower() != headers.get("host", "").lower():
        raise PaasError("origin_forbidden")


Door = Callable[[HttpRequest], Awaitable[None]]
Shape = Callable[[PaasError, str], dict[str, Any]]


async def serve(request: HttpRequest, door: Door, shape: Shape) -> None:
    """Run `door`; an error that comes before the answer is sent in the protocol's `shape`."""
    try:
        if (refused := rate_gate.refusal(request.scope)) is not None:
            raise refused
        await door(request)
    except ClientGone:
        return
    except Exception as error:
        found = from_exception(error)
        if found.code == "rate_limited":
            known = not (isinstance(found, RateLimited) and found.of_address)
            gate.of_process.refused(request.tenant.id if request.tenant else None, known=known)
        if found.code == "internal_error":
            log.exception("request failed", path=request.path, request_id=request.request_id)
        if request.started:
            raise
        headers = limit_headers.of_error(found) | found.headers()
        if shape is openai_shape and not found.retryable:
            headers["x-should-retry"] = "false"  # OpenAI's clients try again after every 429 and 5xx if not told so
        await request.respond(found.status, shape(found, request.request_id), headers)
    finally:
        await request.close()


def native_shape(error: PaasError, request_id: str) -> dict[str, Any]:
    """Errors of our own API."""
    return error.as_native(request_id)


def openai_shape(error: PaasError, request_id: str) -> dict[str, Any]:
    """Errors of /v1."""
    return error.as_openai()
