"""A tenant's own sign-in providers: who may set them, what is refused, and that the secret never comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection

from accounts import codes, forgotten, identities, identity_providers, invitations
from accounts.identities import Identity, mailbox_proven, tenant_forget
from accounts.identity_providers import own_provider, provider_create, provider_delete, provider_update, value_of
from accounts.models import AuditEvent, IdentityProvider, Invitation, Session, User
from core.errors import PaasError
from tenants import scope
from tests.accounts.idp import DISCOVERY, Idp
from tests.conftest import Platform, in_thread
from tests.site import Site

GOOD: Any = {
    "name": "Acme SSO", "issuer": "https://login.example.com/realms/acme", "client_id": "c", "client_secret": "s3cret"
}  # fmt: skip
API = "/api/v1/identity-providers"


@pytest.fixture(autouse=True)
def _no_new_people(db: Platform) -> Iterator[None]:
    yield
    with scope.platform():
        User.objects.filter(email__endswith="@people.test").delete()


# --- services ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""), ("name", "x" * 61), ("client_id", ""), ("join_role", "owner"), ("join_role", "boss"),
        ("email_domains", ["not a domain"]), ("email_domains", ["a"]), ("email_domains", ["x.test"] + [f"{i}.test" for i in range(60)]),
        ("issuer", ""), ("issuer", "login.example.com"), ("issuer", "http://login.example.com"), ("issuer", "https://127.0.0.1"),
        ("issuer", "https://login.example.com:8443"), ("issuer", "https://2130706433"), ("issuer", "https://[::1]"),
        ("issuer", "https://169.254.169.254"), ("issuer", "https://u:p@login.example.com"), ("issuer", "https://x.test/?a"),
        ("issuer", "https://x.test/#a"), ("issuer", "javascript:alert(1)"), ("issuer", "https://x.test/" + "a" * 300),
    ],
)  # fmt: skip
def test_what_is_refused_names_its_field(db: Platform, actor: Callable[[str], Any], field: str, value: Any) -> None:
    who = actor("admin")
    with scope.bind(db.acme), pytest.raises(ValidationError) as caught:
        provider_create(actor=who, **{**GOOD, field: value})
    assert field in caught.value.message_dict
    with scope.platform():
        assert not IdentityProvider.objects.exists()


def test_made_changed_and_removed(db: Platform, actor: Callable[[str], Any]) -> None:
    who = actor("admin")
    with scope.bind(db.acme):
        row = provider_create(
            actor=who, **GOOD, email_domains=["@Acme.TEST", "acme.test", " b.test "], join_role="viewer"
        )
        assert row.email_domains == ["acme.test", "b.test"]
        with pytest.raises(ValidationError) as caught:
            provider_create(actor=who, **GOOD)
        assert "name" in caught.value.message_dict
        with connection.cursor() as cursor:
            cursor.execute("SELECT client_secret FROM accounts_identityprovider")
            stored = cursor.fetchone()[0]
        assert stored
        assert "s3cret" not in stored
        provider_update(row=own_provider(row.pk), actor=who, client_secret="", enabled=False)
        kept = own_provider(row.pk)
        assert (kept.client_secret, kept.enabled, kept.join_role) == ("s3cret", False, "viewer")
        assert value_of(kept).client_secret not in repr(value_of(kept))
        # Nobody has the secret sent to a server of theirs.
        with pytest.raises(ValidationError) as caught:
            provider_update(row=own_provider(row.pk), actor=who, issuer="https://evil.test")
        assert "client_secret" in caught.value.message_dict
        provider_update(row=own_provider(row.pk), actor=who, issuer="https://new.test", client_secret="new")
        provider_delete(row=own_provider(row.pk), actor=who)
        with pytest.raises(PaasError, match="nothing here"):
            own_provider(row.pk)
        rows = list(AuditEvent.objects.order_by("seq").values_list("action", "data"))
    assert [action for action, _ in rows] == [
        "identity_provider.created", "identity_provider.updated", "identity_provider.updated", "identity_provider.deleted"
    ]  # fmt: skip
    assert rows[1][1]["changed"] == ["enabled"]
    assert "s3cret" not in str(rows)


def test_what_is_gone_stays_gone(db: Platform, actor: Callable[[str], Any]) -> None:
    """Somebody else removed it a moment ago: a change does not bring it back."""
    who = actor("admin")
    with scope.bind(db.acme):
        row = provider_create(actor=who, **GOOD)
        late = own_provider(row.pk)
        provider_delete(row=row, actor=who)
        for act in (
            lambda: provider_update(row=late, actor=who, enabled=False),
            lambda: provider_delete(row=late, actor=who),
        ):
            with pytest.raises(PaasError) as caught:
                act()
            assert caught.value.code == "not_found"
        assert not IdentityProvider.objects.exists()


def test_there_is_a_bound(db: Platform, actor: Callable[[str], Any]) -> None:
    with scope.bind(db.acme):
        for number in range(identity_providers.MOST):
            provider_create(actor=actor("admin"), **{**GOOD, "name": f"n{number}"})
        with pytest.raises(ValidationError):
            provider_create(actor=actor("admin"), **GOOD)


def test_another_issuer_knows_other_people(db: Platform, actor: Callable[[str], Any]) -> None:
    """P38: what is connected belongs to the issuer; a second provider of the same one keeps it."""
    who = actor("admin")
    with scope.bind(db.acme):
        first = provider_create(actor=who, **GOOD)
        second = provider_create(actor=who, **{**GOOD, "name": "Second", "issuer": GOOD["issuer"] + "/"})
        user = User.objects.get(email="member@acme.test")
        identities.identity_connect(user=user, provider=value_of(first), identity=Identity("s"))
        assert value_of(first).realm == value_of(second).realm
        provider_delete(row=first, actor=who)
        assert len(identities.identities_of(user)) == 1
        provider_update(row=second, actor=who, issuer="https://new.test", client_secret="x")
        assert identities.identities_of(user) == []
        with pytest.raises(PaasError) as caught:
            identities.person_entering(value_of(second), Identity("s"))
        assert caught.value.code == "identity_email_unverified"


def test_a_tenants_provider_vouches_on_its_host_only(db: Platform, actor: Callable[[str], Any]) -> None:
    """A1, P38: the same issuer and subject is somebody else in another tenant, and nobody on the platform host."""
    with scope.bind(db.acme):
        own = value_of(provider_create(actor=actor("admin"), **GOOD))
        identities.identity_connect(
            user=User.objects.get(email="member@acme.test"), provider=own, identity=Identity("s")
        )
        assert identities.person_entering(own, Identity("s")).email == "member@acme.test"
    for place in (scope.bind(db.globex), scope.platform()):
        with place, pytest.raises(PaasError) as caught:
            identities.person_entering(own, Identity("s"))
        assert caught.value.code == "not_found"
    with scope.bind(db.globex):
        theirs = value_of(provider_create(actor=actor("rival"), **GOOD))
        assert theirs.realm != own.realm
        with pytest.raises(PaasError) as caught:
            identities.person_entering(theirs, Identity("s"))
        assert caught.value.code == "identity_email_unverified"


def test_subjects_may_be_longer_than_the_column(db: Platform, actor: Callable[[str], Any]) -> None:
    long, other = "s" * 255, "s" * 254
    with scope.bind(db.acme):
        own = value_of(provider_create(actor=actor("admin"), **GOOD))
        user = User.objects.get(email="member@acme.test")
        identities.identity_connect(user=user, provider=own, identity=Identity(long))
        identities.identity_connect(user=user, provider=own, identity=Identity(long))  # again is no harm
        assert identities.person_entering(own, Identity(long)) == user
        with pytest.raises(PaasError):
            identities.person_entering(own, Identity(other))
        viewer = User.objects.get(email="viewer@acme.test")
        with pytest.raises(PaasError) as caught:
            identities.identity_connect(user=viewer, provider=own, identity=Identity(long))
        assert caught.value.code == "identity_taken"


def test_an_erased_tenant_leaves_no_identities(db: Platform, actor: Callable[[str], Any]) -> None:
    for name, tenant in (("admin", db.acme), ("rival", db.globex)):
        with scope.bind(tenant):
            own = value_of(provider_create(actor=actor(name), **GOOD))
            user = User.objects.get(email="member@acme.test" if name == "admin" else "rival@globex.test")
            identities.identity_connect(user=user, provider=own, identity=Identity("s"))
    with scope.platform():
        tenant_forget(db.acme.id)
        assert [account.user.email for account in SocialAccount.objects.all()] == ["rival@globex.test"]  # type: ignore[attr-defined]


def test_nobody_becomes_an_owner_by_a_tenants_own_provider(db: Platform, actor: Callable[[str], Any]) -> None:
    """Admins run it: what it says of an address opens an invitation to be an admin, and none to be an owner."""
    who = actor("admin")
    with scope.bind(db.acme):
        own = value_of(provider_create(actor=who, **GOOD))
        for role in ("owner", "admin"):
            invitations.invitation_create(actor=actor("owner"), email=f"{role}@people.test", role=role)
        with pytest.raises(PaasError) as caught:
            identities.person_entering(own, Identity("o", "owner@people.test", True))
        assert caught.value.code == "identity_uninvited"
        user = identities.person_entering(own, Identity("a", "admin@people.test", True))
        assert user.memberships.get().role == "admin"
    with scope.platform():
        assert Invitation.objects.get(accepted_at=None).role == "owner"
        Invitation.objects.all().delete()


def test_who_lets_people_in_may_manage_people(db: Platform, actor: Callable[[str], Any]) -> None:
    """A provider with which people join: with the right to settings alone nobody says who they are."""
    settings_only = replace(actor("admin"), actions=frozenset({"admin:settings"}))
    with scope.bind(db.acme):
        row = provider_create(actor=actor("admin"), **GOOD, join_role="admin", email_domains=["acme.test"])
        other = {"issuer": "https://login.other.example", "client_secret": "x"}
        for change in (other, {"email_domains": []}, {"client_id": "d"}, {"join_role": "member"}):
            with pytest.raises(PaasError) as caught:
                provider_update(row=own_provider(row.pk), actor=settings_only, **change)  # type: ignore[misc]
            assert caught.value.code == "permission_denied"
        provider_update(row=own_provider(row.pk), actor=settings_only, enabled=False)
        with pytest.raises(PaasError) as caught:
            provider_update(row=own_provider(row.pk), actor=settings_only, enabled=True)
        assert caught.value.code == "permission_denied"
        provider_update(row=own_provider(row.pk), actor=settings_only, name="Another")
        provider_update(row=own_provider(row.pk), actor=settings_only, join_role="")


# --- whose address it is -------------------------------------------------------------------------------


def squatted(db: Platform, actor: Callable[[str], Any]) -> tuple[User, Any]:
    """A person whom only acme's provider vouches for."""
    with scope.bind(db.acme):
        own = value_of(provider_create(actor=actor("admin"), **GOOD, join_role="member"))
        user = identities.person_entering(own, Identity("s", "victim@people.test", True))
        Session.objects.create(
            session_key="squatter",
            session_data="x",
            expire_date="2099-01-01T00:00Z",
            tenant_id=db.acme.id,
            user_id=user.pk,
        )
    with scope.platform():
        Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={})
    return user, own


