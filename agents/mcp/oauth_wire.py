"""What is said to the authorization servers that a tenant's MCP server names: over HTTP, within bounds.

Every address here was chosen by a server outside (P51): each request goes through core.egress, with TLS unless the
operator allows the host; redirects are not followed; time and size have an end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar
from yarl import URL

from core.egress import GuardedConnector, check_url
from core.errors import PaasError
from tenants.egress import egress_policy, is_allow_listed

SECONDS = 10.0  # one request
ALL_SECONDS = 20.0  # everything that one page waits for
MOST_BYTES = 256 * 1024
LONGEST_ADDRESS, LONGEST_TOKEN = 2000, 16_000
MOST_TOKEN_SECONDS = 366 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Client:
    """Who we are to an authorization server. method: how we prove it at its token endpoint (RFC 7591 §2)."""

    id: str
    secret: str = field(default="", repr=False)
    method: str = "none"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a token endpoint gave. seconds: how long the access token is good; None: it does not say. scope: "": as was
    asked for."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    seconds: int | None
    scope: str


@asynccontextmanager
async def patience() -> AsyncIterator[None]:
    """ALL_SECONDS for what is inside. Raises provider_timeout."""
    try:
        async with asyncio.timeout(ALL_SECONDS):
            yield
    except TimeoutError:
        raise PaasError("provider_timeout", "The authorization server took too long to answer.") from None


def checked(url: Any) -> str:
    """An address that a server told us, if it may be asked. Raises as `ask`."""
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or len(url) > LONGEST_ADDRESS:
        raise bad("It names an address that is none.")
    check_url(url, egress_policy())
    address = URL(url)
    if address.fragment:
        raise bad("It names an address that is none.")
    if address.scheme != "https" and not is_allow_listed(address):
        raise PaasError(
            "provider_address_forbidden", "The addresses of an authorization server must begin with https://."
        )
    return url


async def ask(
    method: str,
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    document: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, Any]]:
    """(status, JSON object, or {} for anything else). form, document: the body, form-encoded or as JSON.

    Raises provider_address_forbidden, provider_unavailable, provider_timeout, provider_bad_response (too long).
    """
    told = {"Content-Type": "application/json"} if document is not None else {}
    body = orjson.dumps(document) if document is not None else form
    try:
        async with (
            asyncio.timeout(SECONDS),
            ClientSession(
                connector=GuardedConnector(egress_policy()), cookie_jar=DummyCookieJar(), trust_env=False,
                auto_decompress=False, timeout=ClientTimeout(total=SECONDS, sock_connect=5.0),
                headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "agent-paas"},
            ) as http,
            http.request(
                method, checked(url), data=body, headers={**told, **(headers or {})}, allow_redirects=False
            ) as answer,
        ):  # fmt: skip
            return answer.status, _object(await _read(answer))
    except TimeoutError:
        raise PaasError("provider_timeout", "The authorization server took too long to answer.") from None
    except (aiohttp.ClientError, OSError, ValueError):
        raise PaasError("provider_unavailable", "The authorization server cannot be reached, or broke off.") from None


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > MOST_BYTES:
            raise bad(f"Its answer is longer than {MOST_BYTES // 1024} KiB.")
    return bytes(body)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


async def register(url: str, *, name: str, redirect_uri: str, method: str, scope: str) -> Client:
    """A client of our own at an authorization server (RFC 7591). Raises provider_request_rejected, or as `ask`."""
    wanted = {
        "client_name": name,
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
    }
    status, found = await ask("POST", url, document=wanted | ({"scope": scope} if scope else {}))
    if status not in (200, 201):
        raise _refused("It registered no client.", status, found)
    # It may have decided on another way (RFC 7591 §3.2.1).
    kept = found.get("token_endpoint_auth_method", method)
    if kept not in METHODS:
        raise bad("It registered a client that proves itself in a way that is not known here.")
    return Client(_text(found.get("client_id"), 500, needed=True), _text(found.get("client_secret"), 2000), kept)


# The best known first. Revocation at servers made with the official SDK works with the first one only.
METHODS = ("client_secret_post", "client_secret_basic", "none")


async def tokens(url: str, client: Client, form: Mapping[str, str]) -> Tokens:
    """What a token endpoint gives for a grant (RFC 6749 §5). Raises provider_request_rejected when it says no."""
    status, found = await ask("POST", url, **proof(client, form))
    if status >= 500 or 300 <= status < 400:
        raise PaasError("provider_unavailable", f"The authorization server answered with status {status}.")
    if status != 200:
        raise _refused("It gave no token.", status, found)
    if str(found.get("token_type", "")).lower() != "bearer":
        raise bad("Its token is of a kind that is not known here.")
    seconds = found.get("expires_in")
    if isinstance(seconds, str) and seconds.isdecimal():  # some send it so
        seconds = int(seconds[:10])
    if not isinstance(seconds, int) or isinstance(seconds, bool) or seconds < 0:
        seconds = None
    return Tokens(
        _text(found.get("access_token"), LONGEST_TOKEN, needed=True),
        _text(found.get("refresh_token"), LONGEST_TOKEN),
        None if seconds is None else min(seconds, MOST_TOKEN_SECONDS),
        _text(found.get("scope"), 2000),
    )


async def revoke(url: str, client: Client, token: str, kind: str) -> bool:
    """Whether the authorization server took a token back (RFC 7009). kind: `refresh_token` or `access_token`."""
    try:
        status, _ = await ask("POST", url, **proof(client, {"token": token, "token_type_hint": kind}))
    except PaasError:
        return False
    return status == 200


def proof(client: Client, form: Mapping[str, str]) -> dict[str, Any]:
    """Body and headers of a request that says who we are. The id is in the body in any case: some look for it there."""
    told = {**form, "client_id": client.id}
    if client.method == "client_secret_basic":
        # RFC 6749 §2.3.1: both are form-encoded first.
        login = aiohttp.encode_basic_auth(quote(client.id, safe=""), quote(client.secret, safe=""))
        return {"form": told, "headers": {"Authorization": login}}
    return {"form": told | ({"client_secret": client.secret} if client.method == "client_secret_post" else {})}


def _text(value: Any, longest: int, *, needed: bool = False) -> str:
    """A text that a header can carry; "" where there is none."""
    if value is None and not needed:
        return ""
    if not isinstance(value, str) or len(value) > longest or not value.isascii() or not value.isprintable():
        raise bad("Its answer has a field that cannot be right.")
    if needed and not value.strip():
        raise bad("Its answer lacks what was asked for.")
    return value


def _refused(why: str, status: int, found: Mapping[str, Any]) -> PaasError:
    """error: the code of RFC 6749 §5.2 that it gave, if any."""
    error = found.get("error")
    told = error if isinstance(error, str) and error.isprintable() and len(error) <= 60 else ""
    return PaasError(
        "provider_request_rejected",
        f"The authorization server refused. {why}",
        details={"status": status, "error": told},
    )


def bad(why: str) -> PaasError:
    """A server that does not keep to the protocol."""
    return PaasError("provider_bad_response", f"The authorization server does not work as it should. {why}")
