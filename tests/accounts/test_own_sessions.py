"""Where a person is signed in: the list, ending one or all, and what ends with them (A13, A14, P18, P46, T5)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from django.conf import settings

from accounts import devices
from accounts.models import Membership, Session
from llm.providers.scripted import ScriptedModel
from tenants import scope
from tests.accounts.visitors import events, form, person, put_back, said, try_password
from tests.chat.sockets import close_of, impatient, opened  # noqa: F401 - fixtures
from tests.conftest import PASSWORD, Platform, in_thread
from tests.site import Site

MEMBER = "member@acme.test"
NEW = "a-new-and-long-password"


@pytest.fixture
def member(db: Platform) -> Iterator[Any]:
    found = person(MEMBER)
    yield found
    put_back(MEMBER, found.pk)


FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 (KHTML) Version/18.0 Mobile Safari/604"
EDGE = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0"


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (FIREFOX, "Firefox, Linux"),
        (SAFARI, "Safari, iPhone"),
        (EDGE, "Edge, Windows"),
        ("curl/8.14.1", "curl"),
        ("Thing/1.0 (nothing)", "Thing"),
        ("", ""),
    ],
)
def test_devices_have_names(agent: str, name: str) -> None:
    assert devices.name_of(agent) == name


async def sessions_of(client: Any) -> Any:
    async with client.get("/api/v1/me/sessions") as answer:
        assert answer.status == 200
        return await answer.json()


async def test_the_list_of_sessions(site: Site, member: Any) -> None:
    here, there = await site.signed_in_by_form("member"), await site.signed_in_by_form("member")
    await site.signed_in_by_form("owner")
    await site.signed_in_on_platform(MEMBER)
    found = await sessions_of(here)
    assert [one["current"] for one in found["sessions"]] == [True, False]
    assert found["elsewhere"] == 1
    assert found["sessions"][0]["address"] == "127.0.0.1"
    assert found["sessions"][0]["device"] == "Python"
    _, text, _ = await said(here, "GET", "/profile/")
    assert text.count("/end/") == 1
    assert "Sessions on other addresses of this platform: 1" in text
    # The other one is ended, from here.
    here.headers["X-CSRFToken"] = site.csrf(here, "acme")
    other = found["sessions"][1]["id"]
    assert (await said(here, "DELETE", f"/api/v1/me/sessions/{other}"))[0] == 204
    assert (await said(there, "GET", "/api/v1/me"))[0] == 401
    assert (await said(here, "DELETE", f"/api/v1/me/sessions/{other}"))[0] == 404
    assert len((await sessions_of(here))["sessions"]) == 1


async def test_a_session_is_ended_by_its_person_only(site: Site, member: Any, db: Platform) -> None:
    """A1: of colleagues and of other hosts there is nothing here."""
    owner = await site.signed_in("owner")
    client = await site.signed_in("member")
    platform = await site.signed_in_on_platform(MEMBER)

    def ids() -> list[str]:
        with scope.platform():
            return [str(row.public_id) for row in Session.objects.exclude(user=member, tenant_id=db.acme.id)]

    others = in_thread(ids)
    assert len(others) == 2
    for other in [*others, str(uuid.uuid4())]:
        status, _, _ = await form(site, client, "acme", f"/profile/sessions/{other}/end/")
        assert status == 404
    assert (await said(owner, "GET", "/api/v1/me"))[0] == 200
    assert (await said(platform, "GET", "/workspaces/"))[0] == 200
    assert in_thread(ids) == others
    found = (await sessions_of(client))["sessions"][0]["id"]
    assert (await form(site, client, "acme", f"/profile/sessions/{found}/end/"))[0] == 302
    assert (await said(client, "GET", "/api/v1/me"))[0] == 401


async def test_signing_out_everywhere(site: Site, member: Any, db: Platform) -> None:
    """A13, A14: every host and every browser, this one too; other people stay."""

    def join() -> None:
        with scope.platform():
            Membership.objects.create(tenant_id=db.globex.id, user=member, role="viewer")

    def leave() -> None:
        with scope.platform():
            Membership.objects.filter(tenant_id=db.globex.id, user=member).delete()

    in_thread(join)
    try:
        here, there = await site.signed_in("member"), await site.signed_in("member")
        elsewhere = site.client("globex")
        assert (await try_password(site, elsewhere, "globex", MEMBER, PASSWORD))[0] == 302
        platform = await site.signed_in_on_platform(MEMBER)
        owner = await site.signed_in("owner")
        assert (await form(site, here, "acme", "/profile/sessions/end-all/"))[0] == 302
        for client, path in ((here, "/api/v1/me"), (there, "/api/v1/me"), (elsewhere, "/api/v1/me")):
            assert (await said(client, "GET", path))[0] == 401
        assert (await said(platform, "GET", "/workspaces/"))[0] == 302
        assert (await said(owner, "GET", "/api/v1/me"))[0] == 200
        _, text, _ = await said(here, "GET", "/login/")
        assert "You are signed out everywhere." in text
        assert len(events("session.all_ended", db.acme)) == 1
        assert person(MEMBER).token_version == member.token_version + 1
    finally:
        in_thread(leave)


async def test_leaving_one_workspace_ends_only_what_is_there(site: Site, member: Any, db: Platform) -> None:
    """A14."""

    def membership(tenant: Any, there: bool) -> None:
        with scope.platform():
            if there:
                Membership.objects.create(tenant_id=tenant.id, user=member, role="member")
            else:
                Membership.objects.filter(tenant_id=tenant.id, user=member).delete()

    in_thread(lambda: membership(db.globex, True))
    try:
        here, there = await site.signed_in("member"), site.client("globex")
        assert (await try_password(site, there, "globex", MEMBER, PASSWORD))[0] == 302
        in_thread(lambda: membership(db.globex, False))
        assert (await said(there, "GET", "/api/v1/me"))[0] == 401
        assert (await said(here, "GET", "/api/v1/me"))[0] == 200
    finally:
        in_thread(lambda: membership(db.globex, False))


@pytest.mark.parametrize("how", ["everywhere", "this one", "password"])
@pytest.mark.parametrize("by", ["cookie", "ticket"])
async def test_an_ended_session_closes_its_sockets(site: Site, member: Any, impatient: None, how: str, by: str) -> None:
    """A13, T5: opened by the cookie or by a ticket of that session; those of other people stay."""
    client, other = await site.signed_in("member"), await site.signed_in("member")
    owner = await site.signed_in("owner")
    client.headers["X-CSRFToken"] = site.csrf(client, "acme")
    path = "/ws/chat/"
    if by == "ticket":
        async with client.post("/api/v1/ws-ticket") as answer:
            path = f"/ws/chat/?ticket={(await answer.json())['ticket']}"
    async with opened(client, path) as socket, opened(owner) as of_owner:
        if how == "everywhere":
            other.headers["X-CSRFToken"] = site.csrf(other, "acme")
            assert (await said(other, "POST", "/api/v1/me/sign-out-everywhere"))[0] == 204
        elif how == "password":
            assert (
                await form(
                    site,
                    other,
                    "acme",
                    "/profile/",
                    **{"form": "password", "password-current": PASSWORD, "password-new": NEW},
                )
            )[0] == 302
        else:
            mine = next(one for one in (await sessions_of(client))["sessions"] if one["current"])
            assert (await said(client, "DELETE", f"/api/v1/me/sessions/{mine['id']}"))[0] == 204
        assert await close_of(socket) == (4401, "not_authenticated")
        await of_owner.send_json({"type": "ping"})
        assert await of_owner.receive_json(timeout=5) == {"type": "pong"}


async def test_a_ticket_dies_with_its_session(site: Site, member: Any) -> None:
    """A13: before it is used."""
    client = await site.signed_in("member")
    client.headers["X-CSRFToken"] = site.csrf(client, "acme")
    async with client.post("/api/v1/ws-ticket") as answer:
        ticket = (await answer.json())["ticket"]
    mine = (await sessions_of(client))["sessions"][0]["id"]
    assert (await said(client, "DELETE", f"/api/v1/me/sessions/{mine}"))[0] == 204
    async with site.client("acme").ws_connect(f"/ws/chat/?ticket={ticket}") as socket:
        assert await close_of(socket) == (4401, "ticket_invalid")


async def test_an_ended_session_ends_its_streams(site: Site, member: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A13, T5: the run itself goes on."""
    from chat import http

    assert http.RECHECK_SECONDS + 2 <= 5
    monkeypatch.setattr(http, "RECHECK_SECONDS", 0.05)
    client = await site.signed_in("member")
    gate = asyncio.Event()
    ScriptedModel.enqueue(["one", gate, "two"])
    async with client.post("/api/v1/runs", json={"agent": "assistant", "message": "x"}) as answer:
        run = (await answer.json())["run"]["id"]
    async with client.get(f"/api/v1/runs/{run}/events") as stream:
        await stream.content.readuntil(b"one")
        client.headers["X-CSRFToken"] = site.csrf(client, "acme")
        assert (await said(client, "POST", "/api/v1/me/sign-out-everywhere"))[0] == 204
        async with asyncio.timeout(10):
            with pytest.raises(aiohttp.ClientPayloadError):  # broken off, not ended
                await stream.content.read()
    gate.set()
    again = await site.signed_in("member")
    async with again.get(f"/api/v1/runs/{run}/events") as stream:
        assert b"run.completed" in await stream.content.read()


