"""What is special about the websocket: who may open it, odd frames, slow readers, and losing one's right to be here."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from redis import Redis

from accounts import tickets
from bench.answers import token_text
from chat.transports import websocket
from launch.web import WEBSOCKET_FRAME_BYTES
from llm.providers.scripted import ScriptedModel
from tenants import scope
from tests.chat.ledger import eventually
from tests.chat.sockets import answer_to, close_of, every_socket_is_let_go, impatient, opened, refused  # noqa: F401 - fixtures
from tests.chat.talk import ask
from tests.conftest import forget_caches


async def test_origins(site: Any) -> None:
    """A26, P37: a session opens a socket from the tenant's own pages only."""
    client = await site.signed_in("member")
    own = site.url("acme")
    del client.headers["Origin"]
    async with opened(client, headers={"Origin": own}) as socket:
        assert (await answer_to(socket, {"type": "ping"})) == {"type": "pong"}
    port = site.port
    for origin in (
        site.url("globex"), site.url(), "null", "", "http://evil.test", f"http://acme.localhost.evil.test:{port}",
        f"http://evilacme.localhost:{port}", "http://acme.localhost", f"http://acme.localhost:{port + 1}",
        f"http://acme.localhost:{port}@evil.test", f"http://user@acme.localhost:{port}", f"ws://acme.localhost:{port}",
        f"http://acme.localhost:{port}.evil.test", f"//acme.localhost:{port}", "file://", f"{own}/", f"{own}, {own}",
    ):  # fmt: skip
        assert await denied(client, {"Origin": origin} if origin else {}) == 403, origin
    # Credentials of another kind (a browser behind a proxy with basic auth) are no way around it.
    evil = {"Origin": site.url("globex"), "Authorization": "Basic eDp5"}
    assert await denied(client, evil) == 403
    assert await denied(client, {"Authorization": "Basic eDp5"}) == 403