def test_the_owner_of_the_mailbox_gets_the_account_to_themselves(db: Platform, actor: Callable[[str], Any]) -> None:
    """What a tenant's provider claimed ends when the mailbox is proven: identity, second factor and sessions."""
    user, own = squatted(db, actor)
    assert mailbox_proven(user) is True
    with scope.platform():
        assert not SocialAccount.objects.filter(user=user).exists()
        assert not Authenticator.objects.filter(user=user).exists()
        assert not Session.objects.filter(user=user).exists()
        assert user.memberships.count() == 1
        assert User.objects.get(pk=user.pk).token_version == user.token_version + 1
    with scope.bind(db.acme), pytest.raises(PaasError) as caught:
        identities.person_entering(own, Identity("s", "victim@people.test", True))
    assert caught.value.code == "identity_not_connected"
    assert mailbox_proven(user) is False


def test_a_forgotten_password_proves_the_mailbox(db: Platform, actor: Callable[[str], Any]) -> None:
    """The link in the letter is the proof: whoever follows it is alone in the account afterwards."""
    user, _ = squatted(db, actor)
    with scope.platform():
        code = codes.issue("password", seconds=60, user=user)
        forgotten.password_reset(code=code, new="correct-horse-battery")
        assert not SocialAccount.objects.filter(user=user).exists()
        assert not Authenticator.objects.filter(user=user).exists()
        assert User.objects.get(pk=user.pk).has_usable_password()
        assert AuditEvent.objects.get(action="password.reset").data == {"disconnected": True}


