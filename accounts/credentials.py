"""Where a request carries what proves who sends it."""

from __future__ import annotations

from collections.abc import Mapping


def token_of(headers: Mapping[str, str]) -> str | None:
    """The access token or API key in `Authorization: Bearer` or `X-API-Key`, if any. Header names are lower case."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and value.strip():
        return value.strip()
    return headers.get("x-api-key") or None
