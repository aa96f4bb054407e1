"""Sign-ins with a provider that must not work: replayed, stolen, of others, not entitled (A19, A20)."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from allauth.socialaccount.models import SocialAccount

from accounts.models import Membership, User
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
from tests.conftest import Platform, in_thread
from tests.site import Site

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


async def test_a_known_address_is_not_connected(door: Site, db: Platform, idp: Idp) -> None:
    """A20: verified or not, an address connects nobody."""
    key = own(db, idp, join_role="admin")
    client = door.client("acme")
    for sub, verified, code in (
        ("s-5", False, "identity_email_unverified"),
        ("s-6", True, "identity_not_connected"),
        ("s-7", "false", "identity_email_unverified"),
    ):
        await idp.knows(sub, email="member@acme.test", email_verified=verified)
        assert (await refused(client, await arrive(client, idp, key, sub)))[:2] == (403, code)
    await idp.knows("s-8", email="rival@globex.test", email_verified=True)
    assert (await refused(client, await arrive(client, idp, key, "s-8")))[1] == "identity_not_connected"
    # Where nobody joins without an invitation, only members learn that they are known (A18).
    by_invitation = own(db, idp, name="By invitation")
    assert (await refused(client, await arrive(client, idp, by_invitation, "s-6")))[1] == "identity_not_connected"
    assert (await refused(client, await arrive(client, idp, by_invitation, "s-8")))[1] == "identity_uninvited"
    await idp.knows("s-9", email=NEW, email_verified=False)
    status, code, text = await refused(client, await arrive(client, idp, key, "s-9"))
    assert (status, code) == (403, "identity_email_unverified")
    assert f'href="{door.url("acme")}/login/"' in text
    assert await whoami(client) == 401

    def count() -> tuple[int, bool]:
        with scope.platform():
            return SocialAccount.objects.count(), User.objects.filter(email=NEW).exists()

    assert in_thread(count) == (0, False)


async def test_the_answer_is_worth_nothing_in_another_browser(door: Site, db: Platform, idp: Idp) -> None:
    """A19, login CSRF: neither the provider's answer nor the one-time code signs anybody else in."""
    key = own(db, idp, join_role="member")
    await idp.knows("s-10", email=NEW, email_verified=True)
    attacker, victim = door.client("acme"), door.client("acme")
    answer = await idp.sign_in(await go(attacker, f"/login/oidc/{key}/"), "s-10")
    landing = await go(victim, answer)
    status, code, _ = await refused(victim, landing)
    assert (status, code) == (404, "identity_state")
    assert await whoami(victim) == 401
    # The same when the victim has a sign-in of their own under way.
    await go(victim, f"/login/oidc/{key}/")
    landing = await go(attacker, await idp.sign_in(await go(attacker, f"/login/oidc/{key}/"), "s-10"))
    assert (await refused(victim, landing))[1] == "identity_state"
    assert (await refused(attacker, landing))[1] == "identity_state"  # used up by the try


async def test_nothing_works_twice(door: Site, db: Platform, idp: Idp) -> None:
    """A19: a replayed answer, a replayed code of the provider, a replayed one-time code."""
    key = own(db, idp, join_role="member")
    await idp.knows("s-11", email=NEW, email_verified=True)
    client = door.client("acme")
    answer = await idp.sign_in(await go(client, f"/login/oidc/{key}/"), "s-11")
    landing = await go(client, answer)
    assert (await refused(client, answer))[:2] == (404, "identity_state")
    assert await go(client, landing) == "/chat/"
    assert (await refused(client, landing))[:2] == (404, "identity_state")
    # The provider's code of that sign-in, put into a new one: its PKCE challenge is another.
    used = parse_qs(urlsplit(answer).query)["code"][0]
    fresh = parse_qs(urlsplit(await go(client, f"/login/oidc/{key}/")).query)["state"][0]
    mixed = f"{door.url()}/accounts/oidc/callback/{db.acme.id}/?{urlencode({'code': used, 'state': fresh})}"
    assert (await refused(client, mixed))[:2] == (502, "identity_provider_refused")


async def test_a_code_of_another_sign_in_is_refused_by_its_challenge(door: Site, db: Platform, idp: Idp) -> None:
    """A19: an unused code that somebody else was given does not fit our verifier."""
    key = own(db, idp, join_role="member")
    await idp.knows("s-12", email=NEW, email_verified=True)
    victim, attacker = door.client("acme"), door.client("acme")
    stolen = parse_qs(urlsplit(await idp.sign_in(await go(victim, f"/login/oidc/{key}/"), "s-12")).query)["code"][0]
    state = parse_qs(urlsplit(await go(attacker, f"/login/oidc/{key}/")).query)["state"][0]
    mixed = f"{door.url()}/accounts/oidc/callback/{db.acme.id}/?{urlencode({'code': stolen, 'state': state})}"
    assert (await refused(attacker, mixed))[1] == "identity_provider_refused"


