"""An open websocket: heartbeats, and what happens to it when its person, key, tenant or server may not go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from chat.transports import websocket
from tenants import resolve
from tests.chat.sockets import answer_to, close_of, every_socket_is_let_go, impatient, opened, refused  # noqa: F401 - fixtures
from tests.conftest import forget_caches


async def test_heartbeats(site: Any, api_key: Callable[..., str], impatient: None, monkeypatch: Any) -> None:
    """A32."""
    assert websocket.HEARTBEAT_SECONDS <= 15
    monkeypatch.setattr(websocket, "HEARTBEAT_SECONDS", 0.1)
    async with opened(site.client("acme", token=api_key())) as socket:
        for _ in range(3):
            assert await socket.receive_json(timeout=5) == {"type": "heartbeat"}


async def test_a_membership_that_ends_closes_the_socket(site: Any, ledger: Any, impatient: None) -> None:
    """P36, T5."""
    assert websocket.RECHECK_SECONDS <= 5
    client = await site.signed_in("viewer")
    row = ledger.one(
        "SELECT m.* FROM accounts_membership m JOIN accounts_user u ON u.id = m.user_id WHERE u.email LIKE 'viewer@%%'"
    )
    async with opened(client) as socket:
        ledger.rows("DELETE FROM accounts_membership WHERE id = %s", row["id"])
        try:
            assert await close_of(socket) == (4401, "not_authenticated")
        finally:
            ledger.rows(
                "INSERT INTO accounts_membership (id, tenant_id, user_id, role, created_at) VALUES (%s, %s, %s, %s, %s)",
                *(row[name] for name in ("id", "tenant_id", "user_id", "role", "created_at")),
            )


async def test_a_changed_role_holds_on_an_open_socket(site: Any, ledger: Any, impatient: None) -> None:
    client = await site.signed_in("member")
    change = "UPDATE accounts_membership m SET role = %s FROM accounts_user u WHERE u.id = m.user_id AND u.email = %s"
    async with opened(client) as socket:
        ledger.rows(change, "viewer", "member@acme.test")
        try:
            async with asyncio.timeout(10):
                while (await answer_to(socket, {"type": "turn.start"}))["code"] != "permission_denied":
                    await asyncio.sleep(0.02)
        finally:
            ledger.rows(change, "member", "member@acme.test")


async def test_a_suspended_tenant_closes_its_sockets(site: Any, ledger: Any, api_key: Any, impatient: None) -> None:
    client = await site.signed_in("member")
    change = "UPDATE tenants_tenant SET status = %s WHERE slug = 'acme'"
    async with opened(client) as person, opened(site.client("acme", token=api_key())) as program:
        ledger.rows(change, "suspended")
        resolve.forget_all()
        try:
            assert await close_of(person) == (4403, "tenant_suspended")
            assert await close_of(program) == (4403, "tenant_suspended")
            assert await refused(client) == (4403, "tenant_suspended")
        finally:
            ledger.rows(change, "active")
            resolve.forget_all()


@pytest.mark.parametrize("how", ["revoked_at = now()", "expires_at = now()"])
async def test_a_key_that_ends_closes_its_sockets(
    site: Any, ledger: Any, api_key: Any, impatient: None, how: str
) -> None:
    async with opened(site.client("acme", token=api_key())) as socket:
        ledger.rows(f"UPDATE accounts_apikey SET {how}")
        forget_caches()
        assert (await close_of(socket))[0] == 4401


async def test_signing_out_closes_the_sockets_of_that_session(site: Any, ledger: Any, impatient: None) -> None:
    client, other = await site.signed_in("member"), await site.signed_in("member")
    cookie = client.cookie_jar.filter_cookies(client._base_url)["sessionid"].value
    async with opened(client) as socket, opened(other) as elsewhere:
        ledger.rows("DELETE FROM accounts_session WHERE session_key = %s", cookie)
        assert await close_of(socket) == (4401, "not_authenticated")
        assert await answer_to(elsewhere, {"type": "ping"}) == {"type": "pong"}


async def test_the_database_away_closes_nothing(site: Any, api_key: Any, impatient: None, monkeypatch: Any) -> None:
    """And afterwards the question is asked again."""
    asked = asyncio.Event()

    async def away(*args: Any) -> Any:
        asked.set()
        raise RuntimeError("anything")

    async with opened(site.client("acme", token=api_key())) as socket:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(resolve, "tenant_of_host", away)
            for _ in range(2):
                asked.clear()
                await asyncio.wait_for(asked.wait(), 5)
        assert await answer_to(socket, {"type": "ping"}) == {"type": "pong"}


async def test_a_server_that_stops_says_so(db: Any, api_key: Any) -> None:
    """1012: come back, somebody else is there."""
    from tests.site import Site

    async with Site() as running:
        socket = await running.client("acme", token=api_key()).ws_connect("/ws/chat/")
        assert (await socket.receive_json())["type"] == "ready"
        running._server.should_exit = True
        assert (await close_of(socket))[0] == 1012
