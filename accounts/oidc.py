"""Signing in with a provider: from the button to a verified identity (OpenID Connect, authorization code with PKCE).

    host of the button             the provider            platform host              host of the button
    begin: state, PKCE, cookie --> person signs in --> come_back: state used up, --> hand_over: in the same
                                                       code exchanged, identity      browser only
                                                       verified, one-time code

The provider sends everybody to one address, on the platform host. Nothing is created, connected or signed in there:
that waits until the identity is back in the browser that began, which a cookie of its host proves (login CSRF, A19).
Whoever is led to somebody else's answer holds no such cookie.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from accounts import codes, oidc_github, oidc_token, oidc_wire
from accounts.codes import digest
from accounts.identities import Identity
from accounts.identity_providers import Provider, own_provider, platform_providers, value_of
from accounts.models import OneTimeCode, User
from core.errors import PaasError
from tenants import resolve, scope

STATE, STATE_SECONDS = "oidc_state", 600
CODE, CODE_SECONDS = "oidc", 60
SCOPES = "openid email profile"
LONGEST_ANSWER = 4096  # of one parameter


@dataclass(frozen=True, slots=True)
class Flow:
    """A sign-in under way. connecting: the person who wants the identity connected; None: somebody signs in.

    following: the path to go to at the end. slug: of the tenant on whose host it began, "" for the platform host.
    """

    provider: Provider
    browser: str
    following: str
    slug: str
    connecting: str | None = None

    @property
    def origin(self) -> str:
        """The host on which it began."""
        return resolve.tenant_url(self.slug) if self.slug else resolve.platform_url()

    @property
    def way_back(self) -> str:
        """Where to begin again."""
        if self.connecting:
            return self.origin + self.following
        return f"{self.origin}/login/" if self.slug else f"{self.origin}/accounts/login/"


# --- the way out ---------------------------------------------------------------------------------------


async def begin(provider: Provider, *, browser: str, following: str, user: User | None = None) -> str:
    """The provider's address to send the browser to. browser: the secret of its cookie on this host.

    user: who wants the identity connected, None for a sign-in. Raises as `oidc_wire.discover`.
    """
    async with oidc_wire.patience():
        page = (await _addresses(provider))["authorization_endpoint"]
    state = await scope.run_bound(_state, provider, browser, following, user)
    asked = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": provider.redirect_uri,
        "state": state,
        "code_challenge": _challenge(_verifier(state)),
        "code_challenge_method": "S256",
    }
    if provider.kind == "github":
        asked |= {"scope": oidc_github.SCOPES}
    else:
        asked |= {"scope": SCOPES, "nonce": _nonce(state)}
    parts = urlsplit(page)
    query = urlencode([*parse_qsl(parts.query), *asked.items()])
    return str(urlunsplit((parts.scheme, parts.netloc, parts.path, query, "")))


def _state(provider: Provider, browser: str, following: str, user: User | None) -> str:
    tenant = scope.current_binding().tenant
    return codes.issue(
        STATE,
        seconds=STATE_SECONDS,
        tenant_id=tenant.id if tenant else None,
        user=user,
        provider=provider.key,
        browser=browser_digest(browser),
        following=following,
        connecting=str(user.pk) if user else None,
    )


# Both are made from the state, of which only the digest is stored: what the database holds completes no sign-in.
def _verifier(state: str) -> str:
    return base64.urlsafe_b64encode(digest(f"oidc-verifier:{state}")).rstrip(b"=").decode()


def _nonce(state: str) -> str:
    return digest(f"oidc-nonce:{state}").hex()


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def browser_digest(secret: str) -> str:
    """What is stored in place of a browser's secret."""
    return digest(f"oidc-browser:{secret}").hex()


async def _addresses(provider: Provider) -> dict[str, Any]:
    return oidc_github.addresses(provider) if provider.kind == "github" else await oidc_wire.discover(provider)


# --- the way back: on the platform host ----------------------------------------------------------------


async def flow_of_answer(whose: str, answer: Mapping[str, str]) -> Flow:
    """The sign-in that the provider's answer belongs to; its state is used up, whatever comes next.

    whose: the callback's last piece. Raises identity_state: unknown, used, too old, or of another provider.
    """
    return await scope.run_bound(_flow_of_state, whose, answer.get("state", "")[:200])


def _flow_of_state(whose: str, state: str) -> Flow:
    row = _redeemed(STATE, state)
    flow = _flow(row)
    # An answer that was meant for another party's callback is none for this sign-in.
    if flow.provider.whose != whose:
        raise PaasError("identity_state")
    return flow


def _redeemed(purpose: str, code: str) -> OneTimeCode:
    try:
        return codes.redeem(purpose, code)
    except PaasError:
        raise PaasError("identity_state") from None