def test_who_had_proof_of_their_own_keeps_what_is_theirs(db: Platform, actor: Callable[[str], Any]) -> None:
    user, _ = squatted(db, actor)
    with scope.platform():
        SocialAccount.objects.create(user=user, provider="platform:x", uid="g")
        assert mailbox_proven(user) is False
        assert SocialAccount.objects.filter(user=user).count() == 2
        member = User.objects.get(email="member@acme.test")
        assert mailbox_proven(member) is False


# --- the API -------------------------------------------------------------------------------------------


async def test_the_api(site: Site, db: Platform, api_key: Callable[..., str]) -> None:
    client = site.client("acme", token=api_key(scopes=["admin:settings", "admin:members"]))
    async with client.post(API, json={**GOOD, "join_role": "member", "email_domains": ["acme.test"]}) as answer:
        made = await answer.json()
        assert answer.status == 201, made
    assert made["redirect_uri"].endswith(f"/accounts/oidc/callback/{db.acme.id}/")
    assert (made["has_client_secret"], made["join_role"]) == (True, "member")
    one = f"{API}/{made['id']}"
    async with client.patch(one, json={"enabled": False}) as answer:
        assert (answer.status, (await answer.json())["enabled"]) == (200, False)
    async with client.get(API) as answer:
        text = await answer.text()
        assert "s3cret" not in text
        assert made["id"] in text
    async with client.patch(one, json={"issuer": "http://10.0.0.1"}) as answer:
        assert (answer.status, "issuer" in (await answer.json())["error"]["details"]["fields"]) == (400, True)
    async with client.post(API, json={"name": "x"}) as answer:
        assert answer.status == 400
    rival = site.client("globex", token=api_key("globex"))
    for method in ("GET", "PATCH", "DELETE"):
        async with rival.request(method, one, json={}) as answer:
            assert answer.status == 404
    async with client.delete(one) as answer:
        assert answer.status == 204
    async with client.get(one) as answer:
        assert answer.status == 404