async def denied(client: aiohttp.ClientSession, headers: dict[str, str], path: str = "/ws/chat/") -> int:
    """The status of an upgrade that is refused before it is accepted."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await client.ws_connect(path, headers=headers)
    return refusal.value.status


async def test_credentials(site: Any, api_key: Callable[..., str]) -> None:
    own = {"Origin": site.url("acme")}
    assert await refused(site.client("acme"), headers=own) == (4401, "not_authenticated")
    assert await refused(site.client("acme", token=api_key("globex"))) == (4401, "invalid_api_key")
    assert await refused(site.client("acme", token="sk-nonsense")) == (4401, "invalid_api_key")
    async with opened(site.client("acme", token=api_key())):
        pass
    member = await site.signed_in("member")
    cookies = {cookie.key: cookie.value for cookie in member.cookie_jar}
    sibling = site.client("globex", cookies=cookies)
    assert await refused(sibling, headers={"Origin": site.url("globex")}) == (4401, "not_authenticated")


async def test_unknown_hosts_and_paths(site: Any, api_key: Callable[..., str]) -> None:
    token = api_key()
    assert await refused(site.client("nobody", token=token)) == (4404, "tenant_not_found")
    assert (await refused(site.client("", token=token)))[1] == "not_found"
    assert (await refused(site.client("acme", token=token), "/ws/other/"))[1] == "not_found"


async def ticket_for(actor: Any) -> str:
    return await scope.run_in_tenant(actor.tenant, tickets.issue, actor)


async def test_a_ticket_opens_one_socket_once(site: Any, actor: Any) -> None:
    """A27."""
    ticket = await ticket_for(actor("member"))
    client = site.client("acme")
    async with opened(client, f"/ws/chat/?ticket={ticket}") as socket:
        assert (await answer_to(socket, {"type": "ping"})) == {"type": "pong"}
    assert await refused(client, f"/ws/chat/?ticket={ticket}") == (4401, "ticket_invalid")


async def test_one_of_twenty_gets_in_with_a_ticket(site: Any, actor: Any) -> None:
    ticket, client = await ticket_for(actor("member")), site.client("acme")

    async def attempt() -> bool:
        async with client.ws_connect(f"/ws/chat/?ticket={ticket}") as socket:
            return (await socket.receive()).type is aiohttp.WSMsgType.TEXT

    assert sum(await asyncio.gather(*(attempt() for _ in range(20)))) == 1


async def test_expired_foreign_and_invented_tickets(site: Any, actor: Any, services: Any) -> None:
    client = site.client("acme")
    expired = await ticket_for(actor("member"))
    with Redis.from_url(services.redis.url) as redis:
        (key,) = redis.keys("*ws-ticket*")
        assert 25 < redis.ttl(key) <= tickets.TTL_SECONDS == 30
        assert expired.encode() not in key + redis.get(key), "the ticket itself is stored"
        redis.delete(key)
    foreign = await ticket_for(actor("rival"))
    for ticket in (expired, foreign, "invented", "x" * 5000, "%00", "a:b"):
        assert await refused(client, f"/ws/chat/?ticket={ticket}") == (4401, "ticket_invalid"), ticket
    # A stolen one, used from another site's page.
    stolen = await ticket_for(actor("member"))
    assert await denied(client, {"Origin": "https://evil.test"}, f"/ws/chat/?ticket={stolen}") == 403


async def test_a_ticket_from_the_api(site: Any) -> None:
    client = await site.signed_in("member")
    cookies = client.cookie_jar.filter_cookies(client._base_url)
    async with client.post("/api/v1/ws-ticket", headers={"X-CSRFToken": cookies["csrftoken"].value}) as response:
        body = await response.json()
    assert (response.status, body["expires_in"]) == (201, 30)
    async with opened(site.client("acme"), f"/ws/chat/?ticket={body['ticket']}"):
        pass


async def test_redis_or_the_database_away_is_no_reason_to_sign_in_again(
    site: Any, api_key: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """1013: try again later. With 4401 a page would throw its user out."""
    from core.errors import PaasError

    def away(code: str) -> Any:
        def fail(*args: Any) -> Any:
            raise PaasError(code)

        return fail

    monkeypatch.setattr(tickets, "redeem", away("redis_unavailable"))
    assert await refused(site.client("acme"), "/ws/chat/?ticket=x") == (1013, "redis_unavailable")
    monkeypatch.setattr("accounts.keys._lookup", away("database_unavailable"))
    assert await refused(site.client("acme", token=api_key())) == (1013, "database_unavailable")


async def test_too_many_sockets(site: Any, api_key: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A40; and closing one makes room."""
    monkeypatch.setattr(websocket, "MAX_SOCKETS", 3)
    client = site.client("acme", token=api_key())
    sockets = [await client.ws_connect("/ws/chat/") for _ in range(3)]
    assert await refused(client) == (4429, "too_many_connections")
    await sockets.pop().close()
    await eventually(lambda: sum(websocket._open.values()) == 2)
    async with opened(client):
        pass
    for socket in sockets:
        await socket.close()


