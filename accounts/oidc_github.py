"""GitHub, which signs people in by plain OAuth 2: no discovery, no ID token, the person is asked for afterwards."""

from __future__ import annotations

from typing import Any

from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.github.provider import GitHubProvider

from accounts import oidc_wire
from accounts.identities import Identity
from accounts.identity_providers import Provider
from core.errors import PaasError

SCOPES = "read:user user:email"
PUBLIC, PUBLIC_API = "https://github.com", "https://api.github.com"


def addresses(provider: Provider) -> dict[str, Any]:
    """What a discovery document would say. A GitHub Enterprise server has its API below its own address."""
    web = provider.issuer.rstrip("/")
    return {
        "issuer": web,
        "authorization_endpoint": f"{web}/login/oauth/authorize",
        "token_endpoint": f"{web}/login/oauth/access_token",
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
        "api": PUBLIC_API if web == PUBLIC else f"{web}/api/v3",
    }


async def identity(provider: Provider, tokens: dict[str, Any]) -> Identity:
    """Who the access token is of; the address is the primary one. Raises as `oidc_wire.call`.

    The subject is the account's number: its name may be given away.
    """
    token = tokens.get("access_token")
    if not isinstance(token, str):
        raise PaasError("identity_provider_failed")
    headers, api = {"Authorization": f"Bearer {token}"}, addresses(provider)["api"]
    person = await oidc_wire.call(provider, "GET", f"{api}/user", headers=headers)
    emails = await oidc_wire.call(provider, "GET", f"{api}/user/emails", headers=headers)
    known = GitHubProvider(request=None, app=SocialApp(provider="github", client_id=provider.client_id))
    try:
        subject, fields = known.extract_uid(person), known.extract_common_fields(person)
        addresses_ = known.extract_email_addresses({"emails": emails["list"]})
        primary = next((one for one in addresses_ if one.primary is True), None)
        return Identity(
            subject=subject,
            email=str(primary.email).strip().lower() if primary else "",
            email_verified=primary is not None and primary.verified is True,
            name=str(fields["name"] or fields["username"] or "")[:120],
        )
    except (KeyError, TypeError, AttributeError):
        raise PaasError("identity_provider_failed") from None
