"""Reads a web page: fetched through core.egress, its text without marks, bounded in size, time and redirects."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import ClientError

from agents.tools.spec import ToolContext, ToolResult, ToolSpec
from core.documents.html import text_of
from core.errors import PaasError
from tenants.pages import fetched

MOST_SECONDS = 10.0


async def fetch_text(url: str) -> str:
    """The text of a page. Raises PaasError tool_failed with a sentence for the model.

    At most MOST_BYTES, after unpacking, and MOST_SECONDS; each of at most MOST_REDIRECTS addresses is checked anew.
    """
    try:
        async with asyncio.timeout(MOST_SECONDS):
            page = await fetched(url)
    except TimeoutError:
        raise PaasError("tool_failed", f"The page took more than {MOST_SECONDS:.0f} seconds.") from None
    except PaasError as error:
        raise PaasError("tool_failed", error.message) from None
    except (ClientError, ValueError, OSError, LookupError):
        raise PaasError("tool_failed", "The page could not be read: its server cannot be reached.") from None
    text = text_of(page.text) if "html" in page.kind else page.text
    return text + ("\n[The page is longer; the rest was not read.]" if page.cut else "")


async def _call(context: ToolContext, arguments: dict[str, Any]) -> ToolResult:
    return ToolResult(await fetch_text(arguments["url"]) or "The page shows no text.")


WEB_PAGE = ToolSpec(
    name="web_page",
    description="Reads the text of a public web page.",
    parameters={
        "type": "object",
        "properties": {"url": {"type": "string", "description": "Such as https://example.com/", "maxLength": 2000}},
        "required": ["url"],
        "additionalProperties": False,
    },
    effect="egress",
    call=_call,
    tainted=True,
)