def _flow(row: OneTimeCode) -> Flow:
    """The row as a value. Raises identity_state when its provider or tenant is gone."""
    slug = ""
    key = row.data["provider"]
    provider = next((one for one in platform_providers() if one.key == key), None)
    if row.tenant is not None:
        tenant = resolve.admitted(row.tenant.ref())
        slug = tenant.slug
        if provider is None:
            provider = _own(row, key)
    if provider is None:
        raise PaasError("identity_state")
    return Flow(provider, row.data["browser"], row.data["following"], slug, row.data["connecting"])


def _own(row: OneTimeCode, key: str) -> Provider | None:
    assert row.tenant is not None
    with scope.bind(row.tenant.ref()):
        try:
            found = own_provider(uuid.UUID(key))
        except (PaasError, ValueError):
            return None
        return value_of(found) if found.enabled else None


async def come_back(flow: Flow, answer: Mapping[str, str]) -> str:
    """Where the browser goes with the verified identity: back to the host on which it began, with a one-time code.

    Raises identity_cancelled, identity_token_invalid, identity_clock, or as `oidc_wire`.
    """
    if any(len(value) > LONGEST_ANSWER for value in answer.values()):
        raise PaasError("identity_provider_failed")
    async with oidc_wire.patience():
        identity = await _identity(flow.provider, answer)
    code = await scope.run_bound(_code, flow, identity)
    path = "/login/oidc/" if flow.slug else "/accounts/oidc/"
    return f"{flow.origin}{path}?{urlencode({'code': code})}"


def _code(flow: Flow, identity: Identity) -> str:
    from tenants.selectors import tenant_by_slug

    tenant = tenant_by_slug(flow.slug) if flow.slug else None
    return codes.issue(
        CODE,
        seconds=CODE_SECONDS,
        tenant_id=tenant.id if tenant else None,
        provider=flow.provider.key,
        browser=flow.browser,
        following=flow.following,
        connecting=flow.connecting,
        identity=identity.as_data(),
    )


async def _identity(provider: Provider, answer: Mapping[str, str]) -> Identity:
    addresses = await _addresses(provider)
    _check_issuer(answer, addresses)
    error, code = answer.get("error"), answer.get("code")
    if error:
        raise PaasError("identity_cancelled" if error == "access_denied" else "identity_provider_failed")
    if not code:
        raise PaasError("identity_provider_failed")
    methods = addresses.get("token_endpoint_auth_methods_supported")
    tokens = await oidc_wire.exchange(
        provider,
        addresses["token_endpoint"],
        code=code,
        verifier=_verifier(answer["state"]),
        methods=methods if isinstance(methods, list) else None,
    )
    if provider.kind == "github":
        return await oidc_github.identity(provider, tokens)
    return await _of_id_token(provider, addresses, tokens, nonce=_nonce(answer["state"]))


def _check_issuer(answer: Mapping[str, str], addresses: Mapping[str, Any]) -> None:
    """RFC 9207: who says whose answer it is must be right, and who promises to say so must."""
    told = answer.get("iss")
    promised = addresses.get("authorization_response_iss_parameter_supported") is True
    if (told is not None and told != addresses.get("issuer")) or (promised and told is None):
        raise PaasError("identity_token_invalid", details={"parameter": "iss"})


async def _of_id_token(
    provider: Provider, addresses: Mapping[str, Any], tokens: Mapping[str, Any], *, nonce: str
) -> Identity:
    keys = await oidc_wire.call(provider, "GET", addresses["jwks_uri"])
    claims = oidc_token.verify(
        tokens.get("id_token"), keys=keys, issuer=addresses["issuer"], client_id=provider.client_id, nonce=nonce
    )
    more, token = addresses.get("userinfo_endpoint"), tokens.get("access_token")
    if "email" not in claims and isinstance(more, str) and isinstance(token, str):
        told = await oidc_wire.call(provider, "GET", more, headers={"Authorization": f"Bearer {token}"})
        if told.get("sub") != claims["sub"]:  # OpenID Connect Core §5.3.2
            raise PaasError("identity_token_invalid", details={"claim": "sub"})
        claims = {**told, **claims}
    return Identity(
        subject=claims["sub"],
        email=_text(claims.get("email"), 320).lower(),
        # Some send it as a text; every other text, such as "false", is no.
        email_verified=claims.get("email_verified") in (True, "true"),
        name=_text(claims.get("name"), 120),
    )


def _text(value: Any, longest: int) -> str:
    shown = "".join(char for char in value if char.isprintable()) if isinstance(value, str) else ""
    return shown.strip()[:longest]


# --- back in the browser -------------------------------------------------------------------------------


def hand_over(code: str, browser: str) -> tuple[Flow, Identity]:
    """What the one-time code stands for, once, on the host and in the browser that began.

    Raises identity_state. Runs bound to the host.
    """
    row = _redeemed(CODE, code)
    tenant = scope.current_binding().tenant
    here = row.tenant_id == (tenant.id if tenant else None)
    same = bool(browser) and hmac.compare_digest(row.data["browser"], browser_digest(browser))
    if not here or not same:
        raise PaasError("identity_state")
    return _flow(row), Identity(**row.data["identity"])
