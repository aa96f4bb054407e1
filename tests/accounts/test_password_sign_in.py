"""A password is tried in one place: counted first, hashed then, and the same for everybody (P39, P40, A17, A18)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core import signing
from redis.exceptions import ConnectionError as RedisConnectionError

from accounts import hashers, throttle
from accounts.models import User
from accounts.sessions import SessionStore
from accounts.sign_in import local_path, person_with_password
from core.errors import PaasError
from tenants import client, ratelimit, scope
from tests.accounts.visitors import events, person, said, try_password
from tests.conftest import PASSWORD, Platform, in_thread
from tests.hashers import FastBCrypt, costs_of_hashes
from tests.site import Site

MEMBER = "member@acme.test"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were hashed."""
    seen: list[str] = []

    def encode(self: Any, password: str, salt: Any) -> str:
        seen.append(password)
        return "hash"

    monkeypatch.setattr(FastBCrypt, "encode", encode)
    return seen


@contextmanager
def coming_from(address: str) -> Iterator[None]:
    with client.serving(client.Client(address)):
        yield


def attempt(email: str, password: str, device: str = "") -> str:
    try:
        return person_with_password(email=email, password=password, device=device).email
    except PaasError as error:
        return error.code


def device_for(email: str) -> str:
    """The cookie of a browser on which this person signed in before."""
    return signing.dumps(["name", throttle._short(email)], salt=throttle.SALT)


def test_who_gets_in(db: Platform) -> None:
    with scope.bind(db.acme):
        assert attempt(" MEMBER@acme.test ", PASSWORD) == MEMBER
        assert attempt(MEMBER, "wrong") == "invalid_credentials"
        assert attempt("rival@globex.test", PASSWORD) == "invalid_credentials"
        assert attempt("nobody@acme.test", PASSWORD) == "invalid_credentials"
    with scope.platform():
        assert attempt("stranger@nowhere.test", PASSWORD) == "stranger@nowhere.test"


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (MEMBER, ""),
        (MEMBER, "\x00"),
        (MEMBER, f"{PASSWORD}\x00"),
        (MEMBER, "x" * 100_000),
        (MEMBER, "\ud800"),
        ("", PASSWORD),
        ("\x00@acme.test", PASSWORD),
        ("\udfff@acme.test", PASSWORD),
        ("m" * 300, PASSWORD),
    ],
)
def test_what_cannot_be_a_password_is_not_hashed(db: Platform, hashed: list[str], email: str, password: str) -> None:
    with scope.bind(db.acme):
        assert attempt(email, password) == "invalid_credentials"
    assert hashed == []


def test_passwords_of_200_bytes(db: Platform) -> None:
    """P39: bcrypt alone ends at 72."""
    long = "密码" * 33 + "xx"
    assert len(long.encode()) == 200
    with scope.platform():
        made = User.objects.create_user("long@platform.test", long)
        try:
            assert attempt(made.email, long) == made.email
            assert attempt(made.email, long[:-1] + "y") == "invalid_credentials"
        finally:
            made.delete()


def test_hundreds_of_tries_from_one_address(db: Platform, hashed: list[str]) -> None:
    """A17: ten are hashed, the rest is told to wait; and other people of that network still get in."""
    with scope.bind(db.acme), coming_from("198.51.100.7"):
        codes = [attempt(MEMBER, f"guess-{number}") for number in range(300)]
        assert len(hashed) == throttle.PER_PAIR[0]
        assert codes[-1] == "rate_limited"
        assert attempt("viewer@acme.test", "wrong") == "invalid_credentials"
        with pytest.raises(PaasError) as refused:
            person_with_password(email=MEMBER, password="wrong")
    assert 0 < (refused.value.retry_after or 0) <= throttle.PER_PAIR[1] / throttle.PER_PAIR[0] + 1


