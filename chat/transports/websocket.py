"""`/ws/chat/`: turns, their events, stop and resume over one socket. Frames are in README.md, API."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import orjson
import structlog
from channels.generic.websocket import AsyncWebsocketConsumer

from accounts import keys, rates, standing, tickets
from accounts.actors import Actor
from accounts.authentication import actor_of_headers
from accounts.credentials import token_of
from chat import approvals, host, idempotency, protocol, selectors, turns
from chat.follow import follow
from chat.http import check_origin
from core import cancelling, tracing
from core.errors import PaasError, from_exception
from tenants import resolve, scope
from tenants.scope import TenantRef

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS = 15.0
RECHECK_SECONDS = 2.5  # and hosts are remembered for 2 s: a suspension is in force within 5
SLOW_READER_SECONDS = 20.0
LINGER_SECONDS = 5.0  # for the reason to reach a reader that was too slow
QUEUE_FRAMES = 256
MAX_FRAME_BYTES = 256 * 1024
MAX_SOCKETS = 20  # a person, in one process
MAX_FOLLOWED = 20  # runs at once on one socket

NOT_SIGNED_IN, FORBIDDEN, TOO_SLOW, TOO_MANY, TOO_BIG, RESTARTING = 4401, 4403, 4008, 4429, 1009, 1012
TRY_LATER = 1013
CLOSE_CODES = {401: NOT_SIGNED_IN, 403: FORBIDDEN, 404: FORBIDDEN}
# frame -> its class of rate limits; the others cost nothing
RATES = {"turn.start": "turn", "run.follow": "stream", "run.cancel": "write", "approval.decide": "write"}

_open: Counter[str] = Counter()


def open_sockets() -> int:
    """How many are open in this process."""
    return sum(_open.values())


class ChatSocket(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One browser tab or program. All database work is in helpers that bind and end; the socket holds none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.actor: Actor | None = None  # while the socket counts
        self.outbox: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE_FRAMES)
        self.followed: dict[uuid.UUID, asyncio.Task[None]] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._let_go()  # also when it broke off before it was open: Channels then tells nobody

    async def connect(self) -> None:
        self.tenant: TenantRef = self.scope["paas.tenant"]
        self.host_name: str = self.scope["paas.host"]
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self.scope["headers"]}
        self.ticket = parse_qs(self.scope.get("query_string", b"").decode("latin-1")).get("ticket", [""])[0]
        try:
            actor = await self._identify()
            await rates.admit(actor, "stream")
        except PaasError as error:
            if error.code == "origin_forbidden":
                await self.close()  # before it is accepted: 403 (A26); our own pages' SSE door says why
                return
            # Accepting first is the only way to give a browser the code and the reason.
            await self.accept()
            code = TOO_MANY if error.status == 429 else CLOSE_CODES.get(error.status, TRY_LATER)
            await self.close(code, error.code)
            return
        if host.current().stopping:
            await self.accept()
            await self.close(RESTARTING, "server_stopping")
            return
        if _open[actor.label] >= MAX_SOCKETS:
            await self.accept()
            await self.close(TOO_MANY, "too_many_connections")
            return
        self.actor = actor
        _open[actor.label] += 1
        await self.accept()
        self._spawn(self._write())
        self._spawn(self._watch())
        host.current().leaving.add(self._leave)
        await self._put({"type": "ready", "heartbeat_seconds": HEARTBEAT_SECONDS})

    async def _identify(self) -> Actor:
        if self.ticket:
            if "origin" in self.headers:
                check_origin(self.headers)
            return await scope.run_in_tenant(self.tenant, tickets.redeem, self.ticket)
        if token_of(self.headers) is None:
            check_origin(self.headers)
        return await actor_of_headers(self.headers, self.tenant)

    def _let_go(self) -> None:
        """End everything that belongs to this socket. Twice is once."""
        cancelling.cancel([*self.tasks, *self.followed.values()])
        actor, self.actor = self.actor, None
        host.current().leaving.discard(self._leave)
        if actor is not None:
            _open[actor.label] -= 1
            if _open[actor.label] <= 0:
                del _open[actor.label]

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.actor is None:
            return
        frame: dict[str, Any] = {}
        try:
            frame = _parse(text_data if text_data is not None else bytes_data or b"")
            await self._handle(frame)
        except Exception as error:
            found = from_exception(error)
            if found.code == "internal_error":
                log.exception("a frame could not be handled")
            await self._put_error(found, frame)

    async def _handle(self, frame: dict[str, Any]) -> None:
        assert self.actor is not None
        kind = frame.get("type")
        if isinstance(kind, str) and kind in RATES:
            await rates.admit(self.actor, RATES[kind])
        if kind == "ping":
            await self._put({"type": "pong"})
        elif kind == "turn.start":
            await self._start(frame)
        elif kind == "run.follow":
            run_id, after = protocol.parse_uuid(str(frame.get("run_id"))), frame.get("after_seq", 0)
            if type(after) is not int or after < 0:
                raise PaasError("validation_failed", "after_seq is the number of an event.")
            await scope.run_in_tenant(self.tenant, selectors.run_for, self.actor, run_id)
            self._follow(run_id, after)
        elif kind == "run.unfollow":
            task = self.followed.pop(protocol.parse_uuid(str(frame.get("run_id"))), None)
            if task is not None:
                cancelling.cancel([task])
        elif kind == "run.cancel":
            await turns.cancel_turn(self.actor, protocol.parse_uuid(str(frame.get("run_id"))))
        elif kind == "approval.decide":
            approvals.require_person(self.actor)
            view = await approvals.answer(self.actor, protocol.parse_uuid(str(frame.get("approval_id"))), frame)
            await self._put({"type": "approval.answered", "ref": frame.get("ref"), "approval": view})
        else:
            raise PaasError("validation_failed", f"There is no frame of the type {str(kind)[:40]!r}.")

    async def _start(self, frame: dict[str, Any]) -> None:
        assert self.actor is not None
        key = idempotency.checked(frame.get("idempotency_key", ""), "idempotency_key")
        turn = replace(protocol.turn_request("websocket", frame), idempotency_key=key)
        with tracing.continued(frame.get("traceparent")), tracing.span("websocket turn.start", kind="server"):
            started = await turns.start_turn(self.actor, turn)
        view = protocol.started_view(started)
        accepted = {
            "type": "turn.accepted",
            "ref": frame.get("ref"),
            "run_id": view["run"]["id"],
            "conversation": view["conversation"],
            "message_id": view["message_id"],
        }
        await self._put(accepted | ({"replayed": True} if started.replayed else {}))
        self._follow(started.run_id, 0)

    def _follow(self, run_id: uuid.UUID, after: int) -> None:
        before = self.followed.pop(run_id, None)
        if before is not None:
            cancelling.cancel([before])
        if len(self.followed) >= MAX_FOLLOWED:
            raise PaasError("too_many_connections", "This socket follows too many runs. Open another one.")
        task = asyncio.create_task(self._copy(run_id, after))
        self.followed[run_id] = task
        task.add_done_callback(lambda done: self._forget(run_id, done))

    def _forget(self, run_id: uuid.UUID, done: asyncio.Task[None]) -> None:
        if self.followed.get(run_id) is done:
            del self.followed[run_id]

    async def _copy(self, run_id: uuid.UUID, after: int) -> None:
        """The run's events into the outbox. A reader that takes none for too long is let go, not waited for."""
        name = str(run_id)
        try:
            async for first, events in follow(self.tenant, run_id, after):
                for offset, event in enumerate(events):
                    await self._put(protocol.envelope(name, first + offset, event))
        except Exception as error:
            found = from_exception(error)
            if found.code == "internal_error":
                log.exception("a run could not be followed", run=name)
            await self._put_error(found, {"run_id": name})

    # --- writing ------------------------------------------------------------------------------
    async def _put_error(self, error: PaasError, frame: dict[str, Any]) -> None:
        await self._put(
            {
                "type": "error",
                "ref": frame.get("ref"),
                "run_id": frame.get("run_id"),
                "code": error.code,
                "message": error.message,
                "retry_after": error.retry_after,
            }
            | ({"details": error.details} if error.details else {})
        )

    async def _put(self, frame: dict[str, Any]) -> None:
        if self.actor is None:
            return
        encoded = orjson.dumps(frame)
        if not self.outbox.full():
            self.outbox.put_nowait(encoded)
            return
        try:
            async with asyncio.timeout(SLOW_READER_SECONDS):
                await self.outbox.put(encoded)
        except TimeoutError:
            self._give_up()

    def _give_up(self) -> None:
        """Let a reader go that takes nothing: with a reason if it still hears one, and by force soon after."""
        if self.actor is None:
            return
        self._let_go()
        self.farewell = asyncio.create_task(self._close(TOO_SLOW, "too_slow"))
        # The close frame waits behind what is not read; only the server's transport can be cut off under it.
        transport = getattr(getattr(self.base_send, "__self__", None), "transport", None)
        if transport is not None:
            asyncio.get_running_loop().call_later(LINGER_SECONDS, transport.abort)

    async def _close(self, code: int, reason: str) -> None:
        try:
            await self.close(code, reason)
        except (OSError, RuntimeError):
            log.info("the socket was gone already", code=code, reason=reason)

    async def _write(self) -> None:
        try:
            while True:
                frame = await self.outbox.get()
                if frame is None:
                    await self._close(RESTARTING, "server_stopping")
                    return
                await self.send(text_data=frame.decode())
        except (OSError, RuntimeError):
            return  # the client is gone; the server says so next

    # --- the process stops --------------------------------------------------------------------
    def _leave(self) -> None:
        """This process takes no more turns: send the client to another one, once its runs here have ended."""
        self._spawn(self._until_done())

    async def _until_done(self) -> None:
        while self.followed:
            await asyncio.wait(self.followed.values())
        await self.outbox.put(None)

    # --- staying entitled ---------------------------------------------------------------------
    async def _watch(self) -> None:
        """Heartbeats, and every few seconds the question whether this actor may still be here."""
        loop = asyncio.get_running_loop()
        next_beat = loop.time() + HEARTBEAT_SECONDS
        while True:
            # Keys are asked about more often: a revoked one is out within two seconds.
            by_key = self.actor is not None and self.actor.key_id is not None
            await asyncio.sleep(min(RECHECK_SECONDS, keys.RECHECK_SECONDS) if by_key else RECHECK_SECONDS)
            lost = await self._lost_right()
            if lost is not None:
                await self._close(CLOSE_CODES[lost.status], lost.code)
                return
            if loop.time() >= next_beat:
                next_beat = loop.time() + HEARTBEAT_SECONDS
                await self._put({"type": "heartbeat"})

    async def _lost_right(self) -> PaasError | None:
        """Why this socket may not stay, by the credential that opened it: its session, key or ticket's owner."""
        try:
            self.tenant = await resolve.tenant_of_host(self.host_name)  # with what it asks of its people now
            actor = await self._present_actor()
        except Exception as error:
            found = from_exception(error)
            if found.code == "internal_error":
                log.exception("a socket's right could not be checked")
            if found.status == 429:  # what callers get whom no credential names, when they are too many
                found = PaasError("not_authenticated")
            return found if found.status in CLOSE_CODES else None  # a database away is no reason
        if self.actor is not None:
            self.actor = actor
        return None

    async def _present_actor(self) -> Actor:
        if not self.ticket or self.actor is None:
            return await standing.still_actor(self.headers, self.tenant)
        actor = await scope.run_in_tenant(self.tenant, tickets.still, self.actor)
        if actor is None:
            raise PaasError("not_authenticated")
        actor.require_factor()
        return actor

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def _parse(data: str | bytes) -> dict[str, Any]:
    try:
        frame = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise PaasError("malformed_json", "A frame is one JSON object.") from None
    if not isinstance(frame, dict):
        raise PaasError("malformed_json", "A frame is one JSON object.")
    return frame