async def test_handshakes_that_are_broken_off_count_for_nothing(
    site: Any, api_key: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    token = api_key()
    head = (
        f"GET /ws/chat/ HTTP/1.1\r\nHost: acme.localhost:{site.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    ).encode()
    forget_caches()
    for number in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(head)
        await writer.drain()
        if number % 2:
            await asyncio.sleep(0.005 * (number % 5))
        writer.transport.abort()
    await eventually(lambda: not websocket._open)
    async with opened(site.client("acme", token=token)):
        pass


# --- frames ------------------------------------------------------------------------------------------


async def test_odd_frames_get_an_answer_and_the_socket_lives(site: Any, api_key: Callable[..., str]) -> None:
    async with opened(site.client("acme", token=api_key())) as socket:
        for frame, code in (
            ("", "malformed_json"),
            ("{", "malformed_json"),
            ("[]", "malformed_json"),
            ("null", "malformed_json"),
            ('"ping"', "malformed_json"),
            ("NaN", "malformed_json"),
            ('{"type": "ping"', "malformed_json"),
            ("[" * 100_000, "malformed_json"),
            ("{}", "validation_failed"),
            ({"type": "nonsense", "ref": "r"}, "validation_failed"),
            ({"type": ["ping"]}, "validation_failed"),
            ({"type": "x" * 10_000}, "validation_failed"),
            ({"type": "turn.start", "ref": {"a": [1]}, "message": 7}, "validation_failed"),
            ({"type": "turn.start", "message": "a", "retry": "yes"}, "validation_failed"),
            ({"type": "turn.start", "retry": True}, "validation_failed"),
            ({"type": "turn.start"}, "message_empty"),
            ({"type": "turn.start", "message": "a\x00b"}, "validation_failed"),
            ({"type": "turn.start", "message": "a", "agent": "a\x00b"}, "agent_not_found"),
            ({"type": "turn.start", "message": "a", "conversation_id": "no uuid"}, "not_found"),
            ({"type": "turn.start", "message": "a", "conversation_id": str(uuid.uuid4())}, "not_found"),
            ({"type": "run.follow"}, "not_found"),
            ({"type": "run.follow", "run_id": str(uuid.uuid4())}, "not_found"),
            ({"type": "run.cancel", "run_id": "' OR 1=1"}, "not_found"),
            ({"type": "run.unfollow", "run_id": None}, "not_found"),
        ):
            found = await answer_to(socket, frame)
            assert (found["type"], found["code"]) == ("error", code), (frame, found)
            assert set(found) - {"details"} == {"type", "ref", "run_id", "code", "message", "retry_after"}
            assert found["ref"] == (frame.get("ref") if isinstance(frame, dict) else None)
        await socket.send_bytes(b'{"type": "ping"}')
        assert await socket.receive_json() == {"type": "pong"}
        await socket.send_bytes(b"\xff\xfe")
        assert (await socket.receive_json())["code"] == "malformed_json"
        assert await answer_to(socket, {"type": "ping", "more": 1}) == {"type": "pong"}


async def test_resume_numbers(site: Any, actor: Any, api_key: Callable[..., str]) -> None:
    """A29."""
    client = await site.signed_in("member")
    told = await ask(actor("member"))
    async with opened(client) as socket:
        for after in (-1, 1.5, "1", None, True, [], 2**70):
            found = await answer_to(socket, {"type": "run.follow", "run_id": str(told.run_id), "after_seq": after})
            assert found["code"] in ("validation_failed", "stream_gone", "malformed_json"), (after, found)
        last = len(told.events)
        frame = {"type": "run.follow", "run_id": str(told.run_id), "after_seq": last}
        await socket.send_json(frame)
        assert await answer_to(socket, {"type": "ping"}) == {"type": "pong"}
        found = await answer_to(socket, frame | {"after_seq": last - 1})
        assert (found["seq"], found["type"]) == (last, "run.completed")


async def test_frames_that_are_too_big(site: Any, api_key: Callable[..., str]) -> None:
    """A39."""
    assert WEBSOCKET_FRAME_BYTES == websocket.MAX_FRAME_BYTES == 262_144
    site._server.config.ws_max_size = WEBSOCKET_FRAME_BYTES
    client = site.client("acme", token=api_key())
    async with opened(client) as socket:
        fits = json.dumps({"type": "turn.start", "message": "x"})
        found = await answer_to(socket, fits + " " * (WEBSOCKET_FRAME_BYTES - len(fits)))
        assert found["type"] == "turn.accepted"
    async with opened(client) as socket:
        await socket.send_str(" " * (WEBSOCKET_FRAME_BYTES + 1))
        assert (await close_of(socket))[0] == 1009
    async with opened(client, compress=15) as socket:
        assert socket.compress == 0  # not taken: 64 MiB of spaces would be 64 KiB on the wire


# --- runs --------------------------------------------------------------------------------------------


async def test_two_tabs_and_a_stop(site: Any, actor: Any) -> None:
    """A30: the same bytes and one end in both; either may stop."""
    client, gate = await site.signed_in("member"), asyncio.Event()
    ScriptedModel.enqueue(["a", "b", gate])
    async with opened(client) as one, opened(client) as two:
        accepted = await answer_to(one, {"type": "turn.start", "ref": 7, "message": "hi"})
        run_id = accepted["run_id"]
        await two.send_json({"type": "run.follow", "run_id": run_id, "after_seq": 0})
        seen: tuple[list[str], list[str]] = ([], [])
        for frames, socket in zip(seen, (one, two), strict=True):
            while len(frames) < 3:
                frames.append(await socket.receive_str())
        await two.send_json({"type": "run.cancel", "run_id": run_id})
        for frames, socket in zip(seen, (one, two), strict=True):
            while '"run.c' not in frames[-1]:
                frames.append(await socket.receive_str())
            assert await answer_to(socket, {"type": "ping"}) == {"type": "pong"}
    assert seen[0] == seen[1]
    assert json.loads(seen[0][-1])["type"] == "run.cancelled"


async def test_unfollow_and_follow_again(site: Any, api_key: Callable[..., str]) -> None:
    gate = asyncio.Event()
    ScriptedModel.enqueue(["a", gate, "b"])
    async with opened(site.client("acme", token=api_key())) as socket:
        run_id = (await answer_to(socket, {"type": "turn.start", "message": "hi"}))["run_id"]
        assert [(await socket.receive_json())["seq"] for _ in range(2)] == [1, 2]
        await socket.send_json({"type": "run.unfollow", "run_id": run_id})
        assert await answer_to(socket, {"type": "ping"}) == {"type": "pong"}
        gate.set()
        assert await answer_to(socket, {"type": "ping"}) == {"type": "pong"}
        await socket.send_json({"type": "run.follow", "run_id": run_id, "after_seq": 1})
        assert [(await socket.receive_json())["seq"] for _ in range(4)] == [2, 3, 4, 5]


async def test_a_second_follow_replaces_the_first(site: Any, api_key: Callable[..., str]) -> None:
    gate = asyncio.Event()
    ScriptedModel.enqueue(["a", gate])
    async with opened(site.client("acme", token=api_key())) as socket:
        run_id = (await answer_to(socket, {"type": "turn.start", "message": "hi"}))["run_id"]
        assert [(await socket.receive_json())["seq"] for _ in range(2)] == [1, 2]
        for _ in range(5):
            await socket.send_json({"type": "run.follow", "run_id": run_id, "after_seq": 1})
            assert (await socket.receive_json())["seq"] == 2
        gate.set()
        assert [(await socket.receive_json())["seq"] for _ in range(2)] == [3, 4]
        assert await answer_to(socket, {"type": "ping"}) == {"type": "pong"}


async def test_many_runs_on_one_socket(site: Any, api_key: Callable[..., str], agent: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(websocket, "MAX_FOLLOWED", 5)
    slug, gate = agent("bench-0-0-20"), asyncio.Event()
    async with opened(site.client("acme", token=api_key())) as socket:
        for number in range(5):
            await socket.send_json({"type": "turn.start", "ref": number, "agent": slug, "message": "hi"})
        texts: dict[str, str] = {}
        ends = 0
        while ends < 5:
            frame = await socket.receive_json(timeout=10)
            if frame["type"] == "text.delta":
                texts[frame["run_id"]] = texts.get(frame["run_id"], "") + frame["data"]["text"]
            ends += frame["type"] == "run.completed"
        assert set(texts.values()) == {"".join(token_text(20))}
        assert len(texts) == 5
        for _ in range(6):
            ScriptedModel.enqueue([gate])
            await socket.send_json({"type": "turn.start", "message": "hi"})
        frames = [await socket.receive_json(timeout=10) for _ in range(6 + 5 + 1)]
        assert [frame["code"] for frame in frames if frame["type"] == "error"] == ["too_many_connections"]
        gate.set()


async def test_a_slow_reader_is_let_go(
    site: Any, api_key: Callable[..., str], agent: Any, ledger: Any, monkeypatch: Any, caplog: Any, capsys: Any
) -> None:
    """A31, P28: bounded outbox, then 4008; the run does not notice."""
    monkeypatch.setattr(websocket, "SLOW_READER_SECONDS", 0.2)
    monkeypatch.setattr(websocket, "LINGER_SECONDS", 0.2)
    monkeypatch.setattr(websocket, "QUEUE_FRAMES", 16)
    slug = agent("fault-hugeline-100000")
    closed: list[int] = []
    real = websocket.ChatSocket.close

    async def close(self: Any, code: Any = None, reason: Any = None) -> None:
        closed.append(code)
        await real(self, code, reason)

    monkeypatch.setattr(websocket.ChatSocket, "close", close)
    async with opened(site.client("acme", token=api_key())) as socket:
        transport = socket._response.connection.transport
        transport.pause_reading()
        for _ in range(100):
            await socket.send_json({"type": "turn.start", "agent": slug, "message": "hi"})
        await eventually(lambda: closed, 20)
        await eventually(lambda: not websocket._open, 20, "a socket that reads nothing is still counted")
        await eventually(lambda: not site._server.server_state.connections, 20, "and still held")
        transport.abort()
    assert set(closed) == {4008}
    assert len(closed) == 1
    await eventually(lambda: not ledger.left_behind(), 20)
    assert {row["status"] for row in ledger.rows("SELECT status FROM chat_run")} == {"completed"}
    assert "could not be followed" not in capsys.readouterr().out
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


# --- staying entitled --------------------------------------------------------------------------------
