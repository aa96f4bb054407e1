"""Who may sign in where, and what a session is worth on another host (P18, A18)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from accounts.backends import EmailBackend
from accounts.models import Session, User
from accounts.selectors import actor_of_user
from accounts.sessions import SessionStore
from tenants import scope
from tests.conftest import PASSWORD, Platform
from tests.hashers import FastBCrypt, costs_of_hashes

OPERATOR = "operator@platform.test"


@pytest.fixture
def operator(db: Platform) -> Iterator[str]:
    with scope.platform():
        User.objects.create_superuser(OPERATOR, PASSWORD)
    yield OPERATOR
    with scope.platform():
        User.objects.filter(email=OPERATOR).delete()


def attempt(place: Any, email: str, password: str = PASSWORD) -> bool:
    with place:
        return EmailBackend().authenticate(None, username=email, password=password) is not None


@pytest.mark.parametrize(
    ("email", "on_acme", "on_globex", "on_platform"),
    [
        ("member@acme.test", True, False, True),
        ("viewer@acme.test", True, False, True),
        ("owner@acme.test", True, False, True),
        ("rival@globex.test", False, True, True),
        ("stranger@nowhere.test", False, False, True),
        (OPERATOR, False, False, True),
        ("nobody@nowhere.test", False, False, False),
        ("", False, False, False),
    ],
)
def test_who_enters_where(
    db: Platform, operator: str, email: str, on_acme: bool, on_globex: bool, on_platform: bool
) -> None:
    """On a tenant's host its members, on the platform host every person; what is there for them, each page asks."""
    assert attempt(scope.bind(db.acme), email) is on_acme
    assert attempt(scope.bind(db.globex), email) is on_globex
    assert attempt(scope.platform(), email) is on_platform


def test_odd_passwords_and_addresses(db: Platform) -> None:
    for password in ("", "wrong", PASSWORD + " ", PASSWORD.upper(), "x" * 1000, "\x00", "你好"):
        assert not attempt(scope.bind(db.acme), "member@acme.test", password)
    assert attempt(scope.bind(db.acme), "  MEMBER@Acme.test ")
    with scope.bind(db.acme):
        assert EmailBackend().authenticate(None, username="member@acme.test", password=None) is None
        assert EmailBackend().authenticate(None) is None
        assert EmailBackend().authenticate(None, email="member@acme.test", password=PASSWORD) is not None


def test_who_was_deactivated(db: Platform) -> None:
    with scope.platform():
        User.objects.filter(email="viewer@acme.test").update(is_active=False)
    try:
        assert not attempt(scope.bind(db.acme), "viewer@acme.test")
        with scope.bind(db.acme):
            user = User.objects.get(email="viewer@acme.test")
            assert EmailBackend().get_user(user.pk) is None
            assert actor_of_user(user.pk) is None
    finally:
        with scope.platform():
            User.objects.filter(email="viewer@acme.test").update(is_active=True)


def test_a_person_of_another_tenant_is_nobody(db: Platform) -> None:
    with scope.bind(db.globex):
        rival = User.objects.get(email="rival@globex.test")
        assert EmailBackend().get_user(rival.pk) is not None
    with scope.bind(db.acme):
        assert EmailBackend().get_user(rival.pk) is None
        assert actor_of_user(rival.pk) is None
        assert not User.objects.filter(pk=rival.pk).exists()