async def test_who_may_not(site: Site, db: Platform, api_key: Callable[..., str]) -> None:
    """A22, A25: a key of settings alone lets nobody in."""
    narrow = site.client("acme", token=api_key(scopes=["admin:settings"]))
    async with narrow.post(API, json={**GOOD, "join_role": "admin"}) as answer:
        assert answer.status == 403
    async with narrow.post(API, json=GOOD) as answer:
        assert answer.status == 201
        one = f"{API}/{(await answer.json())['id']}"
    async with narrow.patch(one, json={"join_role": "viewer"}) as answer:
        assert answer.status == 403
    for name in ("member", "viewer"):
        client = await site.signed_in(name)
        for path in (API, one, "/settings/sign-in/", "/settings/sign-in/new/"):
            async with client.get(path) as answer:
                assert answer.status == 403, path
    async with site.client("acme").get(API) as answer:
        assert answer.status == 401


# --- the pages -----------------------------------------------------------------------------------------


async def test_the_pages(site: Site, db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "EGRESS_ALLOW", ["127.0.0.1"])
    client = await site.signed_in("admin")
    token = next(cookie.value for cookie in client.cookie_jar if cookie.key == "csrftoken")
    async with client.get("/settings/sign-in/") as page:
        assert (page.status, "no provider of your own yet" in await page.text()) == (200, True)
    with Idp() as idp:
        form = {
            "csrfmiddlewaretoken": token, "name": "Loop", "issuer": idp.issuer, "client_id": "c",
            "client_secret": "s3cret", "email_domains": "a.test, b.test", "join_role": "", "enabled": "on",
        }  # fmt: skip
        async with client.post("/settings/sign-in/new/", data={**form, "issuer": "http://x.test"}) as page:
            text = await page.text()
            assert (page.status, "must begin with https://" in text, "s3cret" in text) == (400, True, False)
        async with client.post("/settings/sign-in/new/", data=form, allow_redirects=False) as page:
            assert page.status == 302, await page.text()
            here = page.headers["Location"]
        async with client.get(here) as page:
            text = await page.text()
            assert ("a.test, b.test" in text, f"/callback/{db.acme.id}/" in text, "s3cret" in text) == (
                True,
                True,
                False,
            )

        async def tested() -> str:
            async with client.post(f"{here}test/", data={"csrfmiddlewaretoken": token}) as page:
                assert page.status == 200
                return await page.text()

        assert "The provider answers as it should" in await tested()
        idp.tamper[DISCOVERY] = lambda document: {**document, "issuer": "https://other.test"}
        assert "issuer: https://other.test" in await tested()
        idp.tamper[DISCOVERY] = lambda document: {**document, "code_challenge_methods_supported": ["plain"]}
        assert "missing: S256" in await tested()
        idp.tamper[DISCOVERY] = lambda document: {name: document[name] for name in ("issuer", "jwks_uri")}
        assert "authorization_endpoint" in await tested()
        idp.plain[DISCOVERY] = 404, b"{}"
        assert "status: 404" in await tested()
    assert "cannot be reached" in await tested()
    async with client.post(here, data={**form, "name": "Renamed", "client_secret": ""}, allow_redirects=False) as page:
        assert page.status == 302
    other = await site.signed_in("rival", "globex")
    async with other.get(here) as page:
        assert page.status == 404
    async with client.post(here, data={"csrfmiddlewaretoken": token, "remove": "1"}) as page:
        assert "The provider was removed" in await page.text()

    def left() -> int:
        with scope.platform():
            return IdentityProvider.objects.count()

    assert in_thread(left) == 0
