"""Everything that goes wrong, as one table over the protocols: a stable code, the protocol's own status, a sentence
that a person can act on, and nothing left behind (no tokens held, no run, no vendor stream, no socket)."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from chat import host as hosts
from chat.transports import websocket
from core.errors import ERRORS
from llm import breaker
from tenants import resolve
from tests.chat.doors import OpenAIDoor, SocketDoor, SseDoor
from tests.chat.ledger import Ledger, eventually
from tests.conftest import forget_caches
from tests.contracts.transport import Refusal


@dataclass
class World:
    """What a row may arrange, and what the attempt then uses."""

    site: Any
    ledger: Ledger
    api_key: Callable[..., str]
    agent: Callable[..., str]
    monkeypatch: pytest.MonkeyPatch
    slug: str = "acme"
    model: str = "assistant"
    text: str = "hello"
    raw: bytes | None = None
    _token: str = ""
    undo: list[Callable[[], Any]] = field(default_factory=list)

    @property
    def token(self) -> str:
        self._token = self._token or self.api_key()
        return self._token

    @token.setter
    def token(self, value: str) -> None:
        self._token = value

    def vendor(self, model: str) -> None:
        self.model = self.agent(model)


def unknown_host(world: World) -> None:
    world.token, world.slug = world.api_key(), "nobody"


def suspended(world: World) -> None:
    assert world.token
    change = "UPDATE tenants_tenant SET status = '%s' WHERE slug = 'acme'"
    world.ledger.rows(change % "suspended")
    world.undo.append(lambda: (world.ledger.rows(change % "active"), resolve.forget_all()))
    forget_caches()


def expired_key(world: World) -> None:
    assert world.token
    world.ledger.rows("UPDATE accounts_apikey SET expires_at = now() - interval '1 second'")


def revoked_key(world: World) -> None:
    assert world.token
    world.ledger.rows("UPDATE accounts_apikey SET revoked_at = now()")


def foreign_key(world: World) -> None:
    world.token = world.api_key("globex")


def no_key(world: World) -> None:
    world.token = "none"


def weak_key(world: World) -> None:
    world.token = world.api_key("acme", ["chat:read"])


def no_quota(world: World) -> None:
    world.ledger.allow(3)


def slow_vendor(world: World) -> None:
    from dataclasses import replace

    from llm import client
    from llm.providers import openai_compatible

    world.vendor("fault-hang")
    hasty = lambda account: replace(client.endpoint_of(account), first_byte_timeout=0.1)  # noqa: E731
    world.monkeypatch.setattr(openai_compatible, "endpoint_of", hasty)


def provider_off(world: World) -> None:
    world.vendor("bench-0-0-5")
    world.ledger.rows("UPDATE llm_provideraccount SET enabled = false WHERE kind = 'openai_compatible'")


def sets(**values: Any) -> Callable[[World], None]:
    return lambda world: [setattr(world, name, value) for name, value in values.items()] and None


def vendor(model: str) -> Callable[[World], None]:
    return lambda world: world.vendor(model)


# name: (what is arranged, code, HTTP status, websocket close code or None: a frame on an open socket)
ROWS: dict[str, tuple[Callable[[World], None], str, int, int | None]] = {
    "unknown host": (unknown_host, "tenant_not_found", 404, 4404),
    "suspended tenant": (suspended, "tenant_suspended", 403, 4403),
    "no such key": (no_key, "invalid_api_key", 401, 4401),
    "expired key": (expired_key, "api_key_expired", 401, 4401),
    "revoked key": (revoked_key, "invalid_api_key", 401, 4401),
    "foreign key": (foreign_key, "invalid_api_key", 401, 4401),
    "key without the scope": (weak_key, "permission_denied", 403, None),
    "unknown model": (sets(model="nobody"), "agent_not_found", 404, None),
    "model unknown to the vendor": (vendor("no-such-model"), "model_not_found", 404, None),
    "empty message": (sets(text=" \n"), "message_empty", 400, None),
    "long message": (sets(text="x" * 1_000_001), "message_too_long", 413, 1009),
    "message beyond the context": (sets(text="x" * 90_000), "context_too_long", 400, None),
    "text with NUL": (sets(text="a\x00b"), "validation_failed", 400, None),
    "malformed json": (sets(raw=b'{"message": "hi"'), "malformed_json", 400, None),
    "json that is no object": (sets(raw=b"[1]"), "malformed_json", 400, None),
    "lone surrogate": (sets(raw=b'{"message": "\\ud800", "type": "turn.start"}'), "malformed_json", 400, None),
    "deep json": (sets(raw=b"[" * 100_000), "malformed_json", 400, None),
    "quota used up": (no_quota, "quota_exceeded", 429, None),
    "provider switched off": (provider_off, "provider_not_configured", 503, None),
    "vendor 401": (vendor("fault-401"), "provider_auth_failed", 502, None),
    "vendor 429": (vendor("fault-429-9"), "provider_rate_limited", 429, None),
    "vendor 500": (vendor("fault-500"), "provider_unavailable", 502, None),
    "vendor says too long": (vendor("fault-400"), "context_too_long", 400, None),
    "vendor times out": (slow_vendor, "provider_timeout", 504, None),
    "vendor cuts at once": (vendor("fault-cut-0"), "provider_stream_cut", 502, None),
    "vendor garbage": (vendor("fault-garbage"), "provider_bad_response", 502, None),
    "vendor web page": (vendor("fault-html"), "provider_bad_response", 502, None),
    "vendor fails in the middle": (vendor("fault-error-4"), "provider_unavailable", 502, None),
    "vendor cuts in the middle": (vendor("fault-cut-4"), "provider_stream_cut", 502, None),
}
# A vendor's failure is an end of the run where the run has begun: on native doors always, on OpenAI's in the middle.
MIDDLE = ("vendor fails in the middle", "vendor cuts in the middle")


@pytest.fixture
async def world(
    site: Any, ledger: Ledger, api_key: Any, agent: Any, vendor: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    site._server.config.ws_max_size = websocket.MAX_FRAME_BYTES
    found = World(site, ledger, api_key, agent, monkeypatch)
    yield found
    for undo in found.undo:
        undo()
    await eventually(lambda: not ledger.left_behind())
    await eventually(lambda: not hosts.current().runs)
    await eventually(lambda: vendor.stats.document()["open_streams"] == 0)
    await eventually(lambda: not websocket._open)
    await site._stack.aclose()
    await eventually(lambda: not site._server.server_state.connections, what="a socket is left")


async def by_websocket(world: World) -> tuple[str, int | None, str]:
    """(code, close code or None, sentence)"""
    door = SocketDoor(world.site, world.token)
    door.client = world.site.client(world.slug, token=world.token)
    async with door.client.ws_connect("/ws/chat/") as socket:
        first = await socket.receive(timeout=10)
        if first.type is aiohttp.WSMsgType.CLOSE:
            return str(first.extra), first.data, ERRORS[str(first.extra)].message
        if world.raw is not None:
            await socket.send_str(world.raw.decode())
        else:
            await socket.send_json({"type": "turn.start", "agent": world.model, "message": world.text})
        while True:
            message = await socket.receive(timeout=10)
            if message.type is aiohttp.WSMsgType.CLOSE:
                assert message.data == 1009
                return "message_too_long", message.data, "Closed."
            frame = message.json()
            if frame["type"] in ("error", "run.failed"):
                found = frame.get("data", frame)
                return found["code"], None, found["message"]


async def by_sse(world: World) -> tuple[str, int | None, str]:
    door = SseDoor(world.site, world.token)
    door.client = world.site.client(world.slug, token=world.token)
    try:
        if world.raw is not None:
            refusal = await door.send_raw(world.raw)
            assert refusal is not None
            raise refusal
        answer = await door.whole(world.model, world.text)
    except Refusal as refusal:
        return refusal.code, refusal.status, refusal.message
    assert (answer.end, answer.ends) == ("failed", 1)
    return str(answer.code), 200, str(answer.message)


async def by_openai(world: World) -> tuple[str, int | None, str]:
    door = OpenAIDoor(world.site, world.token, slug=world.slug)
    try:
        if world.raw is not None:
            refusal = await door.send_raw(world.raw)
            assert refusal is not None
            raise refusal
        answer = await door.whole(world.model, world.text)
    except Refusal as refusal:
        return refusal.code, refusal.status, refusal.message
    assert (answer.end, answer.ends) == ("failed", 1)
    return str(answer.code), 200, str(answer.message)


async def by_openai_whole(world: World) -> tuple[str, int | None, str]:
    door = OpenAIDoor(world.site, world.token, slug=world.slug)
    with pytest.raises(Refusal) as error:
        if world.raw is not None:
            refusal = await door.send_raw(world.raw)
            assert refusal is not None
            raise refusal
        await door.complete(world.model, world.text)
    return error.value.code, error.value.status, error.value.message


PROTOCOLS = {"websocket": by_websocket, "sse": by_sse, "openai": by_openai, "openai-whole": by_openai_whole}


@pytest.mark.parametrize("name", ROWS)
async def test_bad_input(world: World, name: str) -> None:
    arrange, code, status, closes = ROWS[name]
    arrange(world)
    vendors = world.model.startswith("agent-") and code != "provider_not_configured"
    for protocol, attempt in PROTOCOLS.items():
        breaker.forget()  # each door asks the vendor, however often it failed before
        found, said, sentence = await asyncio.wait_for(attempt(world), 20)
        expected: int | None = status
        if protocol == "websocket":
            expected = closes
        elif vendors and (protocol == "sse" or (protocol == "openai" and name in MIDDLE)):
            expected = 200
        assert (found, said) == (code, expected), protocol
        assert re.fullmatch(r"[A-Z].{10,}[.!?]", sentence) or closes == 1009, sentence
        assert not re.search(r"traceback|exception|0x|ak_|sk-|None", sentence, re.IGNORECASE), sentence


async def test_bodies_that_are_too_large(world: World) -> None:
    """A42: also without a length; who closes the connection behind it hears why, too."""
    client = world.site.client("acme", token=world.token)

    async def endless(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b" " * 65536

    for path in ("/v1/chat/completions", "/api/v1/runs"):
        for data in (io.BytesIO(b" " * (5 * 1024 * 1024)), endless(80)):
            async with client.post(path, data=data, headers={"Connection": "close"}) as response:
                body = await response.json()
                assert (response.status, body["error"]["code"]) == (413, "request_too_large")


async def test_a_retry_is_told_when(world: World) -> None:
    world.ledger.allow(3)
    for attempt in (SseDoor(world.site, world.token), OpenAIDoor(world.site, world.token)):
        with pytest.raises(Refusal) as error:
            await attempt.ask("assistant")
        assert error.value.retry_after is not None
        assert 1 <= error.value.retry_after <= 31 * 86400
