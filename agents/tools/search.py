"""Searches the web with Tavily's API, under the workspace's own key.

The key goes to the operator's TAVILY_URL and nowhere else: it follows no redirect, and no error repeats it (P52).
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from aiohttp import ClientError
from django.conf import settings

from agents.tools.spec import ToolContext, ToolResult, ToolSpec
from core.errors import PaasError
from tenants.pages import MOST_BYTES, guarded_session

MOST_SECONDS = 15.0
MOST_RESULTS = 10
FIELD = "api_key"  # of a bound tool's settings, in memory only


async def _call(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    key = context.settings.get(FIELD)
    if not key:
        raise PaasError("tool_failed", "Web search has no key. Ask an administrator to set one for web_search.")
    asked = {"query": arguments["query"], "max_results": int(arguments.get("max_results", 5)), "search_depth": "basic"}
    try:
        async with asyncio.timeout(MOST_SECONDS):
            status, body = await _asked(key, asked)
    except TimeoutError:
        raise PaasError("tool_failed", "The search service took too long to answer.") from None
    except PaasError as error:
        raise PaasError("tool_failed", error.message) from None
    except (ClientError, OSError):
        raise PaasError("tool_failed", "The search service cannot be reached.") from None
    if status in (401, 403):
        raise PaasError("tool_failed", "The search service did not accept the workspace's key.")
    if status in (429, 432, 433):
        raise PaasError("tool_failed", "The search service allows no more searches now.")
    if status != 200:
        raise PaasError("tool_failed", f"The search service answered with status {status}.")
    return _told(body)


async def _asked(key: str, asked: dict[str, Any]) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {key}"}
    url = f"{settings.TAVILY_URL}/search"
    async with (
        guarded_session() as session,
        session.post(url, json=asked, headers=headers, allow_redirects=False) as answer,
    ):
        body = b""
        async for part in answer.content.iter_chunked(65536):
            body += part
            if len(body) > MOST_BYTES:
                raise PaasError("tool_failed", "The search service sent too much.")
        return answer.status, body


def _told(body: bytes) -> ToolResult:
    try:
        found = [one for one in orjson.loads(body)["results"] if isinstance(one, dict)][:MOST_RESULTS]
    except (ValueError, KeyError, TypeError):
        raise PaasError("tool_failed", "The search service sent something that cannot be read.") from None
    kept = [{name: str(one.get(name, ""))[:2000] for name in ("title", "url", "content")} for one in found]
    text = "\n\n".join(f"{one['title']}\n{one['url']}\n{one['content']}" for one in kept)
    return ToolResult(text or "Nothing was found.", kept)


WEB_SEARCH = ToolSpec(
    name="web_search",
    description="Searches the web and tells titles, addresses and excerpts of what it finds.",
    parameters={
        "type": "object",
        "properties": {
            "query": {"type": "string", "minLength": 1, "maxLength": 400},
            "max_results": {"type": "integer", "minimum": 1, "maximum": MOST_RESULTS},
        },
        "required": ["query"],
        "additionalProperties": False,
    },
    effect="egress",
    call=_call,
    tainted=True,
)
