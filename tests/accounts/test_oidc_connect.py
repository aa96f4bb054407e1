"""Connecting an identity to oneself, and taking it away again."""

from __future__ import annotations

import aiohttp
import pytest
from allauth.socialaccount.models import SocialAccount
from yarl import URL

from tenants import scope
from tests.accounts.idp import Idp
from tests.accounts.oidc_browser import (  # noqa: F401 - fixtures
    NEW,
    arrive,
    audited,
    connect,
    door,
    go,
    idp,
    of_platform,
    own,
    realm,
    refused,
    whoami,
)
from tests.conftest import PASSWORD, Platform, in_thread
from tests.site import Site

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


async def press(
    client: aiohttp.ClientSession, site: Site, slug: str = "acme", here: str = "/profile/identities/", **form: str
) -> tuple[int, str]:
    async with client.get(here) as page:
        assert page.status == 200, await page.text()
    token = client.cookie_jar.filter_cookies(URL(site.url(slug)))["csrftoken"].value
    async with client.post(here, data={"csrfmiddlewaretoken": token, **form}, allow_redirects=False) as page:
        return page.status, await page.text()


async def test_connecting_on_the_platform_host(
    door: Site, db: Platform, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is the platform's is connected once, and lets its person in on every host of theirs."""
    of_platform(monkeypatch, idp.issuer)
    here = "/accounts/profile/identities/"
    client = door.client()
    async with client.get(here, allow_redirects=False) as page:
        assert page.headers["Location"] == f"/accounts/login/?next={here}"
    async with client.get("/accounts/login/"):
        token = next(cookie.value for cookie in client.cookie_jar if cookie.key == "csrftoken")
    form = {"email": "rival@globex.test", "password": PASSWORD, "csrfmiddlewaretoken": token}
    async with client.post("/accounts/login/", data=form, allow_redirects=False) as page:
        assert page.status == 302
    status, text = await press(client, door, "", here, connect="google", password=PASSWORD)
    assert (status, "url=/accounts/oidc/google/?connect=1" in text) == (200, True)
    away = await go(client, "/accounts/oidc/google/?connect=1")
    assert await go(client, await go(client, await idp.sign_in(away, "g-9"))) == here
    tenant = door.client("globex")
    assert await go(tenant, await arrive(tenant, idp, "google", "g-9")) == "/chat/"
    assert await whoami(tenant) == "rival@globex.test"
    stranger = door.client("acme")
    assert (await refused(stranger, await arrive(stranger, idp, "google", "g-9")))[1] == "identity_not_admitted"


async def test_a_person_connects_and_disconnects(door: Site, db: Platform, idp: Idp) -> None:
    key = own(db, idp)
    await idp.knows("s-24", email="elsewhere@people.test")
    client = await door.signed_in("member")
    status, text = await press(client, door, connect=key, password="wrong-password")
    assert (status, 'data-testid="problem"' in text) == (400, True)
    status, text = await press(client, door, connect=key, password=PASSWORD)
    assert (status, f'content="0; url=/login/oidc/{key}/?connect=1"' in text) == (200, True)
    away = await go(client, f"/login/oidc/{key}/?connect=1")
    assert (await refused(client, f"/login/oidc/{key}/?connect=1"))[1] == "identity_state"  # once for each password
    assert await go(client, await go(client, await idp.sign_in(away, "s-24"))) == "/profile/identities/"
    async with client.get("/profile/identities/") as page:
        text = await page.text()
        assert ("elsewhere@people.test" in text, 'data-testid="identity"' in text) == (True, True)
    other = door.client("acme")
    assert await go(other, await arrive(other, idp, key, "s-24")) == "/chat/"
    assert await whoami(other) == "member@acme.test"
    number = text.split('name="disconnect" value="')[1].split('"')[0]
    assert (await press(client, door, disconnect=number, password="wrong-password"))[0] == 400
    assert (await press(client, door, disconnect=number, password=PASSWORD))[0] == 302
    assert (await press(client, door, disconnect=number, password=PASSWORD))[0] == 404
    assert (await refused(other, await arrive(other, idp, key, "s-24")))[1] == "identity_email_unverified"
    actions = [action for action, _ in audited(db)]
    assert ("identity.connected" in actions, "identity.disconnected" in actions) == (True, True)


async def test_connecting_holds_to_who_asked(door: Site, db: Platform, idp: Idp) -> None:
    """Somebody else's answer, somebody else's account, and a link that nobody asked for."""
    key = own(db, idp)
    connect("owner@acme.test", realm(db, key), "s-25")
    client = await door.signed_in("member")
    assert (await refused(client, f"/login/oidc/{key}/?connect=1"))[1] == "identity_state"
    await press(client, door, connect=key, password=PASSWORD)
    landing = await go(client, await idp.sign_in(await go(client, f"/login/oidc/{key}/?connect=1"), "s-25"))
    status, code, text = await refused(client, landing)
    assert (status, code, "/profile/identities/" in text) == (409, "identity_taken", True)
    # Begun by `viewer`; the browser that comes back is `member`'s by then.
    viewer = await door.signed_in("viewer")
    await press(viewer, door, connect=key, password=PASSWORD)
    landing = await go(viewer, await idp.sign_in(await go(viewer, f"/login/oidc/{key}/?connect=1"), "s-26"))
    cookie = next(one for one in viewer.cookie_jar if one.key == "oidc")
    client.cookie_jar.update_cookies({"oidc": cookie.value}, URL(door.url("acme")))  # one browser, two people
    assert (await refused(client, landing))[1] == "identity_state"

    def count() -> int:
        with scope.platform():
            return SocialAccount.objects.count()

    assert in_thread(count) == 1


async def test_who_has_no_password_connects_nothing(door: Site, db: Platform, idp: Idp) -> None:
    """A tenant's provider cannot hang an identity of the platform's on the person whom it let in."""
    key = own(db, idp, join_role="member")
    await idp.knows("s-27", email=NEW, email_verified=True)
    client = door.client("acme")
    await go(client, await arrive(client, idp, key, "s-27"))
    async with client.get("/profile/identities/") as page:
        assert 'data-testid="no-password"' in await page.text()
    client.headers["Origin"] = door.url("acme")
    for form in ({"connect": key}, {"disconnect": "1"}, {"connect": key, "password": "!"}):
        assert (await press(client, door, **form))[0] == 403
