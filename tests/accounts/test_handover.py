"""The platform host: signing in there, the chooser, and the way over to a tenant (P38, A15, A19, A66)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings

from accounts import codes, handover, second_factor
from accounts.models import Membership, OneTimeCode, Session, User
from core import clock
from tenants import scope
from tenants.models import Tenant
from tests.accounts.visitors import events, form, person, put_back, said, through_the_platform, try_password
from tests.conftest import PASSWORD, Platform, forget_caches, in_thread
from tests.site import Site

OPERATOR = "operator@platform.test"
MEMBER = "member@acme.test"


@pytest.fixture
def operator(db: Platform) -> Iterator[str]:
    def make() -> None:
        with scope.platform():
            User.objects.create_superuser(OPERATOR, PASSWORD)

    def remove() -> None:
        with scope.platform():
            User.objects.filter(email=OPERATOR).delete()

    in_thread(make)
    yield OPERATOR
    in_thread(remove)


async def me(client: Any) -> Any:
    async with client.get("/api/v1/me") as answer:
        return (await answer.json())["user"]["email"] if answer.status == 200 else answer.status


async def test_the_front_of_the_platform(site: Site, operator: str) -> None:
    status, text, _ = await said(site.client(), "GET", "/")
    assert (status, "/accounts/login/" in text, "/signup/" in text) == (200, True, True)
    for email, place in ((MEMBER, "/workspaces/"), (OPERATOR, "/admin/")):
        client = await site.signed_in_on_platform(email)
        _, _, headers = await said(client, "GET", "/")
        assert headers["Location"] == place


async def test_the_console_is_for_operators(site: Site, operator: str) -> None:
    """A66: any person may be signed in on this host; the console asks for operators all the same."""
    client = await site.signed_in_on_platform("owner@acme.test")
    for path in ("/admin/", "/admin/tenants/tenant/", "/admin/accounts/user/", "/admin/accounts/auditevent/"):
        status, _, headers = await said(client, "GET", path)
        assert (status, urlsplit(headers["Location"]).path) == (302, "/admin/login/"), path
    status, text, _ = await said(client, "GET", "/admin/login/?next=/admin/")
    assert (status, "owner@acme.test, who is no operator" in text) == (403, True)
    boss = await site.signed_in_on_platform(OPERATOR)
    assert (await said(boss, "GET", "/admin/tenants/tenant/"))[0] == 200
    _, _, headers = await said(boss, "GET", "/admin/login/?next=/admin/tenants/tenant/")
    assert headers["Location"] == "/admin/tenants/tenant/"


@pytest.mark.parametrize("field", ["email", "username"])
async def test_the_consoles_own_door(site: Site, operator: str, field: str) -> None:
    """The same door as everywhere: counted, written down, and not only for who may go in."""
    client = site.client()
    await said(client, "GET", "/admin/login/")
    asked = {field: OPERATOR, "password": "wrong"}
    assert (await form(site, client, "", "/admin/login/", **asked))[0] == 401
    status, _, headers = await form(site, client, "", "/admin/login/", **{**asked, "password": PASSWORD})
    assert (status, headers["Location"]) == (302, "/admin/")
    assert [event.data["email"] for event in events("session.refused", None)] == [OPERATOR]
    assert (await said(client, "GET", "/admin/"))[0] == 200


async def test_signing_out_of_the_platform(site: Site) -> None:
    client = await site.signed_in_on_platform(MEMBER)
    status, _, headers = await form(site, client, "", "/accounts/logout/", next="/accounts/login/?next=/signup/")
    assert (status, headers["Location"]) == (302, "/accounts/login/?next=/signup/")
    assert (await said(client, "GET", "/workspaces/"))[0] == 302
    status, _, headers = await form(site, client, "", "/accounts/logout/", next="//evil.test/")
    assert headers["Location"] == "/accounts/login/"


async def test_the_chooser_shows_a_persons_own_workspaces(site: Site, db: Platform) -> None:
    status, _, headers = await said(site.client(), "GET", "/workspaces/")
    assert (status, headers["Location"]) == (302, "/accounts/login/?next=%2Fworkspaces%2F")
    member = await site.signed_in_on_platform(MEMBER)
    _, text, _ = await said(member, "GET", "/workspaces/")
    assert "http://acme.localhost:8000/login/platform/?next=%2Fchat%2F" in text
    assert ("Member" in text, "globex" in text) == (True, False)
    nobody = await site.signed_in_on_platform("stranger@nowhere.test")
    _, text, _ = await said(nobody, "GET", "/workspaces/")
    assert ("You are in no workspace yet" in text, "Make a workspace" in text) == (True, True)


@pytest.mark.parametrize(
    ("status", "shown"), [("suspended", "Suspended"), ("creating", "Being made"), ("deleting", "Deleted")]
)
async def test_the_chooser_says_what_cannot_be_opened(site: Site, db: Platform, status: str, shown: str) -> None:
    def turn(to: str) -> None:
        with scope.platform():
            Tenant.objects.filter(slug="acme").update(status=to)
        forget_caches()

    client = await site.signed_in_on_platform(MEMBER)
    in_thread(lambda: turn(status))
    try:
        _, text, _ = await said(client, "GET", "/workspaces/")
        assert (shown in text, "/login/platform/" in text) == (True, False)
        state = handover.state_of("x")
        refused, text, _ = await said(client, "GET", f"/accounts/handover/?tenant=acme&state={state}")
        assert refused in (403, 404, 503)
        assert not in_thread(has_code)
    finally:
        in_thread(lambda: turn("active"))


def has_code() -> bool:
    with scope.platform():
        return OneTimeCode.objects.filter(purpose=handover.PURPOSE).exists()


@pytest.fixture
def on_port(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The addresses that pages show lead to this server."""
    monkeypatch.setattr(settings, "PUBLIC_PORT", str(site.port))


