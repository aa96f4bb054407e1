"""From an MCP server to its authorization server, by what both publish (RFC 9728, RFC 8414, OpenID Connect Discovery).

As the authorization part of the MCP specification asks of clients. All of it is chosen by others: what does not fit
together is refused, and nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from yarl import URL

from agents.mcp.oauth_wire import LONGEST_ADDRESS, METHODS, ask, bad, checked

RESOURCE = "/.well-known/oauth-protected-resource"
SERVER, OPENID = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
MOST_SCOPES = 50
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}")  # RFC 6749 §3.3


@dataclass(frozen=True, slots=True)
class Resource:
    """What a server says of itself. resource: its identifier, for which tokens are asked (RFC 8707)."""

    resource: str
    issuer: str
    scope: str


@dataclass(frozen=True, slots=True)
class AuthorizationServer:
    """Where an authorization server is asked what. registration, revocation: "" where it offers none. method: how
    a client proves itself. tells_issuer: its answers name it (RFC 9207)."""

    issuer: str
    authorization: str
    token: str
    registration: str
    revocation: str
    method: str
    tells_issuer: bool

    def as_data(self) -> dict[str, Any]:
        """As it is stored."""
        return {name: getattr(self, name) for name in self.__slots__}


async def resource_of(url: str, challenge: str) -> Resource:
    """What the MCP server at `url` says of itself. challenge: its `WWW-Authenticate`, "" where it sent none.

    Raises as `ask`, and provider_bad_response when what it says is of another server.
    """
    wanted = scope_text((_parameter(challenge, "scope") or "").split())
    for address in _resource_addresses(url, _parameter(challenge, "resource_metadata")):
        status, found = await ask("GET", address)
        if status != 200 or not found:
            continue
        resource, issuers = found.get("resource"), found.get("authorization_servers")
        if not isinstance(resource, str) or len(resource) > LONGEST_ADDRESS or not _covers(resource, url):
            raise bad("The MCP server describes another server than itself.")
        if not isinstance(issuers, list) or not issuers:
            raise bad("The MCP server names no authorization server.")
        return Resource(resource, checked(issuers[0]), wanted or scope_text(found.get("scopes_supported")))
    # Of 2025-03-26: the server is its own authorization server.
    return Resource(url, str(URL(url).origin()), wanted)


async def authorization_server(issuer: str) -> AuthorizationServer:
    """What an authorization server says of itself. Raises as `ask`, and provider_bad_response."""
    for address in _server_addresses(issuer):
        status, found = await ask("GET", address)
        if status == 200 and found:
            return _checked_server(issuer, found)
    raise bad("It does not say how it is asked, so the MCP server cannot be connected. Perhaps it takes a secret.")


def scope_text(scopes: Any) -> str:
    """Scopes as they are asked for; what is none is left out."""
    found = [one for one in scopes if isinstance(one, str) and SCOPE.fullmatch(one)] if isinstance(scopes, list) else []
    return " ".join(found[:MOST_SCOPES])


def same_issuer(one: str, other: str) -> bool:
    """Simple comparison (RFC 8414 §3.3), except that the final slash of a host alone does not count."""
    return one == other or (one.rstrip("/") == other.rstrip("/") and URL(one).path == URL(other).path == "/")


def _checked_server(issuer: str, found: Mapping[str, Any]) -> AuthorizationServer:
    told = found.get("issuer")
    if not isinstance(told, str) or not same_issuer(told, issuer):
        raise bad("It says that it is another one than the MCP server names.")
    challenges = found.get("code_challenge_methods_supported")
    if not isinstance(challenges, list) or "S256" not in challenges:
        raise bad("It does not support PKCE with S256.")
    methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    known = [one for one in METHODS if isinstance(methods, list) and one in methods]
    if not known:
        raise bad("It asks clients to prove themselves in a way that is not known here.")
    return AuthorizationServer(
        issuer=told,
        authorization=checked(found.get("authorization_endpoint")),
        token=checked(found.get("token_endpoint")),
        registration=_optional(found.get("registration_endpoint")),
        revocation=_optional(found.get("revocation_endpoint")),
        method=known[0],
        tells_issuer=found.get("authorization_response_iss_parameter_supported") is True,
    )


def _optional(url: Any) -> str:
    return "" if url is None else checked(url)


def _resource_addresses(url: str, told: str | None) -> Iterator[str]:
    if told:
        yield told
    address = URL(url)
    if address.raw_path not in ("", "/"):
        yield str(address.origin()) + RESOURCE + address.raw_path
    yield str(address.origin()) + RESOURCE


def _server_addresses(issuer: str) -> Iterator[str]:
    address = URL(issuer)
    origin, path = str(address.origin()), address.raw_path.rstrip("/")
    yield origin + SERVER + path
    yield origin + OPENID + path
    if path:
        yield origin + path + OPENID


def _covers(resource: str, url: str) -> bool:
    """Whether a resource's identifier is the server's own address, or one above it on the same host."""
    try:
        one, other = URL(resource), URL(url)
        same = one.origin() == other.origin()
    except ValueError:
        return False
    path = one.raw_path.rstrip("/")
    return same and not one.fragment and (other.raw_path.rstrip("/") == path or other.raw_path.startswith(path + "/"))


def _parameter(challenge: str, name: str) -> str | None:
    """A parameter of `WWW-Authenticate: Bearer ...` (RFC 9110 §11.2)."""
    found = re.search(rf'(?:^|[\s,]){name}\s*=\s*(?:"([^"]*)"|([^\s,"]+))', challenge[:4000], re.IGNORECASE)
    return None if found is None else found[1] if found[1] is not None else found[2]
