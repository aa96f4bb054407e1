"""Fetches a page of the web on a tenant's behalf, through core.egress."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import ClientResponse, ClientSession, DummyCookieJar
from yarl import URL

from core.egress import GuardedConnector, check_url
from core.errors import PaasError
from tenants.egress import egress_policy

MOST_BYTES = 2 * 1024 * 1024
MOST_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})
TEXTUAL = ("text/", "application/json", "application/xml", "application/xhtml+xml")


@dataclass(frozen=True, slots=True)
class Page:
    """kind: its content type. cut: it was longer."""

    kind: str
    charset: str
    body: bytes
    cut: bool

    @property
    def text(self) -> str:
        """Its text; what its encoding does not allow is replaced."""
        try:
            return self.body.decode(self.charset, "replace")
        except LookupError:
            return self.body.decode("utf-8", "replace")


def guarded_session() -> ClientSession:
    """A session for one call: no connection is shared between tenants, each is dialled after its own check (A62)."""
    connector = GuardedConnector(egress_policy(), force_close=True)
    return ClientSession(connector=connector, cookie_jar=DummyCookieJar(), trust_env=False)


async def fetched(url: str) -> Page:
    """A page of the web. Each of at most MOST_REDIRECTS addresses is checked anew; at most MOST_BYTES, after unpacking.

    Raises PaasError tool_failed with a sentence, what core.egress says, or aiohttp's errors.
    """
    policy = egress_policy()
    async with guarded_session() as session:
        target = URL(url)
        for _ in range(MOST_REDIRECTS + 1):
            check_url(target, policy)
            async with session.get(target, allow_redirects=False, headers=_HEADERS) as answer:
                if answer.status in REDIRECTS and "Location" in answer.headers:
                    target = _next(target, answer.headers["Location"])
                    continue
                return await _read(answer)
    raise PaasError("tool_failed", f"The page leads on more than {MOST_REDIRECTS} times.")


_HEADERS = {"User-Agent": "agent-paas", "Accept": "text/html, text/*;q=0.9, application/json;q=0.8"}


def _next(here: URL, location: str) -> URL:
    there = here.join(URL(location))
    if here.scheme == "https" and there.scheme != "https":
        raise PaasError("tool_failed", "The page leads on from https to something else.")
    return there


async def _read(answer: ClientResponse) -> Page:
    if answer.status >= 400:
        raise PaasError("tool_failed", f"The page's server answered with status {answer.status}.")
    kind = answer.content_type
    if not kind.startswith(TEXTUAL):
        raise PaasError("tool_failed", "The page is not a text; only text, HTML, JSON and XML are read.")
    parts, size = [], 0
    async for part in answer.content.iter_chunked(65536):
        parts.append(part[: MOST_BYTES - size])
        size += len(part)
        if size > MOST_BYTES:
            break
    return Page(kind, answer.charset or "utf-8", b"".join(parts), size > MOST_BYTES)
