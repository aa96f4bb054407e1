"""A network that has used up its tries is answered in front of Django (T23, A17)."""

from __future__ import annotations

from typing import Any

import pytest

from accounts import throttle
from tests.conftest import PASSWORD, Platform
from tests.site import Site

GUESS = {"email": "member@acme.test", "password": "wrong-on-purpose"}


@pytest.fixture
async def held(db: Platform, site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Two tries a network are allowed; both are used up, and a third was refused."""
    monkeypatch.setattr(throttle, "PER_NETWORK", (2, 600.0))
    client = site.client("acme")
    answers = []
    for _ in range(3):
        async with client.post("/api/auth/login", json=GUESS) as answer:
            answers.append(answer.status)
    assert answers == [401, 401, 429]
    return site


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What still came as far as to be counted."""
    seen: list[Any] = []
    real = throttle.admit

    def admit(email: str, device: str) -> Any:
        seen.append(email)
        return real(email, device)

    monkeypatch.setattr(throttle, "admit", admit)
    return seen


@pytest.mark.parametrize("slug", ["acme", "globex", ""])
@pytest.mark.parametrize("path", ["/api/auth/login", "/api/auth/login/tenant"])
async def test_programs_are_told_in_their_shape(held: Site, asked: list[Any], slug: str, path: str) -> None:
    async with held.client(slug).post(path, json=GUESS) as answer:
        said = await answer.json()
        assert answer.status == 429
        assert 250 < int(answer.headers["Retry-After"]) <= 301
        assert (said["error"], said["code"], said["path"]) == ("RATE_LIMITED", "auth_007", path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert asked == []


@pytest.mark.parametrize(("language", "words"), [("en", "Too many requests"), ("zh-CN,zh;q=0.9", "请求过多")])
async def test_people_get_a_page(held: Site, asked: list[Any], language: str, words: str) -> None:
    for slug, path in (("acme", "/login/"), ("", "/accounts/login/"), ("", "/admin/login/")):
        headers = {"Accept": "text/html", "Accept-Language": language}
        async with held.client(slug).post(path, data=GUESS, headers=headers) as answer:
            assert (answer.status, words in await answer.text()) == (429, True)
    assert asked == []


async def test_a_known_browser_goes_through(db: Platform, site: Site, asked: list[Any]) -> None:
    client = await site.signed_in_by_form("member")
    async with client.post("/logout/", headers={"X-CSRFToken": site.csrf(client, "acme")}) as answer:
        assert answer.status == 200
    throttle._hold("127.0.0.1", 300)
    asked.clear()
    async with client.get("/login/") as page:
        assert page.status == 200, "who only looks is not refused"
    form = {"email": "member@acme.test", "password": PASSWORD, "csrfmiddlewaretoken": site.csrf(client, "acme")}
    async with client.post("/login/", data=form, allow_redirects=False) as answer:
        assert answer.status == 302
    assert asked == ["member@acme.test"]


async def test_a_made_up_device_does_not(held: Site, asked: list[Any]) -> None:
    async with held.client("acme").post("/login/", data=GUESS, headers={"Cookie": "device=made:up"}) as answer:
        assert answer.status == 429
    assert asked == []


async def test_other_addresses_are_open(held: Site) -> None:
    async with held.client("acme").post("/api/auth/refresh", json={"refresh_token": "a.b.c"}) as answer:
        assert answer.status == 401


async def test_it_ends_with_the_time(held: Site, asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    throttle._hold("127.0.0.1", 1)
    async with held.client("acme").post("/api/auth/login", json=GUESS) as answer:
        assert answer.status == 429
    assert asked == ["member@acme.test"], "the count itself has the last word"
