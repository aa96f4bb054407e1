"""What tests ask without a socket (tests/direct.py) is what a client gets over one."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.attack.knocking import key_of
from tests.conftest import Platform
from tests.contracts.declaring import Identity
from tests.contracts.tenancy import words
from tests.site import Site, session_cookies

# Of the connection, the server and the moment; and what pages are given anew each time.
OTHERWISE = {
    "date",
    "server",
    "connection",
    "transfer-encoding",
    "x-request-id",
    "content-security-policy",
    "set-cookie",
}
ASKED: list[tuple[str, str, Any]] = [
    ("GET", "/healthz", None),
    ("GET", "/static/portal/portal.css", None),
    ("HEAD", "/login/", None),
    ("GET", "/login/?next=/chat/%E5%B7%A5", None),
    ("GET", "/settings/agents/", None),
    ("GET", "/nothing/here%2F%41", None),
    ("GET", "/api/v1/me", None),
    ("PATCH", "/api/v1/me", {"name": "工"}),
    ("POST", "/api/v1/conversations", {"agent": "nobody"}),
    ("DELETE", "/api/v1/agents/nobody", None),
    ("GET", "/v1/models", None),
    ("POST", "/v1/chat/completions", {"model": "nobody", "messages": []}),
    ("POST", "/mcp", {}),
]


def told(status: int, headers: dict[str, str], body: str) -> tuple[Any, ...]:
    kept = {name: value for name, value in headers.items() if name not in OTHERWISE and "ratelimit" not in name}
    if "expires" in kept:
        kept["expires"] = "a moment"  # that of the answer
    return status, kept, words(body)


@pytest.mark.parametrize("who", ["nobody", "owner", "key"])
async def test_both_ways_lead_to_the_same_answer(who: str, db: Platform, site: Site) -> None:
    identity = Identity(who, token=key_of(db.acme, "*") if who == "key" else "")
    if who == "owner":
        session = (await asyncio.to_thread(session_cookies, "acme", "owner@acme.test"))["sessionid"]
        identity = Identity(who, session=session)
    headers = identity.headers | {"Origin": site.url("acme")}
    direct, wire = site.direct("acme", **headers), site.client("acme", cookie_jar=aiohttp.DummyCookieJar())
    for method, path, json in ASKED:
        found = await direct.request(method, path, json=json)
        async with wire.request(method, path, json=json, headers=headers, allow_redirects=False) as answer:
            sent = {name.lower(): value for name, value in answer.headers.items()}
            assert told(found.status, found.headers, found.text) == told(answer.status, sent, await answer.text()), path