async def test_state_and_code_are_of_one_tenant(door: Site, db: Platform, idp: Idp) -> None:
    """A19: acme's state through globex's callback, and acme's one-time code on globex's host."""
    key, theirs = own(db, idp, join_role="member"), own(db, idp, "globex", join_role="admin")
    await idp.knows("s-13", email=NEW, email_verified=True)
    client = door.client("acme")
    answer = await idp.sign_in(await go(client, f"/login/oidc/{key}/"), "s-13")
    moved = answer.replace(str(db.acme.id), str(db.globex.id))
    assert (await refused(client, moved))[:2] == (404, "identity_state")
    assert (await refused(client, answer))[1] == "identity_state"  # used up
    other = door.client("globex")
    await go(other, f"/login/oidc/{theirs}/")
    landing = await arrive(client, idp, key, "s-13")
    cookie = next(one for one in client.cookie_jar if one.key == "oidc").value
    stolen = door.client("globex", cookies={"oidc": cookie})
    assert (await refused(stolen, landing.replace("acme.", "globex.")))[1] == "identity_state"
    # A foreign provider is none here.
    for elsewhere, address in (
        (door.client("acme"), f"/login/oidc/{theirs}/"),
        (door.client(), f"/accounts/oidc/{key}/"),
    ):
        assert (await refused(elsewhere, address))[:2] == (404, "not_found")


async def test_states_grow_old(door: Site, db: Platform, idp: Idp, monkeypatch: pytest.MonkeyPatch) -> None:
    from accounts import oidc

    key = own(db, idp)
    client = door.client("acme")
    monkeypatch.setattr(oidc, "STATE_SECONDS", 0)
    answer = await idp.sign_in(await go(client, f"/login/oidc/{key}/"), "s-14")
    assert (await refused(client, answer))[:2] == (404, "identity_state")
    for odd in ("", "x", "x" * 5000, "\x00"):
        address = f"{door.url()}/accounts/oidc/callback/{db.acme.id}/?{urlencode({'code': 'c', 'state': odd})}"
        assert (await refused(client, address))[:2] == (404, "identity_state")
    address = f"{door.url()}/accounts/oidc/callback/{db.acme.id}/?error=access_denied"
    assert (await refused(client, address))[:2] == (403, "identity_cancelled")
    assert (await refused(client, "/login/oidc/?code=guess"))[:2] == (404, "identity_state")
    assert (await refused(client, "/login/oidc/"))[:2] == (404, "identity_state")


@pytest.mark.parametrize(
    "following",
    ["//evil.test/", "https://evil.test/", "/\\evil.test", "\\\\evil.test", "javascript:alert(1)", "/%0d", ""],
)
async def test_next_leads_nowhere_else(door: Site, db: Platform, idp: Idp, following: str) -> None:
    """A19: no way off the site."""
    key = own(db, idp)
    connect("member@acme.test", realm(db, key), "s-15")
    client = door.client("acme")
    away = await go(client, f"/login/oidc/{key}/?{urlencode({'next': following})}")
    target = await go(client, await go(client, await idp.sign_in(away, "s-15")))
    assert target in ("/chat/", "/%0d")


async def test_domains_are_asked_at_each_sign_in(door: Site, db: Platform, idp: Idp) -> None:
    key = own(db, idp, join_role="member", email_domains=["acme.test"])
    await idp.knows("s-16", email=NEW, email_verified=True)
    client = door.client("acme")
    assert (await refused(client, await arrive(client, idp, key, "s-16")))[:2] == (403, "identity_domain")
    connect("member@acme.test", realm(db, key), "s-17")
    await idp.knows("s-17", email="member@acme.test", email_verified=True)
    assert await go(client, await arrive(client, idp, key, "s-17")) == "/chat/"
    other = door.client("acme")
    for email, verified, code in (
        ("me@sub.acme.test", True, "identity_domain"),
        ("me@evilacme.test", True, "identity_domain"),
        ("member@acme.test", False, "identity_email_unverified"),
    ):
        await idp.knows("s-17", email=email, email_verified=verified)
        assert (await refused(other, await arrive(other, idp, key, "s-17")))[1] == code


async def test_a_full_plan_and_who_was_removed(door: Site, db: Platform, idp: Idp) -> None:
    from tenants.models import Plan

    key = own(db, idp, join_role="member")
    await idp.knows("s-18", email=NEW, email_verified=True)
    client = door.client("acme")

    def places(count: int | None) -> None:
        with scope.platform():
            Plan.objects.filter(slug="pro").update(max_users=count)

    in_thread(lambda: places(4))
    try:
        assert (await refused(client, await arrive(client, idp, key, "s-18")))[:2] == (403, "plan_limit_reached")
    finally:
        in_thread(lambda: places(None))

    def left() -> bool:
        with scope.platform():
            return User.objects.filter(email=NEW).exists()

    assert in_thread(left) is False
    assert await go(client, await arrive(client, idp, key, "s-18")) == "/chat/"

    def remove() -> None:
        with scope.platform():
            Membership.objects.filter(user__email=NEW).delete()

    in_thread(remove)
    assert (await refused(client, await arrive(client, idp, key, "s-18")))[:2] == (403, "identity_not_admitted")


async def test_who_was_deactivated_or_belongs_elsewhere(door: Site, db: Platform, idp: Idp) -> None:
    key = own(db, idp, join_role="member")
    connect("rival@globex.test", realm(db, key), "s-19")
    connect("viewer@acme.test", realm(db, key), "s-20")
    client = door.client("acme")
    assert (await refused(client, await arrive(client, idp, key, "s-19")))[1] == "identity_not_admitted"

    def active(value: bool) -> None:
        with scope.platform():
            User.objects.filter(email="viewer@acme.test").update(is_active=value)

    in_thread(lambda: active(False))
    try:
        assert (await refused(client, await arrive(client, idp, key, "s-20")))[1] == "identity_not_admitted"
    finally:
        in_thread(lambda: active(True))
