"""A person's own account: who they are, password, address, and where they are signed in (A13, A14, A15, A18, P18)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from accounts import codes, profile
from accounts.models import OneTimeCode, RefreshFamily, Session, User
from core import clock
from core.errors import PaasError
from core.ids import uuid7
from tenants import scope
from tests.accounts.visitors import events, form, letters, link_in, path_in, person, put_back, said, try_password
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


# --- who they are ------------------------------------------------------------------------------------


async def test_letters_are_switched_off_and_on(site: Any, db: Any) -> None:
    client = await site.signed_in("member")
    form = {"form": "mail", "csrfmiddlewaretoken": site.csrf(client, "acme")}
    for ticked, fields in ((False, form), (True, form | {"mail-approval_mails": "on"})):
        async with client.post("/profile/", data=fields) as answer:
            page = await answer.text()
        assert (re.search(r'name="mail-approval_mails"[^>]*checked', page) is not None) is ticked
        async with client.patch("/api/v1/me", json={}, headers={"X-CSRFToken": site.csrf(client, "acme")}) as answer:
            assert (await answer.json())["user"]["approval_mails"] is ticked


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


def test_nothing_is_left_of_codes_after_a_new_password(member: Any, db: Platform) -> None:
    with scope.bind(db.acme):
        for purpose in ("password", "email", "handover"):
            codes.issue(purpose, seconds=60, user=member, tenant_id=db.acme.id)
        user = User.objects.get(pk=member.pk)
        user.set_password(NEW)
        profile.password_store(user)
    with scope.platform():
        assert not OneTimeCode.objects.filter(user=member).exists()


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


def test_a_new_address_ends_the_links_to_the_old_one(member: Any, db: Platform) -> None:
    """A15: whoever still reads the former mailbox sets no password by a link that is there."""

    def change() -> None:
        with scope.platform():
            user = User.objects.get(pk=member.pk)
            old = codes.issue("password", seconds=60, user=user)
            code = codes.issue(profile.EMAIL_PURPOSE, seconds=60, user=user, email="moved@acme.test")
            profile.email_change(code=code, user_id=user.pk)
            with pytest.raises(PaasError) as caught:
                codes.peek("password", old)
            assert caught.value.code == "link_invalid"

    in_thread(change)