async def test_over_to_a_workspace(site: Site, db: Platform, on_port: None) -> None:
    """Signed in on the platform: one click, no password."""
    browser = site.client()
    assert (await try_password(site, browser, "", MEMBER, PASSWORD))[0] == 302
    status, _, headers = await through_the_platform(browser, site.url("acme") + "/login/platform/?next=/profile/")
    assert (status, headers["Location"]) == (302, "/profile/")
    assert await me_at(site, browser, "acme") == MEMBER
    assert [event.data["method"] for event in events("session.created", db.acme)] == ["handover"]
    # Who is here already goes on at once.
    status, _, headers = await said(browser, "GET", site.url("acme") + "/login/platform/?next=/chat/")
    assert (status, headers["Location"]) == (302, "/chat/")


async def me_at(site: Site, browser: Any, slug: str) -> Any:
    async with browser.get(f"{site.url(slug)}/api/v1/me") as answer:
        return (await answer.json())["user"]["email"] if answer.status == 200 else answer.status


async def test_anonymous_on_the_platform(site: Site, on_port: None) -> None:
    """To the platform's sign-in, and back to the page that was asked for."""
    browser = site.client()
    async with browser.get(site.url("acme") + "/login/platform/?next=/profile/") as answer:
        door = answer.url
        assert (door.path, door.host) == ("/accounts/login/", "localhost")
    status, _, headers = await try_password(site, browser, "", MEMBER, PASSWORD, next=door.query["next"])
    assert (status, urlsplit(headers["Location"]).path) == (302, "/accounts/handover/")
    status, _, headers = await through_the_platform(browser, headers["Location"])
    assert (status, headers["Location"]) == (302, "/profile/")
    assert await me_at(site, browser, "acme") == MEMBER


async def test_ways_off_the_site(site: Site, on_port: None) -> None:
    """A19."""
    browser = site.client()
    assert (await try_password(site, browser, "", MEMBER, PASSWORD))[0] == 302
    status, _, headers = await through_the_platform(browser, site.url("acme") + "/login/platform/?next=//evil.test/")
    assert (status, headers["Location"]) == (302, "/chat/")


async def code_of(site: Site, browser: Any, slug: str = "acme") -> str:
    """A code that the platform has issued to this browser for a tenant."""
    async with browser.get(site.url(slug) + "/login/platform/") as answer:
        text = await answer.text()
    way = re.search(r"code=([\w-]+)", text)
    assert way, text
    return way[1]


async def accept(site: Site, browser: Any, code: str, slug: str = "acme") -> int:
    return (await said(browser, "GET", f"{site.url(slug)}/login/platform/?code={code}"))[0]


async def test_a_code_works_once_in_one_browser_on_one_host(site: Site, db: Platform, on_port: None) -> None:
    """A15, P38: foreign, replayed, stolen, expired, made up."""

    def join(tenant: Any) -> None:
        with scope.platform():
            Membership.objects.create(tenant_id=tenant.id, user=User.objects.get(email=MEMBER), role="viewer")

    def leave() -> None:
        with scope.platform():
            Membership.objects.filter(tenant_id=db.globex.id, user__email=MEMBER).delete()

    in_thread(lambda: join(db.globex))
    try:
        browser = site.client()
        assert (await try_password(site, browser, "", MEMBER, PASSWORD))[0] == 302
        code = await code_of(site, browser)
        # On another tenant's host, where the person is a member as well, it is nothing, and is not used up.
        await code_of(site, browser, "globex")
        assert await accept(site, browser, code, "globex") == 404
        # In another browser it is nothing either: nobody signs somebody else in as themselves.
        thief = site.client("acme")
        await said(thief, "GET", "/login/platform/")
        assert await accept(site, thief, code) == 404
        assert await accept(site, site.client("acme"), code) == 404
        assert await accept(site, browser, code) == 302
        assert await me_at(site, browser, "acme") == MEMBER
        assert await accept(site, browser, code) == 404
        for made_up in ("x", "%00", "a" * 500):
            assert await accept(site, browser, made_up) == 404
    finally:
        in_thread(leave)


