"""Reads a web page: fetched through core.egress, its text without marks, bounded in size, time and redirects."""

from __future__ import annotations

import asyncio
from html.parser import HTMLParser
from typing import Any

from aiohttp import ClientError, ClientResponse, ClientSession, DummyCookieJar
from yarl import URL

from agents.tools.spec import ToolContext, ToolResult, ToolSpec
from core.egress import GuardedConnector, check_url
from core.errors import PaasError
from tenants.egress import egress_policy

MOST_BYTES = 2 * 1024 * 1024
MOST_SECONDS = 10.0
MOST_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})
TEXTUAL = ("text/", "application/json", "application/xml", "application/xhtml+xml")
_HIDDEN = frozenset({"script", "style", "template", "noscript", "svg", "head"})
_BLOCKS = frozenset(
    {
        "address",
        "article",
        "aside",
        "blockquote",
        "br",
        "dd",
        "div",
        "dl",
        "dt",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
    }
    | {"h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul"}
)


async def fetch_text(url: str) -> str:
    """The text of a page. Raises PaasError tool_failed with a sentence for the model.

    At most MOST_BYTES, after unpacking, and MOST_SECONDS; each of at most MOST_REDIRECTS addresses is checked anew.
    """
    try:
        async with asyncio.timeout(MOST_SECONDS):
            kind, charset, body, cut = await _fetched(url)
    except TimeoutError:
        raise PaasError("tool_failed", f"The page took more than {MOST_SECONDS:.0f} seconds.") from None
    except PaasError as error:
        raise PaasError("tool_failed", error.message) from None
    except (ClientError, ValueError, OSError, LookupError):
        raise PaasError("tool_failed", "The page could not be read: its server cannot be reached.") from None
    try:
        text = body.decode(charset, "replace")
    except LookupError:
        text = body.decode("utf-8", "replace")
    text = text_of(text) if "html" in kind else text
    return text + ("\n[The page is longer; the rest was not read.]" if cut else "")


def guarded_session() -> ClientSession:
    """A session for one call: no connection is shared between tenants, each is dialled after its own check (A62)."""
    connector = GuardedConnector(egress_policy(), force_close=True)
    return ClientSession(connector=connector, cookie_jar=DummyCookieJar(), trust_env=False)


async def _fetched(url: str) -> tuple[str, str, bytes, bool]:
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


async def _read(answer: ClientResponse) -> tuple[str, str, bytes, bool]:
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
    return kind, answer.charset or "utf-8", b"".join(parts), size > MOST_BYTES


def text_of(html: str) -> str:
    """What a page shows, line by line, without scripts and marks."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.parts).splitlines())
    return "\n".join(line for line in lines if line)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden: list[str] = []
        self._title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "body":
            self._hidden.clear()
        self._title = tag == "title"
        if tag in _HIDDEN:
            self._hidden.append(tag)
        elif tag in _BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._title = False
            self.parts.append("\n")
        if tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]
        elif tag in _BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if self._title or not self._hidden:
            self.parts.append(data)


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