# --- Redis in front of PostgreSQL ---------------------------------------------------------------------


async def test_losing_redis_signs_nobody_out(site: Site, services: Any, db: Platform) -> None:
    """P46: FLUSHALL, and the sessions are there."""
    from redis import Redis

    clients = [await site.signed_in("member"), await site.signed_in("owner")]
    platform = await site.signed_in_on_platform(MEMBER)
    with Redis.from_url(services.redis.url) as redis:
        redis.flushall()
    for client in clients:
        assert (await said(client, "GET", "/api/v1/me"))[0] == 200
    assert (await said(platform, "GET", "/workspaces/"))[0] == 200


async def test_a_redis_that_is_away_signs_nobody_out(site: Site, db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """P46: and sessions that end meanwhile are ended; nobody new gets in (fails closed)."""
    from django.core.cache import cache
    from redis.exceptions import ConnectionError as Away

    from tenants import ratelimit

    client, other = await site.signed_in("member"), await site.signed_in("member")

    def away(*arguments: Any, **options: Any) -> Any:
        raise Away

    backend = type(cache._connections[cache._alias])  # type: ignore[attr-defined]
    for name in ("get", "set", "delete_many", "add", "incr"):
        monkeypatch.setattr(backend, name, away)
    monkeypatch.setattr(ratelimit, "_clients", lambda: (None, away))
    assert (await said(client, "GET", "/api/v1/me"))[0] == 200
    client.headers["X-CSRFToken"] = site.csrf(client, "acme")
    ids = [one["id"] for one in (await sessions_of(client))["sessions"] if not one["current"]]
    assert (await said(client, "DELETE", f"/api/v1/me/sessions/{ids[0]}"))[0] == 204
    assert (await said(other, "GET", "/api/v1/me"))[0] == 401
    status, text, _ = await try_password(site, site.client("acme"), "acme", MEMBER, PASSWORD)
    assert (status, "A part of the service is restarting" in text) == (503, True)


async def test_redis_is_in_front(site: Site, db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of one page read the row once in two seconds."""
    from accounts.sessions import SessionStore

    client = await site.signed_in("member")
    read: list[str] = []
    before = SessionStore._get_session_from_db

    def counted(self: Any) -> Any:
        read.append(self.session_key)
        return before(self)

    monkeypatch.setattr(SessionStore, "_get_session_from_db", counted)
    monkeypatch.setattr("accounts.sessions.CACHED_SECONDS", 60)
    await said(client, "GET", "/api/v1/me")
    for _ in range(5):
        await said(client, "GET", "/api/v1/me")
    assert len(read) <= 1
    assert settings.SESSION_ENGINE == "accounts.sessions"