async def test_a_code_is_good_for_a_minute(site: Site, db: Platform, on_port: None) -> None:
    assert handover.CODE_SECONDS == 60
    browser = site.client()
    assert (await try_password(site, browser, "", MEMBER, PASSWORD))[0] == 302
    code = await code_of(site, browser)

    def age() -> None:
        with scope.platform():
            OneTimeCode.objects.update(expires_at=clock.now() - timedelta(seconds=1))

    in_thread(age)
    status, text, _ = await said(browser, "GET", f"{site.url('acme')}/login/platform/?code={code}")
    assert (status, "link_invalid" in text) == (404, True)


async def test_who_is_no_member_is_not_handed_over(site: Site, db: Platform, on_port: None) -> None:
    browser = site.client()
    assert (await try_password(site, browser, "", MEMBER, PASSWORD))[0] == 302
    state = handover.state_of("x")
    foreign, text, _ = await said(browser, "GET", f"/accounts/handover/?tenant=globex&state={state}")
    unknown, other, _ = await said(browser, "GET", f"/accounts/handover/?tenant=gl0bex&state={state}")
    assert (foreign, unknown) == (404, 404)
    assert text.replace("globex", "gl0bex").split("languages")[0] == other.split("languages")[0]
    for bad in ("", "x", state.upper(), state + "0"):
        status, text, _ = await said(browser, "GET", f"/accounts/handover/?tenant=acme&state={bad}")
        assert (status, "link_invalid" in text) == (404, True)
    assert not in_thread(has_code)


async def test_who_left_in_between(site: Site, db: Platform, on_port: None) -> None:
    """A14: the code is still good, the membership is not."""
    browser = site.client()
    assert (await try_password(site, browser, "", "viewer@acme.test", PASSWORD))[0] == 302
    code = await code_of(site, browser)

    def active(to: bool) -> None:
        with scope.platform():
            User.objects.filter(email="viewer@acme.test").update(is_active=to)

    in_thread(lambda: active(False))
    try:
        assert await accept(site, browser, code) == 404
    finally:
        in_thread(lambda: active(True))


async def test_signing_out_everywhere_takes_the_codes_along(site: Site, db: Platform, on_port: None) -> None:
    """A13."""
    browser = site.client()
    assert (await try_password(site, browser, "", MEMBER, PASSWORD))[0] == 302
    code = await code_of(site, browser)
    assert (await form(site, browser, "", "/accounts/profile/sessions/end-all/"))[0] == 302
    put_back(MEMBER, person(MEMBER).pk)
    assert await accept(site, browser, code) == 404
    assert (await said(browser, "GET", "/workspaces/"))[0] == 302


async def test_a_second_factor_is_not_skipped(
    site: Site, db: Platform, on_port: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A16: set up after the sign-in on the platform, it is asked for on the way over; shown there, it is not again."""
    browser = site.client()
    assert (await try_password(site, browser, "", MEMBER, PASSWORD))[0] == 302
    monkeypatch.setattr(second_factor, "is_enrolled", lambda user: True)
    status, _, headers = await through_the_platform(browser, site.url("acme") + "/login/platform/")
    assert (status, headers["Location"]) == (302, "/login/code/")
    assert await me_at(site, browser, "acme") == 401
    someone = person(MEMBER)

    def issue(shown: bool, secret: str) -> str:
        with scope.platform():
            return codes.issue(
                "handover", seconds=60, user=someone, tenant_id=db.acme.id,
                state=handover.state_of(secret), following="/chat/", second_factor=shown,
            )  # fmt: skip

    code = in_thread(lambda: issue(True, "known"))
    other = site.client("acme", cookies={"handover": "known"})
    status, _, headers = await said(other, "GET", f"/login/platform/?code={code}")
    assert (status, headers["Location"]) == (302, "/chat/")
    assert await me(other) == MEMBER

    def marked() -> Any:
        with scope.bind(db.acme):
            row = Session.objects.filter(user=someone).latest("created_at")
            return row.get_session_store_class()().decode(row.session_data).get("second_factor_shown")

    assert in_thread(marked) is True


def test_the_secrets_digest_is_what_the_platform_sees() -> None:
    secret, state = handover.secret_new()
    assert handover.STATE.match(state)
    assert secret not in state
    assert parse_qs(f"state={state}")["state"] == [state]