def test_an_unknown_address_costs_what_a_wrong_password_does(db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """A18: one hash each, so that the clock tells nothing."""
    hashed = costs_of_hashes(monkeypatch)
    for email in ("viewer@acme.test", "nobody@x.test", "rival@globex.test"):
        assert not attempt(scope.bind(db.acme), email, "wrong-password")
    assert hashed == [FastBCrypt.rounds] * 3


# --- sessions ----------------------------------------------------------------------------------------


def test_a_session_belongs_to_its_host(db: Platform) -> None:
    """P18: its key means nothing on another tenant's host, and nothing on the platform's."""
    with scope.bind(db.acme):
        store = SessionStore()
        store["colour"] = "red"
        store.create()
        key = store.session_key
        assert SessionStore(key)["colour"] == "red"
        row = Session.objects.get(pk=key)
        assert (row.tenant_id, row.user_id) == (db.acme.id, None)
    for place in (scope.bind(db.globex), scope.platform()):
        with place:
            other = SessionStore(key)
            assert other.load() == {}
            assert other.session_key is None
    with scope.bind(db.globex):
        assert not Session.objects.filter(pk=key).exists()


def test_a_platform_session_is_nothing_to_a_tenant(db: Platform) -> None:
    with scope.platform():
        store = SessionStore()
        store["a"] = 1
        store.create()
        assert Session.objects.get(pk=store.session_key).tenant_id is None
    with scope.bind(db.acme):
        assert SessionStore(store.session_key).load() == {}


def test_who_guesses_a_foreign_key_cannot_write_to_it(db: Platform) -> None:
    with scope.bind(db.acme):
        store = SessionStore()
        store["a"] = "acme's"
        store.create()
    with scope.bind(db.globex):
        guess = SessionStore(store.session_key)
        guess["a"] = "globex's"
        guess.save()
        assert guess.session_key != store.session_key
    with scope.bind(db.acme):
        assert SessionStore(store.session_key)["a"] == "acme's"


async def test_a_cookie_on_another_host(site: Any) -> None:
    """The same through the socket: API, page and admin."""
    client = await site.signed_in("member")
    cookies = {cookie.key: cookie.value for cookie in client.cookie_jar}
    async with client.get("/api/v1/me") as response:
        body = await response.json()
        assert (response.status, body["user"]["email"], body["role"]) == (200, "member@acme.test", "member")
    for cookie in client.cookie_jar:
        assert cookie["domain"] in ("", "acme.localhost")
    for slug in ("globex", ""):
        other = site.client(slug, cookies=cookies)
        async with other.get("/api/v1/me", allow_redirects=False) as response:
            assert response.status in (401, 404)
        async with other.get("/chat/" if slug else "/admin/", allow_redirects=False) as response:
            assert response.status in (302, 404)


async def test_cookies_are_host_only_and_out_of_reach_of_scripts(site: Any) -> None:
    from tests.site import Site

    assert isinstance(site, Site)
    client = site.client("acme")
    async with client.get("/login/") as page:
        assert page.status == 200
    token = next(cookie.value for cookie in client.cookie_jar if cookie.key == "csrftoken")
    form = {"email": "member@acme.test", "password": PASSWORD, "csrfmiddlewaretoken": token}
    async with client.post("/login/", data=form, allow_redirects=False) as response:
        headers = response.headers.getall("Set-Cookie")
    session = next(header for header in headers if header.startswith("sessionid="))
    assert "Domain=" not in "".join(headers)
    assert "HttpOnly" in session
    assert "SameSite=Lax" in session


async def test_signing_in_gives_a_new_session_key(site: Any) -> None:
    """A key that somebody planted before is worth nothing after (session fixation)."""
    first = await site.signed_in("member")
    planted = next(cookie.value for cookie in first.cookie_jar if cookie.key == "sessionid")
    second = await site.signed_in("member")
    assert next(cookie.value for cookie in second.cookie_jar if cookie.key == "sessionid") != planted


async def test_signing_out_ends_it_on_the_server(site: Any) -> None:
    client = await site.signed_in("member")
    cookies = {cookie.key: cookie.value for cookie in client.cookie_jar}
    async with client.post("/logout/", data={"csrfmiddlewaretoken": cookies["csrftoken"]}) as response:
        assert response.status == 200
    async with site.client("acme", cookies=cookies).get("/api/v1/me") as response:
        assert response.status == 401


async def test_a_changed_password_ends_sessions(site: Any, actor: Callable[[str], Any]) -> None:
    from tests.conftest import in_thread

    client = await site.signed_in("viewer")

    def change(password: str) -> None:
        with scope.platform():
            user = User.objects.get(email="viewer@acme.test")
            user.set_password(password)
            user.save(update_fields=["password"])

    in_thread(lambda: change("another-long-password"))
    try:
        async with client.get("/api/v1/me") as response:
            assert response.status == 401
        async with client.post("/api/v1/runs", json={"message": "hi"}) as response:
            assert response.status == 401
    finally:
        in_thread(lambda: change(PASSWORD))
