"""What is said to identity providers over HTTP, within bounds: time, size, and which addresses may be dialled.

A tenant chooses the issuer, and the issuer's document chooses the other addresses: each request goes through
core.egress (P49, P50). Redirects are not followed. The operator's own providers may be private.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import structlog
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from yarl import URL

from accounts.identity_providers import Provider
from core.egress import GuardedConnector
from core.errors import PaasError
from tenants.egress import egress_policy, is_allow_listed

SECONDS = 10.0  # one request
ALL_SECONDS = 20.0  # everything that one page waits for
MOST_BYTES = 512 * 1024
WELL_KNOWN = "/.well-known/openid-configuration"
NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")

log = structlog.get_logger(__name__)


@asynccontextmanager
async def patience() -> AsyncIterator[None]:
    """ALL_SECONDS for what is inside. Raises identity_provider_timeout."""
    try:
        async with asyncio.timeout(ALL_SECONDS):
            yield
    except TimeoutError:
        raise PaasError("identity_provider_timeout") from None


async def discover(provider: Provider) -> dict[str, Any]:
    """The provider's OpenID configuration, checked.

    Raises identity_issuer_mismatch, or as `call`; identity_provider_failed when an address is missing.
    """
    document = await call(provider, "GET", provider.issuer.rstrip("/") + WELL_KNOWN)
    told = document.get("issuer")
    if not isinstance(told, str) or told.rstrip("/") != provider.issuer.rstrip("/"):
        raise PaasError("identity_issuer_mismatch", details={"issuer": str(told)[:300]})
    missing = [name for name in NEEDED if not isinstance(document.get(name), str)]
    if missing:
        raise PaasError("identity_provider_failed", details={"missing": missing})
    # Where a browser is sent to: a page, nothing else that a browser would take for an address.
    if urlsplit(document["authorization_endpoint"]).scheme not in ("https", urlsplit(provider.issuer).scheme):
        raise PaasError("identity_provider_failed", details={"wrong": "authorization_endpoint"})
    return document


async def exchange(
    provider: Provider, url: str, *, code: str, verifier: str, methods: list[str] | None = None
) -> dict[str, Any]:
    """The token endpoint's answer for an authorization code. Raises identity_provider_refused, or as `call`.

    methods: how the endpoint lets clients prove themselves (RFC 8414); basic when it does not say.
    """
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": provider.redirect_uri,
        "code_verifier": verifier,
    }
    headers = {}
    if provider.client_secret and "client_secret_basic" in (methods or ["client_secret_basic"]):
        # RFC 6749 §2.3.1: both are form-encoded first.
        login = aiohttp.BasicAuth(quote(provider.client_id, safe=""), quote(provider.client_secret, safe=""))
        headers["Authorization"] = login.encode()
    else:
        form |= {"client_id": provider.client_id}
        form |= {"client_secret": provider.client_secret} if provider.client_secret else {}
    answer = await call(provider, "POST", url, headers=headers, form=form, refused="identity_provider_refused")
    if "error" in answer:  # GitHub says so with 200
        raise PaasError("identity_provider_refused", details={"error": str(answer["error"])[:100]})
    return answer


async def call(
    provider: Provider,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    refused: str = "identity_provider_failed",
) -> dict[str, Any]:
    """The JSON object at `url`; `{"list": [...]}` for a list.

    Raises `refused` for a status 4xx, identity_address_forbidden, identity_provider_failed,
    identity_provider_unavailable, identity_provider_timeout.
    """
    try:
        _check_scheme(provider, url)
        async with (
            _session(provider) as session,
            session.request(method, url, headers=headers, data=form, allow_redirects=False) as answer,
        ):
            body = await _read(answer)
            status = answer.status
    except PaasError as error:
        forbidden = error.code == "provider_address_forbidden"
        raise PaasError("identity_address_forbidden" if forbidden else "identity_provider_unavailable") from None
    except TimeoutError:
        raise PaasError("identity_provider_timeout") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        log.warning("identity provider failed", url=url[:300], error=type(error).__name__)
        raise PaasError("identity_provider_unavailable") from None
    return _object(body, status, refused)


def _check_scheme(provider: Provider, url: str) -> None:
    """What goes to a tenant's provider (the client secret, codes) goes there encrypted."""
    address = URL(url)
    if provider.tenant_id is not None and address.scheme != "https" and not is_allow_listed(address):
        raise PaasError("provider_address_forbidden")


def _session(provider: Provider) -> ClientSession:
    # None of ours is kept open: sign-ins are rare, and a session belongs to one event loop.
    own = provider.tenant_id is not None
    return ClientSession(
        connector=GuardedConnector(egress_policy()) if own else TCPConnector(),
        cookie_jar=DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,  # what is bounded below is what comes over the wire
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "agent-paas"},
        timeout=ClientTimeout(total=SECONDS, sock_connect=5.0),
    )


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > MOST_BYTES:
            raise aiohttp.ClientPayloadError("too long")
    return bytes(body)


def _object(body: bytes, status: int, refused: str) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if status >= 500 or (300 <= status < 400):
        raise PaasError("identity_provider_failed", details={"status": status})
    if status != 200:
        told = str(found.get("error", ""))[:100] if isinstance(found, dict) else ""
        raise PaasError(refused, details={"status": status, **({"error": told} if told else {})})
    if isinstance(found, list):
        return {"list": found}
    if not isinstance(found, dict):
        raise PaasError("identity_provider_failed", details={"status": status})
    return found


async def examine(provider: Provider) -> None:
    """Whether sign-in with it can work, as far as what it publishes tells. Raises as `discover` and `call`."""
    document = await discover(provider)
    challenges = document.get("code_challenge_methods_supported")
    if isinstance(challenges, list) and "S256" not in challenges:
        raise PaasError("identity_provider_failed", details={"missing": "S256"})
    keys = (await call(provider, "GET", document["jwks_uri"])).get("keys")
    if not isinstance(keys, list) or not keys:
        raise PaasError("identity_provider_failed", details={"missing": "keys"})