@pytest.mark.exhaustive
def test_hundreds_of_tries_at_many_people_from_one_network(
    db: Platform, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spraying: one network has so many tries, whoever they are at; a /64 is one network."""
    # None comes back while the test runs, however slow the machine is.
    monkeypatch.setattr(throttle, "PER_NETWORK", (throttle.PER_NETWORK[0], 24 * 3600.0))
    with scope.bind(db.acme):
        for number in range(3 * throttle.PER_NETWORK[0]):
            with coming_from(f"2001:db8:1:2::{number:x}"):
                attempt(f"person-{number}@acme.test", "wrong")
    assert len(hashed) == throttle.PER_NETWORK[0]


@pytest.mark.exhaustive
def test_hundreds_of_tries_from_two_hundred_addresses_do_not_lock_the_owner_out(
    db: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A17."""
    tried: list[str] = []
    before = FastBCrypt.encode

    def encode(self: Any, password: str, salt: Any) -> str:
        tried.append(password)
        return before(self, password, salt)

    monkeypatch.setattr(FastBCrypt, "encode", encode)
    owner = "owner@acme.test"
    with scope.bind(db.acme):
        with coming_from("203.0.113.250"):
            assert attempt(owner, PASSWORD) == owner  # at home, some day before
        tried.clear()
        for number in range(400):
            # Whatever host of the platform they knock at.
            with coming_from(f"203.0.113.{number % 200}"), scope.platform() if number % 2 else scope.bind(db.acme):
                attempt(owner, f"guess-{number}")
        assert len(tried) == throttle.PER_MAILBOX[0]
        with coming_from("192.0.2.1"):
            assert attempt(owner, PASSWORD) == "rate_limited", "somebody unknown is held, right password or not"
            assert attempt(owner, PASSWORD, device_for(owner)) == owner, "their own browser is not, wherever it is"
        with coming_from("203.0.113.250"):
            assert attempt(owner, PASSWORD) == owner, "nor is their own network"


def test_a_browser_that_is_known_has_so_many_tries_too(db: Platform, hashed: list[str]) -> None:
    with scope.bind(db.acme):
        codes = [attempt(MEMBER, "wrong", device_for(MEMBER)) for _ in range(100)]
    assert len(hashed) == throttle.PER_DEVICE[0]
    assert codes[-1] == "rate_limited"


@pytest.mark.parametrize(
    "cookie",
    ["x", "x" * 5000, signing.dumps(["a"], salt="other"), "\x00"],
    ids=["text", "long", "signed-for-something-else", "nul"],  # what is signed holds the second
)
def test_a_made_up_device_is_none(db: Platform, hashed: list[str], cookie: str) -> None:
    with scope.bind(db.acme):
        for _ in range(30):
            attempt(MEMBER, "wrong", cookie)
        for _ in range(30):
            attempt(MEMBER, "wrong", device_for("viewer@acme.test"))
    assert len(hashed) == throttle.PER_PAIR[0]


def test_right_passwords_do_not_use_up_the_tries(db: Platform) -> None:
    with scope.bind(db.acme):
        assert {attempt(MEMBER, PASSWORD) for _ in range(3 * throttle.PER_PAIR[0])} == {MEMBER}


def test_without_redis_nobody_is_let_try(db: Platform, hashed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """P40: the door fails closed."""

    def away(**arguments: Any) -> Any:
        raise RedisConnectionError

    monkeypatch.setattr(ratelimit, "_clients", lambda: (None, away))
    with scope.bind(db.acme):
        assert attempt(MEMBER, PASSWORD) == "redis_unavailable"
    assert hashed == []


def test_a_full_queue_is_said_so(db: Platform) -> None:
    """P39, T23."""
    places = hashers.SLOTS + hashers.QUEUE
    for _ in range(places):
        assert hashers._places.acquire(blocking=False)
    try:
        with scope.bind(db.acme):
            assert attempt(MEMBER, PASSWORD) == "rate_limited"
            assert attempt("nobody@acme.test", PASSWORD) == "rate_limited"
    finally:
        for _ in range(places):
            hashers._places.release()


def test_who_waits_for_a_turn_at_hashing_holds_no_connection(db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """T23: twenty of them would hold the whole pool."""
    from django.db import connection

    held: list[bool] = []

    def encode(self: Any, password: str, salt: Any) -> str:
        held.append(connection.connection is not None)
        return "hash"

    monkeypatch.setattr(FastBCrypt, "encode", encode)
    with scope.bind(db.acme):
        User.objects.exists()
        for email in (MEMBER, "nobody@acme.test"):
            attempt(email, "wrong")
    assert held == [False, False]


def test_unknown_and_wrong_cost_the_same(db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """A18, P39: one hash each, so that the clock tells nothing; a person without a password is no different."""
    hashed = costs_of_hashes(monkeypatch)
    with scope.platform():
        without = User.objects.create_user("oidc@platform.test")
        hashed.clear()
        for email in (MEMBER, "nobody@platform.test", without.email):
            assert attempt(email, "wrong-password") == "invalid_credentials"
        without.delete()
    assert hashed == [FastBCrypt.rounds] * 3


@pytest.mark.parametrize(
    "text",
    ["//evil.test", "https://evil.test/", "/\\evil.test", "\\\\evil.test", "javascript:alert(1)", "evil", "", None]
    + ["/a\nb", "/a\x00", "/ a", "/" + "x" * 3000, "///evil.test", "/\t/evil.test", "http:evil.test"],
)
def test_no_way_off_the_site(text: str | None) -> None:
    """A19."""
    assert local_path(text, "/start/") == "/start/"


@pytest.mark.parametrize(
    "text", ["/", "/chat/", "/chat/?a=//b", "/设置/", "/a//b", "/accounts/handover/?next=%2Fchat%2F"]
)
def test_ways_on_the_site(text: str) -> None:
    assert local_path(text, "/start/") == text


# --- over HTTP ---------------------------------------------------------------------------------------


async def test_the_page_says_how_long_to_wait(site: Site, db: Platform) -> None:
    """429 with Retry-After, in the language of who asks; and the audit log has it."""
    browser = site.client("acme")
    browser.headers["Accept-Language"] = "zh-Hans"
    for _ in range(throttle.PER_PAIR[0]):
        status, text, _ = await try_password(site, browser, "acme", MEMBER, "wrong")
        assert (status, "邮箱或密码不正确" in text) == (401, True), text
    status, text, headers = await try_password(site, browser, "acme", MEMBER, PASSWORD)
    assert status == 429
    assert 0 < int(headers["Retry-After"]) <= 91
    assert f"尝试次数过多。请在 {headers['Retry-After']} 秒后重试。" in text
    english = site.client("acme")
    status, text, headers = await try_password(site, english, "acme", MEMBER, PASSWORD)
    assert f"Too many tries. Try again in {headers['Retry-After']} seconds." in text
    reasons = [event.data["reason"] for event in events("session.refused", db.acme)]
    assert reasons == ["invalid_credentials"] * 10 + ["rate_limited"] * 2
    assert {event.data["email"] for event in events("session.refused", db.acme)} == {MEMBER}


async def test_a_sign_in_leaves_a_known_browser(site: Site, db: Platform) -> None:
    browser = site.client("acme")
    status, _, headers = await try_password(site, browser, "acme", MEMBER, PASSWORD, next="/settings/audit/?a=1")
    assert (status, headers["Location"]) == (302, "/settings/audit/?a=1")
    cookie = next(line for line in headers.getall("Set-Cookie") if line.startswith("device="))
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert MEMBER not in cookie
    assert [event.data["method"] for event in events("session.created", db.acme)] == ["password"]
    # Others use up all the tries of the address; this browser is not kept out.
    await said(browser, "POST", "/logout/", data={"csrfmiddlewaretoken": site.csrf(browser, "acme")})
    with scope.platform():
        mailbox = throttle._short(MEMBER)
        limits = [ratelimit.Limit(f"sign-in-pair:{throttle._short(f'127.0.0.1 {MEMBER}')}", *throttle.PER_PAIR)]
        limits.append(ratelimit.Limit(f"sign-in-mail:{mailbox}", *throttle.PER_MAILBOX))
        for limit in limits:
            with pytest.raises(PaasError):
                for _ in range(limit.rate + 1):
                    ratelimit.check(limit)
    other = site.client("acme")
    assert (await try_password(site, other, "acme", MEMBER, PASSWORD))[0] == 429
    assert (await try_password(site, browser, "acme", MEMBER, PASSWORD))[0] == 302


async def test_off_site_targets_are_dropped(site: Site) -> None:
    """A19."""
    for slug, start in (("acme", "/chat/"), ("", "/workspaces/")):
        for target in ("//evil.test/", "https://evil.test/", "/\\evil.test"):
            browser = site.client(slug)
            door = "/login/" if slug else "/accounts/login/"
            status, text, _ = await said(browser, "GET", door, params={"next": target})
            assert 'name="next" value="">' in text
            status, _, headers = await try_password(site, browser, slug, MEMBER, PASSWORD, next=target)
            assert (status, headers["Location"]) == (302, start)


async def test_the_session_key_changes_with_the_sign_in(site: Site, db: Platform) -> None:
    """A key that somebody planted is worth nothing (session fixation)."""

    def plant() -> str:
        """A session that is there already, of nobody: what an attacker has and gives to the victim."""
        with scope.bind(db.acme):
            store = SessionStore()
            store["planted"] = True
            store.create()
            return str(store.session_key)

    planted = in_thread(plant)
    victim = site.client("acme", cookies={"sessionid": planted})
    _, _, headers = await try_password(site, victim, "acme", "viewer@acme.test", PASSWORD)
    cookie = next(line for line in headers.getall("Set-Cookie") if line.startswith("sessionid="))
    assert planted not in cookie
    async with site.client("acme", cookies={"sessionid": planted}).get("/api/v1/me") as answer:
        assert answer.status == 401


async def test_pages_in_the_language_of_the_person(site: Site) -> None:
    someone = person("viewer@acme.test")

    def speak(language: str) -> None:
        with scope.platform():
            User.objects.filter(pk=someone.pk).update(language=language)

    in_thread(lambda: speak("zh-hans"))
    try:
        browser = await site.signed_in_by_form("viewer")
        assert 'lang="zh-Hans"' in (await said(browser, "GET", "/profile/"))[1]
    finally:
        in_thread(lambda: speak(""))
