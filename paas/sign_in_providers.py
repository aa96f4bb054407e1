"""The providers that everybody on this platform may sign in with, from the environment."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from paas import env

GOOGLE = "https://accounts.google.com"
GITHUB = "https://github.com"


def from_environment() -> tuple[dict[str, Any], ...]:
    """What `accounts.identity_providers.Provider` is made of, for each provider whose client is set.

    Raises ImproperlyConfigured for one that is half set, or whose address is none.
    """
    found = []
    if client := _client("GOOGLE"):
        found.append({"key": "google", "kind": "oidc", "name": "Google", "issuer": GOOGLE, **client})
    if client := _client("GITHUB"):
        url = _address("GITHUB_URL", env.text("GITHUB_URL", GITHUB))
        found.append({"key": "github", "kind": "github", "name": "GitHub", "issuer": url, **client})
    if client := _client("OIDC", "OIDC_ISSUER"):
        issuer = _address("OIDC_ISSUER", env.text("OIDC_ISSUER"))
        name = env.text("OIDC_NAME", "") or urlsplit(issuer).hostname or "OpenID Connect"
        found.append({"key": "oidc", "kind": "oidc", "name": name[:60], "issuer": issuer, **client})
    return tuple(found)


def _client(prefix: str, *more: str) -> dict[str, str]:
    """Client id and secret, both or none."""
    names = [f"{prefix}_CLIENT_ID", f"{prefix}_CLIENT_SECRET", *more]
    values = {name: env.text(name, "").strip() for name in names}
    missing = [name for name, value in values.items() if not value]
    if len(missing) == len(names):
        return {}
    if missing:
        given = next(name for name, value in values.items() if value)
        raise ImproperlyConfigured(f"{given} is set but {' and '.join(missing)} is not. Set all of them, or none.")
    return {"client_id": values[names[0]], "client_secret": values[names[1]]}


def _address(name: str, value: str) -> str:
    parts = urlsplit(value.strip())
    plain = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1")
    if not (parts.scheme == "https" or plain) or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ImproperlyConfigured(f"{name} must be an address such as https://login.example.com, not {value!r}.")
    return value.strip()
