"""Which pages a workspace's portal has: found by following its links, so that none is forgotten."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable
from html import unescape

# The agent is one of bench/showcase.py whose draft differs from what is published.
STARTS = ("/settings/", "/profile/", "/settings/agents/support/", "/settings/conversations/?whose=all")
# Files and forms that are no pages.
_NOT_PAGES = re.compile(r"/export/|/file/|format=|/api/")
_LINK = re.compile(r'<a\b[^>]*?\shref="([^"#]+)')
_NAMED = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"^/settings/agents/[^/]+/"), "/settings/agents/<agent>/"),
    (re.compile(r"^/settings/tools/named/[^/]+/"), "/settings/tools/named/<tool>/"),
)


def links_in(page: str, address: str) -> list[str]:
    """The portal's own addresses that a page of it leads to, each once."""
    found = []
    for href in map(unescape, _LINK.findall(page)):
        there = address.partition("?")[0] + href if href.startswith("?") else href
        if there.startswith(("/settings/", "/profile/", "/knowledge/")) and not _NOT_PAGES.search(there):
            found.append(there)
    return list(dict.fromkeys(found))


def kind_of(address: str) -> str:
    """What all addresses of the same page have in common."""
    path = address.partition("?")[0]
    for pattern, name in _NAMED:
        path = pattern.sub(name, path)
    return path


async def every_page(get: Callable[[str], Awaitable[str]]) -> list[str]:
    """One address of each page that links lead to. get: the page at an address, for who may open all."""
    found: dict[str, str] = {}
    waiting = deque(STARTS)
    while waiting:
        address = waiting.popleft()
        if kind_of(address) in found:
            continue
        found[kind_of(address)] = address
        waiting.extend(links_in(await get(address), address))
    return list(found.values())
