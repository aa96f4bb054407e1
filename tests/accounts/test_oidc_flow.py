"""Signing in with a provider, from the button to the session, over sockets and with a real provider (A16, A19, A20)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.conf import settings

from accounts.models import AuditEvent, IdentityProvider, Invitation, Membership, OneTimeCode, Session, User
from core import clock
from tenants import scope
from tests.accounts.idp import DISCOVERY, TOKEN, FakeGitHub, Idp
from tests.conftest import PASSWORD, Platform, in_thread
from tests.site import Site

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NEW = "new@people.test"


@pytest.fixture
def idp() -> Iterator[Idp]:
    with Idp() as running:
        yield running


@pytest.fixture
async def door(site: Site, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """The site, at the addresses that it tells others; providers on loopback are allowed. New people are removed."""
    monkeypatch.setattr(settings, "PUBLIC_PORT", str(site.port))
    monkeypatch.setattr(settings, "EGRESS_ALLOW", ["127.0.0.1"])
    yield site
    in_thread(_remove_new)


def _remove_new() -> None:
    with scope.platform():
        User.objects.filter(email__endswith="@people.test").delete()
        Authenticator.objects.all().delete()


def own(db: Platform, idp: Idp, slug: str = "acme", **fields: Any) -> str:
    """A provider of the tenant's own; its key."""
    tenant = getattr(db, slug)
    values = {"name": "Acme SSO", "issuer": idp.issuer, "client_id": f"{slug}-client", "client_secret": "s3cret:/ü"}

    def make() -> str:
        with scope.bind(tenant):
            return str(IdentityProvider.objects.create(tenant_id=tenant.id, **{**values, **fields}).pk)

    return str(in_thread(make))


def of_platform(monkeypatch: pytest.MonkeyPatch, issuer: str, key: str = "google", kind: str = "oidc") -> None:
    client = {"client_id": "platform-client", "client_secret": "gh-secret" if kind == "github" else "secret"}
    provider = {"key": key, "kind": kind, "name": key.title(), "issuer": issuer, **client}
    monkeypatch.setattr(settings, "IDENTITY_PROVIDERS", (provider,))


def connect(email: str, realm: str, sub: str) -> None:
    def make() -> None:
        with scope.platform():
            SocialAccount.objects.create(user=User.objects.get(email=email), provider=realm, uid=sub)

    in_thread(make)


def realm(db: Platform, key: str) -> str:
    from accounts.identity_providers import own_provider, value_of

    def look() -> str:
        with scope.bind(db.acme):
            return value_of(own_provider(key)).realm  # type: ignore[arg-type]

    return str(in_thread(look))


async def go(client: aiohttp.ClientSession, address: str) -> str:
    """Where the browser is sent from `address`."""
    async with client.get(address, allow_redirects=False) as answer:
        assert answer.status == 302, f"{answer.status}: {await answer.text()}"
        return answer.headers["Location"]


async def refused(client: aiohttp.ClientSession, address: str) -> tuple[int, str, str]:
    """Status, code and text of the page that says no."""
    async with client.get(address, allow_redirects=False) as answer:
        text = await answer.text()
        assert 'data-testid="refused"' in text, f"{answer.status} {answer.headers.get('Location')} {text}"
        assert 'data-testid="way-back"' in text
        return answer.status, text.split("<code>")[1].split("</code>")[0], text


async def arrive(client: aiohttp.ClientSession, idp: Idp, key: str, sub: str, *, begin: str = "/login/oidc") -> str:
    """From the button to the host where it began: the address with the one-time code."""
    away = await go(client, f"{begin}/{key}/")
    return await go(client, await idp.sign_in(away, sub))


async def whoami(client: aiohttp.ClientSession) -> Any:
    async with client.get("/api/v1/me") as answer:
        return (await answer.json())["user"]["email"] if answer.status == 200 else answer.status


def audited(db: Platform, tenant: Any = "acme") -> list[tuple[str, dict[str, Any]]]:
    def look() -> list[tuple[str, dict[str, Any]]]:
        with scope.platform():
            which = getattr(db, tenant).id if tenant else None
            return list(AuditEvent.objects.filter(tenant_id=which).order_by("seq").values_list("action", "data"))

    return list(in_thread(look))


