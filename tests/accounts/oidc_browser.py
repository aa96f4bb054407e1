"""A browser on the way through a sign-in with a provider, and what stands ready for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.conf import settings

from accounts.models import AuditEvent, IdentityProvider, User
from tenants import scope
from tests.accounts.idp import Idp
from tests.conftest import Platform, in_thread
from tests.site import Site

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
