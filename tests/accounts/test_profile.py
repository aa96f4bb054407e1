"""A person's own account: who they are, password, address, and where they are signed in (A13, A14, A15, A18, P18)."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import aiohttp
import pytest
from django.conf import settings
from django.core import mail as django_mail
from django.test.utils import override_settings

from accounts import codes, devices, mail, profile
from accounts.models import Membership, OneTimeCode, RefreshFamily, Session, User
from core import clock
from core.errors import PaasError
from core.ids import uuid7
from llm.providers.scripted import ScriptedModel
from tenants import scope
from tests.accounts.people import events, form, person, put_back, said, try_password
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


async def letters() -> list[tuple[str, str, str]]:
    """Send what waits: (to, subject, body) of each, in order."""
    from procrastinate.contrib.django.models import ProcrastinateJob

    def waiting() -> list[dict[str, Any]]:
        with scope.platform():
            jobs = ProcrastinateJob.objects.filter(task_name=mail.JOB).order_by("id")
            return [job.args for job in jobs]

    with override_settings(EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend"):
        django_mail.outbox = []
        for arguments in in_thread(waiting):
            await mail.deliver(**arguments)
        return [(letter.to[0], letter.subject, str(letter.body)) for letter in django_mail.outbox]


def link_in(body: str) -> str:
    found = re.search(r"https?://\S+", body)
    assert found
    return found[0]


def path_in(body: str) -> str:
    return "/" + link_in(body).split("/", 3)[3]


# --- who they are ------------------------------------------------------------------------------------


async def test_anonymous_visitors_are_sent_to_sign_in(site: Site) -> None:
    assert (await said(site.client("acme"), "GET", "/profile/"))[2]["Location"] == "/login/?next=/profile/"
    there = (await said(site.client(), "GET", "/accounts/profile/"))[2]["Location"]
    assert there == "/accounts/login/?next=/accounts/profile/"


@pytest.mark.parametrize(("slug", "path"), [("acme", "/profile/"), ("", "/accounts/profile/")])
async def test_name_and_language(site: Site, member: Any, db: Platform, slug: str, path: str) -> None:
    client = await site.signed_in("member") if slug else await site.signed_in_on_platform(MEMBER)
    named = {"form": "person", "person-name": " 王小明 ", "person-language": "zh-hans"}
    status, _, headers = await form(site, client, slug, path, **named)
    assert (status, headers["Location"]) == (302, path)
    _, text, _ = await said(client, "GET", path)
    assert ('lang="zh-Hans"' in text, "已保存" in text, 'value="王小明"' in text) == (True, True, True)
    row = person(MEMBER)
    assert (row.name, row.language) == ("王小明", "zh-hans")
    event = events("person.updated", db.acme if slug else None)[0]
    assert (event.actor, event.data["fields"]) == (f"user:{member.pk}", ["language", "name"])
    status, text, _ = await form(site, client, slug, path, **{**named, "person-language": "tlh"})
    assert status == 400
    assert (await form(site, client, slug, path, **{**named, "person-name": "x" * 121}))[0] == 400
    assert (await form(site, client, slug, path, form="nonsense"))[0] == 404


async def test_over_the_api(site: Site, member: Any, api_key: Any) -> None:
    client = await site.signed_in("member")
    client.headers["X-CSRFToken"] = site.csrf(client, "acme")
    async with client.patch("/api/v1/me", json={"name": "Mei", "language": "zh-hans"}) as answer:
        user = (await answer.json())["user"]
        assert (answer.status, user["name"], user["language"], user["email"]) == (200, "Mei", "zh-hans", MEMBER)
    for wrong in ({"language": "tlh"}, {"name": "x" * 121}, {"name": None}):
        async with client.patch("/api/v1/me", json=wrong) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (400, "validation_failed"), wrong
    # A4: nothing else of a person is theirs to change here.
    async with client.patch("/api/v1/me", json={"email": "x@y.test", "is_staff": True, "token_version": 9}) as answer:
        assert answer.status == 200
    row = person(MEMBER)
    assert (row.email, row.is_staff, row.token_version) == (MEMBER, False, member.token_version)
    key = site.client("acme", token=api_key())
    for method, path in (
        ("PATCH", "/api/v1/me"),
        ("GET", "/api/v1/me/sessions"),
        ("DELETE", f"/api/v1/me/sessions/{uuid.uuid4()}"),
        ("POST", "/api/v1/me/sign-out-everywhere"),
    ):
        assert (await said(key, method, path, json={}))[0] == 403


# --- password ----------------------------------------------------------------------------------------


def change(current: str = PASSWORD, new: str = NEW) -> dict[str, str]:
    return {"form": "password", "password-current": current, "password-new": new}


async def test_a_new_password_keeps_this_session_and_ends_all_others(site: Site, member: Any, db: Platform) -> None:
    here, there = await site.signed_in("member"), await site.signed_in("member")
    platform = await site.signed_in_on_platform(MEMBER)

    def family() -> None:
        with scope.platform():
            RefreshFamily.objects.create(
                tenant_id=db.acme.id, user=member, jti=uuid7(), issued_at=clock.now(), expires_at=clock.now()
            )

    in_thread(family)
    before = next(cookie.value for cookie in here.cookie_jar if cookie.key == "sessionid")
    status, _, _ = await form(site, here, "acme", "/profile/", **change())
    assert status == 302
    assert (await said(here, "GET", "/api/v1/me"))[0] == 200
    assert next(cookie.value for cookie in here.cookie_jar if cookie.key == "sessionid") != before
    assert (await said(there, "GET", "/api/v1/me"))[0] == 401
    assert (await said(platform, "GET", "/workspaces/"))[0] == 302

    def left() -> tuple[int, int]:
        with scope.platform():
            rows = Session.objects.filter(user=member).count()
            return rows, RefreshFamily.objects.filter(user=member, revoked_at=None).count()

    assert in_thread(left) == (1, 0)
    assert person(MEMBER).token_version == member.token_version + 1
    assert len(events("password.changed", db.acme)) == 1
    assert [(to, subject) for to, subject, _ in await letters()] == [(MEMBER, "Your password was changed")]
    fresh = site.client("acme")
    assert (await try_password(site, fresh, "acme", MEMBER, PASSWORD))[0] == 401
    assert (await try_password(site, fresh, "acme", MEMBER, NEW))[0] == 302


@pytest.mark.parametrize(
    ("current", "new", "why"),
    [
        ("wrong", NEW, "This is not your present password."),
        ("\x00", NEW, "Null characters are not allowed."),
        (PASSWORD, "short", "at least 10 characters"),
        (PASSWORD, "password1234", "too common"),
        (PASSWORD, "x" * 1025, "at most 1024 characters"),
        ("", "", "This field is required."),
    ],
)
async def test_passwords_that_are_not_taken(site: Site, member: Any, current: str, new: str, why: str) -> None:
    client = await site.signed_in("member")
    status, text, _ = await form(site, client, "acme", "/profile/", **change(current, new))
    assert (status, why in text) == (400, True), text
    assert person(MEMBER).password == member.password


async def test_an_open_session_is_no_place_to_guess(site: Site, member: Any) -> None:
    client = await site.signed_in("member")
    for _ in range(profile.PER_PERSON[0]):
        assert (await form(site, client, "acme", "/profile/", **change("wrong")))[0] == 400
    status, text, _ = await form(site, client, "acme", "/profile/", **change())
    assert (status, "Too many tries" in text) == (400, True)
    assert person(MEMBER).password == member.password


# --- e-mail address ----------------------------------------------------------------------------------


def ask_for(email: str, password: str = PASSWORD) -> dict[str, str]:
    return {"form": "email", "email-email": email, "email-password": password}


async def test_another_address(site: Site, member: Any, db: Platform) -> None:
    """A link to the new one, word to the old one; opened by a GET nothing changes; it works once."""
    client = await site.signed_in("member")
    status, _, _ = await form(site, client, "acme", "/profile/", **ask_for("Mei@New.test"))
    assert status == 302
    first, second = await letters()
    assert (first[0], second[0]) == ("mei@new.test", MEMBER)
    assert "mei@new.test" in second[2]
    path = path_in(first[2])
    assert link_in(first[2]).startswith("http://acme.localhost:8000/profile/email/")
    _, text, _ = await said(client, "GET", path)
    assert "mei@new.test" in text
    assert person("member@acme.test").pk == member.pk
    assert (await form(site, client, "acme", path))[0] == 302
    assert person("mei@new.test").pk == member.pk
    assert (await said(client, "GET", "/api/v1/me"))[0] == 200, "the session goes on"
    assert (await form(site, client, "acme", path))[0] == 404
    assert (await letters())[-1][0] == MEMBER
    assert (await try_password(site, site.client("acme"), "acme", "mei@new.test", PASSWORD))[0] == 302
    assert len(events("person.email_changed", db.acme)) == 1


async def test_an_address_that_is_somebodys_gives_nothing_away(site: Site, member: Any) -> None:
    """A18: the page is the same; the letter goes to whom it belongs."""
    client = await site.signed_in("member")
    pages = []
    for address in ("rival@globex.test", "nobody@nowhere.test"):
        assert (await form(site, client, "acme", "/profile/", **ask_for(address)))[0] == 302
        _, text, _ = await said(client, "GET", "/profile/")
        pages.append(re.sub(r'csrfmiddlewaretoken" value="\w+"', "", text.replace(address, "-")))
    assert pages[0] == pages[1]
    taken, _, free, _ = await letters()
    assert (taken[0], "http" in taken[2]) == ("rival@globex.test", False)
    assert (free[0], "/profile/email/" in free[2]) == ("nobody@nowhere.test", True)


async def test_addresses_that_are_not_taken(site: Site, member: Any) -> None:
    client = await site.signed_in("member")
    for fields, why in (
        (ask_for("x@y.test", "wrong"), "This is not your present password."),
        (ask_for(MEMBER), "This is your address already."),
        (ask_for("nonsense"), "Enter a valid email address."),
    ):
        status, text, _ = await form(site, client, "acme", "/profile/", **fields)
        assert (status, why in text) == (400, True)
    assert await letters() == []


async def test_mails_are_counted(site: Site, member: Any) -> None:
    """Nobody floods a mailbox from their profile."""
    client = await site.signed_in("member")
    count = profile.MAILS_PER_MAILBOX[0]
    for _ in range(count):
        assert (await form(site, client, "acme", "/profile/", **ask_for("x@y.test")))[0] == 302
    assert (await form(site, client, "acme", "/profile/", **ask_for("x@y.test")))[0] == 400
    assert len([one for one in await letters() if one[0] == "x@y.test"]) == count


async def test_a_link_is_for_its_person_on_its_host(site: Site, member: Any, db: Platform) -> None:
    """A15: swapped between people, tenants and purposes."""

    def issue(purpose: str = "email", tenant: Any = db.acme, **data: Any) -> str:
        def write() -> str:
            with scope.platform():
                return codes.issue(purpose, seconds=60, user=member, tenant_id=tenant and tenant.id, **data)

        return str(in_thread(write))

    mine = issue(email="mei@new.test")
    foreign = issue(tenant=db.globex, email="mei@new.test")
    platforms = issue(tenant=None, email="mei@new.test")
    reset = issue(purpose="password")
    client, colleague = await site.signed_in("member"), await site.signed_in("owner")
    rival = await site.signed_in("rival", "globex")
    for who, slug, code in (
        (client, "acme", foreign),
        (client, "acme", platforms),
        (client, "acme", reset),
        (client, "acme", mine + "x"),
        (colleague, "acme", mine),
        (rival, "globex", mine),
        (rival, "globex", foreign),
    ):
        for method in ("GET", "POST"):
            path = f"/profile/email/{code}/"
            status, _, _ = await (form(site, who, slug, path) if method == "POST" else said(who, "GET", path))
            assert status == 404
    status, _, headers = await said(site.client("acme"), "GET", f"/profile/email/{mine}/")
    assert headers["Location"].startswith("/login/?next=")
    assert (await form(site, client, "acme", f"/profile/email/{mine}/"))[0] == 302


def test_of_many_at_once_one_changes_the_address(member: Any, db: Platform) -> None:
    """A15: raced."""
    from django.db import connections

    with scope.bind(db.acme):
        code = codes.issue("email", seconds=60, user=member, tenant_id=db.acme.id, email="mei@new.test")
    together = Barrier(6)

    def attempt() -> bool:
        try:
            together.wait(10)
            with scope.bind(db.acme):
                profile.email_change(code=code, user_id=member.pk)
            return True
        except PaasError as error:
            assert error.code == "link_invalid"
            return False
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as threads:
        won = [done.result() for done in [threads.submit(attempt) for _ in range(6)]]
    assert sum(won) == 1


async def test_an_address_that_became_somebodys_meanwhile(site: Site, member: Any, db: Platform) -> None:
    client = await site.signed_in("member")

    def issue() -> str:
        with scope.platform():
            return codes.issue("email", seconds=60, user=member, tenant_id=db.acme.id, email="owner@acme.test")

    status, text, _ = await form(site, client, "acme", f"/profile/email/{in_thread(issue)}/")
    assert (status, "already_exists" in text) == (409, True)
    assert person(MEMBER).pk == member.pk


# --- sessions ----------------------------------------------------------------------------------------

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
    here, there = await site.signed_in("member"), await site.signed_in("member")
    await site.signed_in("owner")
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
            assert (await form(site, other, "acme", "/profile/", **change()))[0] == 302
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


def test_nothing_is_left_of_codes_after_a_new_password(member: Any, db: Platform) -> None:
    with scope.bind(db.acme):
        for purpose in ("password", "email", "handover"):
            codes.issue(purpose, seconds=60, user=member, tenant_id=db.acme.id)
        user = User.objects.get(pk=member.pk)
        user.set_password(NEW)
        profile.password_store(user)
    with scope.platform():
        assert not OneTimeCode.objects.filter(user=member).exists()
