"""What is said to a tenant's MCP servers: Streamable HTTP, within bounds, to addresses that egress allows (P49-P51).

Our own small client and not the SDK's: that one dials by itself, and reads answers of any length into memory.
Redirects are not followed, cookies not kept, and nothing that a server asks of us is done.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import aiohttp
import orjson
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar
from yarl import URL

from core.egress import GuardedConnector
from core.errors import PaasError
from tenants.egress import egress_policy, is_allow_listed

SECONDS = 15.0  # everything that is asked before a call; a server that is slower is of no use to a chat
CALL_SECONDS = 60.0
MOST_BYTES = 2 * 1024 * 1024  # of one answer, with all that comes before it in its stream
MOST_PAGES = 10
MOST_TOOLS = 200
LEAST_SECRET = 6  # shorter ones are found in too much that is none
VERSION = "2025-11-25"
EVENT_END = re.compile(rb"\r?\n\r?\n")


class Unauthorized(PaasError):
    """The server did not let us in. status: 401 or 403. challenge: its `WWW-Authenticate`, "" where it sent none."""

    def __init__(self, status: int, challenge: str) -> None:
        super().__init__(
            "provider_auth_failed", "The MCP server refused the secret. Enter it again, or connect the server."
        )
        self.status, self.challenge = status, challenge


@dataclass(frozen=True, slots=True)
class Target:
    """A server as it is dialled. headers: with the secret."""

    url: str
    headers: Mapping[str, str]


class McpSession:
    """One conversation with a server; made by `opened`."""

    def __init__(self, target: Target, http: ClientSession) -> None:
        self._target, self._http, self._number = target, http, 0
        self._headers: dict[str, str] = {}

    async def begin(self) -> None:
        """The handshake."""
        told = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "agent-paas", "version": "1"}}
        found = await self.ask("initialize", told)
        self._headers["MCP-Protocol-Version"] = str(found.get("protocolVersion", VERSION))[:20]
        await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}, None)

    async def tools(self) -> list[dict[str, Any]]:
        """All tools, as the server tells them. Raises provider_bad_response for too many."""
        found: list[dict[str, Any]] = []
        cursor: Any = None
        for _ in range(MOST_PAGES):
            page = await self.ask("tools/list", {"cursor": cursor} if cursor else {})
            tools = page.get("tools")
            if not isinstance(tools, list) or len(found) + len(tools) > MOST_TOOLS:
                raise _bad(f"It has no list of at most {MOST_TOOLS} tools.")
            found += [one for one in tools if isinstance(one, dict)]
            cursor = page.get("nextCursor")
            if not cursor:
                return found
        raise _bad("Its list of tools does not end.")

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The result of a request. Raises provider_* errors; a server's own words are cut to 500 characters."""
        self._number += 1
        message = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        found = await self._post(message, self._number)
        if "error" in found:
            error = found["error"]
            said = str(error.get("message", "") if isinstance(error, dict) else "")[:500]
            raise PaasError("provider_request_rejected", f"The MCP server refused: {said}")
        result = found.get("result")
        if not isinstance(result, dict):
            raise _bad("Its answer has no result.")
        return result

    async def _post(self, message: dict[str, Any], number: int | None) -> dict[str, Any]:
        headers = {
            **self._target.headers, **self._headers,
            "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
        }  # fmt: skip
        url, body = self._target.url, orjson.dumps(message)
        async with self._http.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            if answer.status in (401, 403):
                raise Unauthorized(answer.status, answer.headers.get("WWW-Authenticate", ""))
            if answer.status >= 300:
                raise _bad(f"It answered with status {answer.status}.")
            if session := answer.headers.get("Mcp-Session-Id"):
                self._headers["Mcp-Session-Id"] = session[:200]
            if number is None:
                return {}
            return await _answer(answer, number, self._secrets())

    def _secrets(self) -> list[bytes]:
        """What a server may know and must not say: with its scheme, and without."""
        values = [value for whole in self._target.headers.values() for value in (whole, whole.rpartition(" ")[2])]
        return [value.encode() for value in values if len(value) >= LEAST_SECRET]


async def _answer(answer: aiohttp.ClientResponse, number: int, secrets: list[bytes]) -> dict[str, Any]:
    """The response to request `number` in a body of JSON, or in a stream of messages."""
    body = bytearray()
    streamed, done = answer.content_type == "text/event-stream", 0
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MOST_BYTES:
            raise _bad(f"Its answer is longer than {MOST_BYTES // 1024:,} KiB.")
        while streamed and (end := EVENT_END.search(body, done)):
            event, done = bytes(body[done : end.start()]), end.end()
            lines = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
            found = _message(b"\n".join(lines), secrets) if any(lines) else None
            if found is not None and found.get("id") == number and "method" not in found:
                return found
    found = None if streamed else _message(bytes(body), secrets)
    if found is None or found.get("id") != number:
        raise _bad("It broke off without an answer.")
    return found


def _message(text: bytes, secrets: list[bytes]) -> dict[str, Any] | None:
    """A message, without our secret: a server that repeats it would have it in prompts and logs (P52)."""
    for secret in secrets:
        text = text.replace(secret, b"[secret]")
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _bad("It sent something that is no JSON.") from None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


@asynccontextmanager
async def opened(target: Target, seconds: float = SECONDS) -> AsyncIterator[McpSession]:
    """A session with a server, for at most `seconds`, closed afterwards.

    Raises provider_address_forbidden, provider_timeout, provider_unavailable, provider_bad_response,
    provider_auth_failed.
    """
    try:
        if URL(target.url).scheme != "https" and not is_allow_listed(URL(target.url)):
            raise PaasError("provider_address_forbidden", "The address of an MCP server must begin with https://.")
        async with (
            asyncio.timeout(seconds),
            ClientSession(
                connector=GuardedConnector(egress_policy()), cookie_jar=DummyCookieJar(), trust_env=False,
                auto_decompress=False, headers={"Accept-Encoding": "identity", "User-Agent": "agent-paas"},
                timeout=ClientTimeout(total=seconds, sock_connect=5.0),
            ) as http,
        ):  # fmt: skip
            session = McpSession(target, http)
            await session.begin()
            yield session
    except TimeoutError:
        raise PaasError("provider_timeout", "The MCP server took too long to answer.") from None
    except (aiohttp.ClientError, OSError, ValueError):
        raise PaasError("provider_unavailable", "The MCP server cannot be reached, or broke off.") from None


def _bad(why: str) -> PaasError:
    return PaasError("provider_bad_response", f"The MCP server does not work as it should. {why}")
