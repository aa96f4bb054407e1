"""Signing in with a provider, from the button to the session, over sockets and with a real provider (A16, P38)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.conf import settings

from accounts.models import Invitation, Membership, OneTimeCode, Session, User
from core import clock
from tenants import scope
from tests.accounts.idp import FakeGitHub, Idp
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


async def test_a_new_person_joins_by_the_tenants_provider(door: Site, db: Platform, idp: Idp) -> None:
    key = own(db, idp, join_role="member", email_domains=["people.test"])
    await idp.knows("s-1", email="New@People.test", email_verified=True, name="New Person")
    client = door.client("acme")
    async with client.get("/login/?next=/settings/members/") as page:
        text = await page.text()
        assert f'href="/login/oidc/{key}/?next=%2Fsettings%2Fmembers%2F"' in text
        assert "Sign in with Acme SSO" in text
    away = await go(client, f"/login/oidc/{key}/?next=/settings/members/")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(away).query).items()}
    assert asked["redirect_uri"] == f"{door.url()}/accounts/oidc/callback/{db.acme.id}/"
    assert (asked["code_challenge_method"], asked["scope"]) == ("S256", "openid email profile")
    landing = await go(client, await idp.sign_in(away, "s-1"))
    assert landing.startswith(f"{door.url('acme')}/login/oidc/?code=")
    assert await go(client, landing) == "/settings/members/"
    assert await whoami(client) == NEW
    assert idp.sent[0]["redirect_uri"] == asked["redirect_uri"]
    assert len(idp.sent[0]["code_verifier"]) >= 43

    def person() -> tuple[Any, ...]:
        with scope.platform():
            user = User.objects.get(email=NEW)
            role = Membership.objects.get(user=user, tenant_id=db.acme.id).role
            session = Session.objects.get(user=user)
            return role, user.name, user.has_usable_password(), session.tenant_id, OneTimeCode.objects.count()

    assert in_thread(person) == ("member", "New Person", False, db.acme.id, 0)
    log = audited(db)
    assert [action for action, _ in log] == ["member.joined", "session.created"]
    assert log[1][1]["method"] == "oidc:workspace:Acme SSO"


async def test_the_second_time_it_is_the_subject_that_counts(door: Site, db: Platform, idp: Idp) -> None:
    """P38: the address changes at the provider, even to somebody else's; the person stays who they are."""
    key = own(db, idp)
    connect("member@acme.test", realm(db, key), "s-2")
    await idp.knows("s-2", email="owner@acme.test", email_verified=True)
    client = door.client("acme")
    assert await go(client, await arrive(client, idp, key, "s-2")) == "/chat/"
    assert await whoami(client) == "member@acme.test"


async def test_the_address_comes_from_userinfo_when_the_token_has_none(door: Site, db: Platform, idp: Idp) -> None:
    key = own(db, idp, join_role="viewer")
    await idp.knows("s-3", email=NEW, email_verified=True)
    client = door.client("acme")
    from accounts import oidc_token

    kept = oidc_token.verify

    def bare(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return {name: value for name, value in kept(*args, **kwargs).items() if not name.startswith("email")}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oidc_token, "verify", bare)
        landing = await arrive(client, idp, key, "s-3")
    assert await go(client, landing) == "/chat/"
    assert await whoami(client) == NEW


async def test_a_provider_of_the_platform_lets_in_whom_an_invitation_names(
    door: Site, db: Platform, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_platform(monkeypatch, idp.issuer)
    await idp.knows("g-1", email=NEW, email_verified=True)
    client = door.client("acme")
    status, code, _ = await refused(client, await arrive(client, idp, "google", "g-1"))
    assert (status, code) == (403, "identity_uninvited")
    assert audited(db)[-1] == (
        "session.refused", {"email": NEW, "method": "oidc:google", "reason": "identity_uninvited"}
    )  # fmt: skip

    def invite(email: str) -> None:
        with scope.platform():
            Invitation.objects.create(
                tenant_id=db.acme.id, email=email, role="viewer", digest=email.encode()[:32],
                expires_at=clock.now() + timedelta(days=1),
            )  # fmt: skip

    in_thread(lambda: invite("else@people.test"))
    assert (await refused(client, await arrive(client, idp, "google", "g-1")))[1] == "identity_uninvited"
    in_thread(lambda: invite(NEW))
    assert await go(client, await arrive(client, idp, "google", "g-1")) == "/chat/"
    assert await whoami(client) == NEW
    actions = [action for action, _ in audited(db)]
    assert actions[-3:] == ["member.joined", "invitation.accepted", "session.created"]


async def test_sign_up_and_sign_in_on_the_platform_host(
    door: Site, db: Platform, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_platform(monkeypatch, idp.issuer, "oidc")
    await idp.knows("p-1", email=NEW, email_verified=True)
    client = door.client()
    async with client.get("/accounts/login/") as page:
        assert 'href="/accounts/oidc/oidc/"' in await page.text()
    monkeypatch.setattr(settings, "SIGN_UP_OPEN", False)
    landing = await arrive(client, idp, "oidc", "p-1", begin="/accounts/oidc")
    assert landing.startswith(f"{door.url()}/accounts/oidc/?code=")
    assert (await refused(client, landing))[:2] == (403, "sign_up_closed")
    monkeypatch.setattr(settings, "SIGN_UP_OPEN", True)
    assert await go(client, await arrive(client, idp, "oidc", "p-1", begin="/accounts/oidc")) == "/workspaces/"
    monkeypatch.setattr(settings, "SIGN_UP_OPEN", False)  # connected by now: sign-in, not sign-up
    other = door.client()
    assert await go(other, await arrive(other, idp, "oidc", "p-1", begin="/accounts/oidc")) == "/workspaces/"

    def sessions() -> int:
        with scope.platform():
            return Session.objects.filter(user__email=NEW, tenant_id=None).count()

    assert in_thread(sessions) == 2
    assert [action for action, _ in audited(db, None)].count("session.created") == 2


async def test_github_speaks_its_own_wire(door: Site, db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeGitHub() as github:
        of_platform(monkeypatch, github.url, "github", "github")
        github.emails = [
            {"email": "other@people.test", "primary": False, "verified": True},
            {"email": NEW, "primary": True, "verified": False},
        ]
        client = door.client()

        async def attempt() -> str:
            return await go(client, github.approve(await go(client, "/accounts/oidc/github/")))

        assert (await refused(client, await attempt()))[:2] == (403, "identity_email_unverified")
        github.emails[1]["verified"] = True
        assert await go(client, await attempt()) == "/workspaces/"
        assert github.sent[0]["client_id"] == "platform-client"
        for broken in ({"login": "nobody"}, [], "text"):
            github.person = broken
            answer = github.approve(await go(client, "/accounts/oidc/github/"))
            assert (await refused(client, answer))[1] == "identity_provider_failed"

    def who() -> tuple[str, str]:
        with scope.platform():
            account = SocialAccount.objects.get(user__email=NEW)
            return account.uid, account.user.name  # type: ignore[attr-defined]

    assert in_thread(who) == ("4711", "Octo Cat")


async def test_the_second_factor_is_asked_for(door: Site, db: Platform, idp: Idp) -> None:
    """A16: another provider's word is a first proof, no more."""
    key = own(db, idp)
    connect("member@acme.test", realm(db, key), "s-4")

    def enrol() -> None:
        with scope.platform():
            user = User.objects.get(email="member@acme.test")
            Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": "x"})

    in_thread(enrol)
    client = door.client("acme")
    assert await go(client, await arrive(client, idp, key, "s-4")) == "/login/code/"
    assert await whoami(client) == 401