# --- it works ------------------------------------------------------------------------------------------


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


# --- what must not work --------------------------------------------------------------------------------


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


# --- a provider that goes wrong ------------------------------------------------------------------------


Answer = dict[str, str]


def _answer(**parameters: str) -> Any:
    """The provider sends these instead of a code."""
    return lambda idp, given: {"state": given["state"], **parameters}


def _document(**changed: Any) -> Any:
    """The provider publishes something else meanwhile."""

    def do(idp: Idp, given: Answer) -> Answer:
        idp.tamper[DISCOVERY] = lambda document: {**document, **changed}
        return given

    return do


def _sends(path: str, status: int, body: bytes) -> Any:
    def do(idp: Idp, given: Answer) -> Answer:
        idp.plain[path] = status, body
        return given

    return do


def _no_id_token(idp: Idp, given: Answer) -> Answer:
    idp.tamper[TOKEN] = lambda tokens: {name: value for name, value in tokens.items() if name != "id_token"}
    return given


def _stalls(idp: Idp, given: Answer) -> Answer:
    idp.stall.add(TOKEN)
    return given


def _gone(idp: Idp, given: Answer) -> Answer:
    idp.__exit__()
    return given


INSIDE = "http://169.254.169.254/latest"
FAULTS: dict[str, tuple[int, str, Any]] = {
    "denied": (403, "identity_cancelled", _answer(error="access_denied")),
    "server_error": (502, "identity_provider_failed", _answer(error="server_error", error_description="<b>")),
    "no code": (502, "identity_provider_failed", _answer()),
    "endless": (502, "identity_provider_failed", _answer(code="x" * 5000)),
    "made up code": (502, "identity_provider_refused", _answer(code="guess")),
    "another's answer": (502, "identity_token_invalid", lambda idp, given: {**given, "iss": "https://evil.test"}),
    "silent about itself": (
        502, "identity_token_invalid", _document(authorization_response_iss_parameter_supported=True)
    ),
    "wrong nonce": (502, "identity_token_invalid", lambda idp, given: given),
    "no id token": (502, "identity_token_invalid", _no_id_token),
    "another issuer": (502, "identity_issuer_mismatch", _document(issuer="https://evil.test")),
    "nothing where it should be": (502, "identity_provider_failed", _document(token_endpoint=None)),
    "token endpoint inside": (502, "identity_address_forbidden", _document(token_endpoint=INSIDE)),
    "jwks inside": (502, "identity_address_forbidden", _document(jwks_uri=INSIDE)),
    "token endpoint in the clear": (502, "identity_address_forbidden", _document(token_endpoint="http://x.test/t")),
    "no address": (502, "identity_provider_unavailable", _document(token_endpoint="http://[")),
    "another scheme": (502, "identity_address_forbidden", _document(jwks_uri="file:///etc/passwd")),
    "a script": (502, "identity_provider_failed", _document(authorization_endpoint="javascript:alert(1)")),
    "no keys": (502, "identity_token_invalid", _sends("/jwks", 200, b'{"keys": []}')),
    "broken keys": (502, "identity_provider_failed", _sends("/jwks", 200, b'{"keys": ')),
    "deep": (502, "identity_provider_failed", _sends("/jwks", 200, b"[" * 200_000)),
    "not JSON": (502, "identity_provider_failed", _sends(TOKEN, 503, b"<h1>no</h1>")),
    "redirects": (502, "identity_provider_failed", _sends(TOKEN, 307, b"{}")),
    "stalls": (504, "identity_provider_timeout", _stalls),
    "too much": (502, "identity_provider_unavailable", _sends("/jwks", 200, b" " * 600_000)),
    "gone": (502, "identity_provider_unavailable", _gone),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_of_a_provider_is_one_clear_page(
    door: Site, db: Platform, idp: Idp, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accounts import oidc_wire

    key = own(db, idp)
    connect("member@acme.test", realm(db, key), "s-21")
    client = door.client("acme")
    idp.wrong_nonce = fault == "wrong nonce"
    address = await idp.sign_in(await go(client, f"/login/oidc/{key}/"), "s-21")
    status, code, happen = FAULTS[fault]
    given = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    if fault == "stalls":
        monkeypatch.setattr(oidc_wire, "SECONDS", 0.3)
    found = await refused(client, f"{address.partition('?')[0]}?{urlencode(happen(idp, given))}")
    assert found[:2] == (status, code)
    assert "<b>" not in found[2]
    assert f'href="{door.url("acme")}/login/"' in found[2]
    assert await whoami(client) == 401
    assert audited(db)[-1][1]["reason"] == code


async def test_a_fault_on_the_way_out(door: Site, db: Platform, idp: Idp) -> None:
    key = own(db, idp)
    client = door.client("acme")
    for document, code in (
        ({"authorization_endpoint": "javascript:alert(1)"}, "identity_provider_failed"),
        ({"issuer": "https://evil.test"}, "identity_issuer_mismatch"),
        ({"authorization_endpoint": f"{idp.issuer}/page?tenant=7"}, ""),
    ):
        idp.tamper[DISCOVERY] = lambda found, changed=document: {**found, **changed}  # type: ignore[misc]
        if code:
            assert (await refused(client, f"/login/oidc/{key}/"))[:2] == (502, code)
        else:
            assert (await go(client, f"/login/oidc/{key}/")).startswith(
                f"{idp.issuer}/page?tenant=7&response_type=code"
            )


async def test_clocks_may_differ_by_a_minute(door: Site, db: Platform) -> None:
    for seconds, good in ((-30, True), (-90, False)):
        with Idp(lasts=timedelta(seconds=seconds)) as idp:
            key = own(db, idp, name=f"Clock {seconds}")
            connect("member@acme.test", realm(db, key), "s-22")
            client = door.client("acme")
            answer = await idp.sign_in(await go(client, f"/login/oidc/{key}/"), "s-22")
            if good:
                assert await go(client, await go(client, answer)) == "/chat/"
            else:
                assert (await refused(client, answer))[:2] == (502, "identity_clock")


async def test_a_tenants_issuer_inside_our_network_is_not_called(
    door: Site, db: Platform, idp: Idp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P49, P50: without the operator's leave nothing is dialled, and the page says nothing about what is there."""
    key = own(db, idp)
    monkeypatch.setattr(settings, "EGRESS_ALLOW", [])
    client = door.client("acme")
    client.headers["Accept-Language"] = "zh-hans"
    status, code, text = await refused(client, f"/login/oidc/{key}/")
    assert (status, code) == (502, "identity_address_forbidden")
    assert "127.0.0.1" not in text
    assert "返回登录" in text
    assert idp.asked == []


async def test_what_is_switched_off_or_suspended_meanwhile(door: Site, db: Platform, idp: Idp) -> None:
    key = own(db, idp, join_role="member")
    client = door.client("acme")
    answer = await idp.sign_in(await go(client, f"/login/oidc/{key}/"), "s-23")

    def off() -> None:
        with scope.bind(db.acme):
            IdentityProvider.objects.filter(pk=key).update(enabled=False)

    in_thread(off)
    assert (await refused(client, answer))[1] == "identity_state"
    assert (await refused(client, f"/login/oidc/{key}/"))[:2] == (404, "not_found")
    async with client.get("/login/") as page:
        assert key not in await page.text()


async def test_tries_are_counted(door: Site, db: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    from portal import oidc

    monkeypatch.setattr(oidc, "PER_NETWORK", (3, 600.0))
    client = door.client("acme")
    codes = [(await refused(client, "/login/oidc/nobody/"))[1] for _ in range(4)]
    assert codes == ["not_found"] * 3 + ["rate_limited"]


# --- connecting ----------------------------------------------------------------------------------------


async def press(
    client: aiohttp.ClientSession, site: Site, slug: str = "acme", here: str = "/profile/identities/", **form: str
) -> tuple[int, str]:
    from yarl import URL

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
