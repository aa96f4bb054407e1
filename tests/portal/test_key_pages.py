"""The pages of API keys, as people use them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from yarl import URL

from accounts import keys
from accounts.models import ApiKey
from tenants import scope
from tests.conftest import Platform, in_thread

PLACE = "/settings/keys/"


class Person:
    """Somebody at the pages: opens them, and sends their forms."""

    def __init__(self, site: Any, session: Any) -> None:
        self.session = session
        self._origin = URL(site.url("acme"))

    async def get(self, path: str, **options: Any) -> tuple[int, str]:
        async with self.session.get(path, **options) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, *, accept: str = "", **fields: Any) -> tuple[int, str]:
        token = self.session.cookie_jar.filter_cookies(self._origin)["csrftoken"].value
        data = [("csrfmiddlewaretoken", token)]
        for name, value in fields.items():
            data += [(name, one) for one in (value if isinstance(value, list) else [value])]
        headers = {"Accept": accept} if accept else None
        async with self.session.post(path, data=data, headers=headers) as answer:
            return answer.status, await answer.text()


@pytest.fixture
async def admin(site: Any) -> Person:
    return Person(site, await site.signed_in("admin"))


def stored(db: Platform, name: str) -> Any:
    def read() -> Any:
        with scope.bind(db.acme):
            return ApiKey.objects.select_related("created_by").get(name=name)

    return in_thread(read)


def token_in(page: str) -> str:
    found = re.search(r'data-testid="token"[^>]*>(ak_[\w-]+)<', page)
    assert found, page
    return found[1]


async def test_a_key_is_made_shown_once_and_works(site: Any, admin: Person, db: Platform) -> None:
    status, page = await admin.get(PLACE)
    assert (status, "There is no key yet" in page) == (200, True)
    status, page = await admin.get(f"{PLACE}new/")
    assert status == 200
    for name in ("chat:read", "agents:execute", "admin:settings", "assistant"):
        assert f'value="{name}"' in page
    assert "admin:owner" not in page
    assert len(re.findall(r'name="scopes"[^>]*checked', page)) == 3, "what a program that chats needs is chosen"

    day = datetime.now(UTC).date() + timedelta(days=30)
    async with admin.session.post(
        f"{PLACE}new/",
        data=[
            ("csrfmiddlewaretoken", admin.session.cookie_jar.filter_cookies(admin._origin)["csrftoken"].value),
            ("name", "nightly <report>"),
            ("scopes", "chat:write"),
            ("scopes", "agents:execute"),
            ("agents", "assistant"),
            ("networks", "127.0.0.0/8\n2001:db8::/32"),
            ("tokens_per_month", "5000"),
            ("expires_on", day.isoformat()),
        ],
    ) as answer:
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
        page = await answer.text()
    token = token_in(page)
    assert f"Bearer {token}" in page.replace("&quot;", '"'), "a command to paste"
    assert "/v1/chat/completions" in page

    key = stored(db, "nightly <report>")
    assert key.created_by.email == "admin@acme.test"
    assert key.expires_at == datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    assert (key.allowed_agents, key.allowed_networks) == (["assistant"], ["127.0.0.0/8", "2001:db8::/32"])
    async with site.client("acme", token=token).get("/api/v1/me") as answer:
        assert (await answer.json())["scopes"] == ["agents:execute", "chat:write"]

    status, page = await admin.get(PLACE)
    assert "nightly &lt;report&gt;" in page
    for shown in (key.hint, "Let agents answer", "127.0.0.0/8", "0 of 5000", day.isoformat(), "admin@acme.test"):
        assert shown in page
    assert token not in page


async def test_mistakes_are_said_in_their_fields_and_nothing_is_made(admin: Person, db: Platform) -> None:
    await admin.get(f"{PLACE}new/")
    good = {"name": "k", "scopes": ["chat:read"]}
    for change, said in (
        ({"name": ""}, "This field is required"),
        ({"scopes": []}, "Choose at least one."),
        ({"scopes": ["admin:owner"]}, "not one of the available choices"),
        ({"networks": "203.0.113.7/24"}, "203.0.113.7/24 is no address or network"),
        ({"networks": "<script>"}, "&lt;script&gt; is no address"),
        ({"tokens_per_month": "0"}, "greater than or equal to 1"),
        ({"expires_on": "2020-01-01"}, "This day is over."),
        ({"expires_on": "9999-12-31"}, "Leave it empty"),
        ({"agents": ["nonsense"]}, "not one of the available choices"),
    ):
        status, page = await admin.post(f"{PLACE}new/", **(good | change))
        assert (status, said in page) == (200, True), (change, said)
        assert 'role="alert"' in page
    await admin.post(f"{PLACE}new/", **good)
    status, page = await admin.post(f"{PLACE}new/", **good)
    assert "There is a key with this name already." in page

    def count() -> int:
        with scope.bind(db.acme):
            return ApiKey.objects.count()

    assert in_thread(count) == 1


async def test_a_key_below_another_offers_only_what_that_has(admin: Person, db: Platform) -> None:
    def make() -> Any:
        with scope.bind(db.acme):
            return keys.key_create(
                name="parent", scopes=["chat:read", "chat:write"], actor="test", tokens_per_month=100
            )[0].pk

    parent = in_thread(make)
    status, page = await admin.get(f"{PLACE}new/?parent={parent}")
    assert (status, "Below parent" in page) == (200, True)
    assert 'value="usage:read"' not in page
    status, page = await admin.post(
        f"{PLACE}new/?parent={parent}", name="child", scopes=["chat:read"], tokens_per_month="101"
    )
    assert "The key above has fewer tokens a month." in page
    status, page = await admin.post(f"{PLACE}new/?parent={parent}", name="child", scopes=["chat:read"])
    assert token_in(page)
    assert stored(db, "child").parent_id == parent
    _, page = await admin.get(PLACE)
    assert page.index(">parent<") < page.index(">child<")
    assert 'class="depth-1' in page
    for nowhere in ("nonsense", "01a20000-0000-7000-8000-000000000000", ""):
        assert (await admin.get(f"{PLACE}new/?parent={nowhere}"))[0] == 404


async def test_changing_keeps_what_is_not_changed(admin: Person, db: Platform) -> None:
    """A key of the API: its `*`, its hour of expiry, an agent that is gone."""
    ends = datetime(2999, 5, 1, 13, 30, tzinfo=UTC)

    def make() -> Any:
        with scope.bind(db.acme):
            made, _ = keys.key_create(name="k", scopes=["*"], actor="test", expires_at=ends, agents=["gone"])
            return made.pk

    place = f"{PLACE}{in_thread(make)}/"
    status, page = await admin.get(place)
    assert status == 200
    scopes = re.findall(r'name="scopes" value="([^"]+)"[^>]*checked', page)
    assert len(scopes) == 11
    assert 'value="2999-05-01"' in page
    form = {"scopes": scopes, "agents": ["gone"], "expires_on": "2999-05-01"}
    status, page = await admin.post(place, name="renamed", **form)
    assert (status, "holds within two seconds" in page) == (200, True)
    key = stored(db, "renamed")
    assert (key.scopes, key.expires_at, key.allowed_agents) == (["*"], ends, ["gone"])
    await admin.post(place, name="renamed", **form | {"scopes": ["chat:read"], "expires_on": ""})
    key = stored(db, "renamed")
    assert (key.scopes, key.expires_at) == (["chat:read"], None)


async def test_a_new_token_and_the_end(site: Any, admin: Person, db: Platform) -> None:
    def make() -> tuple[Any, str]:
        with scope.bind(db.acme):
            key, token = keys.key_create(name="k", scopes=["*"], actor="test")
            keys.key_create(name="below", scopes=["*"], actor="test", parent=key)
            return key.pk, token

    key_id, token = in_thread(make)
    _, page = await admin.get(f"{PLACE}{key_id}/")
    assert "<strong>below</strong>" in page, "what ends with it is named"
    _, page = await admin.post(f"{PLACE}{key_id}/rotate/")
    new = token_in(page)
    assert new != token
    _, page = await admin.post(f"{PLACE}{key_id}/revoke/")
    assert "Nothing was revoked" in page
    keys.forget_all()
    async with site.client("acme", token=new).get("/api/v1/me") as answer:
        assert answer.status == 200
    _, page = await admin.post(f"{PLACE}{key_id}/revoke/", sure="on")
    assert ("k was revoked." in page, "There is no key yet" in page) == (True, True)
    keys.forget_all()
    async with site.client("acme", token=new).get("/api/v1/me") as answer:
        assert answer.status == 401
    for what in ("", "rotate/", "revoke/"):
        assert (await admin.post(f"{PLACE}{key_id}/{what}", sure="on"))[0] == 404


async def test_in_chinese(admin: Person) -> None:
    status, page = await admin.get(f"{PLACE}", headers={"Accept-Language": "zh-CN"})
    assert (status, "API 密钥" in page, 'lang="zh-Hans"' in page) == (200, True, True)


async def test_nothing_on_the_pages_is_inline(admin: Person) -> None:
    """The content security policy lets no script or style of the page itself run."""
    for path in (PLACE, f"{PLACE}new/"):
        _, page = await admin.get(path)
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)
